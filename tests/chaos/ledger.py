"""What was promised, beside what the console holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import func, select, tuple_

from chaos.programs import PROBLEM, REPEATED, SINGLE, TOKEN, problem_of, rule_of, severity_of
from console.store.engine import Store
from console.store.models import (
    Finding,
    FindingReceipt,
    Incident,
    LostCount,
    LostRange,
    Notification,
    NotificationAttempt,
    SensorEpoch,
)
from detectors.finding import Severity

Kind = tuple[str, int]  # rule and severity
T = TypeVar("T")

SHOWN = 5  # tokens named in a complaint
NOBODY = "nobody@plant.example"  # called first for each incident; the mail server does not know it,
CALLS = 2  # so the next is called at once


@dataclass
class Ledger:
    """promised: on disk, as the sensor said. unsure: it died before it said so; it stands once, or not at all."""

    promised: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)

    def complaints(self, store: Store, may_lose: bool) -> list[str]:
        """How the store differs from what was promised; nothing where each stands there exactly once.

        may_lose: the spool had a small quota. Then what is missing is what the console counts as lost, to the unit, by
        rule and severity; and nothing critical is.
        """
        with store.reader() as session:
            columns = (Finding.rule_id, Finding.severity, Finding.fields, Finding.count)
            rows = session.execute(select(*columns).where(Finding.rule_id.in_((SINGLE, REPEATED)))).all()
            lost: Counter[Kind] = Counter()
            for count in session.scalars(select(LostCount)):
                lost[count.rule_id, count.severity] += count.findings
        wrong = [f"lost, and known to be: {dict(lost)}"] if lost and not may_lose else []
        wrong += [f"critical ones lost: {dict(lost)}"] if lost[SINGLE, int(Severity.CRITICAL)] else []
        return [*wrong, *self._singles(rows, may_lose), *self._sums(rows, lost), *_receipts(store)]

    def _singles(self, rows: Sequence[Any], may_lose: bool) -> list[str]:
        counted: Counter[int] = Counter()
        for rule, _, fields, count in rows:
            if rule == SINGLE:
                counted[fields[TOKEN]] += count
        wanted = {token for token in self.promised if problem_of(token) is None}
        return [
            *_named("lost", set() if may_lose else wanted - counted.keys()),
            *_named("doubled", (token for token, count in counted.items() if count > 1)),
            *_named("never sent", counted.keys() - self.promised - self.unsure),
        ]

    def _sums(self, rows: Sequence[Any], lost: Counter[Kind]) -> list[str]:
        """Promised is stored and lost together, by rule and severity, and by problem where nothing is lost."""
        held: Counter[Kind] = Counter(lost)
        by_problem: Counter[int] = Counter()
        for rule, severity, fields, count in rows:
            held[rule, severity] += count
            if rule == REPEATED:
                by_problem[fields[PROBLEM]] += count
        wrong = _outside(held, _kinds(self.promised), _kinds(self.unsure))
        return wrong if lost else wrong + _outside(by_problem, _problems(self.promised), _problems(self.unsure))


def _kinds(tokens: Iterable[int]) -> Counter[Kind]:
    return Counter((rule_of(token), int(severity_of(token))) for token in tokens)


def _problems(tokens: Iterable[int]) -> Counter[int]:
    return Counter(problem for token in tokens if (problem := problem_of(token)) is not None)


def _outside(held: Counter[T], promised: Counter[T], unsure: Counter[T]) -> list[str]:
    return [
        f"{key}: {held[key]} held, {promised[key]} promised, {unsure[key]} unsure"
        for key in promised | unsure | held
        if not promised[key] <= held[key] <= promised[key] + unsure[key]
    ]


def _named(what: str, tokens: Iterable[int]) -> list[str]:
    found = sorted(tokens)
    return [f"{len(found)} {what}: {', '.join(map(str, found[:SHOWN]))}"] if found else []


def _receipts(store: Store) -> list[str]:
    """The console's own books: every sequence once, received or lost; none rejected; counted into rows exactly."""
    wrong = []
    with store.reader() as session:
        for life in session.scalars(select(SensorEpoch)):
            epoch = (life.sensor_id, life.epoch)
            receipts = select(FindingReceipt.sequence).where(
                tuple_(FindingReceipt.sensor_id, FindingReceipt.epoch) == epoch
            )
            sequences = list(session.scalars(receipts))
            ranges = select(LostRange).where(tuple_(LostRange.sensor_id, LostRange.epoch) == epoch)
            received = set(sequences)
            for lost in session.scalars(ranges):  # the record that tells of it has the last one, and a receipt
                sequences += range(lost.first_sequence, lost.last_sequence + (lost.last_sequence not in received))
            if sorted(sequences) != list(range(1, life.acknowledged + 1)):
                wrong.append(f"epoch {life.epoch}: {len(sequences)} sequences, acknowledged {life.acknowledged}")
        rejected = session.scalars(select(FindingReceipt.reason).where(FindingReceipt.finding_id.is_(None))).all()
        wrong += [f"{len(rejected)} rejected: {rejected[0]}"] if rejected else []
        ours = Finding.rule_id.in_((SINGLE, REPEATED))
        own_row = Finding.id == FindingReceipt.finding_id
        into = session.scalar(select(func.sum(FindingReceipt.count)).join(Finding, own_row).where(ours))
        held = session.scalar(select(func.sum(Finding.count)).where(ours))
        wrong += [f"receipts count {into}, findings {held}"] if into != held else []
    return wrong


def unsent(store: Store) -> int:
    """Messages that wait or are being sent, and those that an incident has not had written yet."""
    with store.reader() as session:
        waiting = Notification.state.in_(["pending", "sending", "failed for now"])
        written = session.scalar(select(func.count(Notification.id)).where(Notification.incident_id.is_not(None))) or 0
        incidents = session.scalar(select(func.count(Incident.id))) or 0
        unwritten = CALLS * incidents - written
        return (session.scalar(select(func.count(Notification.id)).where(waiting)) or 0) + abs(unwritten)


def message_complaints(store: Store, taken: Counter[str]) -> list[str]:
    """Every message arrived, under its own key, and again only where an attempt was cut short. taken: by Message-ID."""
    wrong = []
    left = Counter(taken)
    with store.reader() as session:
        rows = session.scalars(select(Notification)).all()
        cut = Counter(
            session.scalars(
                select(NotificationAttempt.notification_id).where(NotificationAttempt.result.is_(None))
            ).all()
        )
        for row in rows:
            arrived = left.pop(f"<{row.key}@console.example>", 0)
            refused = row.address.destination["address"] == NOBODY
            good = arrived == 0 if refused else 1 <= arrived <= 1 + cut[row.id]
            if not good or row.state != ("failed for good" if refused else "sent"):
                wrong.append(f"message {row.id} is {row.state}, arrived {arrived} times, {cut[row.id]} cut short")
        calls = Counter(row.incident_id for row in rows if row.incident_id is not None)
        wrong += [f"incident {one}: {count} calls" for one, count in calls.items() if count != CALLS]
    if left:
        wrong.append(f"{len(left)} messages arrived that nobody wrote")
    return wrong[:SHOWN]
