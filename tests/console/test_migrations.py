"""Migrations: killed at any step they leave the old schema or the new one; nobody has to do anything by hand."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from browser_kit import both_engines
from sqlalchemy import inspect, text

from console.store.base import Base
from console.store.engine import open_store
from console.store.migrations import SchemaError, _config, current, newest, upgrade

pytestmark = both_engines
KILLER = Path(__file__).with_name("migration_killer.py")
CHAIN = [script.revision for script in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions()))]


def migrate(url: str, revision: str = "head") -> None:
    store = open_store(url)
    upgrade(store, revision)
    store.engine.dispose()


def tables(url: str) -> list[str]:
    store = open_store(url)
    found = sorted(inspect(store.engine).get_table_names())
    store.engine.dispose()
    return found


def kill_at_each_step(url: str, goal: str, stride: int) -> list[dict]:
    done = subprocess.run(
        [sys.executable, str(KILLER), url, goal, "1", str(stride)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_at_any_step_it_leaves_the_old_schema_or_the_new_one(make_url):
    # each migration by itself, in their order, on one database that is never repaired by anybody
    url = make_url("killed")
    kills = 0
    for old, new in pairwise([None, *CHAIN]):
        before = tables(url) if old else []
        stride = 1 if new == CHAIN[-1] else 29  # every step of the newest; of those that were it once, some
        states = kill_at_each_step(url, new, stride)
        *killed, last = states
        assert killed, new
        for state in killed:
            assert (state["revision"], [t for t in state["tables"] if t != "alembic_version"]) == (
                old,
                [t for t in before if t != "alembic_version"],
            ), state
        assert (last["status"], last["revision"]) == (0, new)
        kills += len(killed)
    assert kills >= 15
    store = open_store(url)
    with store.engine.connect() as connection:
        # the embedded index is no truth and no model: FTS5 and its own tables
        truth = {"include_name": lambda name, kind, _: kind != "table" or not name.startswith("finding_search")}
        assert compare_metadata(MigrationContext.configure(connection, opts=truth), Base.metadata) == []
    store.engine.dispose()


def test_consoles_that_start_at_once_migrate_once(make_url):
    url = make_url("together")
    migrate(url, CHAIN[0])
    code = (
        "from console.store.engine import open_store; from console.store.migrations import upgrade; "
        f"upgrade(open_store({url!r}))"
    )
    racing = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in racing:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    store = open_store(url)
    with store.engine.connect() as connection:
        assert current(connection) == newest()
    store.engine.dispose()


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(make_url):
    url = make_url("newer")
    migrate(url)
    store = open_store(url)
    with store.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match=r"newer version .*9999"):
        upgrade(store)
    with store.engine.connect() as connection:
        assert current(connection) == "9999"
    store.engine.dispose()


def test_an_existing_database_is_copied_before_it_is_changed(engine_name, make_url, tmp_path):
    if engine_name != "sqlite":
        pytest.skip("of PostgreSQL the administrator keeps copies")
    url = make_url("kept")
    migrate(url, CHAIN[-2])
    store = open_store(url)
    with store.transaction() as session:
        session.execute(text("INSERT INTO lease (name, owner, until) VALUES ('x', 'kept', '2026-11-22 08:00:00')"))
    upgrade(store)
    store.engine.dispose()
    copy = sqlite3.connect(tmp_path / f"kept.db.before-{CHAIN[-1]}")
    assert copy.execute("SELECT owner FROM lease").fetchall() == [("kept",)]
    assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(CHAIN[-2],)]
    copy.close()
    assert not list(tmp_path.glob("*.part"))


def test_where_no_copy_can_be_made_nothing_is_changed(engine_name, make_url, tmp_path):
    if engine_name != "sqlite":
        pytest.skip("of PostgreSQL the administrator keeps copies")
    url = make_url("full")
    migrate(url, CHAIN[-2])
    (tmp_path / f"full.db.before-{CHAIN[-1]}.part").mkdir()  # stands in the way of the copy
    with pytest.raises(SchemaError, match="cannot be copied"):
        migrate(url)
    store = open_store(url)
    with store.engine.connect() as connection:
        assert current(connection) == CHAIN[-2]
    store.engine.dispose()
