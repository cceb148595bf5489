"""Conditions over columns: which rows of a table satisfy a node of detectors/sigma/tree.py.

Each statement is put to the distinct values of its column, by the very function that rules use event by event; the
answer is then looked up for all rows. So results equal those of the stream engine, at the speed of columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detectors.sigma.tree import Node, predicate
from sensor.archive.columns import lines_of
from sensor.text import timestamp

Mask = npt.NDArray[np.bool_]


def mask(node: Node, table: pa.Table) -> Mask:
    """(rows,) whether the condition holds. A column that the table does not have is null in all rows."""
    head, *rest = node
    rows = table.num_rows
    if head in ("true", "false"):
        return np.full(rows, head == "true")
    if head == "not":
        return ~mask(rest[0], table)
    if head in ("and", "or"):
        found = np.full(rows, head == "and")
        for part in rest:
            if found.any() if head == "and" else not found.all():
                found = found & mask(part, table) if head == "and" else found | mask(part, table)
        return found
    name = rest[0]
    if head == "same":
        return _each(node, table, [name, rest[1]])
    if head == "exists":
        there = table[name].is_valid().to_numpy() if name in table.column_names else np.zeros(rows, np.bool_)
        return np.asarray(there == rest[1])
    if name not in table.column_names:
        return np.zeros(rows, np.bool_)
    column = table[name].unify_dictionaries().combine_chunks()
    return _listed(node, name, column) if pa.types.is_list(column.type) else _looked_up(node, name, column)


def _looked_up(node: Node, name: str, column: pa.Array) -> Mask:
    """The answer for each value, asked once for each distinct one; null matches nothing."""
    holds = predicate(node)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values: list[Any] = (
        [None if ns is None else timestamp(ns) for ns in encoded.dictionary.cast(pa.int64()).to_pylist()]
        if pa.types.is_timestamp(encoded.dictionary.type)
        else encoded.dictionary.to_pylist()
    )
    answers = np.fromiter((value is not None and holds({name: value}) for value in values), np.bool_, len(values))
    if not len(answers):
        return np.zeros(len(column), np.bool_)
    found: Mask = answers[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return found & column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else found


def _listed(node: Node, name: str, column: pa.Array) -> Mask:
    """A list matches when one of its members does."""
    members = _looked_up(node, name, column.flatten())
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    sums = np.r_[0, np.cumsum(members)]
    return np.asarray(sums[ends] > sums[ends - lengths])


def _each(node: Node, table: pa.Table, names: list[str]) -> Mask:
    """Row by row, for what no single column answers."""
    holds = predicate(node)
    present = [name for name in names if name in table.column_names]
    if len(present) < len(set(names)):
        return np.zeros(table.num_rows, np.bool_)
    rows = lines_of(table.select(list(dict.fromkeys(present))))
    return np.fromiter((holds(row) for row in rows), np.bool_, len(rows))
