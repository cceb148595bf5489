"""Repeats: DNP3 messages that come again although they were taken already, as an injector or a replay sends them.

An outstation's partner uses a sequence number again only as long as it got no answer (IEEE 1815-2012, 4.1 and 5.1.1).
Catches a request with the number and the content of the one before, which had been answered (`replay.request`), and an
unsolicited report with number and content of the one before, which had been confirmed (`replay.report`). A lost answer
or confirm that the sensor saw and its receiver did not gives one such repetition: so several are needed. Blind to
replays that count on, and to protocols without a number of their own. Looks at rows of DNP3 only. Techniques: T0855,
T0856.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.contract import Scene, ends, station_of
from sensor.decode.pdu import Anomaly, Kind, Protocol
from sensor.events import EventBatch

ENOUGH = 2  # repetitions between two hosts within WINDOW_NS
WINDOW_NS = 600 * 10**9
WITHIN_NS = 25 * 10**9  # later than that the decoder does not know any more whether there was an answer
MAX_LAST = 4096  # conversations whose last message is remembered from batch to batch
CONFIRM, APPLICATION = 0, 0x100  # functions; from the latter on they are those of the link
IRREGULAR = Anomaly.REPEATED | Anomaly.GAP | Anomaly.OVERLAP
DNP3 = int(Protocol.DNP3)

Key = tuple[int, int, int]  # conversation, station, kind
Last = tuple[int, int, int]  # sequence, behaviour, time


class Repeats(CaseDetector):
    """See the module."""

    name = "repeats"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Key, Last] = {}
        self._confirmed: dict[tuple[int, int], tuple[int, int]] = {}  # conversation, station -> sequence, time
        self._seen: dict[tuple[int, int, int], list[int]] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        columns = batch.columns
        rows = np.flatnonzero(columns.protocol == DNP3)
        if len(rows):
            self._follow(batch, rows, scene)

    def _follow(self, batch: EventBatch, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        """Compare each request and report with the one before in its conversation."""
        c = batch.columns
        kind, function = c.kind[rows], c.function[rows]
        confirms = rows[(kind == Kind.REQUEST) & (function == CONFIRM)]
        spoken = (kind == Kind.UNSOLICITED) | (
            (kind == Kind.REQUEST) & (function != CONFIRM) & (function < APPLICATION)
        )
        rows = rows[spoken]
        order = np.lexsort((c.kind[rows], c.station[rows], c.conversation[rows]))  # stable: in turn within each
        rows = rows[order]
        same = (
            (c.conversation[rows[1:]] == c.conversation[rows[:-1]])
            & (c.station[rows[1:]] == c.station[rows[:-1]])
            & (c.kind[rows[1:]] == c.kind[rows[:-1]])
        )
        again = (
            same & (c.transaction[rows[1:]] == c.transaction[rows[:-1]])
            & (c.behaviour[rows[1:]] == c.behaviour[rows[:-1]])
        )  # fmt: skip
        found = {int(rows[at + 1]): int(c.ts_ns[rows[at]]) for at in np.flatnonzero(again).tolist()}
        starts = np.concatenate([[True], ~same])[: len(rows)]
        for row in rows[starts].tolist():  # the first of each conversation goes on from the last batch
            key, now = self._identity(batch, row)
            before = self._last.get(key)
            if before is not None and before[:2] == now[:2]:
                found[row] = before[2]
        for row in sorted(found):
            self._repeated(batch, row, found[row], confirms, scene)
        stops = np.concatenate([~same, [True]])[: len(rows)]
        for row in rows[stops].tolist():
            key, now = self._identity(batch, row)
            if key in self._last or len(self._last) < MAX_LAST:
                self._last[key] = now
        for row in confirms[-MAX_LAST:].tolist():
            if len(self._confirmed) < MAX_LAST:
                talk = int(c.conversation[row]), int(c.station[row])
                self._confirmed[talk] = int(c.transaction[row]), int(c.ts_ns[row])

    def _identity(self, batch: EventBatch, row: int) -> tuple[Key, Last]:
        c = batch.columns
        return (
            (int(c.conversation[row]), int(c.station[row]), int(c.kind[row])),
            (int(c.transaction[row]), int(c.behaviour[row]), int(c.ts_ns[row])),
        )

    def _repeated(
        self, batch: EventBatch, row: int, before_ns: int, confirms: npt.NDArray[np.int64], scene: Scene
    ) -> None:
        """Judge a message that came again."""
        c = batch.columns
        now_ns = int(c.ts_ns[row])
        if c.anomalies[row] & IRREGULAR or not 0 <= now_ns - before_ns <= WITHIN_NS:
            return
        report = c.kind[row] == Kind.UNSOLICITED
        if report and not self._was_confirmed(batch, row, before_ns, confirms):
            return
        b = scene.view.behaviours.table[int(c.behaviour[row])]
        key = (int(b.client), int(b.server), int(report))
        if key not in self._seen and len(self._seen) >= MAX_LAST:
            return
        times = [*[at for at in self._seen.get(key, ()) if now_ns - at <= WINDOW_NS][-ENOUGH:], now_ns]
        self._seen[key] = times
        if len(times) < ENOUGH:
            return
        fields = scene.view.behaviours.describe(int(c.behaviour[row]))
        who = ends(fields)
        rule = "replay.request"
        if report:
            rule = "replay.report"
            who = {"source_ip": who["destination_ip"], "destination_ip": who["source_ip"]}
        case = self._cases.case(scene, rule, key, protocol="dnp3", **who, station=station_of(DNP3, int(b.station)))
        case.values = {"sequence": int(c.transaction[row]), "operation": fields.get("dnp3.function")}
        first = not case.problem.total
        case.problem.add(len(times) if first else 1, times[0] if first else now_ns, now_ns)
        scene.show(case.problem.exhibit, batch, (row,))

    def _was_confirmed(self, batch: EventBatch, row: int, before_ns: int, confirms: npt.NDArray[np.int64]) -> bool:
        """Whether the report before was confirmed in between."""
        c = batch.columns
        earlier = confirms[confirms < row]
        mine = (
            (c.conversation[earlier] == c.conversation[row])
            & (c.station[earlier] == c.station[row])
            & (c.transaction[earlier] == c.transaction[row])
            & (c.ts_ns[earlier] >= before_ns)
        )
        if mine.any():
            return True
        known = self._confirmed.get((int(c.conversation[row]), int(c.station[row])))
        return known is not None and known[0] == c.transaction[row] and known[1] >= before_ns
