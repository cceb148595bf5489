"""Findings of a sensor into the store: each exactly once, each accounted for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import and_, exists, select
from sqlalchemy.orm import Session, aliased

from console.services import losses, problems, troubles
from console.services.actor import the_console
from console.services.dead_letters import MAX_WAITING, kept, waiting
from console.services.drafts import Draft, digest
from console.services.intake import FindingRecord, explain, finding_id
from console.services.troubles import Kind
from console.store.base import table_of
from console.store.many import insert_many
from console.store.models import FindingReceipt, Sensor, SensorEpoch
from detectors.finding import FindingId, Text
from sensor.failpoints import failpoint

STAND_INS = "sensor."  # rules of what a sensor sends in place of a finding that it does not have any more


@dataclass(slots=True)
class Outcome:
    """The answer to a batch; see docs/architecture.md. rejected: (finding id or None, reason)."""

    acknowledged: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: list[tuple[str | None, str]] = field(default_factory=list)


@dataclass(slots=True)
class Checked:
    """A batch after everything that needs no store. by_sequence: a record, or the rejected value and why."""

    epoch: int
    by_sequence: dict[int, FindingRecord | tuple[dict[str, Any], str]] = field(default_factory=dict)
    drafts: dict[int, Draft] = field(default_factory=dict)  # of what is probably new
    repeated: int = 0  # in the batch itself
    forked: int | None = None  # a sequence that stands twice in the batch, with different contents
    nameless: list[tuple[str | None, str]] = field(default_factory=list)

    @property
    def has_rejected(self) -> bool:
        """Whether any named record is not to be stored."""
        return any(isinstance(record, tuple) for record in self.by_sequence.values())


def check(sensor_name: str, epoch: int, records: list[Any]) -> Checked:
    """Check every record by itself. One that does not even say which sequence of this sensor and epoch it is will
    leave no receipt."""
    checked = Checked(epoch)
    for record in records:
        sequence, reason = _sequence(record, sensor_name, epoch)
        if sequence is None:
            checked.nameless.append((_printable_id(record), reason))
        elif sequence in checked.by_sequence:
            checked.repeated += 1
            first, again = checked.by_sequence[sequence], _record(record)
            if isinstance(first, FindingRecord) and isinstance(again, FindingRecord) and first != again:
                checked.forked = sequence
        else:
            checked.by_sequence[sequence] = _record(record)
    return checked


def prepare(session: Session, sensor_id: int, checked: Checked) -> None:
    """Do what can be done before the batch has its turn to write. session: only reads."""
    records = {number: record for number, record in checked.by_sequence.items() if isinstance(record, FindingRecord)}
    checked.drafts = {number: Draft(record) for number, record in records.items()}
    known = problems.seen(session, sensor_id, list(checked.drafts.values()))
    for draft in checked.drafts.values():
        draft.digest()
        if draft.record.fingerprint not in known:
            known.add(draft.record.fingerprint)
            draft.finish()


def _record(value: dict[str, Any]) -> FindingRecord | tuple[dict[str, Any], str]:
    """The checked record, or the value and why it is none."""
    try:
        return FindingRecord.model_validate(value)
    except ValidationError as error:
        return value, explain(error)


def ingest(session: Session, sensor: Sensor, batch: Checked, now: datetime) -> Outcome:
    """Store a batch; the caller commits before it answers.

    A record is stored, or known already, or rejected for good with a reason; the others never suffer from it.
    """
    life = _life(session, sensor, batch.epoch, now)
    known = dict.fromkeys(losses.covered(session, life, batch.by_sequence)) | _known(session, life, batch.by_sequence)
    outcome = Outcome(duplicates=batch.repeated + len(known), rejected=batch.nameless)
    _look_for_fork(session, sensor, batch, known, now)
    arrived = sorted(batch.by_sequence.keys() - known.keys())
    fresh: dict[int, Draft] = {}
    aside: list[dict[str, Any]] = []
    whole = not batch.has_rejected or waiting(session, the_console(sensor.organisation_id)) < MAX_WAITING
    for sequence in arrived:
        record = batch.by_sequence[sequence]
        if isinstance(record, FindingRecord):
            fresh[sequence] = batch.drafts.get(sequence) or Draft(record)
        else:
            value, reason = record
            outcome.rejected.append((str(FindingId(sensor.name, batch.epoch, sequence)), reason))
            aside.append(_receipt(life, sequence, now, reason=reason, payload=kept(value, whole)))
    rows = problems.store(session, sensor, list(fresh.values()), now)
    stored = [
        _receipt(life, sequence, now, finding_id=row, count=draft.record.count, digest=draft.digest())
        for (sequence, draft), row in zip(fresh.items(), rows, strict=True)
    ]
    for receipts in (stored, aside):
        insert_many(session, table_of(FindingReceipt), receipts)
    failpoint("ingest.after_receipts")
    outcome.stored = len(fresh)
    life.rejected += len(aside)
    life.received += len(arrived)
    life.highest = max([life.highest, *arrived])
    lost = losses.take(session, life, [*_losses(batch, known)], now)
    life.received += lost.before
    life.duplicates += outcome.duplicates
    life.last_at = sensor.last_seen_at = now
    sensor.stopped_at = None
    life.acknowledged = outcome.acknowledged = _acknowledged(session, life, set(arrived), lost.ranges)
    return outcome


def _sequence(record: Any, sensor_name: str, epoch: int) -> tuple[int | None, str]:
    """The record's sequence, or None and why it is not a record of this sensor and epoch."""
    if not isinstance(record, dict):
        return None, "a finding is an object"
    try:
        found = finding_id(record.get("finding.id"))
    except ValueError as error:
        return None, f"finding.id: {error}"
    if found.sensor != sensor_name:
        return None, f"finding.id: this key belongs to sensor {sensor_name}"
    if found.epoch != epoch:
        return None, "finding.id: another epoch than the batch's"
    return found.sequence, ""


def _printable_id(record: Any) -> str | None:
    given = record.get("finding.id") if isinstance(record, dict) else None
    return given[:120] if isinstance(given, str) else None


def _life(session: Session, sensor: Sensor, epoch: int, now: datetime) -> SensorEpoch:
    # batches of one sensor take turns on any database, whatever their epoch: they count into the same findings
    session.execute(select(Sensor.id).where(Sensor.id == sensor.id).with_for_update(key_share=True))
    query = select(SensorEpoch).where(SensorEpoch.sensor_id == sensor.id, SensorEpoch.epoch == epoch)
    life = session.scalar(query)
    if life is None:
        life = SensorEpoch(
            organisation_id=sensor.organisation_id,
            sensor_id=sensor.id,
            epoch=epoch,
            acknowledged=0,
            highest=0,
            received=0,
            rejected=0,
            duplicates=0,
            swept=0,
            first_at=now,
            last_at=now,
        )
        session.add(life)
    return life


def _known(session: Session, life: SensorEpoch, named: Iterable[int]) -> dict[int, int | None]:
    """Which of these arrived before, with their digests; those above the highest so far are not looked for."""
    swept = {sequence: None for sequence in named if sequence <= life.swept}  # retention deleted their receipts
    asked = [sequence for sequence in named if life.swept < sequence <= life.highest]
    if not asked:
        return dict(swept)
    rows = session.execute(
        select(FindingReceipt.sequence, FindingReceipt.digest).where(
            FindingReceipt.sensor_id == life.sensor_id,
            FindingReceipt.epoch == life.epoch,
            FindingReceipt.sequence.in_(asked),
        )
    )
    return swept | {row.sequence: row.digest for row in rows}


def _look_for_fork(
    session: Session, sensor: Sensor, batch: Checked, known: Mapping[int, int | None], now: datetime
) -> None:
    """A sequence that came before with another content: two programs number findings under this sensor's name."""
    forked = batch.forked
    for sequence, before in known.items():
        record = batch.by_sequence[sequence]
        if before is None or not isinstance(record, FindingRecord) or record.rule_id.startswith(STAND_INS):
            continue
        if digest(record) != before:
            forked = sequence
            break
    if forked is not None:
        name = FindingId(sensor.name, batch.epoch, forked)
        examples = Text(f"{name} 来了两次，内容不同", f"{name} came twice, with different contents")
        troubles.begin(session, sensor, Kind.CLONED, now, {"examples": examples})
        sensor.health = (sensor.health or {}) | {"cloned_at": now.timestamp()}


def _receipt(life: SensorEpoch, sequence: int, now: datetime, **rest: Any) -> dict[str, Any]:
    return {
        "organisation_id": life.organisation_id,
        "sensor_id": life.sensor_id,
        "epoch": life.epoch,
        "sequence": sequence,
        "received_at": now,
        **rest,
    }


def _losses(batch: Checked, known: Container[int]) -> Iterator[losses.Came]:
    """Those of a batch in their order; known ones too, for the range before may be new."""
    for sequence, record in sorted(batch.by_sequence.items()):
        if isinstance(record, FindingRecord) and record.loss is not None:
            yield losses.Came(sequence, sequence not in known, record.loss)


def _acknowledged(session: Session, life: SensorEpoch, arrived: Set[int], lost: Mapping[int, int]) -> int:
    """Highest sequence up to which there is no gap; looks only at what came after the last answer.

    arrived, lost: sequences, and ranges of them (last by first), that are new.
    """
    end, before = life.acknowledged, -1
    while end > before:
        before = end
        while end + 1 in arrived or end + 1 in lost:
            end = max(end + 1, lost.get(end + 1, 0))
        if end == life.highest:
            return end  # nothing lies behind a gap
        end = _without_gap(session, life, losses.after(session, life, end))
    return end


def _without_gap(session: Session, life: SensorEpoch, end: int) -> int:
    """The same, from `end` on, as far as receipts tell."""
    after = aliased(FindingReceipt)
    here = and_(FindingReceipt.sensor_id == life.sensor_id, FindingReceipt.epoch == life.epoch)
    following = and_(
        after.sensor_id == life.sensor_id, after.epoch == life.epoch, after.sequence == FindingReceipt.sequence + 1
    )
    if session.scalar(select(FindingReceipt.id).where(here, FindingReceipt.sequence == end + 1)) is None:
        return end
    found = session.scalar(
        select(FindingReceipt.sequence)
        .where(here, FindingReceipt.sequence > end, ~exists().where(following))
        .order_by(FindingReceipt.sequence)
        .limit(1)  # an ordered walk stops at the first gap, however much lies behind it
    )
    return end if found is None else found
