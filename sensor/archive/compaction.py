"""Small files into day files. What is read afterwards is the same: as many events, of the same behaviours and hours.

New files are on disk before the catalogue lets them count in place of the old ones, in one transaction; only then the
old ones go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sensor.archive.catalogue import KINDS, Entry
from sensor.archive.columns import arrow_type, nanoseconds, together
from sensor.archive.origin import ArchiveError
from sensor.archive.store import Archive, counted

MAX_ROWS = 1 << 20  # of a day file, so that memory is bounded: a busier day has several
HOUR_NS = 3600 * 10**9
_SORT = [("network.protocol", "ascending"), ("source.ip", "ascending"), ("destination.ip", "ascending")]
_LOWEST: dict[str, np.ufunc] = {
    "@timestamp": np.minimum, "archive.last": np.maximum, "frame": np.minimum, "archive.frame_last": np.maximum,
    "archive.count": np.add,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of one day: `old` files, now `new` ones."""

    kind: str
    day: int
    old: int
    new: int
    bytes_before: int
    bytes_after: int


def compact(archive: Archive, before_day: int, complain: Callable[[object], None]) -> Iterator[Compacted]:
    """Make one file of several, for each kind and day before `before_day`. What cannot be read stays as it is."""
    archive.clean()
    for kind in KINDS:
        by_day: dict[int, list[Entry]] = {}
        for entry in archive.catalogue.files(kind):
            by_day.setdefault(entry.day, []).append(entry)
        for day, entries in by_day.items():
            if day >= before_day:
                continue
            for group in _groups(entries):
                try:
                    yield from _replace(archive, kind, group)
                except ArchiveError as error:
                    complain(error)
    archive.clean()


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Files that become one, as many as fit; those that are alone stay."""
    group: list[Entry] = []
    for entry in entries:
        if group and sum(it.rows for it in group) + entry.rows > MAX_ROWS:
            if len(group) > 1:
                yield group
            group = []
        group.append(entry)
    if len(group) > 1:
        yield group


def _replace(archive: Archive, kind: str, group: list[Entry]) -> Iterator[Compacted]:
    with archive.locked("writing"), archive.locked("reading"):
        table = together([read(archive, entry) for entry in group])
        if counted(table) != sum(it.events for it in group):
            raise ArchiveError(
                f"{archive.path(group[0])}: its day does not hold what the catalogue says; not compacted"
            )
        if kind == "behaviours":
            table = merged(table)
        table = table.sort_by([key for key in _SORT if key[0] in table.column_names] + [("@timestamp", "ascending")])
        new = archive.write(kind, table, sum(it.unfit for it in group))
        done = False
        try:
            done = new.events == sum(it.events for it in group) and archive.catalogue.replace(group, [new])
        finally:
            if not done:
                archive.path(new).unlink(missing_ok=True)
        if done:
            yield Compacted(kind, new.day, len(group), 1, sum(it.bytes for it in group), new.bytes)


def read(archive: Archive, entry: Entry, columns: list[str] | None = None, *, coded: bool = False) -> pa.Table:
    """The rows of a file; ArchiveError where it cannot be read.

    coded: texts come as codes and their dictionary, read by this thread alone.
    """
    texts = [name for name in columns or entry.columns if arrow_type(name) == pa.string()] if coded else []
    try:
        with pq.ParquetFile(archive.path(entry), read_dictionary=texts) as file:
            return file.read(columns=columns, use_threads=not coded)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(
            f"{archive.path(entry)} cannot be read ({error}); `fenghuo archive verify` names all that is damaged"
        ) from error


def merged(table: pa.Table) -> pa.Table:
    """Rows of the same behaviour, origin and hour as one: counts added, times and ranges widened."""
    keys = [
        _codes(table, "archive.origin"),
        _codes(table, "archive.behaviour"),
        nanoseconds(table, "@timestamp") // HOUR_NS,
    ]
    order = np.lexsort(keys[::-1])
    differs = np.zeros(len(order), np.bool_)
    differs[0] = True
    for key in keys:
        differs[1:] |= key[order][1:] != key[order][:-1]
    nameless = keys[1][order] < 0  # only their codes are known: each stays a row of its own
    begins = np.flatnonzero(differs | nameless)
    if len(begins) == len(order):
        return table
    found = table.take(pa.array(order[begins]))
    for name, join in _LOWEST.items():
        values = join.reduceat(nanoseconds(table, name)[order], begins)
        found = _set(found, name, pa.array(values).cast(table.schema.field(name).type))
    for name, join, none in (
        ("archive.value_min", np.minimum, np.iinfo(np.int64).max),
        ("archive.value_max", np.maximum, np.iinfo(np.int64).min),
    ):
        if name in table.column_names:
            filled = table[name].fill_null(int(none)).to_numpy()
            values = join.reduceat(filled[order], begins)
            found = _set(found, name, pa.array(values, pa.int64(), mask=values == none))
    if "anomalies" in table.column_names:
        found = _set(found, "anomalies", _unions(table["anomalies"], order, begins))
    return found


def _codes(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """A number for each distinct text, -1 for none."""
    if name not in table.column_names:
        return np.full(table.num_rows, -1, np.int64)
    encoded = table[name].combine_chunks().dictionary_encode()
    codes: npt.NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


def _unions(lists: Any, order: npt.NDArray[np.int64], begins: npt.NDArray[np.int64]) -> pa.Array:
    """For each group of rows all members of their lists, sorted; null where there are none."""
    values = lists.take(pa.array(order)).to_pylist()
    ends = np.r_[begins[1:], len(order)].tolist()
    unions = [
        sorted({member for row in values[begin:end] if row for member in row}) or None
        for begin, end in zip(begins.tolist(), ends, strict=True)
    ]
    return pa.array(unions, pa.list_(pa.string()))
