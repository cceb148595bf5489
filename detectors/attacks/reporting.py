"""Reporting switched off: a device that used to report by itself was told to be silent, and nobody took that back.

Catches DNP3 function 21 (disable unsolicited) and IEC 104 STOPDT that are not followed by their opposite within
minutes, for devices that had reported until then or had been told to, while the device still talks. Masters that begin
with switching reports off, as the DNP3 start does, are no finding, nor is a standby connection that is stopped when
another one starts. Blind to reports that are dropped on their way: their rhythm is judged elsewhere. Technique: T0804.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases
from detectors.contract import Fresh, Scene, ends, station_of
from detectors.finding import Finding
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.events import EventBatch
from sensor.protocols.iec104_tables import STARTDT, STOPDT

PATIENCE_NS = 300 * 10**9  # maintenance that takes reports back does so sooner
LEAST_NS = 30 * 10**9  # at the end of a capture: so long must the device have been silent
LOOK_NS = 10 * 10**9
MAX_DEVICES = 4096  # told to be silent; more at one time are not judged
ENABLE, DISABLE = 20, 21  # IEEE 1815-2012, table 4-2
BROADCAST = 0xFFF0  # DNP3 link addresses from here on are nobody's own
OFF = {int(Protocol.DNP3): DISABLE, int(Protocol.IEC104): STOPDT}
ON = {int(Protocol.DNP3): ENABLE, int(Protocol.IEC104): STARTDT}


class Reporting:
    """See the module."""

    name = "reporting"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._silenced: dict[int, None] = {}  # behaviours that switch off
        self._told: dict[int, int] = {}  # of them -> time of the last one told
        self._looked_ns = 0
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        if self._silenced and not 0 <= scene.now_ns - self._looked_ns < LOOK_NS:
            self._looked_ns = scene.now_ns
            self._judge(scene, PATIENCE_NS)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene, LEAST_NS)
        return self._cases.say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        for protocol, function in OFF.items():
            off = (b["protocol"] == protocol) & (b["function"] == function) & (b["outcome"] == Outcome.ASKED)
            for row in new[off][: max(MAX_DEVICES - len(self._silenced), 0)].tolist():
                self._silenced[row] = None

    def _judge(self, scene: Scene, patience_ns: int) -> None:
        table = scene.view.behaviours.table
        for row in self._silenced:
            off_ns = int(table["last_ns"][row])
            if scene.now_ns - off_ns < patience_ns or self._told.get(row) == off_ns:
                continue
            self._told[row] = off_ns
            if self._stays_silent(table, row, off_ns):
                self._tell(scene, row, off_ns)

    def _stays_silent(self, table: npt.NDArray[np.void], row: int, off_ns: int) -> bool:
        """Whether a device that reported talks on without reports, and nobody switched them on again."""
        b: Any = table[row]
        protocol = int(b.protocol)
        mine = table[(table["server"] == b.server) & (table["protocol"] == protocol)]
        if protocol == Protocol.DNP3 and int(b.station) & 0xFFFF < BROADCAST:
            mine = mine[(mine["station"] & 0xFFFF) == int(b.station) & 0xFFFF]
        on = mine[(mine["function"] == ON[protocol]) & (mine["outcome"] == Outcome.ASKED)]
        reports = mine[(mine["outcome"] == Outcome.UNSOLICITED) & (mine["function"] < 0x100)]
        if (on["last_ns"] >= off_ns).any() or (reports["last_ns"] > off_ns + LEAST_NS).any():
            return False
        reported = int(reports["count"].sum()) > 1 or (on["first_ns"] < off_ns).any()
        talks = (mine["kind"] != Kind.REQUEST) & (mine["last_ns"] > off_ns + LEAST_NS // 2)
        return bool(reported and talks.any())

    def _tell(self, scene: Scene, row: int, off_ns: int) -> None:
        b = scene.view.behaviours.table[row]
        fields = scene.view.behaviours.describe(row)
        case = self._cases.case(
            scene, "reporting.off", row, protocol=Protocol(int(b.protocol)).name.lower(), **ends(fields),
            station=station_of(int(b.protocol), int(b.station)),
        )  # fmt: skip
        case.values = {"seconds": (scene.now_ns - off_ns) // 10**9}
        case.problem.add(1, off_ns, off_ns)
        frame = int(b.last_frame)
        scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **fields},))
