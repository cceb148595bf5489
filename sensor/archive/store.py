"""The archive on disk: DIR/catalogue.sqlite and DIR/2026-11-22/behaviours-....parquet.

A file is written beside its place, flushed, renamed, and its folder flushed; only then the catalogue takes it, and from
then on it counts. A crash before that leaves a file that nobody counts: the next writer removes it.

Two locks (flock, so that they end with their process): `writing` is held, shared, by whoever has files on disk that the
catalogue does not have yet, `reading`, shared, by whoever reads files. What does not count is taken off the disk only
by somebody who has both to himself.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensor.archive.catalogue import KINDS, Catalogue, Entry, Taking
from sensor.archive.columns import day_name, days_of, nanoseconds
from sensor.archive.origin import ArchiveError, Origin, file_digest
from sensor.archive.terms import terms_of
from sensor.failpoints import failpoint

log = logging.getLogger(__name__)

ROW_GROUP = 1 << 16
MAX_DAYS = 64  # files that one write is split into; days beyond go into one file, whose span says so
PARTIAL = ".partial"


class Archive:
    """See the module. folder is made where it is missing and `create` is set; ArchiveError where it cannot be used."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.catalogue = Catalogue(folder, create=create)

    def path(self, entry: Entry) -> Path:
        """Where a file is."""
        return self.folder / entry.name

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold `reading` or `writing` together with others. A folder that cannot be written needs no lock to read."""
        try:
            descriptor = os.open(self.folder / f".{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if name == "writing":
                raise ArchiveError(f"{self.folder} cannot be written: {error.strerror}") from error
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def write(self, kind: str, table: pa.Table, unfit: int = 0) -> Entry:
        """Put rows into one file, whole and flushed, that does not count yet. The table must not be empty."""
        times = nanoseconds(table, "@timestamp")
        first, last = int(times.min()), _last(table, times)
        day = int(days_of(np.array([first]))[0])
        folder = self.folder / day_name(day)
        name = f"{folder.name}/{kind}-{secrets.token_hex(8)}.parquet"
        place = self.folder / name
        try:
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                _flush_folder(self.folder)
            failpoint("archive.before_write")
            with open(place.with_suffix(PARTIAL), "wb") as file:
                with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
                    writer.write_table(table, row_group_size=ROW_GROUP)
                failpoint("archive.after_write")
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            failpoint("archive.after_sync")
            digest = file_digest(str(place.with_suffix(PARTIAL)))
            os.replace(place.with_suffix(PARTIAL), place)
            failpoint("archive.after_rename")
            _flush_folder(folder)
            failpoint("archive.after_directory_sync")
        except OSError as error:
            place.with_suffix(PARTIAL).unlink(missing_ok=True)
            raise ArchiveError(f"{place} cannot be written: {error.strerror or error}") from error
        terms = terms_of([table])
        frames = [
            pc.min_max(table[column]).as_py()
            for column in ("frame", "archive.frame_last")
            if column in table.column_names
        ]
        return Entry(
            name=name,
            kind=kind,
            day=day,
            first_ns=first,
            last_ns=last,
            rows=table.num_rows,
            events=counted(table),
            bytes=size,
            sha256=digest,
            columns=tuple(table.column_names),
            protocols=tuple(sorted(_texts(table, "network.protocol"))),
            origins=tuple(sorted(_texts(table, "archive.origin"))),
            unfit=unfit,
            frame_first=min((it["min"] for it in frames if it["min"] is not None), default=None),
            frame_last=max((it["max"] for it in frames if it["max"] is not None), default=None),
            terms=None if terms is None else frozenset(terms),
        )

    def clean(self) -> int:
        """Take off the disk what does not count; the number of files. Nothing while somebody writes or reads."""
        with self._alone() as alone:
            if not alone:
                return 0
            doomed = self.catalogue.doomed()
            if doomed:
                failpoint("archive.before_unlink")
            removed = [name for name in doomed if _removed(self.folder / name)]
            if removed:
                failpoint("archive.after_unlink")
            self.catalogue.buried(removed)
            orphans = [path for path in self.orphans() if _removed(path)]
            if orphans:
                failpoint("archive.after_orphans")
                log.warning("%s: removed %d files that a crash left behind uncounted", self.folder, len(orphans))
            return len(removed) + len(orphans)

    def orphans(self) -> list[Path]:
        """Files on disk that the catalogue does not know; some may be about to be counted by another process."""
        known = {it.name for it in self.catalogue.files()}.union(self.catalogue.doomed())
        return [
            path
            for path in sorted(self.folder.glob("*/*"))
            if path.name.startswith(KINDS)
            and path.suffix in (".parquet", PARTIAL)
            and f"{path.parent.name}/{path.name}" not in known
        ]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Both locks for this process alone, or False."""
        held: list[int] = []
        try:
            for name in ("writing", "reading"):
                descriptor = os.open(self.folder / f".{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                held.append(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            for descriptor in held:
                os.close(descriptor)


class Intake:
    """What is taken of one origin: `add` rows, then `commit`. Without that nothing of it counts.

    with Intake(archive, origin) as intake:
        intake.add("events", table)
        intake.commit(...)
    """

    def __init__(self, archive: Archive, origin: Origin) -> None:
        self._archive, self._origin = archive, origin
        self._entries: list[Entry] = []
        self._lock = archive.locked("writing")

    def __enter__(self) -> Intake:
        self._archive.clean()
        self._lock.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for entry in self._entries:
            self._archive.path(entry).unlink(missing_ok=True)
        self._entries = []
        self._lock.__exit__(None, None, None)

    def add(self, kind: str, table: pa.Table, unfit: int = 0) -> None:
        """Put rows on disk, by day. kind: one of catalogue.KINDS. ArchiveError where they cannot be written."""
        if not table.num_rows:
            return
        origin = pa.array([self._origin.id] * table.num_rows, pa.string())
        table = table.append_column("archive.origin", origin)
        for part in by_day(table):
            self._entries.append(self._archive.write(kind, part, unfit))
            unfit = 0

    @property
    def rows(self) -> int:
        """Rows on disk that do not count yet."""
        return sum(it.rows for it in self._entries)

    def commit(self, *, records: int, archived: int, rejected: int = 0, left_out: int = 0, **about: Any) -> None:
        """Let what was added count, all at once, and note that this source is done so far."""
        now_ns = time.time_ns()
        taking = Taking(self._origin.id, now_ns, records, archived, rejected, left_out, about)
        self._archive.catalogue.add(self._origin, self._entries, taking)
        self._entries = []


def by_day(table: pa.Table) -> Iterator[pa.Table]:
    """The rows of each day; hostile times may be of any day, so those beyond MAX_DAYS stay together."""
    days = days_of(nanoseconds(table, "@timestamp"))
    different = np.unique(days)
    for day in different[:MAX_DAYS].tolist():
        yield table if len(different) == 1 else table.filter(pa.array(days == day))
    if len(different) > MAX_DAYS:
        yield table.filter(pa.array(days > different[MAX_DAYS - 1]))


def counted(table: pa.Table) -> int:
    """Events that rows stand for."""
    return int(pc.sum(table["archive.count"]).as_py()) if "archive.count" in table.column_names else table.num_rows


def _last(table: pa.Table, times: Any) -> int:
    if "archive.last" in table.column_names:
        return int(nanoseconds(table, "archive.last").max())
    return int(times.max())


def _texts(table: pa.Table, name: str) -> list[str]:
    found = pc.unique(table[name]).to_pylist() if name in table.column_names else []
    return [text for text in found if text is not None]


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be removed: %s", path, error)
        return False
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return True


def _flush_folder(folder: Path) -> None:
    """What was renamed in it stays renamed after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
