"""Values that are written, compared with the ranges that approved lines hold.

A line holds the lowest and the highest first value that was written under it while learning, and people saw both when
they approved it. A line under which one value was written only has no range: what else may be written is not known.
What engineers know better stands in a tag file (detectors/tags). Looks at columns; costs one comparison for each
request of a line with a range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.baseline.book import ExchangeLine
from detectors.contract import Labels, alike
from sensor.decode.pdu import NO_VALUE
from sensor.events import EventBatch

LEAST_WRITES = 10  # while learning: fewer show no range


class Outside(NamedTuple):
    """Values outside the range of one line. rows: of the batch, one for each; far: by more than the range is wide."""

    line: ExchangeLine
    rows: npt.NDArray[np.int64]
    far: bool


class ValueRanges:
    """Which behaviours are held to which range."""

    def __init__(self) -> None:
        self._range_of = Labels()  # by behaviour
        self._lines: list[ExchangeLine] = []
        self._number: dict[int, int] = {}  # identity of a line -> its range
        self._low, self._high = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def hold(self, rows: npt.NDArray[np.int64], line: ExchangeLine) -> None:
        """Hold behaviours to the range of their line, where it has one."""
        if line.values is None or line.values[0] >= line.values[1] or line.count < LEAST_WRITES:
            return
        number = self._number.get(id(line))
        if number is None:
            number = self._number[id(line)] = len(self._lines)
            self._lines.append(line)
            self._low = np.append(self._low, line.values[0])
            self._high = np.append(self._high, line.values[1])
        self._range_of[rows] = number

    def outside(self, batch: EventBatch) -> Iterator[Outside]:
        """Messages of a batch with a value outside their line's range."""
        if not self._lines or not batch.size:
            return
        number, value = self._range_of[batch.columns.behaviour], batch.columns.value
        rows = np.flatnonzero((number >= 0) & (value != NO_VALUE))
        number, value = number[rows], value[rows]
        odd = (value < self._low[number]) | (value > self._high[number])
        rows, number, value = rows[odd], number[odd], value[odd]
        for same in alike([number]) if len(rows) else ():
            line = self._lines[int(number[same[0]])]
            low, high = int(self._low[number[same[0]]]), int(self._high[number[same[0]]])
            below, above = low - int(value[same].min()), int(value[same].max()) - high
            yield Outside(line, rows[same], max(below, above) > high - low)
