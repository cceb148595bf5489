"""GOOSE streams: a second publisher of one control block, and states that go back.

Receivers take the highest state number that they saw (IEC 61850-8-1:2011, 18.1.2.5), so who forges GOOSE sends one that
is higher, or sends old messages again. Catches (`goose.publisher`) a control block that is published from two hardware
addresses, and (`goose.replay`) a stream whose state number falls, or whose sequence number falls within one state,
without having begun anew. A frame that the mirror port gives twice is neither. Blind to a forger who takes over address
and counters. Looks at rows of GOOSE only. Technique: T0856.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases
from detectors.contract import Fresh, Scene, alike
from detectors.finding import Finding
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch
from sensor.protocols.goose import BROKEN

MAX_STREAMS = 4096  # control blocks followed; more at one time are not judged
MOST = 256  # falls of one batch that are counted one by one
NEAR_WRAP = 0xFFFF0000  # counters have 32 bits
GOOSE = int(Protocol.GOOSE)


class GooseStream:
    """See the module."""

    name = "goose_stream"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._publishers: dict[tuple[int, int], dict[int, int]] = {}  # APPID, control block -> host -> behaviour
        self._last: dict[int, tuple[int, int]] = {}  # behaviour -> state number, sequence number
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        rows = np.flatnonzero(batch.columns.protocol == GOOSE)
        if len(rows):
            self._follow(batch, rows, scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        return self._cases.say(scene, final=True)

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
            state, sequence = c.value[mine], c.transaction[mine]
            last = self._last.get(behaviour, (int(state[0]), int(sequence[0])))
            before_state = np.concatenate([[last[0]], state[:-1]])
            before = np.concatenate([[last[1]], sequence[:-1]])
            if behaviour in self._last or len(self._last) < MAX_STREAMS:
                self._last[behaviour] = int(state[-1]), int(sequence[-1])
            restarted = state <= 1
            fell = (state < before_state) & ~restarted & (before_state < NEAR_WRAP)
            fell |= (state == before_state) & (sequence < before) & (sequence > 1) & (before < NEAR_WRAP)
            for at in np.flatnonzero(fell)[:MOST].tolist():
                self._replayed(batch, int(mine[at]), int(before_state[at]), scene)

    def _replayed(self, batch: EventBatch, row: int, before: int, scene: Scene) -> None:
        c = batch.columns
        behaviour = int(c.behaviour[row])
        b = scene.view.behaviours.table[behaviour]
        fields = scene.view.behaviours.describe(behaviour)
        case = self._cases.case(
            scene, "goose.replay", behaviour, protocol="goose", source_ip=scene.view.host(int(b.server)),
            destination_ip=scene.view.host(int(b.client)), station=int(b.station),
        )  # fmt: skip
        case.values = {
            "seen": fields.get("goose.control_block"), "state": f"{before} → {int(c.value[row])}",
            "sequence": int(c.transaction[row]),
        }  # fmt: skip
        case.problem.add(1, int(c.ts_ns[row]), int(c.ts_ns[row]))
        scene.show(case.problem.exhibit, batch, (row,))
