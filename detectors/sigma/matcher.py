"""Behaviours and events to the rules that they match, for all detectors of a run.

A new behaviour is looked at in three steps, each for fewer: its codes leave most rules out (once for each combination
of codes); where codes and station decide, one of a kind is described and the others follow; otherwise the behaviour's
first event is described. Rules that ask for fields which change inside a behaviour are evaluated for each event of
behaviours that may match. Descriptions are rationed, so that a flood of distinct behaviours cannot stall the sensor:
what was not looked at is counted, for each rule, in `unseen`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.grouping import alike
from detectors.sigma import columns, steady
from detectors.sigma.columns import Codes
from detectors.sigma.rule import SigmaRule
from detectors.sigma.tree import Node, Predicate, fields_of, predicate
from sensor.decode.pdu import Anomaly, Kind
from sensor.events import EventBatch
from sensor.records import Growing
from sensor.view import View

MAX_KINDS = 1 << 14  # combinations of codes, and of these with stations, that are remembered; further ones cost more
SHARE = 64  # of as many events one may be described to see which rules a new behaviour matches
BURST = 4096  # so many may be described at once
EVENT_SHARE = 32  # the same for rules that are evaluated event by event, each
EVENT_BURST = 2048
SLOW_S = 0.5  # a rule that needs longer for one batch has its pause
REST_NS = 60 * 10**9
NONE, NEW = -1, -2  # in place of the number of a set
NO_RULES: tuple[int, ...] = ()
_Answer = tuple[tuple[int, ...], tuple[int, ...]]
UNKNOWN: _Answer = (NO_RULES, NO_RULES)  # told apart from other empty answers by identity
_KIND = ("protocol", "kind", "outcome", "function", "subfunction")
_LARGEST = 256  # functions up to here are told apart in the first step

_BITS = {bit.name.lower(): int(bit) for bit in Anomaly if bit.name}


@dataclass(slots=True)
class Ration:
    """Descriptions that may still be made: one for each `share` events seen, `burst` at most at once."""

    share: int
    burst: int
    left: float

    def grow(self, events: int) -> None:
        self.left = min(self.left + events / self.share, self.burst)

    def take(self) -> bool:
        if self.left < 1:
            return False
        self.left -= 1
        return True


class _Single:
    """A rule that is evaluated event by event."""

    def __init__(self, condition: Node) -> None:
        self.holds = predicate(condition)
        self.ration = Ration(EVENT_SHARE, EVENT_BURST, EVENT_BURST)
        self.anomalies = _anomalies(condition)
        self.rests_until = -1


def _anomalies(condition: Node) -> int:
    """Bits of which an event must have one for the condition to hold, 0 where it does not ask."""
    for part in condition[1:] if condition[0] == "and" else [condition]:
        if part[0] == "in" and part[1] == "anomalies" and all(value in _BITS for value in part[2]):
            return sum(_BITS[value] for value in part[2])
    return 0


class _Compiled:
    """What evaluates a rule, each part made when it is first needed: few rules ever meet traffic of their protocol."""

    def __init__(self, rule: SigmaRule) -> None:
        self.product, self.condition = rule.product, rule.condition

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that it asks for."""
        return frozenset(fields_of(self.condition))

    @cached_property
    def holds(self) -> dict[bool, Predicate]:
        """For requests (True) and for all else, what decides as far as a behaviour can decide."""
        return {
            request: predicate(steady.by_behaviour(self.condition, steady.steady_fields(request=request)))
            for request in (True, False)
        }

    @cached_property
    def decided(self) -> dict[bool, bool]:
        """Whether that is all."""
        return {request: self.fields <= steady.steady_fields(request=request) for request in (True, False)}

    def possible(self, unknown: frozenset[str]) -> Predicate:
        """What codes decide, where nothing is known about the code fields `unknown`."""
        return predicate(columns.by_codes(self.condition, unknown))


class Matcher:
    """See the module.

    sets: tuples of rule numbers. set_of: for each behaviour the number of the rules that all of its events match,
    NONE or NEW. Of the present batch, fresh: behaviours looked at for the first time; label: set_of for each event;
    late: (rule number, rows) of rules that are evaluated event by event. unseen: for each rule id, how many
    behaviours or events it could not be tried on.
    """

    name = "rules"

    def __init__(self, rules: Sequence[SigmaRule]) -> None:
        self.rules = tuple(rules)
        self.sets: list[tuple[int, ...]] = []
        self._sets_of = Growing(np.int32, NEW)
        self.set_of = self._sets_of.values
        self.fresh = np.zeros(0, np.int64)
        self.label = np.zeros(0, np.int32)
        self.late: list[tuple[int, npt.NDArray[np.int64]]] = []
        self.unseen: dict[str, int] = {}
        self._numbers: dict[tuple[int, ...], int] = {}
        self._late_sets: list[tuple[int, ...]] = []
        self._late_numbers: dict[tuple[int, ...], int] = {}
        self._lates_of, self._firsts = Growing(np.int32, NONE), Growing(np.int64, 0)
        self._late_of, self._first = self._lates_of.values, self._firsts.values
        self._compiled = [_Compiled(rule) for rule in rules]
        self._single: dict[int, _Single] = {}
        self._from_device = {
            number: predicate(rule.from_device) for number, rule in enumerate(rules) if rule.from_device is not None
        }
        self._first_step = np.full(16 * 4 * 8 * (_LARGEST + 2), -1, np.int8)
        self._by_codes: dict[tuple[str, frozenset[str]], list[tuple[int, Predicate]]] = {}
        self._candidates: dict[Codes, tuple[int, ...]] = {}
        self._answers: dict[tuple[Codes, int | None], _Answer] = {}
        self._ration = Ration(SHARE, BURST, BURST)

    def observe(self, view: View, batch: EventBatch, now_ns: int) -> None:
        """Look at what is new in `batch`; called once for each batch, in order."""
        size = len(view.behaviours)
        if len(self.set_of) < size:
            self.set_of, self._late_of = self._sets_of.grow(size), self._lates_of.grow(size)
            self._first = self._firsts.grow(size)
        self._ration.grow(batch.size)
        behaviour = batch.columns.behaviour
        self.label = self.set_of[behaviour]
        rows = np.flatnonzero(self.label == NEW)
        if len(rows):
            of = behaviour[rows]
            self._first[of[::-1]] = rows[::-1]  # the row of each behaviour's first event here
            rows = rows[self._first[of] == rows]
            self.fresh = behaviour[rows].astype(np.int64)
            self.set_of[self.fresh] = NONE
            self._learn(view, batch, rows)
            self.label = self.set_of[behaviour]
        else:
            self.fresh = rows
        self.late = self._evaluate(view, batch, now_ns) if self._late_sets and batch.size else []

    def by_device(self, number: int, fields: Mapping[str, Any]) -> bool:
        """Whether the device itself sent what matched this rule, so that who is asked is who acts."""
        return number in self._from_device and self._from_device[number](fields)

    def leave_out(self, rule_id: str, number: int) -> None:
        """Note that a rule could not be tried on so many behaviours or events."""
        self.unseen[rule_id] = self.unseen.get(rule_id, 0) + number

    def numbers(self, behaviour: int) -> tuple[int, ...]:
        """The rules that every event of a behaviour matches."""
        found = int(self.set_of[behaviour]) if behaviour < len(self.set_of) else NONE
        return self.sets[found] if found >= 0 else NO_RULES

    def _learn(self, view: View, batch: EventBatch, rows: npt.NDArray[np.int64]) -> None:
        """Label the behaviours whose first events are `rows`."""
        new = view.behaviours.table.take(self.fresh)
        wanted = np.flatnonzero(self._possible(new))
        if not len(wanted):
            return
        for same in alike([new[name][wanted] for name in _KIND]):
            mine = wanted[same]
            one = new[mine[0]]
            codes = Codes(*(int(one[name]) for name in _KIND))
            candidates = self._candidates_of(codes)
            if candidates:
                self._kind(view, batch, codes, candidates, rows[mine], new["station"][mine])

    def _possible(self, new: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        """For each behaviour whether its protocol, role and function leave any rule; a look-up by column."""
        function = np.where(new["function"] > _LARGEST, _LARGEST, new["function"].clip(min=-1)) + 1
        cell = ((new["protocol"].astype(np.int64) * 4 + new["kind"]) * 8 + new["outcome"]) * (_LARGEST + 2) + function
        known = self._first_step[cell]
        if (known < 0).any():
            for value in set(cell[known < 0].tolist()):
                rest, one = divmod(value, _LARGEST + 2)
                rest, outcome = divmod(rest, 8)
                protocol, kind = divmod(rest, 4)
                codes = Codes(protocol, kind, outcome, None if one > _LARGEST else one - 1)
                self._first_step[value] = bool(self._candidates_of(codes))
            known = self._first_step[cell]
        possible: npt.NDArray[np.bool_] = known > 0
        return possible

    def _candidates_of(self, codes: Codes) -> tuple[int, ...]:
        """Rules that an event with these codes may match."""
        if codes in self._candidates:
            return self._candidates[codes]
        if len(self._candidates) >= MAX_KINDS and codes.subfunction is not None:
            return self._candidates_of(codes._replace(subfunction=None))
        unknown, fields = codes.open(), codes.fields()
        product = fields["network.protocol"]
        if (product, unknown) not in self._by_codes:
            self._by_codes[product, unknown] = [
                (number, it.possible(unknown))
                for number, it in enumerate(self._compiled)
                if it.product in ("", product)
            ]
        tests = self._by_codes[product, unknown]
        found = self._candidates[codes] = tuple(number for number, test in tests if test(fields))
        return found

    def _kind(
        self,
        view: View,
        batch: EventBatch,
        codes: Codes,
        candidates: tuple[int, ...],
        rows: npt.NDArray[np.int64],
        stations: npt.NDArray[np.int64],
    ) -> None:
        """Find the rules of behaviours with the same codes; rows: of their first events."""
        behaviours = batch.columns.behaviour
        if codes.kind == Kind.RESPONSE or not all(
            self._compiled[number].fields <= steady.KEYED for number in candidates
        ):
            for row in rows.tolist():
                self._label(behaviours[row], self._describe(view, batch, row, candidates, 1))
            return
        apart = any(self._compiled[number].fields & steady.STATIONS for number in candidates)
        for same in alike([stations]) if apart else [np.arange(len(rows))]:
            key = (codes, int(stations[same[0]]) if apart else None)
            answer = self._answers.get(key)
            if answer is None:
                answer = self._describe(view, batch, int(rows[same[0]]), candidates, len(same))
                if answer is not UNKNOWN and len(self._answers) < MAX_KINDS:
                    self._answers[key] = answer
            self._label(behaviours[rows[same]], answer)

    def _describe(
        self, view: View, batch: EventBatch, row: int, candidates: tuple[int, ...], behaviours: int
    ) -> _Answer:
        """(rules that all events of the row's behaviour match, rules that some of its events may match)."""
        if not self._ration.take():
            for number in candidates:
                self.leave_out(self.rules[number].id, behaviours)
            return UNKNOWN
        fields = view.fields(batch, row)
        request = int(batch.columns.kind[row]) == Kind.REQUEST
        found = [number for number in candidates if self._compiled[number].holds[request](fields)]
        return (
            tuple(number for number in found if self._compiled[number].decided[request]),
            tuple(number for number in found if not self._compiled[number].decided[request]),
        )

    def _label(self, behaviours: Any, answer: _Answer) -> None:
        found, late = answer
        if found:
            number = self._numbers.setdefault(found, len(self.sets))
            if number == len(self.sets):
                self.sets.append(found)
            self.set_of[behaviours] = number
        if late:
            number = self._late_numbers.setdefault(late, len(self._late_sets))
            if number == len(self._late_sets):
                self._late_sets.append(late)
            self._late_of[behaviours] = number

    def _evaluate(self, view: View, batch: EventBatch, now_ns: int) -> list[tuple[int, npt.NDArray[np.int64]]]:
        """Rules that ask for changing fields, on the events of this batch."""
        columns_ = batch.columns
        label = self._late_of[columns_.behaviour]
        wanted: dict[int, list[npt.NDArray[np.int64]]] = {}
        for number in np.flatnonzero(np.bincount(label + 1)[1:]).tolist():  # -1: none
            rows = np.flatnonzero(label == number)
            for rule in self._late_sets[number]:
                wanted.setdefault(rule, []).append(rows)
        described: dict[int, Mapping[str, Any]] = {}
        found = []
        for rule, parts in wanted.items():
            late = self._single.get(rule) or self._single.setdefault(rule, _Single(self._compiled[rule].condition))
            late.ration.grow(batch.size)
            rows = np.sort(np.concatenate(parts))
            if late.anomalies:
                rows = rows[columns_.anomalies[rows] & np.uint32(late.anomalies) != 0]
            hits = self._try(view, batch, rule, late, rows, described, now_ns)
            if hits:
                found.append((rule, np.array(hits, np.int64)))
        return found

    def _try(
        self,
        view: View,
        batch: EventBatch,
        rule: int,
        late: _Single,
        rows: npt.NDArray[np.int64],
        described: dict[int, Mapping[str, Any]],
        now_ns: int,
    ) -> list[int]:
        hits: list[int] = []
        tried = 0
        if now_ns >= late.rests_until:
            begun = time.perf_counter()
            for row in rows.tolist():
                if not late.ration.take() or (tried % 256 == 255 and time.perf_counter() - begun > SLOW_S):
                    break
                tried += 1
                if row not in described:
                    described[row] = view.fields(batch, row)
                if late.holds(described[row]):
                    hits.append(row)
        if tried < len(rows):
            if now_ns >= late.rests_until:
                late.rests_until = now_ns + REST_NS
            self.leave_out(self.rules[rule].id, len(rows) - tried)
        return hits
