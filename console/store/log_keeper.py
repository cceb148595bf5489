"""Keeps the write-ahead log of a SQLite store short while many write.

SQLite copies its log into the database within the commit that found it too long, and starts the log anew only at a
moment when nobody reads from it. Where batches come in side by side somebody always does: the log grows, and every
commit copies. So a thread copies beside the writers, then takes a turn of its own for what little came meanwhile, and
begins the log anew; the readers that it waits for then take milliseconds. A long one, as a backup, is left alone.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

EACH_S = 0.5
LONG_BYTES = 32 * 1024 * 1024  # a page that changes ten times meanwhile is copied once
PATIENCE_MS = 100  # for readers, while writers wait


class LogKeeper:
    """`start` begins the thread, `close` ends it."""

    def __init__(self, database: Path, writing: AbstractContextManager[Any], long_bytes: int = LONG_BYTES) -> None:
        """writing: held by whoever writes. long_bytes: of a log that is copied."""
        self._database = database
        self._log = database.with_name(database.name + "-wal")
        self._writing = writing
        self._long = self._limit = long_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log keeper", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def close(self) -> None:
        """No more; what stands in the log is safe there."""
        self._stop.set()
        self._thread.join(5)

    def tend(self, connection: sqlite3.Connection) -> None:
        """Begin the log anew if it is long and nobody reads for long; sqlite3.Error."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size < self._limit:
            return
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        with self._writing:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._limit = 2 * size if busy else self._long

    def _run(self) -> None:
        with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
            connection.execute("PRAGMA synchronous=FULL")
            while not self._stop.wait(EACH_S):
                try:
                    self.tend(connection)
                except (sqlite3.Error, OSError) as error:  # a full disk: SQLite's own way is still there
                    log.warning("the log of %s could not be copied: %s", self._database, error)
