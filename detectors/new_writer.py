"""New writer: a host that writes to or commands a device, and did not while we learned who does.

Learning looks at the first part of what is seen of each device: `learn_s` seconds on a live link, or a share of the
time span of a capture, which is judged when the capture has ended. A device must have been in regular exchange all
that time; of a device that just appeared, or was met now and then only, nothing is claimed. Blind to a writer that was
already there while learning, and to a known writer's host in wrong hands. What is dangerous is never learned:
detectors/operations.py says it anyway. A writer that is not new, or too early to tell, may still be one that never
looks at what it changes: see detectors/blind_writer.py. Techniques: T0855, T0848, T0836.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.attendance import fell_silent, steadily_met
from detectors.blind_writer import ASKERS_READ, Write, blind
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Severity, Text
from detectors.problem import Problem
from detectors.roles import Roles, said
from sensor.decode.pdu import Kind, Outcome, Protocol, family
from sensor.events import EventBatch
from sensor.operations import Verb

LEARN_SHARE = 0.2  # of the time span of a capture
LEARN_MIN_S = 10.0  # less is too short to know who is who
SURE_NS = 100 * 10**9  # a device watched for less before the first write: who else writes may just not have come yet
WATCH_NS = 120 * 10**9  # after the first write; a station that has just started may write before its first poll
ONE_MASTER = (Protocol.DNP3, Protocol.IEC104)  # a device of these has one; a standby takes over when it falls silent
MAX_WRITES = 64  # of one writer looked at one by one
MIN_EXCHANGES = 10  # with a device, before it counts as known
MAX_WRITERS = 4096  # pairs of writer and device; a flood beyond is followed as one


class _Writer:
    """One host that commands one device."""

    def __init__(self, client: int, server: int, protocol: int, problem: Problem) -> None:
        self.client, self.server, self.protocol, self.problem = client, server, protocol, problem
        self.first_ns: int | None = None
        self.verbs: dict[Verb, None] = {}
        self.new: bool | None = None  # None: not judged yet
        self.blind: bool | None = None
        self.writes: list[Write] = []  # the first of them
        self.seen: Text | None = None  # what it did before
        self.severity: Severity | None = None  # in place of the rule's
        self.watched_ns = 0  # how long its device was seen before the first write


class NewWriter:
    """See the module. learn_s: seconds on a live link; None: a share of the span, judged at the end."""

    name = "new_writer"

    def __init__(self, learn_s: float | None = None, share: float = LEARN_SHARE) -> None:
        self._learn_ns = None if learn_s is None else int(max(learn_s, LEARN_MIN_S) * 1e9)
        self._share = share
        self._rules = knowledge.detector_rules()
        self._roles = Roles()
        self._fresh = Fresh()
        self._writers: list[_Writer] = []
        self._index: dict[tuple[int, ...], int] = {}
        self._writer_of = Labels()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        if not self._writers:
            return
        columns = batch.columns
        writer = self._writer_of[columns.behaviour]
        rows = np.flatnonzero(writer >= 0)
        for same in alike([writer[rows]]):
            mine = rows[same]
            it = self._writers[int(writer[mine[0]])]
            times = columns.ts_ns[mine]
            first = int(times.min())
            it.first_ns = first if it.first_ns is None else min(it.first_ns, first)
            if len(it.writes) < MAX_WRITES:
                some = mine[: MAX_WRITES - len(it.writes)]
                wanted = (columns.ts_ns, columns.behaviour, columns.value)
                it.writes += zip(*(column[some].tolist() for column in wanted), strict=True)
            if it.new is False and it.blind is False:
                continue
            it.problem.add(len(mine), first, int(times.max()))
            scene.show(it.problem.exhibit, batch, mine.tolist())
        if self._learn_ns is not None:
            yield from self._say(scene, self._learn_ns, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        span_ns = max(scene.now_ns - scene.start_ns, 0)
        learn_ns = self._learn_ns
        if learn_ns is None:
            learn_ns = max(int(span_ns * self._share), int(LEARN_MIN_S * 1e9))
        yield from self._say(scene, learn_ns, final=True)

    def _learn(self, scene: Scene) -> None:
        """Find the writers among behaviours that are new."""
        view = scene.view
        table = view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        orphans = new[np.isin(table["protocol"][new], ASKERS_READ) & (table["asked"][new] < 0)]
        answers = self._roles.commands(
            view, orphans, Outcome.ANSWERED, Kind.RESPONSE
        )  # whose requests were not captured
        for rows, verb in (*self._roles.commands(view, new), *answers):
            b = table.take(rows)
            # A DNP3 master is known by its link address too: another one from the same host is another master.
            asker = np.where(b["protocol"] == Protocol.DNP3, b["station"] >> 16, -1)
            for same in alike([b["client"], b["server"], b["protocol"], asker]):
                number = self._writer(scene, int(rows[same[0]]), int(asker[same[0]]))
                self._writer_of[rows[same]] = number
                self._writers[number].verbs[verb] = None

    def _writer(self, scene: Scene, row: int, asker: int) -> int:
        """Number of the writer that a behaviour belongs to."""
        view = scene.view
        b = view.behaviours.table[row]
        key = (int(b.client), int(b.server), int(b.protocol), asker)
        if key not in self._index and len(self._index) >= MAX_WRITERS:
            key = (-1, -1, int(b.protocol), -1)
        if key not in self._index:
            fields = view.behaviours.describe(row) if key[0] >= 0 else {}
            self._index[key] = len(self._writers)
            problem = Problem(
                self._rules["writer.new"],
                scene.exhibit(),
                protocol=family(int(b.protocol)).name.lower(),
                **ends(fields),
                station=station_of(int(b.protocol), int(b.station)) if asker >= 0 else None,
            )
            self._writers.append(_Writer(key[0], key[1], key[2], problem))
        return self._index[key]

    def _say(self, scene: Scene, learn_ns: int, *, final: bool) -> Iterator[Finding]:
        for number, it in enumerate(self._writers):
            if it.new is None and it.first_ns is not None:
                it.new = self._judge(scene, it, learn_ns)
            if it.new is False and it.blind is None and (final or scene.now_ns - (it.first_ns or 0) >= WATCH_NS):
                it.blind = self._look(scene, it)
                if not it.blind:  # a station like any other: its writes need not be looked at again
                    self._writer_of[np.flatnonzero(self._writer_of[: self._fresh.known] == number)] = -1
            if (it.new or it.blind) and it.problem.open and (final or it.problem.due(scene.now_ns)):
                yield it.problem.record(scene.now_ns, self._values(it), severity=it.severity)

    def _judge(self, scene: Scene, it: _Writer, learn_ns: int) -> bool:
        """Whether a writer is new: its device was in regular exchange for the learning time before the first write."""
        first_ns = it.first_ns or 0
        if it.client < 0:
            return first_ns - scene.start_ns >= learn_ns
        earlier = _requests(scene, before_ns=first_ns)
        device = earlier.compress(earlier["server"] == it.server)
        if not len(device):
            return False
        learned_ns = int(device["first_ns"].min()) + learn_ns
        known = device.compress(device["first_ns"] <= learned_ns)
        if first_ns < learned_ns or int(known["count"].sum()) < MIN_EXCHANGES:
            return False
        if not steadily_met(scene.view, it.server, first_ns):
            return False
        polled = earlier.compress(earlier["server"] == it.client)
        asks = earlier["client"] == it.client
        if int(polled["count"].sum()) >= MIN_EXCHANGES and not asks.any():
            it.problem.rule = self._rules["writer.polled-device"]
        elif not asks.any():
            it.seen = Text("它此前从未出现过", "it had not been seen before at all")
        elif (asks & (earlier["server"] == it.server) & (earlier["first_ns"] <= learned_ns)).any():
            it.seen = Text("此前它只读取过", "until then it had only read")
            # Operators act seldom: that a device's only master begins to write is far less odd than a second writer.
            if not self._written_by_others(it):
                it.severity = Severity.LOW
        else:
            since = (first_ns - int(earlier["first_ns"][asks].min())) // 10**9
            it.seen = Text(f"它在 {since} 秒前才出现", f"it had appeared only {since} seconds before")
        it.watched_ns = first_ns - int(device["first_ns"].min())
        if self._takes_over(scene, it, device):
            it.severity = Severity.LOW
            it.seen = Text("它接替了此前已沉默的主站", "it took the place of a master that had fallen silent")
        if it.watched_ns < SURE_NS and it.problem.rule.severity == Severity.MEDIUM:
            it.severity = Severity.LOW
        return True

    def _takes_over(self, scene: Scene, it: _Writer, earlier: npt.NDArray[np.void]) -> bool:
        """Whether it took the place of a device's one master, as a standby does. earlier: what the device was asked."""
        if it.protocol not in ONE_MASTER:
            return False
        others = set(earlier["client"][earlier["protocol"] == it.protocol].tolist()) - {it.client}
        mine = scene.view.behaviours.column("first_ns")[scene.view.behaviours.column("client") == it.client]
        came_ns = int(mine.min())
        return bool(others) and all(fell_silent(scene.view, one, it.server, came_ns, scene.now_ns) for one in others)

    def _look(self, scene: Scene, it: _Writer) -> bool:
        """Whether a writer never looks at what it changes."""
        if it.client < 0 or it.protocol not in ASKERS_READ:
            return False
        odd = blind(scene.view, self._roles, it.client, it.server, it.writes)
        if odd is None:
            return False
        it.problem.rule, it.severity, it.seen = self._rules[odd.rule], odd.severity, odd.seen
        return True

    def _written_by_others(self, it: _Writer) -> bool:
        """Whether another host wrote to the device before."""
        return any(
            other.server == it.server and other.client != it.client and (other.first_ns or 0) < (it.first_ns or 0)
            for other in self._writers
            if other.first_ns is not None
        )

    def _values(self, it: _Writer) -> dict[str, Any]:
        return {
            "learned": it.watched_ns // 10**9,
            "protocol": it.problem.who["protocol"],
            "verbs": said(it.verbs),
            "seen": it.seen,
        }


def _requests(scene: Scene, before_ns: int) -> npt.NDArray[np.void]:
    """Request behaviours that were there before a time."""
    table = scene.view.behaviours.table
    rows = np.flatnonzero(scene.view.behaviours.column("first_ns") < before_ns)
    rows = rows[(table["kind"][rows] == Kind.REQUEST) & (table["outcome"][rows] == Outcome.ASKED)]
    earlier: npt.NDArray[np.void] = table.take(rows)
    return earlier
