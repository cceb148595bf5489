"""I/O sweep: one host commands one output after the other, faster than any operator does.

Catches distinct points of one station that are switched within two minutes: IEC 104 single, double and step commands,
DNP3 control blocks. Industroyer and Industroyer2 did so after a general interrogation had told them the points: that
makes it worse, and worst of a host that the station did not know before. The usual master alone is a low matter. Blind
to points switched over hours and to points that the same host commanded before. Works on behaviours that are new.
Techniques: T0806, T0855.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.contract import Fresh, Scene, alike, ends, station_of
from detectors.finding import Severity, Text
from sensor.decode.pdu import Outcome, Protocol
from sensor.events import EventBatch

ENOUGH = 10  # distinct points: a switching sequence of an operator has fewer
WITHIN_NS = 120 * 10**9
ASKED_BEFORE_NS = 600 * 10**9  # an interrogation this long before belongs to it
MAX_PAIRS = 1024  # hosts and stations followed; more at one time are left out
MAX_POINTS = 4096  # remembered of each
IEC104_COMMANDS = (45, 46, 47, 58, 59, 60)
INTERROGATION = 100
DNP3_CONTROLS = (3, 4, 5, 6)  # select, operate, direct operate with and without answer
CONTROL_BLOCK = 12  # DNP3 group

Key = tuple[int, int, int, int]


class IoSweep(CaseDetector):
    """See the module."""

    name = "io_sweep"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._points: dict[Key, dict[int, tuple[int, int]]] = {}  # point -> first time, behaviour
        self._told: dict[Key, int] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)

    def _finish(self, scene: Scene) -> None:
        self._learn(scene)

    def _learn(self, scene: Scene) -> None:
        """Note commanded points, and judge the pairs to which some were added."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        iec = (b["protocol"] == Protocol.IEC104) & np.isin(b["function"], IEC104_COMMANDS)
        dnp3 = (b["protocol"] == Protocol.DNP3) & np.isin(b["function"], DNP3_CONTROLS)
        dnp3 &= b["object"] >> 8 == CONTROL_BLOCK
        new = new[(iec | dnp3) & (b["outcome"] == Outcome.ASKED)]
        b = table.take(new)
        for same in alike([b["client"], b["server"], b["protocol"], b["station"]]) if len(new) else ():
            one = b[same[0]]
            key = (int(one.client), int(one.server), int(one.protocol), int(one.station))
            if key not in self._points and len(self._points) >= MAX_PAIRS:
                continue
            points = self._points.setdefault(key, {})
            thing = b["object"] if one.protocol == Protocol.IEC104 else b["detail"]
            for at in same[: MAX_POINTS - len(points)].tolist():
                points.setdefault(int(thing[at]), (int(b["first_ns"][at]), int(new[at])))
            if len(points) >= ENOUGH:
                self._judge(scene, key, points)

    def _judge(self, scene: Scene, key: Key, points: dict[int, tuple[int, int]]) -> None:
        """A finding where enough points were commanded within the time."""
        times = np.sort(np.array([first_ns for first_ns, _ in points.values()], np.int64))
        quick = np.flatnonzero(times[ENOUGH - 1 :] - times[: len(times) - ENOUGH + 1] <= WITHIN_NS)
        if not len(quick):
            return
        swept = np.zeros(len(times), np.bool_)
        for begin in quick.tolist():
            swept[begin : begin + ENOUGH] = True
        count, first_ns, last_ns = int(swept.sum()), int(times[swept].min()), int(times[swept].max())
        told, self._told[key] = self._told.get(key, 0), count
        if count <= told:
            return
        rows = [row for at, row in points.values() if first_ns <= at <= last_ns]
        fields = scene.view.behaviours.describe(rows[0])
        case = self._cases.case(
            scene, "io.sweep", key, protocol=Protocol(key[2]).name.lower(), **ends(fields),
            station=station_of(key[2], key[3]),
        )  # fmt: skip
        case.values = {"distinct": count, "seconds": max((last_ns - first_ns) // 10**9, 1), "seen": None}
        self._aggravate(scene.view.behaviours.table, key, first_ns, case)
        case.problem.add(count - told, first_ns, last_ns)
        for row in rows[:100]:
            frame = int(scene.view.behaviours.table["first_frame"][row])
            scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **scene.view.behaviours.describe(row)},))

    def _aggravate(self, table: npt.NDArray[np.void], key: Key, first_ns: int, case: Any) -> None:
        """Whether the host asked for all points before, and was new to the station."""
        client, server, protocol, _ = key
        asked = table[(table["server"] == server) & (table["protocol"] == protocol)]
        asked = asked[asked["outcome"] == Outcome.ASKED]
        mine = asked[asked["client"] == client]
        all_points = mine[(mine["function"] == INTERROGATION) & (protocol == Protocol.IEC104)]
        recent = (all_points["last_ns"] >= first_ns - ASKED_BEFORE_NS) & (all_points["first_ns"] <= first_ns)
        others = asked[asked["client"] != client]
        stranger = len(others) > 0 and int(others["first_ns"].min()) < int(mine["first_ns"].min())
        if recent.any():
            just_came = first_ns - int(mine["first_ns"].min()) <= WITHIN_NS
            case.severity = Severity.HIGH if just_came else Severity.MEDIUM
            case.values["seen"] = Text("此前它总召唤过全部点", "after it had asked for all points")
        if stranger:
            case.severity = Severity.CRITICAL if recent.any() else Severity.HIGH
            seen = case.values["seen"] or Text("", "")
            case.values["seen"] = Text(
                f"{seen.zh}{'；' if seen.zh else ''}在它出现之前该站只与其他主站通信",
                f"{seen.en}{'; ' if seen.en else ''}until it came the station spoke with others only",
            )
