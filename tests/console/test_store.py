"""The store: durable, migrated, every row with an owner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from console.services.actor import load, scoped
from console.services.errors import NotFoundError
from console.store import models
from console.store.base import Base
from console.store.engine import Store, open_store
from console.store.migrations import upgrade
from console.store.models import Organisation, Sensor, Site, User


@pytest.fixture
def empty(tmp_path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'fresh.db'}")


def test_an_empty_file_is_migrated_to_what_the_models_say(empty):
    upgrade(empty)
    with empty.engine.connect() as connection:
        # the embedded index is no truth and no model: FTS5 and its own tables
        truth = {"include_name": lambda name, kind, _: kind != "table" or not name.startswith("finding_search")}
        assert compare_metadata(MigrationContext.configure(connection, opts=truth), Base.metadata) == []


def test_migrating_again_changes_nothing(empty):
    upgrade(empty)
    with empty.engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT sql FROM sqlite_master ORDER BY name").all()
    upgrade(empty)
    with empty.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT sql FROM sqlite_master ORDER BY name").all() == before


def test_a_migration_that_fails_leaves_the_old_schema(empty, monkeypatch):
    from alembic import op

    made = []
    original = op.create_table

    def fail_at_the_third(*args, **kwargs):
        made.append(args[0])
        if len(made) == 3:
            raise RuntimeError("power cut")
        return original(*args, **kwargs)

    monkeypatch.setattr(op, "create_table", fail_at_the_third)
    with pytest.raises(RuntimeError):
        upgrade(empty)
    monkeypatch.undo()
    assert inspect(empty.engine).get_table_names() == []
    upgrade(empty)
    assert "finding" in inspect(empty.engine).get_table_names()


def test_every_table_but_the_organisations_belongs_to_one():
    for mapper in Base.registry.mappers:
        table = mapper.local_table
        if mapper.class_ is Organisation or table.name in ("lease", "index_feed", "index_part"):  # the console's own
            continue
        column = table.columns.get("organisation_id")
        assert column is not None, table.name
        assert not column.nullable, table.name
        assert any(index.columns[0] is column for index in table.indexes), table.name


def test_every_model_is_in_the_list_that_migrations_see():
    assert {mapper.class_.__name__ for mapper in Base.registry.mappers} <= set(models.__all__)


def test_commits_are_synced_and_foreign_keys_hold(store):
    with store.engine.connect() as connection:
        read = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in
                ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert read == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_reader_sees_one_state_and_waits_for_no_writer(store, tree):
    with store.writer() as writer, store.reader() as reader:
        before = reader.scalar(select(func.count(Site.id)))
        writer.add(Site(organisation_id=tree.plant.organisation_id, name="New"))
        writer.commit()
        assert reader.scalar(select(func.count(Site.id))) == before
        reader.rollback()
        assert reader.scalar(select(func.count(Site.id))) == before + 1


def test_a_writer_takes_its_turn_when_it_begins_not_when_it_first_writes(settings, tree, monkeypatch):
    # otherwise two that read first and write later would both read, and one could never write
    monkeypatch.setattr("console.store.engine.BUSY_TIMEOUT_MS", 50)
    store = open_store(settings.store_url)
    with store.writer() as first, store.writer() as second:
        first.scalar(select(func.count(Site.id)))
        with pytest.raises(OperationalError, match="locked"):
            second.scalar(select(func.count(Site.id)))
        second.rollback()
        first.rollback()
        assert second.scalar(select(func.count(Site.id))) == 2


def test_what_a_failed_transaction_did_is_gone(store, tree):
    def fail():
        with store.transaction() as session:
            session.add(Site(organisation_id=tree.plant.organisation_id, name="Gone"))
            session.flush()
            raise RuntimeError("something else went wrong")

    with pytest.raises(RuntimeError):
        fail()
    with store.reader() as session:
        assert session.scalar(select(Site).where(Site.name == "Gone")) is None


def test_times_come_back_as_they_were_in_utc(db, tree):
    user = db.get_one(User, tree.plant.user_id)
    user.last_login_at = datetime(2026, 11, 22, 16, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    db.commit()
    db.expire_all()
    assert user.last_login_at == datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
    assert user.last_login_at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(db, tree):
    db.get_one(User, tree.plant.user_id).last_login_at = datetime(2026, 11, 22)  # noqa: DTZ001
    with pytest.raises(StatementError, match="without a zone"):
        db.flush()


def test_a_scoped_query_gives_the_own_rows_only(db, tree):
    own = db.scalars(scoped(tree.plant, Sensor)).all()
    assert [sensor.id for sensor in own] == [tree.plant_sensor_id]


@pytest.mark.parametrize("foreign", [True, False], ids=["of another organisation", "that does not exist"])
def test_a_row_of_somebody_else_looks_like_none(db, tree, foreign):
    with pytest.raises(NotFoundError) as caught:
        load(db, tree.plant, Sensor, tree.mill_sensor_id if foreign else 999_999)
    assert (caught.value.message, caught.value.status) == ("", 404)


def test_an_organisation_knows_its_place_in_the_tree(db, tree):
    plant = db.get_one(Organisation, tree.plant.organisation_id)
    ids = [tree.city.organisation_id, tree.industry.organisation_id, tree.plant.organisation_id]
    assert plant.path == "/" + "/".join(map(str, ids)) + "/"
    below = db.scalars(select(Organisation).where(Organisation.path.startswith(f"/{ids[0]}/"))).all()
    assert len(below) == 4


def test_the_store_itself_refuses_a_row_without_an_owner(db):
    db.add(Site(organisation_id=999_999, name="Nobody's"))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        db.flush()
