"""An archive into an empty database, whichever engine it came from; what was restored is read again and compared."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from pydantic_core import from_json
from sqlalchemy import Connection, inspect, text

from console.store import migrations, rows
from console.store.archive import PROGRESS_ROWS, ArchiveError, Reader, Table, encode
from console.store.audit_chain import chains, verify
from console.store.engine import Store, open_store

INSERTED = 1_000  # rows in one call of the driver


class TargetError(Exception):
    """The place to restore to is not empty, or not usable; the text says what is there."""


def refuse_target(store: Store) -> None:
    """TargetError unless the database holds no row of ours. A SQLite file that is missing is empty."""
    path = store.engine.url.database
    if store.is_sqlite and path and (not Path(path).exists() or Path(path).stat().st_size == 0):
        return
    with store.engine.connect() as connection:
        for name in inspect(connection).get_table_names():
            filled = connection.exec_driver_sql(f'SELECT 1 FROM "{name}" LIMIT 1').first()  # noqa: S608
            if filled is not None and name != "alembic_version":
                raise TargetError(
                    f"the database is not empty (table {name} has rows): restore into an empty one, "
                    "nothing that is there is ever written over"
                )


def restore(store: Store, reader: Reader, progress: Callable[[str, int], None]) -> None:
    """Fill the empty database of `store`, verify it, bring it to this program's schema.

    All or nothing: a SQLite file appears under its name when everything was verified and is on disk; PostgreSQL gets
    one transaction. `progress` hears "restored" or "verified" and how many rows more. ArchiveError, TargetError.
    """
    refuse_target(store)
    known = {script.revision for script in ScriptDirectory.from_config(migrations._config()).walk_revisions()}
    if reader.manifest.revision not in known:
        raise ArchiveError(
            f"the archive was written by a newer version (schema {reader.manifest.revision}, "
            f"this program's is {migrations.newest()}): restore with that version"
        )
    if store.is_sqlite:
        _into_file(store, reader, progress)
    else:
        migrations.upgrade(store, reader.manifest.revision)
        with store.engine.begin() as connection:
            for table in reader.manifest.tables:
                _known(connection, table)
                _copy(connection, reader, table, progress)
            _verified(connection, reader, progress)
    migrations.upgrade(store)


def _into_file(store: Store, reader: Reader, progress: Callable[[str, int], None]) -> None:
    path = Path(str(store.engine.url.database))
    part = path.with_name(path.name + ".restoring")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _fresh(part) as made:
        migrations.upgrade(made, reader.manifest.revision)
        with made.engine.connect() as connection:
            for table in reader.manifest.tables:
                _known(connection, table)
        made.engine.dispose()
        # Past the engine: nobody else sees the file yet, so it needs neither log nor sync until it is whole.
        driver = sqlite3.connect(part, isolation_level=None)
        try:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-131072"):
                driver.execute(f"PRAGMA {pragma}")
            driver.execute("BEGIN")
            for table in reader.manifest.tables:
                _insert(driver, reader, table, progress)
            driver.execute("COMMIT")
            broken = driver.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise ArchiveError(
                    f"table {broken[0]}: row {broken[1]} refers to a row of {broken[2]} that is not there"
                )
            driver.execute("PRAGMA journal_mode=DELETE")
        finally:
            driver.close()
        with made.engine.connect() as connection:
            _verified(connection, reader, progress)
            connection.rollback()
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        made.engine.dispose()
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        store.engine.dispose()
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink(missing_ok=True)
        part.replace(path)


@contextmanager
def _fresh(part: Path) -> Iterator[Store]:
    """A store on a file that is made anew and, unless it was given its name, taken away again."""

    def away() -> None:
        for tail in ("", "-wal", "-shm"):
            part.with_name(part.name + tail).unlink(missing_ok=True)

    away()
    made = open_store(f"sqlite:///{part}")
    try:
        yield made
    finally:
        made.engine.dispose()
        away()


def _known(connection: Connection, table: Table) -> None:
    """The archive's columns are those of this schema: its names reach SQL."""
    inspector = inspect(connection)
    if table.name in rows.LEFT_OUT or not inspector.has_table(table.name):
        raise ArchiveError(f"table {table.name}: this schema has no such table")
    here = rows.describe(inspector, table.name)
    if sorted((c.name, c.kind) for c in here.columns) != sorted((c.name, c.kind) for c in table.columns):
        raise ArchiveError(f"table {table.name}: its columns are not those of schema {current_of(connection)}")


def current_of(connection: Connection) -> str:
    """The revision, for people."""
    return migrations.current(connection) or "none"


def _decoded(reader: Reader, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Rows as they are stored, INSERTED at a time."""
    decode = rows.decoder(table)
    for lines in reader.lines(table):
        for at in range(0, len(lines), INSERTED):
            try:
                yield [decode(from_json(line)) for line in lines[at : at + INSERTED]]
            except (ValueError, TypeError) as error:
                raise ArchiveError(f"table {table.name}: a row makes no sense: {error}") from None


def _insert(driver: sqlite3.Connection, reader: Reader, table: Table, progress: Callable[[str, int], None]) -> None:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    places = ", ".join("?" for _ in table.columns)
    statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({places})'  # noqa: S608  (checked in _known)
    for some in _decoded(reader, table):
        try:
            driver.executemany(statement, some)
        except (sqlite3.Error, OverflowError) as error:
            raise ArchiveError(f"table {table.name}: a row cannot be stored: {error}") from None
        progress("restored", len(some))


def _copy(connection: Connection, reader: Reader, table: Table, progress: Callable[[str, int], None]) -> None:
    import psycopg

    names = ", ".join(f'"{column.name}"' for column in table.columns)
    cursor: psycopg.Cursor[Any] = connection.connection.cursor()  # type: ignore[assignment]
    try:
        with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for some in _decoded(reader, table):
                for row in some:
                    copy.write_row(row)
                progress("restored", len(some))
    except (psycopg.Error, UnicodeError) as error:
        raise ArchiveError(f"table {table.name}: a row cannot be stored: {str(error).splitlines()[0]}") from None
    connection.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "  # noqa: S608  (checked in _known)
            f'greatest((SELECT coalesce(max(id), 1) FROM "{table.name}"), 1))'
        )
    )


def _verified(connection: Connection, reader: Reader, progress: Callable[[str, int], None]) -> None:
    """What is in the database now is what was archived: rows and hashes of every table, and every audit chain."""
    for table in reader.manifest.tables:
        digest, count = hashlib.sha256(), 0
        for row in rows.rows(connection, table):
            digest.update(encode(row))
            count += 1
            if count % PROGRESS_ROWS == 0:
                progress("verified", PROGRESS_ROWS)
        progress("verified", count % PROGRESS_ROWS)
        if (count, digest.hexdigest()) != (table.rows, table.sha256):
            raise ArchiveError(f"table {table.name}: what was restored is not what was archived")
    for organisation in chains(connection):
        head = reader.manifest.audit.get(str(organisation), {})
        fault = verify(connection, organisation, {head["sequence"]: head["hash"]} if head.get("sequence") else {}).fault
        if fault is not None:
            raise ArchiveError(
                f"table audit_entry: the audit chain of organisation {organisation} breaks at entry "
                f"{fault.sequence}: {fault.what}"
            )
