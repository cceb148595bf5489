"""What sensors lost on the way: which sequences, and how many findings of which rule and severity. Exact, to the unit.

A loss stands for a range of sequences, its own the last of them. What arrived of the range before stays what it was;
what is new is counted here, and nothing is ever taken under these sequences again. So what a sensor made is what is
stored and what is counted here together, whatever was repeated, came late or in another order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.services.actor import Actor, scoped
from console.services.intake import LossRecord
from console.store.models import FindingReceipt, LostCount, LostRange, SensorEpoch
from detectors.finding import Severity

MAX_RULES = 2_000  # different ones counted of one spool; what a hostile sensor invents beyond is summed up
OTHERS = "other"


def covered(session: Session, life: SensorEpoch, sequences: Collection[int]) -> set[int]:
    """Those of these sequences that a loss stands for."""
    asked = [number for number in sequences if number <= life.highest]
    ranges = _ranges(session, life, min(asked), max(asked)) if asked else ()
    return {number for first, last in ranges for number in asked if first <= number <= last}


def take(session: Session, life: SensorEpoch, sequence: int, own: bool, loss: LossRecord, now: datetime) -> int:
    """Note a loss that arrived as `sequence`; gives how many of the sequences before its own are new.

    own: whether its own sequence is new, too; its receipt is the caller's business.
    """
    islands = list(_new(session, life, loss.first_sequence, sequence - 1))
    before = sum(last - first + 1 for first, last in islands)
    if own:  # it has a receipt, too, and belongs to what is lost
        begin = islands.pop()[0] if islands and islands[-1][1] == sequence - 1 else sequence
        islands.append((begin, sequence))
    for first, last in islands:
        values = {"epoch": life.epoch, "first_sequence": first, "last_sequence": last, "received_at": now}
        session.add(
            LostRange(organisation_id=life.organisation_id, sensor_id=life.sensor_id, why=loss.why.value, **values)
        )
    fresh = before + own
    whole = fresh == sequence - loss.first_sequence + 1 == sum(entry.findings for entry in loss.tally)
    if whole:
        for entry in loss.tally:
            _count(session, life, loss, entry.rule_id, entry.severity, entry.findings, entry.events, now)
    elif fresh:  # some of it had arrived, or nobody knows what it was
        _count(session, life, loss, "", 0, fresh, 0, now)
    session.flush()
    return before


def after(session: Session, life: SensorEpoch, end: int) -> int:
    """The last sequence of the loss that begins right after `end`; `end` where there is none."""
    query = _of(life).where(LostRange.first_sequence == end + 1)
    return session.scalar(query.with_only_columns(LostRange.last_sequence)) or end


def _ranges(session: Session, life: SensorEpoch, first: int, last: int) -> list[tuple[int, int]]:
    query = _of(life).where(LostRange.first_sequence <= last, LostRange.last_sequence >= first)
    rows = session.execute(query.with_only_columns(LostRange.first_sequence, LostRange.last_sequence))
    return [(begin, end) for begin, end in rows]


def _of(life: SensorEpoch):  # type: ignore[no-untyped-def]  # a select, whose type changes with its columns
    return select(LostRange).where(LostRange.sensor_id == life.sensor_id, LostRange.epoch == life.epoch)


def _new(session: Session, life: SensorEpoch, first: int, last: int) -> Iterable[tuple[int, int]]:
    """The parts of a range under which nothing has arrived."""
    if last < first:
        return
    taken = _ranges(session, life, first, last)
    if first <= life.highest:
        receipts = select(FindingReceipt.sequence).where(
            FindingReceipt.sensor_id == life.sensor_id,
            FindingReceipt.epoch == life.epoch,
            FindingReceipt.sequence.between(first, last),
        )
        taken += [(number, number) for number in session.scalars(receipts)]
    for begin, end in sorted(taken):
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last


def _count(
    session: Session,
    life: SensorEpoch,
    loss: LossRecord,
    rule_id: str,
    severity: int,
    findings: int,
    events: int,
    now: datetime,
) -> None:
    here = select(LostCount).where(LostCount.sensor_id == life.sensor_id, LostCount.epoch == life.epoch)
    here = here.where(LostCount.why == loss.why.value, LostCount.severity == int(severity))
    row = session.scalar(here.where(LostCount.rule_id == rule_id))
    if row is None:
        rules = select(func.count(LostCount.id)).where(LostCount.sensor_id == life.sensor_id)
        if rule_id and (session.scalar(rules) or 0) >= MAX_RULES:
            rule_id = OTHERS
            row = session.scalar(here.where(LostCount.rule_id == rule_id))
    if row is None:
        row = LostCount(
            organisation_id=life.organisation_id,
            sensor_id=life.sensor_id,
            epoch=life.epoch,
            why=loss.why.value,
            rule_id=rule_id,
            severity=int(severity),
            findings=0,
            events=0,
        )
        session.add(row)
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
