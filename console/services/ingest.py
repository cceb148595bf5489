"""Findings of a sensor into the store: each exactly once, each accounted for."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import and_, exists, insert, select
from sqlalchemy.orm import Session, aliased

from console.services.hooks import ON_NEW_FINDING
from console.services.intake import FindingRecord, explain, finding_id
from console.store.models import Finding, FindingEvidence, FindingReceipt, Sensor, SensorEpoch
from detectors.finding import FindingId
from sensor.failpoints import failpoint

MERGE_WITHIN = timedelta(hours=24)  # records of one problem whose first events are closer than this are one row
MAX_KEPT = 16_384  # characters of a rejected record that are kept,
MAX_STRING_KEPT = 1_000  # and of one string in it


@dataclass(slots=True)
class Outcome:
    """The answer to a batch; see docs/architecture.md. rejected: (finding id or None, reason)."""

    acknowledged: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: list[tuple[str | None, str]] = field(default_factory=list)


def ingest(session: Session, sensor: Sensor, epoch: int, records: list[Any], now: datetime) -> Outcome:
    """Store a batch; the caller commits before it answers.

    A record is stored, or known already, or rejected for good with a reason; the others never suffer from it. One that
    does not even say which sequence of this sensor and epoch it is leaves no receipt.
    """
    outcome = Outcome()
    named: dict[int, Any] = {}
    for record in records:
        sequence, reason = _sequence(record, sensor, epoch)
        if sequence is None:
            outcome.rejected.append((_printable_id(record), reason))
        elif sequence in named:
            outcome.duplicates += 1
        else:
            named[sequence] = record
    life = _life(session, sensor, epoch, now)
    known = _known(session, sensor, epoch, named)
    outcome.duplicates += len(known)
    fresh: dict[int, FindingRecord] = {}
    for sequence in sorted(named.keys() - known):
        try:
            fresh[sequence] = FindingRecord.model_validate(named[sequence])
        except ValidationError as error:
            reason = explain(error)
            outcome.rejected.append((str(FindingId(sensor.name, epoch, sequence)), reason))
            session.add(
                FindingReceipt(**_receipt(sensor, epoch, sequence, now, reason=reason, payload=_kept(named[sequence])))
            )
            life.rejected += 1
    _store(session, sensor, fresh, now)
    outcome.stored = len(fresh)
    arrived = named.keys() - known
    life.received += len(arrived)
    life.highest = max([life.highest, *arrived])
    life.duplicates += outcome.duplicates
    life.last_at = sensor.last_seen_at = now
    session.flush()
    life.acknowledged = outcome.acknowledged = _acknowledged(session, life)
    return outcome


def _sequence(record: Any, sensor: Sensor, epoch: int) -> tuple[int | None, str]:
    """The record's sequence, or None and why it is not a record of this sensor and epoch."""
    if not isinstance(record, dict):
        return None, "a finding is an object"
    try:
        found = finding_id(record.get("finding.id"))
    except ValueError as error:
        return None, f"finding.id: {error}"
    if found.sensor != sensor.name:
        return None, f"finding.id: this key belongs to sensor {sensor.name}"
    if found.epoch != epoch:
        return None, "finding.id: another epoch than the batch's"
    return found.sequence, ""


def _printable_id(record: Any) -> str | None:
    given = record.get("finding.id") if isinstance(record, dict) else None
    return given[:120] if isinstance(given, str) else None


def _life(session: Session, sensor: Sensor, epoch: int, now: datetime) -> SensorEpoch:
    query = select(SensorEpoch).where(SensorEpoch.sensor_id == sensor.id, SensorEpoch.epoch == epoch)
    life = session.scalar(query.with_for_update())  # batches of one sensor take turns on any database
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
            first_at=now,
            last_at=now,
        )
        session.add(life)
    return life


def _known(session: Session, sensor: Sensor, epoch: int, named: dict[int, Any]) -> set[int]:
    return set(
        session.scalars(
            select(FindingReceipt.sequence).where(
                FindingReceipt.sensor_id == sensor.id,
                FindingReceipt.epoch == epoch,
                FindingReceipt.sequence.in_(named),
            )
        )
    )


def _kept(record: dict[str, Any]) -> str:
    short: dict[str, Any] = {"finding.id": ""}  # first, so that the cut never takes it
    short |= {key: value[:MAX_STRING_KEPT] if isinstance(value, str) else value for key, value in record.items()}
    return json.dumps(short, default=str)[:MAX_KEPT]


def _receipt(sensor: Sensor, epoch: int, sequence: int, now: datetime, **rest: Any) -> dict[str, Any]:
    return {
        "organisation_id": sensor.organisation_id,
        "sensor_id": sensor.id,
        "epoch": epoch,
        "sequence": sequence,
        "received_at": now,
        **rest,
    }


def _evidence(record: FindingRecord, row: Finding) -> dict[str, Any]:
    return {
        "organisation_id": row.organisation_id,
        "finding_id": row.id,
        "frames": list(record.frames),
        "pdus": list(record.pdus),
        "pcap": record.pcap,
    }


def _store(session: Session, sensor: Sensor, fresh: dict[int, FindingRecord], now: datetime) -> None:
    """Count each record into its row, made where the problem is new; then write the receipts."""
    rows: dict[str, list[Finding]] = defaultdict(list)
    if fresh:
        # rows that any record of the batch could be counted into
        earliest = min(record.first_seen for record in fresh.values()) - MERGE_WITHIN
        for known in session.scalars(
            select(Finding).where(
                Finding.sensor_id == sensor.id,
                Finding.fingerprint.in_({record.fingerprint for record in fresh.values()}),
                Finding.first_seen > earliest,
            )
        ):
            rows[known.fingerprint].append(known)
    counted: list[tuple[FindingRecord, Finding]] = []
    created: list[tuple[FindingRecord, Finding]] = []
    for record in fresh.values():
        row = _row_for(record, rows[record.fingerprint])
        if row is not None:
            _count_into(row, record, now)
        else:
            row = _new_row(sensor, record, now)
            session.add(row)
            rows[record.fingerprint].append(row)
            created.append((record, row))
        counted.append((record, row))
    session.flush()  # gives the new rows their ids
    failpoint("ingest.after_rows")
    # many rows at once, past the unit of work: this halves the time that a batch holds the store
    if created:
        session.execute(insert(FindingEvidence), [_evidence(record, row) for record, row in created])
    if counted:
        session.execute(
            insert(FindingReceipt),
            [_receipt(sensor, r.id.epoch, r.id.sequence, now, finding_id=row.id, count=r.count) for r, row in counted],
        )
    failpoint("ingest.after_receipts")
    for _, row in created:
        for hook in ON_NEW_FINDING:
            hook(session, row, now)


def _row_for(record: FindingRecord, rows: list[Finding]) -> Finding | None:
    def distance(row: Finding) -> timedelta:
        return abs(row.first_seen - record.first_seen)

    nearest = min(rows, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < MERGE_WITHIN else None


def _new_row(sensor: Sensor, record: FindingRecord, now: datetime) -> Finding:
    return Finding(
        organisation_id=sensor.organisation_id,
        sensor_id=sensor.id,
        uid=str(record.id),
        fingerprint=record.fingerprint,
        rule_id=record.rule_id,
        rule_name_en=record.rule_name,
        rule_name_zh=record.rule_name_zh or record.rule_name,
        severity=int(record.severity),
        protocol=record.protocol,
        first_seen=record.first_seen,
        last_seen=max(record.first_seen, record.last_seen),
        received_at=now,
        updated_at=now,
        count=record.count,
        source_ip=record.source_ip or record.source_mac,
        source_port=record.source_port,
        destination_ip=record.destination_ip or record.destination_mac,
        destination_port=record.destination_port,
        station=record.station,
        techniques=list(record.techniques),
        message_en=record.message,
        message_zh=record.message_zh or record.message,
        fields=record.fields,
        risk=_risk(record),
        capture=record.capture,
        drill=sensor.drill,
        search_text=_search_text(record),
    )


def _count_into(row: Finding, record: FindingRecord, now: datetime) -> None:
    row.count += record.count
    row.first_seen = min(row.first_seen, record.first_seen)
    row.last_seen = max(row.last_seen, record.last_seen)
    if int(record.severity) >= row.severity:  # the equation is that of the level shown
        row.severity, row.risk = int(record.severity), _risk(record) or row.risk
    row.updated_at = now
    if record.rule_id != row.rule_id:  # it turned out to be more: the stop was the first step of a download
        row.rule_id, row.protocol = record.rule_id, record.protocol
        row.rule_name_en, row.rule_name_zh = record.rule_name, record.rule_name_zh or record.rule_name
        row.techniques, row.fields = list(record.techniques), record.fields
    if record.rule_id.startswith("engineering."):  # each record tells all steps so far
        row.message_en, row.message_zh = record.message, record.message_zh or record.message
        row.techniques = list(record.techniques)
        row.search_text = _search_text(record)


def _risk(record: FindingRecord) -> dict[str, Any]:
    """Where the severity comes from, as it is kept; empty where the sensor did not say."""
    if record.risk is None:
        return {}
    return {
        "score": record.risk,
        "factors": record.risk_factors,
        "en": record.risk_equation,
        "zh": record.risk_equation_zh or record.risk_equation,
        "overridden": record.risk_overridden,
    }


def _search_text(record: FindingRecord) -> str:
    parts = [
        record.rule_id,
        record.rule_name,
        record.rule_name_zh,
        record.protocol,
        record.source_ip or record.source_mac,
        record.destination_ip or record.destination_mac,
        *record.techniques,
        record.message,
        record.message_zh,
        record.capture,
        *(f"{name}:{value}" for name, value in record.fields.items()),
    ]
    return "\n".join(part for part in parts if part)


def _acknowledged(session: Session, life: SensorEpoch) -> int:
    """Highest sequence up to which there is no gap; looks only at what came after the last answer."""
    after = aliased(FindingReceipt)
    here = and_(FindingReceipt.sensor_id == life.sensor_id, FindingReceipt.epoch == life.epoch)
    following = and_(
        after.sensor_id == life.sensor_id, after.epoch == life.epoch, after.sequence == FindingReceipt.sequence + 1
    )
    if life.acknowledged == 0:
        begun = session.scalar(select(FindingReceipt.id).where(here, FindingReceipt.sequence == 1))
        if begun is None:
            return 0
    end = session.scalar(
        select(FindingReceipt.sequence)
        .where(here, FindingReceipt.sequence >= max(life.acknowledged, 1), ~exists().where(following))
        .order_by(FindingReceipt.sequence)
        .limit(1)  # an ordered walk stops at the first gap, however much lies behind it
    )
    return end if end is not None else life.acknowledged
