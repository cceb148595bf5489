"""The SQL store: one engine, sessions that read, sessions that write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session

from console.store.storable import storable

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another before it gives up
CHECKPOINT_PAGES = 16_384  # 64 MiB of log before it is copied into the file: a page changed ten times is copied once
CACHE_KIB = 32_768  # of each connection
WRITES = "fenghuo_writes"  # execution option of connections that are going to write
CLEAN = "fenghuo_clean"  # execution option of a statement whose texts are storable already
# Of each PostgreSQL connection. An administrator may have turned durability off for the whole server: an acknowledged
# finding is on disk here, whatever the server's default.
POSTGRESQL_OPTIONS = f"-c timezone=UTC -c lock_timeout={BUSY_TIMEOUT_MS} -c synchronous_commit=on"
POOL = {"pool_size": 8, "max_overflow": 24, "pool_timeout": 10}  # a request may hold two


class StoreUrlError(ValueError):
    """The address of the store is none that can be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Store:
    """Gives sessions on one database.

    SQLite has one writer at a time. A transaction that reads first and writes later can find, at its first write, that
    it may not: so whoever is going to write says so at the start (BEGIN IMMEDIATE) and waits its turn. PostgreSQL has
    many: there each statement of a writer sees what was committed before it (READ COMMITTED), and whoever reads a row
    to change it locks it first (with_for_update).
    """

    engine: Engine

    def reader(self) -> Session:
        """A session that sees one consistent state and never waits for writers."""
        if self.is_sqlite:
            return Session(self.engine)
        return Session(self.engine.execution_options(isolation_level="REPEATABLE READ"))

    def writer(self) -> Session:
        """A session that may write; the caller commits."""
        return Session(self.engine.execution_options(**{WRITES: True}))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A writing session that commits at the end, or rolls back on an exception."""
        with self.writer() as session, session.begin():
            yield session

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL: there is no third."""
        return self.engine.dialect.name == "sqlite"


def open_store(url: str) -> Store:
    """The store at a SQLAlchemy URL: `sqlite:///path` or, where one machine is outgrown, `postgresql+psycopg://...`.

    Nothing is connected to yet. StoreUrlError where the URL names neither.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "postgresql" and parsed.get_driver_name() != "psycopg":
            parsed = parsed.set(drivername="postgresql+psycopg")
    except (ArgumentError, NoSuchModuleError):
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        raise StoreUrlError("the store is sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    if backend == "postgresql":
        try:
            engine = create_engine(
                parsed, pool_pre_ping=True,
                connect_args={"options": POSTGRESQL_OPTIONS, "connect_timeout": 10},
                json_serializer=json_text, **POOL,
            )  # fmt: skip
        except ModuleNotFoundError:
            raise StoreUrlError("PostgreSQL needs the extra of that name: pip install 'fenghuo[postgresql]'") from None
    else:
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, json_serializer=json_text)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "before_cursor_execute", _clean_texts, retval=True)
    return Store(engine)


def json_text(value: Any) -> str:
    """Compact JSON, and Chinese as it is: half as long as the standard library's, in half the time."""
    try:
        return to_json(value).decode()
    except ValueError:  # half a surrogate pair; the other writer escapes it
        return json.dumps(value, separators=(",", ":"))


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    """Durable by default: a commit that was reported survives loss of power (write-ahead log, synced each time)."""
    dbapi_connection.isolation_level = None  # the driver must not begin transactions behind our back
    cursor = dbapi_connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"cache_size=-{CACHE_KIB}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _clean_texts(
    _connection: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, _executemany: bool
) -> tuple[str, Any]:
    """The last border before the database: a text that one of the two would refuse is kept alike in both.

    Intake cleans what sensors send; this is for every other way on which a stranger's text comes in, and for searches.
    """
    if context is not None and context.execution_options.get(CLEAN, False):
        return statement, parameters
    if isinstance(parameters, list):  # many rows
        return statement, [_clean(row) for row in parameters]
    return statement, _clean(parameters)


def _clean(row: Any) -> Any:
    if isinstance(row, Mapping):
        return {key: storable(value) if type(value) is str else value for key, value in row.items()}
    if isinstance(row, tuple):
        return tuple(storable(value) if type(value) is str else value for value in row)
    return row
