"""Which events are kept one by one: commands, errors, changes, what is new, and what a rule matched by itself.

A behaviour that repeats itself is kept a few times an hour; all its events are counted there in any case. What was
chosen and not kept is counted in `left_out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.hunting.tally import PERIOD_NS
from sensor.decode.pdu import Outcome
from sensor.events import EventBatch
from sensor.operations import Verb

MAX_EACH = 32  # events of one behaviour in one hour
MAX_KEPT = 1 << 14  # events that wait to be written

REASONS = ("", "new", "change", "command", "error", "rule")  # the later counts where several hold
_NEW, _CHANGE, _COMMAND, _ERROR, _RULE = range(1, len(REASONS))
_COMMANDS = frozenset(
    {Verb.WRITE, Verb.COMMAND, Verb.START, Verb.STOP, Verb.RESTART, Verb.SILENCE, Verb.PROGRAM_DOWN, Verb.PROGRAM_UP}
)
_CHANGES = frozenset({Verb.TIME_SET, Verb.CONFIGURE, Verb.FILE, Verb.AUTHENTICATE})


def reason_of(fields: Mapping[str, Any]) -> int:
    """Why every event of a behaviour is worth keeping: number in REASONS, 0 where it is not."""
    verb = fields.get("event.action")
    return _COMMAND if verb in _COMMANDS else _CHANGE if verb in _CHANGES else 0


class Chooser:
    """See the module."""

    def __init__(self) -> None:
        self.left_out = 0
        self.reasons = np.zeros(1 << 10, np.int8)  # by behaviour: see reason_of
        self._kept = np.zeros(1 << 10, np.int32)  # by behaviour, in this hour
        self._hour = -1

    def grow(self, behaviours: int) -> None:
        """Make room for so many behaviours."""
        while len(self.reasons) < behaviours:
            self.reasons = np.concatenate([self.reasons, np.zeros_like(self.reasons)])
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])

    def choose(
        self, batch: EventBatch, new: npt.NDArray[np.int64], late: list[tuple[int, npt.NDArray[np.int64]]], room: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """Rows of a batch to keep, in order, and why. new: first rows of behaviours; late: rows that rules matched."""
        c = batch.columns
        hour = int(c.ts_ns[-1]) // PERIOD_NS
        if hour != self._hour:
            self._hour = hour
            self._kept[:] = 0
        why = self.reasons[c.behaviour]
        why[new] = np.maximum(why[new], _NEW)
        why[(c.outcome == Outcome.REFUSED) | (c.outcome == Outcome.UNANSWERED) | (c.anomalies != 0)] = _ERROR
        for _, rows in late:
            why[rows] = _RULE
        chosen = np.flatnonzero(why)
        if not len(chosen):
            return chosen, why[chosen]
        rank, of = _rank(c.behaviour[chosen]), c.behaviour[chosen]
        keep = (rank + self._kept[of] < MAX_EACH) | (why[chosen] == _RULE)
        if int(keep.sum()) > room:
            keep[np.flatnonzero(keep)[max(room, 0) :]] = False
        kept = chosen[keep]
        np.add.at(self._kept, c.behaviour[kept], 1)
        self.left_out += len(chosen) - len(kept)
        return kept, why[kept]


def _rank(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """For each value how many equal ones stand before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[begins, len(values)])
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(begins, lengths)
    return rank
