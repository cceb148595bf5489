"""One finding for one engineering operation: stop, delete, download, activate and start are parts of one download.

Catches what a host does to a controller with programming software, as steps of a session (detectors/engineering/
steps.py). The first step is told at once by the finding of its own; as soon as a different core step follows, what
follows are records of the same problem (the same fingerprint) under the operation's name, and the findings of single
steps are folded into it. A lone step stays what it is. Blind to steps of protocols that the decoder cannot read.

Works on behaviours: a request is classified once, when it is new; afterwards it is counted by columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.engineering.session import GAP_NS, LEAD_NS, Session, later_name
from detectors.engineering.steps import Step, maybe, objects_of, possible, step_of
from detectors.engineering.tool import Tools
from detectors.finding import Finding
from detectors.problem import Problem
from sensor.decode.pdu import Outcome, Protocol, family
from sensor.events import EventBatch

MAX_PAIRS = 1024  # pairs of engineering host and controller watched at one time; a plant has tens
MAX_GROUPS = 8192  # different (pair, step, block) classified in a run: more is a flood, told by the single operations
MAX_CHANGES = 256  # blocks that changed, told between two calls of `fold`
MAX_SPENT = 4096  # fingerprints that operations took over
MOST_SHOWN = 200  # events looked at in one batch to fill an exhibit
_ASKED, _ANSWERED, _REFUSED, _UNANSWERED = range(4)
_ROLE = {Outcome.ASKED: _ASKED, Outcome.UNSOLICITED: _ASKED, Outcome.ANSWERED: _ANSWERED, Outcome.REFUSED: _REFUSED,
         Outcome.UNANSWERED: _UNANSWERED}  # fmt: skip
_FETCHED_BY_DEVICE = (0x1B, 0x1C)  # an S7 download: the controller asks, so the one who is asked acts


class _Pair:
    """Who works on what, the session that goes on, and those that ended since the last time findings were asked for."""

    def __init__(self, who: dict[str, Any], conversation: int) -> None:
        self.who, self.conversation = who, conversation
        self.session = Session()
        self.past: list[Session] = []

    @property
    def place(self) -> tuple[object, ...]:
        """What findings have in common with it."""
        return self.who["source_ip"], self.who["destination_ip"], self.who["station"], self.who["protocol"]

    @property
    def sessions(self) -> list[Session]:
        """All that findings may be part of."""
        return [*self.past, self.session]

    def rest(self) -> None:
        """The session is over."""
        if self.session.parts:
            self.past.append(self.session)
            self.session = Session()


class Engineering:
    """See the module. `observe` counts, `fold` says."""

    name = "engineering"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._group_of, self._role_of = Labels(), Labels()  # by behaviour
        self._groups: list[tuple[int, Step, tuple[str, ...]]] = []  # pair, step, blocks or files
        self._owner = np.zeros(MAX_GROUPS, np.int64)  # the pair of each
        self._index: dict[tuple[object, ...], int] = {}
        self._pairs: list[_Pair] = []
        self._number: dict[tuple[object, ...], int] = {}
        self._by_exchange: dict[tuple[int, ...], int] = {}
        self._spent: dict[str, int] = {}  # natural fingerprint -> operations that are over and took it as theirs
        self._rules = knowledge.detector_rules()
        self._tools = Tools()
        self._changes: list[tuple[str, str, str]] = []  # since the last call of `fold`

    def changed(self, destination: str, block: str, before: str, after: str) -> None:
        """A block of a controller differs from what was there before: hashes, as carved from the wire."""
        if len(self._changes) < MAX_CHANGES:
            self._changes.append((destination, block, f"{before[:12]} → {after[:12]}"))

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """Count the steps of a batch."""
        self._tools.observe(scene)
        self._learn(scene)
        if not self._groups or not batch.size:
            return ()
        columns = batch.columns
        group = self._group_of[columns.behaviour]
        rows = np.flatnonzero(group >= 0)
        if len(rows):
            rows = rows[np.argsort(columns.ts_ns[rows], kind="stable")]
            owner = self._owner[group[rows]]
            for same in alike([owner]):
                mine = rows[same]
                rests = np.flatnonzero(np.diff(columns.ts_ns[mine]) > GAP_NS) + 1
                for run in np.split(mine, rests):
                    self._count(self._pairs[int(owner[same[0]])], batch, run, scene)
        return ()

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """What is left is said by `fold`."""
        return ()

    def fold(self, findings: Sequence[Finding], scene: Scene, *, final: bool) -> Iterator[Finding]:
        """The findings of other detectors without those that are part of an operation, and the operations."""
        for destination, block, change in self._changes:
            for pair in self._pairs:
                if pair.who["destination_ip"] == destination:
                    for session in pair.sessions:
                        session.changes[block] = change
        self._changes.clear()
        for pair in self._pairs:
            for session in pair.sessions:
                if session.problem is None and session.several:
                    self._begin(pair, session, scene)
        for finding in findings:
            sessions = self._sessions_of(finding)
            if any(session.problem is not None for session in sessions):
                for session in sessions:
                    session.take(finding)
            else:
                yield self._passed(finding, sessions)
        for pair in self._pairs:
            for session in pair.sessions:
                yield from self._say(pair, session, scene, final=final)
            if final or scene.now_ns - pair.session.last_ns > GAP_NS:
                pair.rest()
            for session in pair.past:
                if session.natural and len(self._spent) < MAX_SPENT:
                    self._spent[session.natural] = self._spent.get(session.natural, 0) + 1
            pair.past.clear()

    def _passed(self, finding: Finding, sessions: list[Session]) -> Finding:
        """A finding that is told by itself, though an operation may grow from it."""
        natural = finding.fingerprint
        if generation := self._spent.get(natural, 0):
            finding = dataclasses.replace(finding, problem=later_name(natural, generation))
        for session in sessions:
            session.take(finding)
            if _is_core(finding, session) and session.told in ("", finding.fingerprint):
                session.told, session.natural = finding.fingerprint, natural
                session.told_count += finding.count
        return finding

    def _learn(self, scene: Scene) -> None:
        """Classify behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        for value, role in _ROLE.items():
            self._role_of[new[b["outcome"] == value]] = role
        few = new[maybe(b["protocol"], b["function"])]
        for row in few[possible(table.take(few))].tolist() if len(few) else ():
            if len(self._groups) >= MAX_GROUPS:
                break
            self._group_of[row] = self._group(scene, row)
        if not self._groups:
            return
        answers = new[self._role_of[new] > _ASKED]
        asked = table["asked"][answers]
        known = asked >= 0
        self._group_of[answers[known]] = self._group_of[asked[known]]
        functions = {key[4:] for key in self._by_exchange}
        lost = answers[~known]
        if len(lost) and functions:
            lost = lost[np.isin(table["function"][lost], [function for function, _ in functions])]
            for row in lost.tolist():  # its request was not seen, or comes later: the same exchange
                self._group_of[row] = self._by_exchange.get(_exchange(table[row]), -1)

    def _group(self, scene: Scene, row: int) -> int:
        """Number of the group of a request behaviour, -1 where it is no step."""
        b = scene.view.behaviours.table[row]
        fields = scene.view.behaviours.describe(row)
        step = step_of(b, fields)
        if step is None:
            return -1
        who = ends(fields)
        if b.protocol == Protocol.S7COMM and b.function in _FETCHED_BY_DEVICE:
            who = {
                "source_ip": who["destination_ip"],
                "destination_ip": who["source_ip"],
                "destination_port": None,
            }
        protocol = family(int(b.protocol)).name.lower()
        who |= {"station": station_of(int(b.protocol), int(b.station)), "protocol": protocol}
        place = (who["source_ip"], who["destination_ip"], who["station"], protocol)
        if place not in self._number:
            if len(self._pairs) >= MAX_PAIRS:
                return -1
            self._number[place] = len(self._pairs)
            self._pairs.append(_Pair(who, int(b.conversation)))
        owner = self._number[place]
        pair = self._pairs[owner]
        pair.who["destination_port"] = pair.who["destination_port"] or who["destination_port"]
        self._tools.learn(place, b, fields, scene.view.sample(row))
        objects = objects_of(fields)
        key = (*place, step.id, objects)
        if key not in self._index:
            self._owner[len(self._groups)] = owner
            self._index[key] = len(self._groups)
            self._groups.append((owner, step, objects))
        number = self._index[key]
        self._by_exchange.setdefault(_exchange(b), number)
        return number

    def _count(self, pair: _Pair, batch: EventBatch, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        """Count the steps in a run of one pair's events, in order of time and without a long rest."""
        columns = batch.columns
        session = pair.session
        if session.parts and int(columns.ts_ns[rows[0]]) - session.last_ns > GAP_NS:
            pair.rest()
            session = pair.session
        group, role = self._group_of[columns.behaviour[rows]], self._role_of[columns.behaviour[rows]]
        begun = session.core_ns >= 0
        for same in sorted(alike([role != _ASKED, group, role]), key=lambda it: (role[it[0]] != _ASKED, it[0])):
            mine, what = rows[same], int(role[same[0]])
            _, step, objects = self._groups[int(group[same[0]])]
            if what == _ASKED:
                first_ns, last_ns = int(columns.ts_ns[mine[0]]), int(columns.ts_ns[mine[-1]])
                session.step(step, objects, len(mine), first_ns, last_ns)
                if session.problem is not None:
                    session.problem.add(len(mine), first_ns, last_ns)
            elif what != _UNANSWERED:
                session.outcome(step, objects, *((len(mine), 0) if what == _ANSWERED else (0, len(mine))))
        if session.core_ns >= 0 and not begun:
            session.trim()
        if session.exhibit is None:
            session.exhibit = scene.exhibit()
        if not session.exhibit.full:
            scene.show(session.exhibit, batch, rows[:MOST_SHOWN].tolist())

    def _begin(self, pair: _Pair, session: Session, scene: Scene) -> None:
        """From now on this session is one operation."""
        session.problem = Problem(self._rules[session.rule_id], session.exhibit or scene.exhibit(), **pair.who)
        count = sum(part.count for part in session.parts.values()) - session.told_count
        session.problem.add(max(count, 1), session.first_ns, session.last_ns)
        if not session.told:
            session.told = later_name("|".join(map(str, (*pair.place, session.first_ns))), 0)

    def _sessions_of(self, finding: Finding) -> list[Session]:
        """The sessions that a finding is a part of."""
        if not finding.rule_id.startswith("operation."):
            return []
        place = (finding.source_ip, finding.destination_ip, finding.station, finding.protocol)
        if place not in self._number:
            return []
        kind = finding.rule_id.rsplit(".", 1)[-1]
        return [
            session
            for session in self._pairs[self._number[place]].sessions
            if kind in session.rules
            and finding.first_ns <= session.last_ns + GAP_NS
            and session.first_ns - LEAD_NS <= finding.last_ns
        ]

    def _say(self, pair: _Pair, session: Session, scene: Scene, *, final: bool) -> Iterator[Finding]:
        problem = session.problem
        if problem is None or not problem.open:
            return
        over = final or session is not pair.session or scene.now_ns - session.last_ns > GAP_NS
        steps = frozenset(step.id for step in session.steps)
        if over or problem.due(scene.now_ns) or steps != session.said:
            session.said = steps
            problem.rule = self._rules[session.rule_id]
            problem.techniques = tuple(sorted({*problem.rule.techniques, *session.techniques}))
            severity = max(problem.rule.severity, session.severity)
            values = session.words() | {"tool": self._tools.of(pair.place, pair.who["protocol"], pair.conversation)}
            finding = problem.record(scene.now_ns, values, session.told_steps(), severity)
            yield dataclasses.replace(finding, problem=session.told, absorbs=tuple(session.folded))


def _is_core(finding: Finding, session: Session) -> bool:
    last = finding.rule_id.rsplit(".", 1)[-1]
    return any(step.core and last in step.rules for step in session.steps)


def _exchange(behaviour: Any) -> tuple[int, ...]:
    """What a request and an answer have in common, whatever was asked."""
    names = ("client", "server", "protocol", "station", "function", "subfunction")
    return tuple(int(behaviour[name]) for name in names)
