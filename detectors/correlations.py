"""What Sigma correlation rules find: many events, many values, or several rules within a time, for one group.

Catches what the correlations of rules/sigma describe, in windows that slide with the events (docs/rules.md). Blind to
events that no rule of the correlation matches. Takes the matched events of each batch by columns; a group's fields are
read once for each behaviour where they do not change inside it, otherwise for each event, as far as the ration goes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.contract import Scene
from detectors.finding import Finding
from detectors.problem import Problem
from detectors.sigma.correlation import Sliding
from detectors.sigma.matcher import Ration
from detectors.sigma.rule import Correlation
from detectors.sigma.ruleset import RuleSet
from detectors.sigma.steady import STEADY
from sensor.events import EventBatch

MAX_PROBLEMS = 4096  # groups of one correlation told apart; further ones are one problem
MAX_REMEMBERED = 1 << 16  # behaviours whose group is remembered, for each correlation
MOST_SHOWN = 100  # entries of a group put into evidence
SHARE, BURST = 32, 4096  # one of so many events may be described to find its group; so many at once

_Key = tuple[Hashable, Hashable]  # (group, value)


class _Running:
    """One correlation and what it knows. positions: of its rules, by number in the matcher."""

    def __init__(self, rule: Correlation, numbers: Mapping[str, int]) -> None:
        self.rule = rule
        self.sliding = Sliding(rule)
        self.positions = {numbers[name]: place for place, name in enumerate(rule.rules)}
        # The field that each rule has for each name of the group, and the counted one.
        self.names = [
            [rule.aliases.get(name, {}).get(rule_name, name) for name in rule.group_by] for rule_name in rule.rules
        ]
        wanted = {name for names in self.names for name in names} | ({rule.value_field} if rule.value_field else set())
        self.steady = wanted <= STEADY
        self.known: dict[tuple[int, int], _Key] = {}
        self.ration = Ration(SHARE, BURST, BURST)
        self.problems: dict[Hashable, Problem] = {}
        self.values: dict[Hashable, dict[Hashable, None]] = {}

    def key(self, fields: Mapping[str, Any], position: int) -> _Key:
        """(group, value) of an event."""
        group = tuple(_hashable(fields.get(name)) for name in self.names[position])
        return group, _hashable(fields.get(self.rule.value_field)) if self.rule.value_field else None


class Correlations:
    """See the module."""

    name = "correlations"

    def __init__(self, rules: RuleSet) -> None:
        numbers = {rule.id: number for number, rule in enumerate(rules.rules)}
        self._running = [_Running(rule, numbers) for rule in rules.correlations]
        self._places = np.zeros((len(self._running), 0), np.int64)  # for each set of rules, a bit for each position
        self._sets = 0

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if batch.size and self._running:
            self._know_sets(scene)
            label = scene.matcher.label
            matched = np.flatnonzero(label >= 0)
            concerned = self._concerned(label[matched], scene)
            for place, it in enumerate(self._running):
                it.ration.grow(batch.size)
                if not concerned[place]:
                    continue
                rows, positions = self._entries(it, place, matched, label, scene)
                if len(rows):
                    self._enter(it, batch, rows, positions, scene)
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def _know_sets(self, scene: Scene) -> None:
        """Which positions of each correlation the matcher's new sets stand for."""
        sets = scene.matcher.sets
        if self._sets == len(sets):
            return
        new = np.zeros((len(self._running), len(sets) - self._sets), np.int64)
        for column, numbers in enumerate(sets[self._sets :]):
            for place, it in enumerate(self._running):
                new[place, column] = sum(1 << it.positions[number] for number in numbers if number in it.positions)
        self._places = np.concatenate([self._places, new], axis=1)
        self._sets = len(sets)

    def _concerned(self, labels: npt.NDArray[np.int32], scene: Scene) -> npt.NDArray[np.bool_]:
        """Which of the correlations any of these matches could be an entry of."""
        present = np.flatnonzero(np.bincount(labels, minlength=self._sets))
        concerned = np.asarray(self._places[:, present].any(axis=1))
        for number, _ in scene.matcher.late:
            concerned |= np.array([number in it.positions for it in self._running])
        return concerned

    def _entries(
        self,
        it: _Running,
        place: int,
        matched: npt.NDArray[np.int64],
        label: npt.NDArray[np.int32],
        scene: Scene,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(rows, positions) of the events that match the correlation's rules, by row, the last position first."""
        bits = self._places[place][label[matched]] if self._sets else np.zeros(0, np.int64)
        if not self._sets:
            matched = matched[:0]
        rows, positions = [], []
        for position in range(len(it.rule.rules)):
            found = matched[bits >> position & 1 == 1]
            rows.append(found)
            positions.append(np.full(len(found), position, np.int64))
        for number, late in scene.matcher.late:
            if number in it.positions:
                rows.append(late)
                positions.append(np.full(len(late), it.positions[number], np.int64))
        row, position_ = np.concatenate(rows), np.concatenate(positions)
        order = np.lexsort((-position_, row))
        row, position_ = row[order], position_[order]
        if it.rule.type in ("event_count", "value_count") and not it.rule.aliases and len(row):
            once = np.concatenate([[True], row[1:] != row[:-1]])  # an event counts once
            row, position_ = row[once], position_[once]
        return row, position_

    def _enter(
        self,
        it: _Running,
        batch: EventBatch,
        rows: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        scene: Scene,
    ) -> None:
        keys = self._keys(it, batch, rows, positions, scene)
        groups: dict[Hashable, list[int]] = {}
        for index, key in enumerate(keys):
            if key is not None:
                groups.setdefault(key[0], []).append(index)
        for group, members in groups.items():
            mine = np.array(members)
            values = [key[1] for key in (keys[index] for index in members) if key is not None]
            times = batch.columns.ts_ns[rows[mine]]
            begins = it.sliding.enter(group, times, positions[mine], values)
            if begins:
                self._matched(it, group, batch, rows[mine], times, begins, values, scene)

    def _keys(
        self,
        it: _Running,
        batch: EventBatch,
        rows: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        scene: Scene,
    ) -> list[_Key | None]:
        """Group and value of each entry, None where the ration did not reach."""
        behaviours = batch.columns.behaviour[rows].tolist()
        keys: list[_Key | None] = []
        for row, behaviour, position in zip(rows.tolist(), behaviours, positions.tolist(), strict=True):
            key = it.known.get((behaviour, position)) if it.steady else None
            if key is None and it.ration.take():
                key = it.key(scene.view.fields(batch, row), position)
                if it.steady and len(it.known) < MAX_REMEMBERED:
                    it.known[behaviour, position] = key
            if key is None:
                it.sliding.left_out += 1
            keys.append(key)
        return keys

    def _matched(
        self,
        it: _Running,
        group: Hashable,
        batch: EventBatch,
        rows: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
        begins: Sequence[int],
        values: Sequence[Hashable],
        scene: Scene,
    ) -> None:
        """Count the matches of a group."""
        key = group if group in it.problems or len(it.problems) < MAX_PROBLEMS else None
        problem = it.problems.get(key)
        if problem is None:
            assert isinstance(group, tuple)
            known = dict(zip(it.rule.group_by, group, strict=True)) if key is not None else {}
            fields = {name: value for name, value in known.items() if value is not None and value != ""}
            source = fields.get("source.ip") or fields.get("source.mac") or ""
            destination = fields.get("destination.ip") or fields.get("destination.mac") or ""
            problem = it.problems[key] = Problem(
                it.rule,
                scene.exhibit(),
                protocol=str(scene.view.fields(batch, int(rows[0]))["network.protocol"]),
                source_ip=str(source),
                destination_ip=str(destination),
                fields={name: value for name, value in fields.items() if isinstance(value, (int, str))},
            )
            problem.values = {**fields, "seconds": it.rule.window_ns // 10**9}
        last = begins[-1]
        problem.add(len(begins), int(times[begins[0]]), int(times[last]))
        seen = it.values.setdefault(key, {})
        for value in values[: last + 1][-MOST_SHOWN:]:
            if value is not None and len(seen) < MOST_SHOWN:
                seen[value] = None
        scene.show(problem.exhibit, batch, rows[max(0, last + 1 - MOST_SHOWN) : last + 1].tolist())

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for it in self._running:
            if it.sliding.left_out:
                scene.matcher.leave_out(it.rule.id, it.sliding.left_out)
                it.sliding.left_out = 0
            for key, problem in it.problems.items():
                if problem.open and (final or problem.due(scene.now_ns)):
                    seen = [_shown(value) for value in it.values.get(key, {})]
                    yield problem.record(scene.now_ns, {"examples": seen, "distinct": len(seen)})


def _shown(value: Hashable) -> Hashable:
    """A value as people read it: a list of one is its member."""
    return "+".join(map(str, value)) if isinstance(value, tuple) else value


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
