"""The SQL store: one engine, sessions that read, sessions that write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another before it gives up
CHECKPOINT_PAGES = 16_384  # 64 MiB of log before it is copied into the file: a page changed ten times is copied once
CACHE_KIB = 32_768  # of each connection
WRITES = "fenghuo_writes"  # execution option of connections that are going to write


@dataclass(frozen=True, slots=True)
class Store:
    """Gives sessions on one database.

    SQLite has one writer at a time. A transaction that reads first and writes later can find, at its first write, that
    it may not: so whoever is going to write says so at the start (BEGIN IMMEDIATE) and waits its turn.
    """

    engine: Engine

    def reader(self) -> Session:
        """A session that sees one consistent state and never waits for writers."""
        return Session(self.engine)

    def writer(self) -> Session:
        """A session that may write; the caller commits."""
        return Session(self.engine.execution_options(**{WRITES: True}))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A writing session that commits at the end, or rolls back on an exception."""
        with self.writer() as session, session.begin():
            yield session


def open_store(url: str) -> Store:
    """The store at a SQLAlchemy URL: `sqlite:///path` or, where one machine is outgrown, `postgresql+psycopg://...`."""
    sqlite = make_url(url).get_backend_name() == "sqlite"
    if not sqlite:
        return Store(create_engine(url, pool_pre_ping=True, json_serializer=_json))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, json_serializer=_json)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Store(engine)


def _json(value: Any) -> str:
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
