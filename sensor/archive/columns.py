"""Rows of the archive as Arrow columns. Types come from sensor/schema.py; the archive's own columns are ARCHIVE.

A file has the columns that occur in it: a field that was added to the schema later, or that a protocol does not have,
reads as null. What does not fit its type (a number beyond 64 bits) is null too, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sensor.schema import FIELDS, Field
from sensor.text import timestamp

# Columns that are no fields of an event. All files: origin. Behaviours: those of one period of an hour.
ARCHIVE: dict[str, Field] = {
    field.name: field
    for field in (
        Field("archive.origin", "keyword", "where the row comes from: id of an origin in the catalogue"),
        Field("archive.behaviour", "keyword", "digest of what makes it this behaviour, the same in every run"),
        Field("archive.count", "long", "of a behaviour: how many events of it this period had"),
        Field("archive.last", "date", "of a behaviour: its last event in this period; @timestamp is its first"),
        Field("archive.frame_last", "long", "of a behaviour: frame of its last event; frame is that of the first"),
        Field("archive.value_min", "long", "of a behaviour: smallest first value carried in this period"),
        Field("archive.value_max", "long", "of a behaviour: largest first value carried in this period"),
        Field("archive.described", "boolean", "of a behaviour: false where a flood left only its codes"),
        Field("archive.kept_for", "keyword", "of an event: command, error, change, new, rule, artifact, alert"),
        Field("archive.alert", "keyword", "of an alert of Suricata that was imported: its number and signature"),
    )
}
ALL: dict[str, Field] = ARCHIVE | FIELDS
TIME = pa.timestamp("ns", "UTC")
_TYPES = {"long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_(), "date": TIME}
_INT64 = range(-(1 << 63), 1 << 63)


def arrow_type(name: str) -> pa.DataType:
    """The type of a column."""
    field = ALL[name]
    kind = _TYPES.get(field.type, pa.string())
    return pa.list_(kind) if field.many else kind


def table_of(lines: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, int]:
    """Columns of some rows, in the order of ALL, and how many values did not fit. Dates are nanoseconds since 1970."""
    present: set[str] = set()
    for line in lines:
        present.update(line)
    names = [name for name in ALL if name in present]
    arrays, unfit = [], 0
    for name in names:
        array, bad = column([line.get(name) for line in lines], name)
        arrays.append(array)
        unfit += bad
    return pa.table(arrays, names=names), unfit


def column(values: list[Any], name: str) -> tuple[pa.Array, int]:
    """One column, and how many of its values did not fit its type."""
    kind = arrow_type(name)
    try:
        return pa.array(values, kind), 0
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        fitted = [_fit(value, ALL[name]) for value in values]
        bad = sum(a is not None and b is None for a, b in zip(values, fitted, strict=True))
        return pa.array(fitted, kind), bad


def _fit(value: Any, field: Field) -> Any:
    if field.many and isinstance(value, (list, tuple)):
        members = [_one(member, field) for member in value]
        return None if any(member is None for member in members) else members
    return None if field.many else _one(value, field)


def _one(value: Any, field: Field) -> Any:
    if field.type == "boolean":
        return value if isinstance(value, bool) else None
    if field.type in ("long", "date"):
        return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None
    if field.type == "double":
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None


def together(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of all tables; a column that one of them does not have is null there."""
    found = pa.concat_tables(list(tables), promote_options="default")
    return found.select([name for name in ALL if name in found.column_names])


def nanoseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """A column of times or numbers without nulls, as integers."""
    values: npt.NDArray[np.int64] = table[name].cast(pa.int64()).to_numpy()
    return values


def days_of(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Days since 1970 in UTC of nanoseconds since 1970."""
    return times // (86_400 * 10**9)


def day_name(day: int) -> str:
    """2026-11-22; days are those since 1970."""
    return str(np.datetime64(int(day), "D"))


def lines_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as `fenghuo decode` would print them: times as text, nothing where there is no value."""
    for at, name in enumerate(table.column_names):
        if pa.types.is_timestamp(table.schema.field(name).type):
            texts = [None if ns is None else timestamp(ns) for ns in table[name].cast(pa.int64()).to_pylist()]
            table = table.set_column(at, name, pa.array(texts, pa.string()))
    return [{name: value for name, value in line.items() if value is not None} for line in table.to_pylist()]
