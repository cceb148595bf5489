"""Spoofed answers: one request, two answers that differ.

Catches a second answer under the number of a request that was answered within the last seconds, with other content: the
device and somebody else both answered, or a host in between let both through. Blind to an impostor whose answer alone
arrives, to answers that are the same, and to clients that use one number for all requests. Looks at answers without a
request only, which are rare. Techniques: T0856, T0830.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detectors.cases import Cases
from detectors.contract import Scene, ends, station_of
from detectors.finding import Finding
from sensor.decode.pdu import Anomaly, Kind, Protocol, family
from sensor.events import EventBatch

WITHIN_NS = 10 * 10**9  # of the first answer
MOST = 256  # second answers of one batch that are compared
NUMBERED = (Protocol.MODBUS, Protocol.S7COMM, Protocol.DNP3, Protocol.MMS, Protocol.OPCUA)
UNSOUND = Anomaly.GAP | Anomaly.LENGTH | Anomaly.TRUNCATED | Anomaly.CHECKSUM | Anomaly.ILLEGAL


class SpoofedAnswer:
    """See the module."""

    name = "spoofed_answer"

    def __init__(self) -> None:
        self._before: EventBatch | None = None
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if batch.size:
            anomalies = batch.columns.anomalies
            for row in np.flatnonzero((anomalies & (Anomaly.ORPHAN | UNSOUND)) == Anomaly.ORPHAN)[:MOST].tolist():
                if batch.columns.protocol[row] in NUMBERED:
                    self._judge(batch, row, scene)
            self._before = batch
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        return self._cases.say(scene, final=True)

    def _judge(self, batch: EventBatch, row: int, scene: Scene) -> None:
        """Look for the answer that came before this one."""
        c = batch.columns
        requests, answers = 0, []
        for other in (self._before, batch):
            if other is None:
                continue
            o = other.columns
            same = (
                (o.conversation == c.conversation[row])
                & (o.transaction == c.transaction[row])
                & (o.station == c.station[row])
                & (o.protocol == c.protocol[row])
                & (np.abs(o.ts_ns - c.ts_ns[row]) <= WITHIN_NS)
            )
            if other is batch:
                same[row:] = False
            requests += int((same & (o.kind == Kind.REQUEST)).sum())
            paired = same & (o.kind == Kind.RESPONSE) & (o.request >= 0) & (o.forward == c.forward[row])
            answers += [(other, at) for at in np.flatnonzero(paired).tolist()]
        if requests != 1 or len(answers) != 1 or c.function[row] < 0:  # S7 user data goes on under its number
            return
        first, at = answers[0]
        if first.columns.function[at] != c.function[row] or first.pdu(at) == batch.pdu(row):
            return
        behaviour = int(c.behaviour[row])
        b = scene.view.behaviours.table[behaviour]
        fields = scene.view.behaviours.describe(behaviour)
        who = ends(fields)
        case = self._cases.case(
            scene,
            "spoof.answer",
            (int(b.client), int(b.server), int(b.protocol), int(b.station)),
            protocol=family(int(b.protocol)).name.lower(),
            source_ip=who["destination_ip"],
            destination_ip=who["source_ip"],
            station=station_of(int(b.protocol), int(b.station)),
        )
        case.values = {"sequence": int(c.transaction[row])}
        case.problem.add(1, int(first.columns.ts_ns[at]), int(c.ts_ns[row]))
        scene.show(case.problem.exhibit, first, (at,))
        scene.show(case.problem.exhibit, batch, (row,))
