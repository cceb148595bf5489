"""Numbered, forward-only migrations: `upgrade(store)` brings any older database to the newest schema."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from console.store.engine import WRITES, Store
from console.store.search import embedded, triggers

log = logging.getLogger(__name__)

PATIENCE_S, AGAIN_S = 60.0, 0.5  # how long a database server is waited for, and how often it is asked
LOCK = 0x66656E6768756F  # "fenghuo": the advisory lock of whoever migrates a PostgreSQL database


class SchemaError(Exception):
    """The database cannot be brought to this program's schema; the text says why and what to do."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def newest() -> str:
    """The revision of this program's schema."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current(connection: Connection) -> str | None:
    """The revision of a database, None where it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(store: Store, revision: str = "head") -> None:
    """Apply what is missing, all in one transaction: a kill leaves the old schema or the new one, nothing between.

    Several processes may call it at once: the first takes the write lock, the others then find nothing to do. Before an
    existing SQLite database is changed it is copied beside itself, "<name>.before-<new revision>". SchemaError where
    the database is newer than this program, or the copy cannot be made.
    """
    config = _config()
    engine = store.engine.execution_options(**{WRITES: True})
    with engine.begin() as connection:
        if not store.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # whoever else migrates takes as long as it takes
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        have, scripts = current(connection), ScriptDirectory.from_config(config)
        if have is not None and have not in {script.revision for script in scripts.walk_revisions()}:
            raise SchemaError(
                f"the database was written by a newer version (its schema is {have}, this program's is {newest()}): "
                "run that version, or restore a backup of this one"
            )
        goal = newest() if revision == "head" else revision
        if have != goal:
            if have is not None and store.is_sqlite:
                _copy_aside(store, goal)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        triggers.install(connection)
        embedded.install(connection)
    if revision == "head":
        embedded.catch_up(engine)


def upgrade_once_there(store: Store, patience_s: float = PATIENCE_S) -> None:
    """`upgrade`, for programs that run for months: a server that is not there yet, or is just starting again after a
    crash, is waited for. After patience_s (seconds) its OperationalError comes out; a file is never waited for.
    """
    end, told = time.monotonic() + patience_s, False
    while True:
        try:
            upgrade(store)
            return
        except OperationalError as error:
            if store.is_sqlite or time.monotonic() > end:
                raise
            if not told:
                log.warning("the database does not answer (%s); waiting for it", str(error.orig).strip())
                told = True
        time.sleep(AGAIN_S)


def _copy_aside(store: Store, goal: str) -> None:
    """The database as it is, which nobody changes while we hold its write lock, as a file of its own."""
    path = store.engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    target, part = Path(f"{path}.before-{goal}"), Path(f"{path}.before-{goal}.part")
    try:
        part.unlink(missing_ok=True)  # of an attempt that was killed
        source = sqlite3.connect(path)
        try:
            source.execute("VACUUM INTO ?", (str(part),))
        finally:
            source.close()
        part.chmod(0o600)
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(target)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink()
        raise SchemaError(
            f"the database cannot be copied to {target} before it is changed ({error}): "
            "make room there, or look to the folder's permissions, and start again"
        ) from None
