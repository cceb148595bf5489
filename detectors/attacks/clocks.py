"""Clocks: a device is set to a time that is far from the present.

Catches DNP3 time writes (g50), IEC 104 clock synchronisation (type 103) and S7 set clock whose time is more than two
days from that of the capture, either way: nobody's time zone explains that. Below a year it is a low matter, for
masters with a wrong clock are common. Blind to a wrong time that is near, to devices that take their time elsewhere,
and itself deceived where the sensor's clock is wrong: then every master seems to be. Describes the first few clock
messages of each batch. Technique: T0836.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from detectors.attacks.cases import CaseDetector
from detectors.contract import Fresh, Labels, Scene, ends, station_of
from detectors.finding import Severity, rfc3339
from sensor.decode.pdu import Outcome, Protocol
from sensor.events import EventBatch

DAY_NS = 24 * 3600 * 10**9
FAR_NS, YEAR_NS = 2 * DAY_NS, 365 * DAY_NS
MOST = 64  # clock messages of one batch that are read
DNP3_WRITE, TIME_GROUP = 2, 50
IEC104_CLOCK, ACTIVATION = 103, 6
S7_SET_CLOCK = (7 << 8 | 2, 7 << 8 | 4)
TIMES = ("dnp3.time", "iec104.time", "s7comm.time")


class Clocks(CaseDetector):
    """See the module."""

    name = "clocks"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._sets = Labels()  # 1 for behaviours that set a clock
        self._any = False

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)
        if self._any and batch.size:
            for row in np.flatnonzero(self._sets[batch.columns.behaviour] == 1)[:MOST].tolist():
                self._judge(batch, row, scene)

    def _learn(self, scene: Scene) -> None:
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        function = b["function"]
        sets = (b["protocol"] == Protocol.DNP3) & (function == DNP3_WRITE) & (b["object"] >> 8 == TIME_GROUP)
        iec = (b["protocol"] == Protocol.IEC104) & (function == IEC104_CLOCK)
        sets |= iec & (b["subfunction"] & 0x3F == ACTIVATION)
        sets |= (b["protocol"] == Protocol.S7COMM) & np.isin(b["subfunction"], S7_SET_CLOCK)
        sets &= b["outcome"] == Outcome.ASKED
        self._sets[new[sets]] = 1
        self._any |= bool(sets.any())

    def _judge(self, batch: EventBatch, row: int, scene: Scene) -> None:
        fields = scene.view.fields(batch, row)
        set_ns = next((at for name in TIMES if (at := _nanoseconds(fields.get(name))) is not None), None)
        now_ns = int(batch.columns.ts_ns[row])
        if set_ns is None or abs(set_ns - now_ns) <= FAR_NS:
            return
        b = scene.view.behaviours.table[int(batch.columns.behaviour[row])]
        case = self._cases.case(
            scene, "clock.far", (int(b.client), int(b.server), int(b.protocol), int(b.station)),
            protocol=Protocol(int(b.protocol)).name.lower(), **ends(fields),
            station=station_of(int(b.protocol), int(b.station)),
        )  # fmt: skip
        case.values = {"seen": rfc3339(set_ns)[:19].replace("T", " "), "count": round(abs(set_ns - now_ns) / DAY_NS)}
        if abs(set_ns - now_ns) > YEAR_NS:
            case.severity = Severity.MEDIUM
        case.problem.add(1, now_ns, now_ns)
        scene.show(case.problem.exhibit, batch, (row,))


def _nanoseconds(text: object) -> int | None:
    """A time as a field shows it; None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 10**9
