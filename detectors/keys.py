"""Several columns as one, so that rows that are alike are found by sorting one column instead of all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)


class Keys:
    """One number for each combination of `columns` columns, by random factors: nobody can aim two at one number."""

    def __init__(self, columns: int) -> None:
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(columns)]

    def of(self, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
        """The numbers of rows; the columns are integers."""
        total = np.zeros(len(columns[0]), np.uint64)
        for factor, column in zip(self._factors, columns, strict=True):
            total += column.astype(np.int64).view(np.uint64) * factor
            total ^= total >> np.uint64(29)
        return total


def distinct(values: npt.NDArray[T]) -> npt.NDArray[T]:
    """The values, each once, ascending. numpy's own asks for masked arrays, whose import takes 30 ms of every start."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
