"""The card: scores of many captures summed up by family, technique and rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from detectors.finding import Severity, Text
from detectors.scorecard.run import Score
from detectors.scorecard.score import Verdict, uncounted


@dataclass(slots=True)
class Row:
    """Attacks of one kind. alarms: found by a finding of medium severity or more; notices: low; records: less.

    hidden: not found, and the labels say why it cannot be seen. delays: seconds until found, of those found before the
    end of their capture.
    """

    family: Text
    attack: Text
    events: int = 0
    alarms: int = 0
    notices: int = 0
    records: int = 0
    hidden: int = 0
    delays: list[float] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """How many were found, however loudly."""
        return self.alarms + self.notices + self.records

    @property
    def missed(self) -> int:
        """How many were not found though they can be seen."""
        return self.events - self.found - self.hidden

    @property
    def delay_s(self) -> float | None:
        """Median time to detect."""
        return median(self.delays) if self.delays else None

    def add(self, verdict: Verdict) -> None:
        """Count one attack."""
        self.events += 1
        if verdict.severity is None:
            self.hidden += verdict.attack.expected.hidden is not None
            return
        if verdict.severity >= Severity.MEDIUM:
            self.alarms += 1
        elif verdict.severity == Severity.LOW:
            self.notices += 1
        else:
            self.records += 1
        if verdict.delay_s is not None:
            self.delays.append(verdict.delay_s)
        for rule in {claim.rule for claim in verdict.claims}:
            self.rules[rule] = self.rules.get(rule, 0) + 1


@dataclass(slots=True)
class Card:
    """What became of all attacks, and the false alarms.

    rows: by family and attack. techniques: ATT&CK id -> (attacks that it fits, found by a finding that names it).
    wrong: rule -> number of problems by severity; uncounted: the same of operations in captures whose operations nobody
    counted. hours: of ordinary traffic; quiet: captures of it, noisy: those of
    them with a false alarm.
    reasons: why attacks cannot be seen; notes: what is known about those missed. failed: captures without a score.
    """

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    techniques: dict[str, list[int]] = field(default_factory=dict)
    wrong: dict[str, dict[Severity, int]] = field(default_factory=dict)
    uncounted: dict[str, dict[Severity, int]] = field(default_factory=dict)
    reasons: dict[str, tuple[Text, Text]] = field(default_factory=dict)
    notes: dict[str, tuple[Text, Text]] = field(default_factory=dict)
    failed: list[Score] = field(default_factory=list)
    captures: int = 0
    quiet: int = 0
    noisy: int = 0
    hours: float = 0.0

    @property
    def events(self) -> int:
        """All attacks."""
        return sum(row.events for row in self.rows.values())

    @property
    def found(self) -> int:
        """Those found."""
        return sum(row.found for row in self.rows.values())

    @property
    def hidden(self) -> int:
        """Those that cannot be seen."""
        return sum(row.hidden for row in self.rows.values())

    def alarms(self, least: Severity = Severity.MEDIUM) -> int:
        """False alarms of at least this severity."""
        return sum(count for by in self.wrong.values() for severity, count in by.items() if severity >= least)

    def a_day(self, least: Severity = Severity.MEDIUM) -> float:
        """False alarms for each day of ordinary traffic; 0 where there was none."""
        return 24 * self.alarms(least) / self.hours if self.hours else 0.0


def card_of(scores: Iterable[Score]) -> Card:
    """All scores summed up."""
    card = Card()
    for score in scores:
        if score.failed:
            card.failed.append(score)
            continue
        card.captures += 1
        for verdict in score.verdicts:
            _count(card, verdict)
        if score.case.timed:
            card.quiet += 1
            card.noisy += any(not uncounted(score.case, claim) for claim in score.wrong)
            card.hours += score.hours
        for claim in score.wrong:
            by = (card.uncounted if uncounted(score.case, claim) else card.wrong).setdefault(claim.rule, {})
            by[claim.severity] = by.get(claim.severity, 0) + 1
    return card


def _count(card: Card, verdict: Verdict) -> None:
    expected = verdict.attack.expected
    key = (expected.family.en, expected.attack.en)
    card.rows.setdefault(key, Row(expected.family, expected.attack)).add(verdict)
    named = {technique for claim in verdict.claims for technique in claim.techniques}
    for technique in expected.techniques:
        fits = card.techniques.setdefault(technique, [0, 0])
        fits[0] += 1
        fits[1] += technique in named
    if expected.note is not None and not verdict.found:
        card.notes[expected.attack.en] = (expected.attack, expected.note)
    if expected.hidden is not None and not verdict.found:
        card.reasons[expected.attack.en] = (expected.attack, expected.hidden)


def jsonable(score: Score) -> list[dict[str, object]]:
    """One capture as flat JSON objects: one for each attack, one for ordinary traffic."""
    capture = str(score.case.path)
    if score.failed:
        return [{"capture": capture, "failed": score.failed}]
    lines: list[dict[str, object]] = []
    for verdict in score.verdicts:
        expected = verdict.attack.expected
        lines.append(
            {
                "capture": capture,
                "attack.family": expected.family.en,
                "attack.name": expected.attack.en,
                "threat.technique.id": sorted(expected.techniques),
                "found": verdict.found,
                "visible": verdict.found or expected.hidden is None,
                "rule.severity": verdict.severity.word if verdict.severity else None,
                "rule.id": sorted({claim.rule for claim in verdict.claims}),
                "delay.seconds": verdict.delay_s,
            }
        )
    if score.case.timed:
        lines.append(
            {
                "capture": capture,
                "ordinary.hours": score.hours,
                "false.alarms": [
                    f"{it.rule} {it.severity.word}" for it in score.wrong if not uncounted(score.case, it)
                ],
                "operations": [f"{it.rule} {it.severity.word}" for it in score.wrong if uncounted(score.case, it)],
            }
        )
    return lines
