"""Operations that people should know about: stop, download, restart, force, delete, write.

Catches every request that rules/operations/*.yaml names, whether the device accepts it or not. Blind to what the
decoder cannot read (encrypted or unknown protocols) and to commands given at the device itself. Works on behaviours: a
request is classified once, when it is new; afterwards it is counted by columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Severity, Text
from detectors.knowledge import NOTHING, Aggravation, Operation
from detectors.matching import COLUMN_FIELDS
from detectors.problem import Problem
from detectors.wording import fill, names
from sensor.decode.pdu import Outcome, family
from sensor.events import EventBatch

MAX_PROBLEMS = 4096  # pairs of addresses counted apart; a flood beyond is counted as one problem for each operation
MAX_DISTINCT = 64  # values of one field remembered to be named in the text
MOST_SHOWN = 200  # events looked at to fill an exhibit: several may stand in one frame
PATIENCE_NS = 10**9  # how long the answer may take before we speak without it
_ASKED, _ANSWERED, _REFUSED, _UNANSWERED = range(4)  # columns of the totals
_ROLE = {Outcome.ASKED: _ASKED, Outcome.UNSOLICITED: _ASKED, Outcome.ANSWERED: _ANSWERED, Outcome.REFUSED: _REFUSED,
         Outcome.UNANSWERED: _UNANSWERED}  # fmt: skip


class Classifier:
    """Names the operation of a described request."""

    def __init__(self, content: Sequence[knowledge.Operations]) -> None:
        self._content = {known.protocol: known for known in content}
        self._candidates: dict[tuple[int, int, int], tuple[Operation, ...]] = {}

    def candidates(self, protocol: int, function: int, subfunction: int) -> tuple[Operation, ...]:
        """Operations that a request with these codes can be, in the order in which they are tried."""
        key = (protocol, function, subfunction)
        if key not in self._candidates:
            known = self._content.get(family(protocol))
            self._candidates[key] = tuple(
                operation
                for operation in (known.operations if known else ())
                if any(
                    match.possible(operation.protocol, function, subfunction)
                    for match in (*operation.matches, *operation.from_device)
                )
            )
        return self._candidates[key]

    def shallow(self, protocol: int, function: int, subfunction: int) -> bool:
        """Whether codes and station alone decide which operation it is."""
        return all(
            match.exact.keys() <= COLUMN_FIELDS
            for operation in self.candidates(protocol, function, subfunction)
            for match in (*operation.matches, *operation.from_device)
        )

    def classify(self, behaviour: Any, fields: Mapping[str, Any]) -> tuple[Operation, bool] | None:
        """(operation, whether the device itself sends this request), None where nothing is known about it.

        behaviour: the row of the behaviour table; fields: the same described.
        """
        codes = int(behaviour.protocol), int(behaviour.function), int(behaviour.subfunction)
        for operation in self.candidates(*codes):
            if any(match.holds(fields) for match in operation.matches):
                return operation, False
            if any(match.holds(fields) for match in operation.from_device):
                return operation, True
        return None

    def aggravations(self, operation: Operation, fields: Mapping[str, Any]) -> Iterator[Aggravation]:
        """What makes this request worse."""
        for aggravation in self._content[operation.protocol].aggravations:
            if operation.kind in aggravation.classes and aggravation.match.holds(fields):
                yield aggravation


class _Group:
    """All requests of one operation between one source and destination."""

    def __init__(self, operation: Operation, problem: Problem) -> None:
        self.operation, self.problem = operation, problem
        self.worse: list[Aggravation] = []
        self.values: dict[str, dict[Any, None]] = {
            name: {}
            for template in (operation.saw, operation.why, operation.check)
            for name in names(template.zh) + names(template.en)
            if "." in name
        }
        self.since_ns = 0  # first request that no record carries yet

    def learn(self, fields: Mapping[str, Any]) -> None:
        """Remember the values that the text names."""
        for name, seen in self.values.items():
            got = fields.get(name)
            for value in got if isinstance(got, (list, tuple)) else [got]:
                if value is not None and len(seen) < MAX_DISTINCT:
                    seen[value] = None


class Operations:
    """See the module."""

    name = "operations"

    def __init__(self, content: Sequence[knowledge.Operations] | None = None) -> None:
        self._classifier = Classifier(knowledge.operations() if content is None else content)
        self._fresh = Fresh()
        self._groups: list[_Group] = []
        self._index: dict[tuple[object, ...], int] = {}
        self._by_exchange: dict[tuple[int, ...], int] = {}
        self._described: dict[tuple[int, ...], int] = {}  # behaviours of a kind whose values were looked at
        self._group_of, self._role_of = Labels(), Labels()  # by behaviour

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        if not self._groups:
            return ()
        columns = batch.columns
        group = self._group_of[columns.behaviour]
        rows = np.flatnonzero(group >= 0)
        if len(rows):
            self._count(batch, rows, group[rows], scene)
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        return self._say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Classify behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        self._group_of.grow(len(table))
        self._role_of.grow(len(table))
        outcome = table["outcome"][new]
        for value, role in _ROLE.items():
            self._role_of.values[new[outcome == value]] = role
        asks = self._role_of[new] == _ASKED
        self._classify(scene, new[asks])
        answers = new[~asks]
        asked = table["asked"][answers]
        known = asked >= 0
        self._group_of.values[answers[known]] = self._group_of[asked[known]]
        for row in answers[~known].tolist():  # a broadcast or a request that the capture missed: same exchange
            self._group_of.values[row] = self._by_exchange.get(_exchange(table[row]), -1)

    def _classify(self, scene: Scene, rows: npt.NDArray[np.int64]) -> None:
        """Give requests their group. Where columns alone decide, some of a kind are described, the rest follow."""
        b = scene.view.behaviours.table[rows]
        names = ("protocol", "function", "subfunction", "client", "server", "station")
        for same in alike([b[name] for name in names]):
            key = tuple(int(b[name][same[0]]) for name in names)
            candidates = self._classifier.candidates(*key[:3])
            if not candidates:
                continue
            mine = rows[same]
            described = len(mine)
            if self._classifier.shallow(*key[:3]):
                described = min(described, MAX_DISTINCT - self._described.get(key, 0))
                self._described[key] = self._described.get(key, 0) + described
            for row in mine[:described].tolist():
                self._group_of.values[row] = self._group(scene, row)
            if described < len(mine):
                self._group_of.values[mine[described:]] = self._by_exchange.get(_exchange(b[same[0]]), -1)

    def _group(self, scene: Scene, row: int) -> int:
        """Number of the group of a request behaviour, -1 where nothing is known about it."""
        behaviour = scene.view.behaviours.table[row]
        fields = scene.view.behaviours.describe(row)
        found = self._classifier.classify(behaviour, fields)
        if found is None:
            return -1
        operation, from_device = found
        who = ends(fields)
        source, destination = who["source_ip"], who["destination_ip"]
        if from_device:
            source, destination = destination, source
        station = station_of(int(behaviour.protocol), int(behaviour.station))
        key: tuple[object, ...] = (operation.id, source, destination, station)
        if key not in self._index:
            if len(self._index) >= MAX_PROBLEMS:
                key, source, destination, station = (operation.id,), "", "", None
            if key not in self._index:
                port = None if from_device or not destination else fields.get("destination.port")
                self._index[key] = len(self._groups)
                self._groups.append(
                    _Group(
                        operation,
                        Problem(
                            operation,
                            scene.exhibit(),
                            protocol=fields["network.protocol"],
                            source_ip=source,
                            destination_ip=destination,
                            destination_port=port,
                            station=station,
                            fields=operation.constants(),
                        ),
                    )
                )
        number = self._index[key]
        group = self._groups[number]
        group.learn(fields)
        for aggravation in self._classifier.aggravations(operation, fields):
            if aggravation not in group.worse:
                group.worse.append(aggravation)
        self._by_exchange.setdefault(_exchange(behaviour), number)
        return number

    def _count(
        self, batch: EventBatch, rows: npt.NDArray[np.int64], group: npt.NDArray[np.int32], scene: Scene
    ) -> None:
        """Count the requests among `rows` and keep evidence of requests and answers."""
        columns = batch.columns
        requests = self._role_of[columns.behaviour[rows]] == _ASKED
        size = len(self._groups)
        times = columns.ts_ns[rows[requests]]
        first = np.full(size, np.iinfo(np.int64).max)
        last = np.full(size, np.iinfo(np.int64).min)
        np.minimum.at(first, group[requests], times)
        np.maximum.at(last, group[requests], times)
        counts = np.bincount(group[requests], minlength=size)
        for same in alike([group]):
            number = int(group[same[0]])
            it = self._groups[number]
            if counts[number]:
                if not it.problem.open:
                    it.since_ns = int(first[number])
                it.problem.add(int(counts[number]), int(first[number]), int(last[number]))
            if not it.problem.exhibit.full:
                scene.show(it.problem.exhibit, batch, rows[same[:MOST_SHOWN]].tolist())

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        due = [
            number
            for number, it in enumerate(self._groups)
            if it.problem.open and (final or it.problem.due(scene.now_ns))
        ]
        if not due:
            return
        totals = self._totals(scene)
        for number in due:
            it = self._groups[number]
            asked, answered, refused, unanswered = totals[number].tolist()
            waits = it.operation.answers and answered + refused + unanswered < asked
            if waits and not final and scene.now_ns - it.since_ns < PATIENCE_NS:
                continue
            yield self._record(it, scene.now_ns, answered, refused)

    def _totals(self, scene: Scene) -> npt.NDArray[np.int64]:
        """(groups, 4): how often each was asked, answered, refused, left unanswered."""
        table = scene.view.behaviours.table
        known = self._group_of.values[: len(table)]
        rows = np.flatnonzero(known >= 0)
        cell = known[rows].astype(np.int64) * 4 + self._role_of[rows]
        totals = np.bincount(cell, weights=table["count"][rows], minlength=4 * len(self._groups))
        return totals.astype(np.int64).reshape(-1, 4)

    def _record(self, it: _Group, now_ns: int, answered: int, refused: int) -> Finding:
        severity, notes = it.operation.severity, [_outcome(it.operation, it.problem.total, answered, refused)]
        for aggravation in it.worse:
            if (aggravation.unless_answered and answered) or refused < aggravation.refusals:
                continue
            severity = max(severity, aggravation.severity)
            notes.append(Text(fill(aggravation.note.zh, {}), fill(aggravation.note.en, {})))
        values: dict[str, Any] = {name: list(seen) for name, seen in it.values.items()}
        more = Text("".join(note.zh for note in notes), " ".join(note.en for note in notes if note.en))
        return it.problem.record(now_ns, values, more, Severity(severity))


def _exchange(behaviour: Any) -> tuple[int, ...]:
    """What a request and an answer have in common, whatever was asked."""
    names = ("client", "server", "protocol", "station", "function", "subfunction")
    return tuple(int(behaviour[name]) for name in names)


def _outcome(operation: Operation, count: int, answered: int, refused: int) -> Text:
    """What became of the requests."""
    if operation.kind == "report":
        return NOTHING
    if not operation.answers and not answered and not refused:
        times = Text("", "") if count == 1 else Text(f"共 {count} 次。", f"This happened {count} times.")
        return Text(
            times.zh + "按规约设备对此不作应答，因此从网络上看不出是否成功。",
            f"{times.en} The standard provides no answer, so success cannot be seen from the network.".strip(),
        )
    if count == 1:
        if refused:
            return Text("设备拒绝了该请求。", "The device refused.")
        if answered:
            return Text("设备接受了该请求。", "The device accepted it.")
        return Text("未见设备应答。", "No answer was seen.")
    silent = max(count - answered - refused, 0)
    zh = [f"接受 {answered} 次"] * bool(answered) + [f"拒绝 {refused} 次"] * bool(refused)
    en = [f"{answered} accepted"] * bool(answered) + [f"{refused} refused"] * bool(refused)
    if silent:
        zh.append(f"{silent} 次未见应答")
        en.append(f"{silent} without an answer")
    return Text(f"共 {count} 次请求：{'，'.join(zh)}。", f"Requests: {count}; {', '.join(en)}.")
