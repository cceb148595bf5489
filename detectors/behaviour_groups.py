"""Who does what to whom, folded: the rows of the behaviour table by client, server, station and operation.

A table of a plant has a row for every register range and every outcome; people ask which device does what to which.
What devices answer counts with what was asked, by outcome. Rows are looked at once, when they are new: counts come out
of the table by columns whenever they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.assets.links import segment_of
from detectors.contract import Fresh, Labels
from detectors.finding import rfc3339
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.view import View

MAX_GROUPS = 20_000  # a large plant has a few thousand; a flood of hosts or functions fills it
STEP_GROUPS = 256  # described between two steps
# Names of operations, by what they say most: the first that a behaviour has.
NAMED_BY = (
    "modbus.function", "s7comm.service_name", "s7comm.function_name", "s7comm.userdata.subfunction_name",
    "cip.service_name", "enip.command_name", "opcua.service", "mms.service", "bacnet.service_name", "iec104.type_name",
    "iec104.control", "dnp3.function", "s7comm_plus.function_name", "s7comm.mode_name", "goose.control_block",
)  # fmt: skip
_KEY = ("client", "server", "protocol", "station", "function", "subfunction")
_NOBODY = -1
_OUTCOMES = (Outcome.ANSWERED, Outcome.REFUSED, Outcome.UNANSWERED)


class BehaviourGroups:
    """See the module. refused: behaviours that belong to no group, because MAX_GROUPS was reached."""

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._group = Labels()
        self._numbers: dict[tuple[int, ...], int] = {}
        self.described: list[dict[str, Any]] = []
        self.refused = 0

    def observe(self, view: View, step: Callable[[], None] = lambda: None) -> None:
        """Put behaviours that are new into their groups. step: called now and then, for a flood takes a while."""
        table = view.behaviours.table
        rows = self._fresh.rows(table)
        if not len(rows):
            return
        b: npt.NDArray[Any] = table.take(rows)
        asked: npt.NDArray[np.int32] = b["asked"]
        own = asked < 0
        if own.any():
            self._found(view, rows[own], b.compress(own), step)
        answers = rows[~own]
        self._group[answers] = self._group[asked[~own]]

    def _found(self, view: View, rows: npt.NDArray[np.int64], b: npt.NDArray[Any], step: Callable[[], None]) -> None:
        """Groups of what answers nothing."""
        keys = np.stack([b[name].astype(np.int64) for name in _KEY])
        dnp3 = b["protocol"] == Protocol.DNP3  # what a write means there, its object says
        keys = np.vstack([keys, np.where(dnp3, b["object"] >> 8, 0)])
        different, first, index = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        numbers = np.full(different.shape[1], _NOBODY, np.int32)
        for at, key in enumerate(map(tuple, different.T.tolist())):
            known = self._numbers.get(key)
            if known is None and len(self.described) < MAX_GROUPS:
                if len(self.described) % STEP_GROUPS == 0:
                    step()
                known = self._numbers[key] = len(self.described)
                self.described.append(_described(view, int(rows[first[at]])))
            if known is not None:
                numbers[at] = known
        self._group[rows] = numbers[index.reshape(-1)]
        self.refused += int((numbers[index.reshape(-1)] == _NOBODY).sum())

    def records(self, view: View) -> Iterator[dict[str, Any]]:
        """Every group as it stands now: described, with counts by outcome and times."""
        table: npt.NDArray[Any] = view.behaviours.table
        groups = len(self.described)
        group = self._group[np.arange(len(table))]
        rows = np.flatnonzero(group >= 0)
        if not groups or not len(rows):
            return
        group = group[rows]
        b = {name: table[name][rows] for name in ("outcome", "count", "first_ns", "last_ns")}
        answer = np.isin(b["outcome"], _OUTCOMES)
        sums = {it: _sums(group, np.where(b["outcome"] == it, b["count"], 0), groups) for it in _OUTCOMES}
        counts = _sums(group, np.where(answer, 0, b["count"]), groups)
        variants = np.bincount(group[~answer], minlength=groups)
        first, last = np.full(groups, np.iinfo(np.int64).max), np.full(groups, -1, np.int64)
        np.minimum.at(first, group, b["first_ns"])
        np.maximum.at(last, group, b["last_ns"])
        for at, fields in enumerate(self.described):
            if last[at] < 0:
                continue
            yield fields | {
                "first_seen": rfc3339(int(first[at])),
                "last_seen": rfc3339(int(last[at])),
                "count": int(counts[at]),
                "variants": int(variants[at]),
                **{f"{it.name.lower()}": int(sums[it][at]) for it in _OUTCOMES},
            }


def _sums(group: npt.NDArray[np.int32], values: npt.NDArray[np.int64], groups: int) -> npt.NDArray[np.int64]:
    found = np.zeros(groups, np.int64)
    np.add.at(found, group, values)
    return found


def _described(view: View, row: int) -> dict[str, Any]:
    """What all rows of a group have in common."""
    b = view.behaviours.table[row]
    talk = view.conversation(int(b.conversation))
    fields = view.behaviours.describe(row)
    station = int(b.station)
    if b.protocol == Protocol.DNP3 and station >= 0:
        station &= 0xFFFF
    operation = next((str(fields[name]) for name in NAMED_BY if fields.get(name)), "")
    if not operation:
        operation = f"{int(b.function)}" if b.function >= 0 else ""
    return {
        "segment": segment_of(talk.vlan, talk.tunnel, talk.segment),
        "client": view.host(int(b.client)),
        "server": view.host(int(b.server)),
        "port": fields.get("destination.port", -1) if b.kind == Kind.REQUEST else -1,
        "protocol": str(fields.get("network.protocol", "")),
        "station": station,
        "function": int(b.function),
        "subfunction": int(b.subfunction),
        "operation": operation[:100],
        "action": str(fields.get("event.action", ""))[:32],
    }
