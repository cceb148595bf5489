"""Rows that are alike, found by columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_LARGEST = 1 << 62


def alike(columns: Sequence[npt.NDArray[Any]]) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of the rows that have the same values in all columns, one array for each combination, in order."""
    if not len(columns[0]):
        return
    differing = [column for column in columns if (column != column[0]).any()]
    if not differing:
        yield np.arange(len(columns[0]))
        return
    key = _packed(differing)
    if key is not None:
        order, differing = np.argsort(key, kind="stable"), [key]  # stable, so rows stay in order
    else:
        order = np.lexsort(differing[::-1])
    changes = np.zeros(len(order) - 1, np.bool_)
    for column in differing:
        changes |= column[order[1:]] != column[order[:-1]]
    begin = 0
    for end in (np.flatnonzero(changes) + 1).tolist():  # np.split takes fifty times as long
        yield order[begin:end]
        begin = end
    yield order[begin:]


def _packed(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """All columns as one number that orders as they do, None where their values lie too far apart for that."""
    key = np.zeros(len(columns[0]), np.int64)
    size = 1
    for column in columns:
        least = int(column.min())
        span = int(column.max()) - least + 1
        if size * span > _LARGEST or not -_LARGEST < least < _LARGEST:
            return None
        size *= span
        key = key * span + (column.astype(np.int64) - least)
    return key.astype(np.uint16) if size <= 1 << 16 else key  # sixteen bits are sorted by counting
