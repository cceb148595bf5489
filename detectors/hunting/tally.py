"""How often each behaviour was seen in each hour, and when: sums that stay exact however they are split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.decode.pdu import NO_VALUE
from sensor.events import EventBatch

PERIOD_NS = 3600 * 10**9
SETTLE_ROWS = 1 << 17  # rows that wait to be summed up
_NONE_MAX = np.iinfo(np.int64).max

# One row for each hour and behaviour: key columns, then what is summed, lowest, highest or joined.
TALLY = np.dtype(
    [
        ("period", "i8"),  # hours since 1970
        ("behaviour", "i8"),
        ("count", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("first_frame", "i8"),
        ("last_frame", "i8"),
        ("value_min", "i8"),  # largest integer where no event carried one
        ("value_max", "i8"),  # NO_VALUE where no event carried one
        ("anomalies", "u4"),
    ]
)
_JOIN: dict[str, np.ufunc] = {
    "count": np.add, "first_ns": np.minimum, "last_ns": np.maximum, "first_frame": np.minimum,
    "last_frame": np.maximum, "value_min": np.minimum, "value_max": np.maximum, "anomalies": np.bitwise_or,
}  # fmt: skip


class Tally:
    """See the module. `rows`: how many rows are kept, summed up now and then."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.void]] = []
        self._settled = 0  # rows of the first part, which is summed up
        self.rows = 0

    def count(self, batch: EventBatch) -> None:
        """Count the events of a batch."""
        if not batch.size:
            return
        c = batch.columns
        rows: npt.NDArray[Any] = np.empty(batch.size, TALLY)
        rows["period"], rows["behaviour"], rows["count"] = c.ts_ns // PERIOD_NS, c.behaviour, 1
        rows["first_ns"] = rows["last_ns"] = c.ts_ns
        rows["first_frame"] = rows["last_frame"] = c.frame
        rows["value_min"], rows["value_max"] = np.where(c.value == NO_VALUE, _NONE_MAX, c.value), c.value
        rows["anomalies"] = c.anomalies
        joined = _joined(rows)
        self._parts.append(joined)
        self.rows += len(joined)
        if self.rows > 2 * max(self._settled, SETTLE_ROWS):
            self._settle()

    def take(self) -> npt.NDArray[np.void]:
        """(n,) TALLY: all that was counted, which is forgotten now."""
        self._settle()
        taken = self._parts[0] if self._parts else np.empty(0, TALLY)
        self._parts, self._settled, self.rows = [], 0, 0
        return taken

    def put_back(self, rows: npt.NDArray[np.void]) -> None:
        """Count what was taken again: it could not be written."""
        self._parts.insert(0, rows)
        self.rows += len(rows)

    def _settle(self) -> None:
        if len(self._parts) > 1:
            self._parts = [_joined(np.concatenate(self._parts))]
        self.rows = self._settled = len(self._parts[0]) if self._parts else 0


def _joined(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One row for each period and behaviour, sorted by them."""
    behaviour, period = rows["behaviour"], rows["period"]
    order = np.argsort(behaviour, kind="stable")
    if period.min() != period.max():
        order = np.lexsort((behaviour, period))
    behaviour, period = behaviour[order], period[order]
    begins = np.flatnonzero(np.r_[True, (behaviour[1:] != behaviour[:-1]) | (period[1:] != period[:-1])])
    joined = np.empty(len(begins), TALLY)
    joined["behaviour"], joined["period"] = behaviour[begins], period[begins]
    for name, join in _JOIN.items():
        joined[name] = join.reduceat(rows[name][order], begins)
    return joined
