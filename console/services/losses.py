"""What sensors lost on the way: which sequences, and how many findings of which rule and severity. Exact, to the unit.

A loss stands for a range of sequences, its own the last of them. What arrived of the range before stays what it was;
what is new is counted here, and nothing is ever taken under these sequences again. So what a sensor made is what is
stored and what is counted here together, whatever was repeated, came late or in another order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from sys import maxsize
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.services.actor import Actor, scoped
from console.services.intake import LossRecord
from console.store.base import table_of
from console.store.many import insert_many
from console.store.models import FindingReceipt, LostCount, LostRange, SensorEpoch
from detectors.finding import Severity
from sensor.spool_loss import MAX_SPAN

MAX_RULES = 2_000  # different ones counted of one spool; what a hostile sensor invents beyond is summed up
OTHERS = "other"
_Counted = tuple[str, str, int]  # why, rule, severity


class Came(NamedTuple):
    """A loss as it arrived. own: whether its own sequence is new, too; its receipt is the caller's business."""

    sequence: int
    own: bool
    loss: LossRecord


@dataclass(slots=True)
class Noted:
    """What losses changed. before: how many sequences before their own are new. ranges: lost now, last by first."""

    before: int = 0
    ranges: dict[int, int] = field(default_factory=dict)


def covered(session: Session, life: SensorEpoch, sequences: Collection[int]) -> set[int]:
    """Those of these sequences that a loss stands for."""
    asked = sorted(number for number in sequences if number <= life.highest)
    ranges = _ranges(session, life, asked[0], asked[-1]) if asked else ()
    found: set[int] = set()
    for first, last in ranges:
        found.update(asked[bisect_left(asked, first) : bisect_right(asked, last)])
    return found


def take(session: Session, life: SensorEpoch, came: Sequence[Came], now: datetime) -> Noted:
    """Note the losses of a batch, in the order of their sequences."""
    noted = Noted()
    counts: dict[_Counted, tuple[int, int]] = {}
    for near in _together(came):
        known = _Known(session, life, min(it.loss.first_sequence for it in near), max(it.sequence for it in near))
        rows = []
        for it in near:
            islands = known.gaps(it.loss.first_sequence, it.sequence - 1)
            before = sum(last - first + 1 for first, last in islands)
            if it.own:  # it has a receipt, too, and belongs to what is lost
                begin = islands.pop()[0] if islands and islands[-1][1] == it.sequence - 1 else it.sequence
                islands.append((begin, it.sequence))
            known.lose(islands)
            noted.before += before
            noted.ranges.update(islands)
            rows += [_row(life, it.loss, first, last, now) for first, last in islands]
            for key, findings, events in _tally(it, before + it.own):
                sums = counts.get(key, (0, 0))
                counts[key] = (sums[0] + findings, sums[1] + events)
        insert_many(session, table_of(LostRange), rows)
    if counts:
        _count(session, life, counts, now)
    return noted


def _together(came: Sequence[Came]) -> Iterator[list[Came]]:
    """Losses that lie near each other."""
    near: list[Came] = []
    begin = 0
    for it in came:
        begin = min(begin, it.loss.first_sequence) if near else it.loss.first_sequence
        if near and it.sequence - begin > MAX_SPAN:
            yield near
            near, begin = [], it.loss.first_sequence
        near.append(it)
    if near:
        yield near


def _tally(it: Came, fresh: int) -> Iterator[tuple[_Counted, int, int]]:
    """(rule and severity, findings, events) that a loss adds. fresh: how many of its sequences are new."""
    why, tally = it.loss.why.value, it.loss.tally
    if fresh == it.sequence - it.loss.first_sequence + 1 == sum(entry.findings for entry in tally):
        for entry in tally:
            yield (why, entry.rule_id, int(entry.severity)), entry.findings, entry.events
    elif fresh:  # some of it had arrived, or nobody knows what it was
        yield (why, "", 0), fresh, 0


def _row(life: SensorEpoch, loss: LossRecord, first: int, last: int, now: datetime) -> dict[str, object]:
    return {
        "organisation_id": life.organisation_id,
        "sensor_id": life.sensor_id,
        "epoch": life.epoch,
        "first_sequence": first,
        "last_sequence": last,
        "why": loss.why.value,
        "received_at": now,
    }


class _Known:
    """What has arrived under the sequences from `first` to `last`: receipts, and ranges of losses."""

    def __init__(self, session: Session, life: SensorEpoch, first: int, last: int) -> None:
        self._lost = _ranges(session, life, first, last)
        receipts = select(FindingReceipt.sequence).where(
            FindingReceipt.sensor_id == life.sensor_id,
            FindingReceipt.epoch == life.epoch,
            FindingReceipt.sequence.between(first, last),
        )
        self._received = session.scalars(receipts.order_by(FindingReceipt.sequence)).all()

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of a range under which nothing has arrived."""
        received = self._received[bisect_left(self._received, first) : bisect_right(self._received, last)]
        lost = self._lost[max(bisect_left(self._lost, (first,)) - 1, 0) : bisect_right(self._lost, (last, maxsize))]
        found = []
        for begin, end in sorted([*((number, number) for number in received), *lost]):
            if begin > first:
                found.append((first, begin - 1))
            first = max(first, end + 1)
        return [*found, (first, last)] if first <= last else found

    def lose(self, ranges: Iterable[tuple[int, int]]) -> None:
        """These are lost from now on."""
        for it in ranges:
            insort(self._lost, it)


def after(session: Session, life: SensorEpoch, end: int) -> int:
    """The last sequence of the loss that begins right after `end`; `end` where there is none."""
    query = _of(life).where(LostRange.first_sequence == end + 1)
    return session.scalar(query.with_only_columns(LostRange.last_sequence)) or end


def _ranges(session: Session, life: SensorEpoch, first: int, last: int) -> list[tuple[int, int]]:
    """Ranges of losses that have something of `first` to `last`, in their order.

    They never overlap, so of those that begin before, the last one is all that can reach so far: asked for every one
    that ends behind `first`, a database would go through all that there ever were.
    """
    columns = _of(life).with_only_columns(LostRange.first_sequence, LostRange.last_sequence)
    before = columns.where(LostRange.first_sequence < first).order_by(LostRange.first_sequence.desc()).limit(1)
    inside = columns.where(LostRange.first_sequence.between(first, last)).order_by(LostRange.first_sequence)
    rows = [*(row for row in session.execute(before) if row.last_sequence >= first), *session.execute(inside)]
    return [(begin, end) for begin, end in rows]


def _of(life: SensorEpoch):  # type: ignore[no-untyped-def]  # a select, whose type changes with its columns
    return select(LostRange).where(LostRange.sensor_id == life.sensor_id, LostRange.epoch == life.epoch)


def _count(session: Session, life: SensorEpoch, counts: Mapping[_Counted, tuple[int, int]], now: datetime) -> None:
    """Add findings and events to the sums of the spool."""
    here = select(LostCount).where(LostCount.sensor_id == life.sensor_id, LostCount.epoch == life.epoch)
    named = {rule_id for _, rule_id, _ in counts} | {OTHERS}
    rows = {(it.why, it.rule_id, it.severity): it for it in session.scalars(here.where(LostCount.rule_id.in_(named)))}
    rules = select(func.count(LostCount.id)).where(LostCount.sensor_id == life.sensor_id)
    kept = session.scalar(rules) or 0
    for (why, rule_id, severity), (findings, events) in counts.items():
        if rule_id and (why, rule_id, severity) not in rows and kept >= MAX_RULES:
            rule_id = OTHERS
        row = rows.get((why, rule_id, severity))
        if row is None:
            row = rows[why, rule_id, severity] = LostCount(
                organisation_id=life.organisation_id,
                sensor_id=life.sensor_id,
                epoch=life.epoch,
                why=why,
                rule_id=rule_id,
                severity=severity,
                findings=0,
                events=0,
            )
            session.add(row)
            kept += 1
        row.findings += findings
        row.events += events
        row.last_at = now
    session.flush()


@dataclass(frozen=True, slots=True)
class Lost:
    """Findings of one rule and severity that a sensor lost, over all its spools. severity: None where nobody knows."""

    why: str
    rule_id: str
    severity: Severity | None
    findings: int
    events: int


def lost(session: Session, actor: Actor, sensor_id: int, limit: int = 100) -> list[Lost]:
    """What a sensor lost, the gravest first."""
    query = (
        scoped(actor, LostCount)
        .where(LostCount.sensor_id == sensor_id)
        .with_only_columns(
            LostCount.why,
            LostCount.rule_id,
            LostCount.severity,
            func.sum(LostCount.findings),
            func.sum(LostCount.events),
        )
        .group_by(LostCount.why, LostCount.rule_id, LostCount.severity)
        .order_by(LostCount.severity.desc(), func.sum(LostCount.findings).desc(), LostCount.rule_id, LostCount.why)
        .limit(limit)
    )
    return [
        Lost(why, rule, Severity(severity) if severity else None, int(findings), int(events))
        for why, rule, severity, findings, events in session.execute(query)
    ]


def lost_ranges(session: Session, actor: Actor, sensor_id: int, limit: int = 50) -> Sequence[LostRange]:
    """The latest ranges of sequences that losses stand for."""
    query = scoped(actor, LostRange).where(LostRange.sensor_id == sensor_id).order_by(LostRange.id.desc()).limit(limit)
    return session.scalars(query).all()
