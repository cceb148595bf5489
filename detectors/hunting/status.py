"""What an archive holds, in lines for people and records for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detectors.wording import safe
from sensor.archive.catalogue import Catalogue
from sensor.archive.columns import day_name
from sensor.text import timestamp


def records(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    """One record for each kind and month, each source, and each removal."""
    months: dict[tuple[str, str], dict[str, Any]] = {}
    for it in catalogue.files():
        key = (it.kind, day_name(it.day)[:7])
        sums = months.setdefault(key, {"files": 0, "rows": 0, "events": 0, "bytes": 0, "unfit": 0, "unindexed": 0})
        for name, number in (
            ("files", 1), ("rows", it.rows), ("events", it.events), ("bytes", it.bytes), ("unfit", it.unfit),
            ("unindexed", not it.indexed),
        ):  # fmt: skip
            sums[name] += int(number)
    for (kind, month), sums in sorted(months.items()):
        yield {"record": "files", "kind": kind, "month": month, **sums}
    origins = catalogue.origins()
    for taking in catalogue.takings():
        yield {
            "record": "source",
            **origins.get(taking.origin, {}),
            "origin": taking.origin,
            "at": timestamp(taking.at_ns),
            "records": taking.records,
            "archived": taking.archived,
            "rejected": taking.rejected,
            "left_out": taking.left_out,
            **taking.about,
        }
    for removal in catalogue.removals():
        day, at = day_name(removal.pop("day")), timestamp(removal.pop("at_ns"))
        yield {"record": "removal", "day": day, "at": at, **removal}


def lines(catalogue: Catalogue) -> Iterator[str]:
    """The same for people."""
    for it in records(catalogue):
        if it["record"] == "files":
            line = "{month} {kind}: {files:,} files, {rows:,} rows, {events:,} events, {bytes:,} bytes".format(**it)
            doubts = [
                f"{it[name]:,} {word}"
                for name, word in (("unfit", "values did not fit"), ("unindexed", "files without index"))
                if it[name]
            ]
            yield "; ".join([line, *doubts])
        elif it["record"] == "source":
            counts = "{records:,} records = {archived:,} archived + {rejected:,} rejected".format(**it)
            left = f"; {it['left_out']:,} events not kept one by one" if it["left_out"] else ""
            yield f"{it['kind']} {safe(it.get('path', '?'), 200)} ({it['origin']}): {counts}{left}"
        else:
            yield (
                f"removed ({it['why']}): {it['day']} {it['kind']}, {it['files']:,} files, {it['rows']:,} rows,"
                f" {it['events']:,} events, {it['bytes']:,} bytes, at {it['at'][:19]}Z"
            )
