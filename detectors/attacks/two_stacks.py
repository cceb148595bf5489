"""Two stacks: messages in one machine's name that two different IP stacks have sent.

A machine begins every packet with the same time to live (64, 128 or 255 in all common stacks), and inside a plant few
routers take something off it. Catches a sender whose packets suddenly begin with another one: inside one conversation,
where that is never right, and over all conversations of one service (address and port), where it means that somebody
answers in the device's name. Blind to an impostor with the same stack, to tunnels, and to who sends no industrial
message. A pair of servers that share an address, or a device that was replaced by another make, look the same, once.
Reads one octet of each frame that completes a message, in a compiled pass. Techniques: T0830, T0856, T0849.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Scene, alike
from detectors.finding import Finding, Text
from detectors.problem import Problem
from sensor.capture.frames import FrameBatch
from sensor.compiled import njit
from sensor.decode.pdu import family
from sensor.events import EventBatch
from sensor.records import Growing

BEGINNINGS = (64, 128, 255)  # values that stacks begin with; routers only subtract
ETHERNET = 1  # LINKTYPE_
IPV4, IPV6, VLAN = 0x0800, 0x86DD, 0x8100
ENOUGH_OCTETS = 14 + 4 + 20  # of a frame, to hold what is read
EPHEMERAL = 32768  # ports from here on are given to whoever calls: who used them before was another program
MAX_SERVICES = 65536  # address and port pairs remembered; further ones are judged inside their conversations only
MAX_NEW = 4096  # directions looked up in a batch; further ones are judged inside their conversations only
MAX_ODD = 4096  # messages counted at one time
MAX_PROBLEMS = 1024  # senders told apart; further ones are counted as one
UNSEEN, UNKNOWN = -1, -2  # no message yet; a direction that is not judged


class TwoStacks:
    """See the module."""

    name = "two_stacks"

    def __init__(self) -> None:
        self._rule = knowledge.detector_rules()["address.two-stacks"]
        self._beginnings = Growing(np.int8, UNSEEN)  # by 2 * conversation + direction: index in BEGINNINGS
        self._began = self._beginnings.values
        self._new, self._odd = np.zeros(MAX_NEW, np.int64), np.zeros(MAX_ODD, np.int64)
        self._odd_began = np.zeros(MAX_ODD, np.int8)
        self._services: dict[tuple[int, int], int] = {}  # (host, port) -> index in BEGINNINGS
        self._problems: dict[tuple[int, ...], Problem] = {}
        self._recycled = 0

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        if batch.size:
            self._grow(scene)
            last = int(batch.columns.frame.min())
            for frames in reversed(scene.frames):
                self._compare(batch, frames, scene)
                if frames.first <= last:
                    break
        yield from self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        yield from self._say(scene, final=True)

    def _grow(self, scene: Scene) -> None:
        """Room for all conversations; their rows stand for others once they were freed."""
        if scene.view.recycled != self._recycled:
            self._recycled = scene.view.recycled
            self._began[:] = UNSEEN
        self._began = self._beginnings.grow(2 * len(scene.view.conversations))

    def _compare(self, batch: EventBatch, frames: FrameBatch, scene: Scene) -> None:
        """Compare the messages that `frames` complete with what their senders began with before."""
        columns = batch.columns
        row = 0
        while row < batch.size:
            news, odds, reached = compare(
                row, columns.frame, columns.conversation, columns.forward,
                frames.data, frames.offset, frames.captured, frames.link, frames.first,
                self._began, self._new, self._odd, self._odd_began,
            )  # fmt: skip
            # A direction that is somebody else's from its first message on: once more.
            if news and self._meet(scene, self._new[:news]):
                continue
            self._count(batch, self._odd[:odds], self._odd_began[:odds], scene)
            row = reached

    def _count(self, batch: EventBatch, rows: npt.NDArray[np.int64], began: npt.NDArray[np.int8], scene: Scene) -> None:
        """Count messages that another stack has sent."""
        if not len(rows):
            return
        columns = batch.columns
        slots = 2 * columns.conversation[rows].astype(np.int64) + (columns.forward[rows] != 0)
        for same in alike([slots]):
            self._tell(scene, batch, rows[same], int(slots[same[0]]), int(began[same[0]]))

    def _meet(self, scene: Scene, slots: npt.NDArray[np.int64]) -> bool:
        """First messages of directions of conversations: whether the service of one had another stack before."""
        talks = scene.view.conversations.take(slots >> 1)
        carried = talks["tunnel"] != 0
        self._began[slots[carried]] = UNKNOWN
        of_a = (slots & 1).astype(np.bool_)
        hosts = np.where(of_a, talks["a_host"], talks["b_host"])
        ports = np.where(of_a, talks["a_port"], talks["b_port"])
        serves = ~carried & (ports < EPHEMERAL)
        another = False
        for slot, host, port in zip(
            slots[serves].tolist(), hosts[serves].tolist(), ports[serves].tolist(), strict=True
        ):
            service, began = (host, port), int(self._began[slot])
            if service not in self._services and len(self._services) < MAX_SERVICES:
                self._services[service] = began
            known = self._services.get(service, began)
            if known != began:
                self._began[slot] = known
                another = True
        return another

    def _tell(self, scene: Scene, batch: EventBatch, rows: npt.NDArray[np.int64], slot: int, began: int) -> None:
        """Count messages of one direction that another stack has sent."""
        if self._began[slot] < 0:
            return
        row = scene.view.conversations[slot >> 1]
        key: tuple[int, ...] = (int(row.a_host), int(row.b_host), slot & 1)
        if key not in self._problems and len(self._problems) >= MAX_PROBLEMS:
            key = (-1,)
        if key not in self._problems:
            talk = scene.view.conversation(slot >> 1)
            source, destination = (talk.ip_a, talk.ip_b) if slot & 1 else (talk.ip_b, talk.ip_a)
            told = len(key) > 1
            problem = Problem(
                self._rule,
                scene.exhibit(),
                protocol=family(int(batch.columns.protocol[rows[0]])).name.lower(),
                source_ip=source if told else "",
                destination_ip=destination if told else "",
            )
            usual, now = BEGINNINGS[self._began[slot]], BEGINNINGS[began]
            problem.values["seen"] = Text(
                f"IP 生存时间此前从 {usual} 起，这些报文却从 {now} 起",
                f"its packets began with an IP time to live of {usual} before, these with {now}",
            )
            self._problems[key] = problem
        problem = self._problems[key]
        times = batch.columns.ts_ns[rows]
        problem.add(len(rows), int(times.min()), int(times.max()))
        scene.show(problem.exhibit, batch, rows.tolist())

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for problem in self._problems.values():
            if problem.open and (final or problem.due(scene.now_ns)):
                yield problem.record(scene.now_ns, {"protocol": problem.who["protocol"]})


@njit(cache=True, nogil=True, boundscheck=True)
def compare(
    start: int,
    number: npt.NDArray[np.int64],
    conversation: npt.NDArray[np.int32],
    forward: npt.NDArray[np.uint8],
    data: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    link: npt.NDArray[np.int32],
    first: int,
    began: npt.NDArray[np.int8],
    new: npt.NDArray[np.int64],
    odd: npt.NDArray[np.int64],
    odd_began: npt.NDArray[np.int8],
) -> tuple[int, int, int]:
    """(directions that now have their beginning, messages that differ from it, the row to go on with).

    The former are put into `new` as numbers, the latter into `odd` as rows, with what they began with. number,
    conversation, forward: columns of events. The others: of the frames; Ethernet with at most one VLAN tag.
    """
    news = odds = 0
    for row in range(start, len(number)):
        if odds == len(odd):
            return news, odds, row
        index = number[row] - first
        if index < 0 or index >= len(offset) or link[index] != ETHERNET or captured[index] < ENOUGH_OCTETS:
            continue
        at = offset[index] + 12
        kind = data[at] << 8 | data[at + 1]
        if kind == VLAN:
            at += 4
            kind = data[at] << 8 | data[at + 1]
        if kind == IPV4:
            live = data[at + 10]
        elif kind == IPV6:
            live = data[at + 9]
        else:
            continue
        beginning = 0 if live <= 64 else 1 if live <= 128 else 2
        slot = 2 * np.int64(conversation[row]) + (forward[row] != 0)
        if began[slot] == UNSEEN:
            began[slot] = beginning
            if news < len(new):
                new[news] = slot
                news += 1
        elif began[slot] >= 0 and began[slot] != beginning:
            odd[odds] = row
            odd_began[odds] = beginning
            odds += 1
    return news, odds, len(number)
