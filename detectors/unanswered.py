"""Unanswered commands: writes and controls that expect an answer and got none.

Tells two cases apart: the capture holds nothing at all of the device's direction (then the mirror port copies one
direction, or the device is dead), or the device speaks but this command stayed without an answer. Repetitions of one
command count once. Blind to commands that by their nature have no answer, and to requests of the last two seconds of a
capture. A request is given up after 30 seconds (sensor/decode/state.py). Technique: T0803.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Severity, Text
from detectors.keys import distinct
from detectors.problem import Problem
from detectors.roles import Roles, said
from sensor.decode.pdu import Anomaly, Kind, Outcome
from sensor.events import EventBatch
from sensor.operations import Verb

MAX_PAIRS = 4096  # pairs of asker and device; unanswered commands of further ones are counted as one problem


class _Pair:
    """Commands of one asker to one device."""

    def __init__(self, client: int, server: int, problem: Problem) -> None:
        self.client, self.server, self.problem = client, server, problem
        self.verbs: dict[Verb, None] = {}
        self.behaviours: list[int] = []  # rows with outcome UNANSWERED
        self.repeated = 0  # times that a command was asked again before it was answered
        self.counted = 0


class Unanswered:
    """See the module."""

    name = "unanswered"

    def __init__(self) -> None:
        self._rules = knowledge.detector_rules()
        self._roles = Roles()
        self._fresh = Fresh()
        self._pairs: list[_Pair] = []
        self._index: dict[tuple[int, ...], int] = {}
        self._pair_of = Labels()  # by request behaviour

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        columns = batch.columns
        again = np.flatnonzero((columns.anomalies & Anomaly.REPEATED) != 0)
        pair = self._pair_of[columns.behaviour[again]]
        for number in pair[pair >= 0].tolist():
            self._pairs[number].repeated += 1
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        return self._say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        view = scene.view
        new = self._fresh.rows(view.behaviours.table)
        if not len(new):
            return
        table = view.behaviours.table
        for rows, _ in self._roles.commands(view, new):
            b = table.take(rows)
            for same in alike([b["client"], b["server"], b["protocol"], b["station"]]):
                self._pair_of[rows[same]] = self._pair(scene, int(rows[same[0]]))
        for rows, verb in self._roles.commands(view, new, Outcome.UNANSWERED):
            pairs = self._pair_of[table["asked"][rows]]
            for number in distinct(pairs[pairs >= 0]).tolist():
                self._pairs[number].behaviours += rows[pairs == number].tolist()
                self._pairs[number].verbs[verb] = None

    def _pair(self, scene: Scene, row: int) -> int:
        b = scene.view.behaviours.table[row]
        key = (int(b.client), int(b.server), int(b.protocol), int(b.station))
        if key not in self._index and len(self._index) >= MAX_PAIRS:
            key = (-1, -1, int(b.protocol), -1)
        if key not in self._index:
            fields = scene.view.behaviours.describe(row)
            known = key[0] >= 0
            self._index[key] = len(self._pairs)
            problem = Problem(
                self._rules["command.unanswered"],
                scene.exhibit(),
                protocol=fields["network.protocol"],
                **ends(fields if known else {}),
                station=station_of(int(b.protocol), key[3]),
            )
            self._pairs.append(_Pair(key[0], key[1], problem))
        return self._index[key]

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        table = scene.view.behaviours.table
        for it in self._pairs:
            if not it.behaviours:
                continue
            rows = table[it.behaviours]
            lost = max(int(rows["count"].sum()) - it.repeated, 0)
            if lost > it.counted:
                it.problem.add(lost - it.counted, int(rows["first_ns"].min()), int(rows["last_ns"].max()))
                it.counted = lost
            if it.problem.open and (final or it.problem.due(scene.now_ns)):
                yield self._record(scene, it, int(rows["last_ns"].max()))

    def _record(self, scene: Scene, it: _Pair, last_ns: int) -> Finding:
        for row in it.behaviours[:20]:
            b = scene.view.behaviours.table[row]
            described = scene.view.behaviours.describe(row)
            for number in sorted({int(b.first_frame), int(b.last_frame)}):
                scene.show_frame(it.problem.exhibit, number, ({"frame": number, **described},))
        answered_ns, speaks = _heard(scene, it.client, it.server)
        severity, seen = Severity.MEDIUM, Text("此后设备再没有应答过", "after that the device answered nothing more")
        it.problem.rule = self._rules["command.unanswered"]
        if not speaks:
            it.problem.rule, severity = self._rules["capture.one-way"], Severity.INFORMATIONAL
        elif answered_ns > last_ns:
            severity, seen = Severity.LOW, Text("设备仍应答其他请求", "the device does answer other requests")
        return it.problem.record(scene.now_ns, {"verbs": said(it.verbs), "seen": seen}, severity=severity)


def _heard(scene: Scene, client: int, server: int) -> tuple[int, bool]:
    """(capture time of the last answer of `server` to `client`, whether it sent anything at all)."""
    table = scene.view.behaviours.table
    between = (table["client"] == client) & (table["server"] == server) & (table["kind"] != Kind.REQUEST)
    if between.any():
        return int(table["last_ns"][between].max()), True
    talks = scene.view.conversations
    sent_a = (talks["a_host"] == server) & (talks["b_host"] == client) & (talks["frames_a"] > 0)
    sent_b = (talks["b_host"] == server) & (talks["a_host"] == client) & (talks["frames_b"] > 0)
    return -1, bool((sent_a | sent_b).any()) or client < 0
