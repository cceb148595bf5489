"""How long the archive keeps: the oldest files go first, and what went is noted by day and kind, for ever."""

from __future__ import annotations

from sensor.archive.catalogue import Entry
from sensor.archive.store import Archive


def outdated(entries: list[Entry], *, first_day: int | None, max_bytes: int | None) -> dict[str, list[Entry]]:
    """Files to remove, by why: older than first_day (days since 1970), or the oldest beyond max_bytes in all."""
    old = [it for it in entries if first_day is not None and it.day < first_day]
    rest = sorted((it for it in entries if it not in old), key=lambda it: (it.day, it.first_ns, it.number))
    over: list[Entry] = []
    size = sum(it.bytes for it in rest)
    for it in rest:
        if max_bytes is None or size <= max_bytes:
            break
        over.append(it)
        size -= it.bytes
    return {why: found for why, found in (("age", old), ("size", over)) if found}


def prune(archive: Archive, removal: dict[str, list[Entry]]) -> None:
    """Remove these files from the catalogue, then from the disk, as soon as nobody reads them."""
    for why, entries in removal.items():
        archive.catalogue.remove(entries, why)
    archive.clean()
