"""Is the archive what its catalogue says? Every file is read whole."""

from __future__ import annotations

from collections.abc import Iterator

from sensor.archive.catalogue import Entry
from sensor.archive.columns import nanoseconds
from sensor.archive.compaction import read
from sensor.archive.origin import ArchiveError, file_digest
from sensor.archive.store import Archive, counted
from sensor.archive.terms import terms_of


def faults(archive: Archive, entry: Entry) -> Iterator[str]:
    """What is wrong with one file."""
    path = archive.path(entry)
    try:
        if path.stat().st_size != entry.bytes or file_digest(str(path)) != entry.sha256:
            yield f"{path}: its content is not what was written (SHA-256 differs)"
            return
        table = read(archive, entry)
    except OSError as error:
        yield f"{path}: {error.strerror or error}"
        return
    except ArchiveError as error:
        yield str(error)
        return
    times = nanoseconds(table, "@timestamp")
    for what, here, said in (
        ("rows", table.num_rows, entry.rows),
        ("events", counted(table), entry.events),
        ("first time", int(times.min()), entry.first_ns),
        ("columns", tuple(table.column_names), entry.columns),
    ):
        if here != said:
            yield f"{path}: {what}: the file has {here}, the catalogue says {said}"
    if entry.indexed and archive.catalogue.terms(entry.number) != terms_of([table]):
        yield f"{path}: the index of addresses and hashes is not that of the file"


def leftovers(archive: Archive) -> Iterator[str]:
    """Files that nobody counts: harmless, and removed when nobody reads or writes."""
    for path in archive.orphans():
        yield f"{path}: not in the catalogue (a crash, or somebody is writing just now)"
