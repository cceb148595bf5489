"""GOOSE streams: a second publisher of one control block, and states that go back.

Receivers take the highest state number that they saw (IEC 61850-8-1:2011, 18.1.2.5), so who forges GOOSE sends one
that is higher, or sends old messages again. Catches (`goose.publisher`) a control block that is published from two
hardware addresses; (`goose.replay`) a stream whose state number falls, or whose sequence number falls within one
state, without having begun anew; (`goose.content`) other values under a state number that had settled, which a
publisher never sends; and (`goose.expired`) a stream that came back after twice the time for which its last message
was to be believed. A frame that the mirror port gives twice is none of these. Blind to a forger who takes over address
and counters. Looks at rows of GOOSE only. Techniques: T0856, T0815.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.attacks.goose_tail import Tails, live_ms
from detectors.contract import Fresh, Scene, alike
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch
from sensor.protocols.goose import BROKEN

MAX_STREAMS = 4096  # control blocks followed; more at one time are not judged
MOST = 256  # falls of one batch that are counted one by one
NEAR_WRAP = 0xFFFF0000  # counters have 32 bits
RESTART_NS = 10 * 10**9  # a silence after which a device may have begun anew, its first messages unseen
SETTLED_NS = 10**9  # some devices still correct a value, or its quality, milliseconds after a new state
LATE = 2  # times the time to live: one message may be lost to the mirror port
LEAST_LATE_NS = 5 * 10**9
GOOSE = int(Protocol.GOOSE)


class GooseStream(CaseDetector):
    """See the module."""

    name = "goose_stream"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._publishers: dict[tuple[int, int], dict[int, int]] = {}  # APPID, control block -> host -> behaviour
        # behaviour -> state number, sequence number, time of the last message, time of the first one of that state
        self._last: dict[int, tuple[int, int, int, int]] = {}
        self._live_ns: dict[int, int] = {}  # behaviour -> how long its messages are to be believed
        self._tails = Tails()

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)
        rows = np.flatnonzero(batch.columns.protocol == GOOSE)
        if len(rows):
            self._follow(batch, rows, scene)

    def _learn(self, scene: Scene) -> None:
        """Publishers of control blocks that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        sound = (b["protocol"] == GOOSE) & (b["function"] == 1) & ((b["subfunction"] & BROKEN) == 0)
        for row in new[sound][:MAX_STREAMS].tolist():
            one = table[row]
            key = (int(one.station), int(one.detail))
            if key not in self._publishers and len(self._publishers) >= MAX_STREAMS:
                continue
            hosts = self._publishers.setdefault(key, {})
            if int(one.server) in hosts or len(hosts) >= MAX_STREAMS:
                continue
            hosts[int(one.server)] = row
            if len(hosts) > 1:
                first = next(iter(hosts))
                fields = scene.view.behaviours.describe(row)
                case = self._cases.case(
                    scene, "goose.publisher", (key, int(one.server)), protocol="goose",
                    source_ip=scene.view.host(int(one.server)), destination_ip=scene.view.host(int(one.client)),
                    station=key[0],
                )  # fmt: skip
                case.values = {
                    "other": scene.view.host(first), "seen": fields.get("goose.control_block"),
                    "station": f"0x{key[0]:04X}",
                }  # fmt: skip
                case.problem.add(1, int(one.first_ns), int(one.first_ns))
                scene.show_frame(case.problem.exhibit, int(one.first_frame), (fields,))

    def _follow(self, batch: EventBatch, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        """Compare each message with the one before in its stream."""
        c = batch.columns
        rows = rows[(c.function[rows] == 1) & (c.value[rows] >= 0) & (c.transaction[rows] >= 0)]
        rows = rows[(c.subfunction[rows] & BROKEN) == 0]
        for same in alike([c.behaviour[rows]]) if len(rows) else ():
            mine = rows[same]
            behaviour = int(c.behaviour[mine[0]])
            state, sequence, times = c.value[mine], c.transaction[mine], c.ts_ns[mine]
            last = self._last.get(behaviour, (int(state[0]), int(sequence[0]), int(times[0]), int(times[0])))
            before_state = np.concatenate([[last[0]], state[:-1]])
            before = np.concatenate([[last[1]], sequence[:-1]])
            gap_ns = times - np.concatenate([[last[2]], times[:-1]])
            since_ns = np.maximum.accumulate(np.where(state != before_state, times, last[3]))
            if behaviour in self._last or len(self._last) < MAX_STREAMS:
                self._last[behaviour] = int(state[-1]), int(sequence[-1]), int(times[-1]), int(since_ns[-1])
            restarted = (state <= 1) & ((sequence <= 1) | (gap_ns >= RESTART_NS))
            fell = (state < before_state) & ~restarted & (before_state < NEAR_WRAP)
            fell |= (state == before_state) & (sequence < before) & (sequence > 1) & (before < NEAR_WRAP)
            for at in np.flatnonzero(fell)[:MOST].tolist():
                self._told(batch, int(mine[at]), scene, "goose.replay", f"{int(before_state[at])} → {int(state[at])}")
            other = self._tails.changed(batch, mine, behaviour) & (state == before_state) & ~fell
            other &= (times - since_ns >= SETTLED_NS) & (gap_ns < RESTART_NS)
            for at in np.flatnonzero(other)[:MOST].tolist():
                self._told(batch, int(mine[at]), scene, "goose.content", str(int(state[at])))
            self._expired(batch, mine, gap_ns, scene)

    def _expired(
        self, batch: EventBatch, rows: npt.NDArray[np.int64], gap_ns: npt.NDArray[np.int64], scene: Scene
    ) -> None:
        """Messages of one stream that came long after the one before had to be disbelieved."""
        if not len(late := np.flatnonzero(gap_ns > LEAST_LATE_NS)):
            return
        behaviour = int(batch.columns.behaviour[rows[0]])
        if behaviour not in self._live_ns:
            if len(self._live_ns) >= MAX_STREAMS:
                return
            self._live_ns[behaviour] = live_ms(scene.view.behaviours.describe(behaviour)) * 10**6
        live_ns = self._live_ns[behaviour]
        for at in late[(gap_ns[late] > LATE * live_ns) & (live_ns > 0)][:MOST].tolist():
            row, end_ns = int(rows[at]), int(batch.columns.ts_ns[rows[at]])
            begin_ns = end_ns - int(gap_ns[at])
            dark_ns, _ = scene.darkness.within(begin_ns, end_ns, end_ns)
            if end_ns - begin_ns - dark_ns > max(LATE * live_ns, LEAST_LATE_NS):
                self._told(batch, row, scene, "goose.expired", "", seconds=f"{(end_ns - begin_ns) / 1e9:.1f}",
                           period=f"{live_ns / 1e9:g}")  # fmt: skip

    def _told(self, batch: EventBatch, row: int, scene: Scene, rule: str, state: str, **more: str) -> None:
        """Count a message that shows what a rule claims. state: in words; more: further values of its text."""
        c = batch.columns
        behaviour = int(c.behaviour[row])
        b = scene.view.behaviours.table[behaviour]
        fields = scene.view.behaviours.describe(behaviour)
        case = self._cases.case(
            scene, rule, behaviour, protocol="goose", source_ip=scene.view.host(int(b.server)),
            destination_ip=scene.view.host(int(b.client)), station=int(b.station),
        )  # fmt: skip
        case.values = {
            "seen": fields.get("goose.control_block"), "state": state, "sequence": int(c.transaction[row]), **more,
        }  # fmt: skip
        case.problem.add(1, int(c.ts_ns[row]), int(c.ts_ns[row]))
        scene.show(case.problem.exhibit, batch, (row,))
