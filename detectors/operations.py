"""What Sigma rules match, told: operations that people should know about, and whatever else a rule says.

Catches every event that a rule of rules/sigma names, and of requests says what became of them. Blind to what the
decoder cannot read (encrypted or unknown protocols) and to commands given at the device itself. Matching is the
matcher's work (detectors/sigma/matcher.py), once for each behaviour; here behaviours get their problem once and are
counted by columns.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Labels, Scene, alike, ends, station_of
from detectors.finding import Finding
from detectors.match_group import MAX_DISTINCT, Group
from detectors.problem import Problem
from detectors.sigma.ruleset import RuleSet
from detectors.sigma.tree import predicate
from detectors.wording import listed
from sensor.decode.pdu import Outcome
from sensor.events import EventBatch
from sensor.view import EXPLAINERS

MAX_PROBLEMS = 4096  # pairs of addresses counted apart; a flood beyond is counted as one problem for each rule
MAX_ORPHANS = 4096  # answers without a known request that are led back to one, in one batch
MOST_SHOWN = 200  # events looked at to fill an exhibit: several may stand in one frame
CONFESS_NS = 3600 * 10**9  # between two findings about rules that could not be tried on everything
EXCHANGE = ("client", "server", "protocol", "station", "function", "subfunction")
OUTCOMES = 4  # asked, answered, refused, unanswered: sensor/decode/pdu.py


class _Pair:
    """Behaviours with the same rules, client, server and station. combination: number of their groups."""

    def __init__(self, combination: int) -> None:
        self.combination, self.described = combination, 0


_NOBODY = _Pair(-1)


class Operations:
    """See the module."""

    name = "operations"

    def __init__(self, rules: RuleSet, before: npt.NDArray[np.int64] | None = None) -> None:
        """before: counts of the behaviours at hand, where this detector takes over from another."""
        self._broken = rules.broken
        self._rules = rules.rules
        places = {rule.id: number for number, rule in enumerate(rules.rules)}
        self._taken_back = {number: places[it.taken_back] for number, it in enumerate(rules.rules) if it.taken_back}
        self._aggravations = [(it, predicate(it.condition)) for it in rules.aggravations]
        self._groups: list[Group] = []
        self._index: dict[tuple[object, ...], int] = {}
        self._undoes: dict[int, tuple[object, ...]] = {}  # group -> where the one stands that takes it back
        self._pairs: dict[int, _Pair] = {}
        self._rest: dict[int, _Pair] = {}  # by set of rules, when there are too many pairs
        self._combinations: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._by_exchange: dict[tuple[int, ...], int] = {}
        self._known = 0  # rows of the behaviour table that were looked at for answers without a request
        self._before = np.zeros(0, np.int64) if before is None else before
        self._groups_of, self._orphan_of = Labels(), Labels()  # by behaviour, numbers of combinations
        self._factors = np.array([secrets.randbits(63) << 1 | 1 for _ in range(4)], np.uint64)
        self._confess_at = -1

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        yield from self._confess(scene)
        self._learn(scene)
        self._lead_back(scene)
        if self._combinations:
            self._count(batch, self._groups_of[batch.columns.behaviour], scene)
        for number, rows in scene.matcher.late:
            self._count_late(batch, number, rows, scene)
        yield from self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._lead_back(scene)
        self._confess_at = -1
        yield from self._confess(scene)
        yield from self._say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Give behaviours that were looked at now their groups."""
        table = scene.view.behaviours.table
        matcher = scene.matcher
        sets = matcher.set_of[matcher.fresh]
        fresh, sets = matcher.fresh[sets >= 0], sets[sets >= 0]
        if not len(fresh):
            return
        b = table.take(fresh)
        key = np.zeros(len(fresh), np.uint64)
        for part, factor in zip((b["client"], b["server"], b["station"], sets), self._factors, strict=True):
            key = (key ^ part.astype(np.int64).view(np.uint64)) * factor  # random: nobody can aim at a collision
            key ^= key >> np.uint64(29)
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        pairs: list[_Pair] = [_NOBODY] * len(unique)
        for place in np.argsort(first).tolist():  # in the order of events, which decides who is named
            one, at = int(unique[place]), int(first[place])
            pairs[place] = self._pairs.get(one) or self._pair(one, int(sets[at]), int(fresh[at]), scene)
        self._groups_of[fresh] = np.array([pair.combination for pair in pairs], np.int32)[inverse]
        curious = np.array([pair.described < MAX_DISTINCT for pair in pairs])
        for at in np.flatnonzero(curious[inverse]).tolist():
            pair = pairs[int(inverse[at])]
            if pair.described < MAX_DISTINCT and pair.combination >= 0:
                self._describe(pair, int(fresh[at]), scene)

    def _describe(self, pair: _Pair, row: int, scene: Scene) -> None:
        """Let the groups of a pair learn from one of its behaviours."""
        pair.described += 1
        fields = scene.view.behaviours.describe(row)
        for number in self._combinations[pair.combination]:
            self._groups[number].learn(fields, self._aggravations)
        behaviour = scene.view.behaviours.table[row]
        if int(behaviour.outcome) == Outcome.ASKED:
            self._by_exchange.setdefault(_exchange(behaviour), pair.combination)

    def _pair(self, key: int, rules: int, row: int, scene: Scene) -> _Pair:
        """The groups of a behaviour whose like was not seen before; one for each rule when there are too many."""
        if rules in self._rest:
            return self._rest[rules]
        numbers = [number for number in scene.matcher.sets[rules] if self._rules[number].generate]
        crowded = len(self._index) >= MAX_PROBLEMS
        fields = {} if crowded else scene.view.behaviours.describe(row)
        groups = tuple(self._group(scene, number, row, fields) for number in numbers)
        pair = _Pair(self._combination(groups) if groups else -1)
        if crowded or not groups:
            pair.described = MAX_DISTINCT
            self._rest[rules] = pair
        else:
            self._pairs[key] = pair
        return pair

    def _combination(self, groups: tuple[int, ...]) -> int:
        number = self._numbers.setdefault(groups, len(self._combinations))
        if number == len(self._combinations):
            self._combinations.append(groups)
        return number

    def _group(self, scene: Scene, number: int, row: int, fields: Mapping[str, Any]) -> int:
        """The group of a rule's matches in a behaviour; without fields that of the rule's matches anywhere."""
        rule = self._rules[number]
        behaviour = scene.view.behaviours.table[row]
        who = ends(fields)
        source, destination, port = who["source_ip"], who["destination_ip"], who["destination_port"]
        if scene.matcher.by_device(number, fields):
            source, destination, port = destination, source, None
        station = station_of(int(behaviour.protocol), int(behaviour.station)) if fields else None
        key = (number, source, destination, station) if fields else (number,)
        if key not in self._index:
            self._index[key] = len(self._groups)
            problem = Problem(
                rule,
                scene.exhibit(),
                protocol=EXPLAINERS[int(behaviour.protocol)][0],
                source_ip=source,
                destination_ip=destination,
                destination_port=port if destination else None,
                station=station,
                fields=rule.constants(),
            )
            self._groups.append(Group(rule, problem, asks=int(behaviour.outcome) == Outcome.ASKED))
            if number in self._taken_back:
                self._undoes[self._index[key]] = (self._taken_back[number], *key[1:])
        return self._index[key]

    def _lead_back(self, scene: Scene) -> None:
        """Answers without a known request, to a broadcast or to what the capture missed: those of the same exchange."""
        table = scene.view.behaviours.table
        known, self._known = self._known, len(table)
        if known == len(table) or not self._by_exchange:
            return
        new = table[known:]
        answers = (new["outcome"] != Outcome.ASKED) & (new["outcome"] != Outcome.UNSOLICITED) & (new["asked"] < 0)
        for row in (known + np.flatnonzero(answers)[:MAX_ORPHANS]).tolist():
            self._orphan_of[row] = self._by_exchange.get(_exchange(table[row]), -1)

    def _count(self, batch: EventBatch, own: npt.NDArray[np.int32], scene: Scene) -> None:
        """Count matches; they and the answers to them are evidence. own: combination that each event itself matches."""
        columns = batch.columns
        led = np.where(columns.asked >= 0, self._groups_of[columns.asked], self._orphan_of[columns.behaviour])
        label = np.where(own >= 0, own, led)
        rows = np.flatnonzero(label >= 0)
        for same in alike([label[rows]]):
            shown = rows[same]
            combination = int(label[shown[0]])
            times = columns.ts_ns[shown[own[shown] == combination]]
            for number in self._combinations[combination]:
                self._groups[number].add(times)
                self._exhibit(self._groups[number], batch, shown, scene)

    def _count_late(self, batch: EventBatch, number: int, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        """The same for events that match one by one."""
        if not self._rules[number].generate:
            return
        behaviours = batch.columns.behaviour[rows]
        table = scene.view.behaviours.table.take(behaviours)
        for same in alike([table[name] for name in ("client", "server", "station")]):
            shown, row = rows[same], int(behaviours[same[0]])
            fields = {} if len(self._index) >= MAX_PROBLEMS else scene.view.behaviours.describe(row)
            group = self._groups[self._group(scene, number, row, fields)]
            group.asks = False  # its answers are not led back
            group.learn(scene.view.fields(batch, int(shown[0])), self._aggravations)
            group.add(batch.columns.ts_ns[shown])
            self._exhibit(group, batch, shown, scene)

    def _exhibit(self, group: Group, batch: EventBatch, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        if not group.problem.exhibit.full:
            scene.show(group.problem.exhibit, batch, rows[:MOST_SHOWN].tolist())

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
            undone = self._index.get(self._undoes[number]) if number in self._undoes else None
            by = None if undone is None else self._groups[undone]
            if final or not it.waits(scene.now_ns, asked, answered + refused + unanswered, by):
                yield it.record(scene.now_ns, answered, refused, by)

    def _totals(self, scene: Scene) -> npt.NDArray[np.int64]:
        """(groups, OUTCOMES): how often each was asked, answered, refused, left unanswered."""
        table = scene.view.behaviours.table
        every = slice(len(table))
        mine, orphans, asked = self._groups_of[every], self._orphan_of[every], table["asked"]
        label = np.where(asked >= 0, mine[asked], np.where(orphans >= 0, orphans, mine))
        rows = np.flatnonzero((label >= 0) & (table["outcome"] < OUTCOMES))
        count = table["count"][rows].astype(np.int64)
        old = rows < len(self._before)
        count[old] -= self._before[rows[old]]
        cell = label[rows].astype(np.int64) * OUTCOMES + table["outcome"][rows]
        sums = np.bincount(cell, weights=count, minlength=OUTCOMES * len(self._combinations)).astype(np.int64)
        totals = np.zeros((len(self._groups), OUTCOMES), np.int64)
        for combination, groups in enumerate(self._combinations):
            for number in groups:
                totals[number] += sums[combination * OUTCOMES : (combination + 1) * OUTCOMES]
        return totals

    def _confess(self, scene: Scene) -> Iterator[Finding]:
        """What the rules could not do: some are broken, some could not be tried on everything."""
        broken, self._broken = self._broken, ()
        if broken:
            yield _about_rules("rules.broken", len(broken), [str(it) for it in broken], scene)
        unseen = scene.matcher.unseen
        if unseen and scene.now_ns >= self._confess_at:
            self._confess_at = scene.now_ns + CONFESS_NS
            worst = sorted(unseen, key=unseen.__getitem__, reverse=True)
            named = [f"{name} ({unseen[name]})" for name in worst]
            count = max(unseen.values())
            unseen.clear()
            yield _about_rules("rules.over-budget", count, named, scene)


def _about_rules(rule_id: str, count: int, examples: list[str], scene: Scene) -> Finding:
    problem = Problem(knowledge.detector_rules()[rule_id], scene.exhibit(), protocol="")
    now_ns = max(scene.now_ns, 0)
    problem.add(count, now_ns, now_ns)
    return problem.record(now_ns, {"examples": listed(examples)})


def _exchange(behaviour: Any) -> tuple[int, ...]:
    """What a request and an answer have in common, whatever was asked."""
    return tuple(int(behaviour[name]) for name in EXCHANGE)
