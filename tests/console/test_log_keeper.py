"""The log of a SQLite store: begun anew while others write, and left alone while somebody reads for long."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from console.store.log_keeper import LogKeeper

LONG = 200_000


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE line (id INTEGER PRIMARY KEY, text TEXT)")
        yield path


def write(path, rows: int = 100) -> sqlite3.Connection:
    """A writer whose own copying never begins, with a log that is long when it returns."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.executemany("INSERT INTO line (text) VALUES (?)", [("x" * 3000,)] * rows)
    return connection


def log_bytes(path) -> int:
    return path.with_name("store.db-wal").stat().st_size


def keeper_of(path) -> tuple[LogKeeper, sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA busy_timeout=50")
    return LogKeeper(path, threading.Lock(), LONG), connection


def test_a_long_log_is_begun_anew_and_nothing_is_missing(database):
    keeper, connection = keeper_of(database)
    with closing(connection), closing(write(database)):
        assert log_bytes(database) > LONG
        keeper.tend(connection)
        assert log_bytes(database) == 0
        assert connection.execute("SELECT count(*) FROM line").fetchone() == (100,)
        with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as file:  # without its log
            assert file.execute("SELECT count(*) FROM line").fetchone() == (100,)


def test_a_short_log_is_left_as_it_is(database):
    keeper, connection = keeper_of(database)
    with closing(connection), closing(write(database, 3)):
        before = log_bytes(database)
        keeper.tend(connection)
        assert log_bytes(database) == before > 0


def test_who_reads_for_long_is_not_disturbed_and_its_log_not_tried_again_at_once(database):
    keeper, connection = keeper_of(database)
    with closing(connection), closing(write(database)), closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM line").fetchone() == (100,)
        write(database).close()
        long = log_bytes(database)
        keeper.tend(connection)
        assert log_bytes(database) == long
        assert reader.execute("SELECT count(*) FROM line").fetchone() == (100,)
        reader.rollback()
        keeper.tend(connection)  # twice as long as it was then it would be tried again
        assert log_bytes(database) == long
        write(database, 400).close()
        keeper.tend(connection)
        assert log_bytes(database) == 0
        assert connection.execute("SELECT count(*) FROM line").fetchone() == (600,)


def test_it_takes_its_turn_among_those_who_write(database):
    turn = threading.Lock()
    keeper = LogKeeper(database, turn, LONG)
    with closing(write(database)):
        with turn:
            keeper.start()
            keeper._stop.wait(1.2)
            assert log_bytes(database) > LONG, "it waits"
        end = threading.Event()
        for _ in range(100):
            if log_bytes(database) == 0:
                break
            end.wait(0.1)
        assert log_bytes(database) == 0
        keeper.close()
        assert not keeper._thread.is_alive()
