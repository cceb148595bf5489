"""Something else on an industrial port, and unreadable data inside a conversation that is otherwise well.

Catches conversations on a watched port in which no message of the protocol was found: only bytes that cannot be it,
messages of another industrial protocol, or pieces of a message that never ends, which devices must hold. Blind to
protocols that look like the expected one. Costs one look at the conversation table whenever garbage was counted or
conversations were added, and one every UNFINISHED_LOOK_NS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from detectors import knowledge
from detectors.contract import Scene
from detectors.finding import Finding
from detectors.problem import Problem
from sensor.decode.pdu import family
from sensor.decode.recognise import PROMISES, Foreign, Framing, spoken
from sensor.events import EventBatch

LOOK_NS = 10**9  # between two looks at the conversation table, in capture time: it may have a million rows
SETTLED_NS = 5 * 10**9  # a conversation this old has shown what it is
UNFINISHED = 16  # segments with payload of one side that make no message together: the longest in use take half of them
UNFINISHED_LOOK_NS = 10 * 10**9
MAX_PAIRS = 4096  # pairs of hosts told apart; conversations of further ones count as one problem


class OtherProtocol:
    """See the module."""

    name = "other_protocol"

    def __init__(self) -> None:
        self._rules = knowledge.detector_rules()
        self._garbage = 0
        self._looked_ns = self._unfinished_ns = 0
        self._counted: dict[int, int] = {}  # number of a conversation -> runs of garbage already counted
        self._recycled = 0
        self._problems: dict[tuple[object, ...], Problem] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._look(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._look(scene, final=True)

    def _look(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        counters = scene.view.counters()
        garbage = counters["garbage"] + counters["promises_broken"]
        if garbage != self._garbage and (final or not 0 <= scene.now_ns - self._looked_ns < LOOK_NS):
            self._looked_ns = scene.now_ns
            talks = scene.view.conversations
            if scene.view.recycled != self._recycled:
                self._recycled = scene.view.recycled
                alive = set(talks["number"].tolist())
                self._counted = {number: runs for number, runs in self._counted.items() if number in alive}
            dirty = (talks["garbage"] > 0) | _broken(talks["promised"], talks["framing"])
            if not final:
                dirty &= talks["first_ns"] < scene.now_ns - SETTLED_NS
            else:
                self._garbage = garbage
            for row in np.flatnonzero(dirty).tolist():
                self._count(scene, row)
        if final or not 0 <= scene.now_ns - self._unfinished_ns < UNFINISHED_LOOK_NS:
            self._unfinished_ns = scene.now_ns
            self._look_for_unfinished(scene)
        for problem in self._problems.values():
            if problem.open and (final or problem.due(scene.now_ns)):
                values = {"conversations": problem.total}
                yield problem.record(scene.now_ns, values)

    def _look_for_unfinished(self, scene: Scene) -> None:
        """Count conversations whose pieces never became a message."""
        talks = scene.view.conversations
        silent = (talks["messages"] == 0) & (talks["promised"] > 0) & (talks["framing"] == talks["promised"])
        rows = np.flatnonzero(silent & (np.maximum(talks["frames_a"], talks["frames_b"]) >= UNFINISHED))
        for row in rows.tolist():
            talk = talks[row]
            if not talk.garbage and not talk.lost and int(talk.number) not in self._counted:
                self._counted[int(talk.number)] = 0
                self._add(scene, row, "port.unfinished", "", 1, int(talk.first_frame))

    def _count(self, scene: Scene, row: int) -> None:
        talk = scene.view.conversations[row]
        number = int(talk.number)
        before = self._counted.get(number, 0)
        if _broken(talk.promised, talk.framing):
            if not before:
                self._counted[number] = 1
                self._add(scene, row, "port.other-protocol", family(int(talk.protocol)).name, 1, int(talk.first_frame))
            return
        # A capture that begins in the middle of a message makes one run of garbage in the first frame.
        runs = int(talk.garbage) - (1 if talk.messages and talk.garbage_frame == talk.first_frame else 0)
        if runs <= before:
            return
        self._counted[number] = runs
        if talk.messages:
            self._add(scene, row, "port.garbage", "", runs - before, int(talk.garbage_frame))
        elif talk.promised and not before:
            other = Foreign(int(talk.foreign))
            name = other.name.replace("_", " ") if other else ""
            self._add(scene, row, "port.other-protocol", name, 1, int(talk.garbage_frame))

    def _add(self, scene: Scene, row: int, rule: str, other: str, count: int, frame: int) -> None:
        talk = scene.view.conversations[row]
        problem = self._problem(scene, row, rule, other)
        problem.add(count, int(talk.first_ns), int(talk.last_ns))
        scene.show_frame(problem.exhibit, frame)

    def _problem(self, scene: Scene, row: int, rule: str, other: str) -> Problem:
        talk, ends = scene.view.conversations[row], scene.view.conversation(row)
        client, server, port = (ends.ip_a, ends.ip_b, ends.port_b)
        if not talk.server:
            client, server, port = ends.ip_b, ends.ip_a, ends.port_a
        # Behind TPKT stands MMS as well as S7comm: what a conversation has said already tells more than its port.
        promised = None if rule == "port.garbage" else PROMISES.get(int(talk.promised))
        expected = promised or spoken(talk)
        key: tuple[object, ...] = (rule, client, server, port, other)
        if key not in self._problems and len(self._problems) >= MAX_PAIRS:
            key, client, server = (rule, expected, other), "", ""
        if key not in self._problems:
            self._problems[key] = Problem(
                self._rules[rule],
                scene.exhibit(),
                protocol=expected,
                source_ip=client,
                destination_ip=server,
                destination_port=port,
            )
            self._problems[key].values = {"protocol": expected, "other": other or None}
        return self._problems[key]


def _broken(promised: Any, framing: Any) -> Any:
    """Whether a conversation speaks another industrial protocol than its port promised; of columns or of one row."""
    serial = (promised == Framing.MODBUS) & (framing == Framing.MODBUS_RTU)  # the same protocol, as gateways frame it
    return (promised > 0) & (framing != promised) & (framing != Framing.FOREIGN) & ~serial
