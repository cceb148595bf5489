"""Retention: what is older than an organisation keeps it goes, in small batches, counted in the audit log.

Never deleted: what belongs to an incident that is not closed, to a bulletin that is a draft or in force, or to a legal
hold; receipts that the acknowledgement of a sensor still rests on; incidents and their timelines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from console.services import audit, holds
from console.services.actor import Actor, Role, scoped
from console.services.errors import InvalidError
from console.store.audit_chain import PRUNED
from console.store.engine import Store
from console.store.models import (
    Asset,
    AuditEntry,
    AuditHead,
    Behaviour,
    Bulletin,
    Finding,
    FindingEvidence,
    FindingReceipt,
    Incident,
    IncidentFinding,
    IncidentState,
    LegalHold,
    LoginSession,
    Notification,
    NotificationAttempt,
    Organisation,
    RetentionRule,
    SensorEpoch,
    Summary,
)
from detectors.finding import Severity

BATCH = 500  # rows of one transaction: a batch of findings waits for no longer than it takes to delete them
MAX_DAYS = 36_500
SYSTEM = "retention"

# Deletes up to BATCH rows of an organisation that are older than a time; gives how many, and what to say of them.
Sweep = Callable[[Session, int, datetime, datetime], tuple[int, dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Class:
    """One class of what is kept. days: unless the organisation says otherwise, None for ever. least: the law's."""

    name: str
    days: int | None
    least: int
    sweep: Sweep


def _open(now: datetime) -> ColumnElement[bool]:
    """Condition on Finding: somebody still works with it, or a hold keeps it."""
    in_incident = exists().where(
        IncidentFinding.finding_id == Finding.id,
        Incident.id == IncidentFinding.incident_id,
        Incident.state != IncidentState.CLOSED,
    )
    in_bulletin = exists().where(Bulletin.finding_id == Finding.id, Bulletin.state.in_(("draft", "issued")))
    return or_(in_incident, in_bulletin, holds.holds_finding(now))


def _findings(severity: Severity) -> Sweep:
    def sweep(session: Session, organisation_id: int, before: datetime, now: datetime) -> tuple[int, dict[str, object]]:
        # the newest row stays: SQLite would give its id to another finding
        newest = select(func.max(Finding.id)).scalar_subquery()
        old = (
            select(Finding.id)
            .where(
                Finding.organisation_id == organisation_id,
                Finding.severity == int(severity),
                Finding.last_seen < before,
                Finding.updated_at < before,
                Finding.id != newest,
                ~_open(now),
            )
            .order_by(Finding.last_seen)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        ids = session.scalars(old).all()
        if ids:
            session.execute(delete(FindingEvidence).where(FindingEvidence.finding_id.in_(ids)))
            session.execute(delete(IncidentFinding).where(IncidentFinding.finding_id.in_(ids)))
            session.execute(delete(LegalHold).where(LegalHold.finding_id.in_(ids)))  # lifted ones; the audit has them
            session.execute(update(Bulletin).where(Bulletin.finding_id.in_(ids)).values(finding_id=None))
            session.execute(delete(Finding).where(Finding.id.in_(ids)).execution_options(synchronize_session=False))
        return len(ids), {"first_id": min(ids, default=0), "last_id": max(ids, default=0)}

    return sweep


def _evidence(session: Session, organisation_id: int, before: datetime, now: datetime) -> tuple[int, dict[str, object]]:
    """Frames and decoded PDUs of old findings; the finding itself stays as long as its own class says."""
    old = (
        select(FindingEvidence.id)
        .join(Finding, Finding.id == FindingEvidence.finding_id)
        .where(
            FindingEvidence.organisation_id == organisation_id,
            Finding.last_seen < before,
            func.length(FindingEvidence.pcap) > 0,
            ~_open(now),
        )
        .limit(BATCH)
    )
    ids = session.scalars(old).all()
    if ids:
        session.execute(update(FindingEvidence).where(FindingEvidence.id.in_(ids)).values(pcap=b"", pdus=[]))
    return len(ids), {}


def _receipts(session: Session, organisation_id: int, before: datetime, now: datetime) -> tuple[int, dict[str, object]]:
    """Receipts below what is acknowledged: the watermark `swept` says that all of them arrived.

    In their order and without holes, so that one number says which: a held or younger receipt ends the batch.
    """
    lives = session.scalars(
        select(SensorEpoch)
        .where(SensorEpoch.organisation_id == organisation_id, SensorEpoch.acknowledged > SensorEpoch.swept + 1)
        .order_by(SensorEpoch.id)
    ).all()
    for life in lives:
        session.refresh(life, with_for_update=True)
        here = (FindingReceipt.sensor_id == life.sensor_id, FindingReceipt.epoch == life.epoch)
        stays = or_(
            FindingReceipt.received_at >= before,
            holds.holds_time(FindingReceipt.organisation_id, FindingReceipt.received_at, now),
        )
        in_order = select(FindingReceipt.sequence).where(*here).order_by(FindingReceipt.sequence)
        first_kept = session.scalar(in_order.where(FindingReceipt.sequence > life.swept, stays).limit(1))
        end = life.acknowledged - 1  # the receipt at the acknowledgement itself stays: the next gap is counted from it
        end = min(end, first_kept - 1) if first_kept is not None else end
        batch = in_order.where(FindingReceipt.sequence > life.swept, FindingReceipt.sequence <= end).limit(BATCH)
        sequences = session.scalars(batch).all()
        if sequences:
            session.execute(
                delete(FindingReceipt)
                .where(*here, FindingReceipt.sequence.in_(sequences))
                .execution_options(synchronize_session=False)
            )
            life.swept = sequences[-1]
            return len(sequences), {"sensor": life.sensor_id, "epoch": life.epoch, "up_to": life.swept}
    return 0, {}


def _notifications(
    session: Session, organisation_id: int, before: datetime, now: datetime
) -> tuple[int, dict[str, object]]:
    open_incident = exists().where(Incident.id == Notification.incident_id, Incident.state != IncidentState.CLOSED)
    held = exists().where(LegalHold.incident_id == Notification.incident_id, holds.in_force(now))
    ids = session.scalars(
        select(Notification.id)
        .where(
            Notification.organisation_id == organisation_id,
            Notification.finished_at < before,
            ~open_incident,
            ~held,
            ~holds.holds_time(Notification.organisation_id, Notification.created_at, now),
        )
        .limit(BATCH)
    ).all()
    if ids:
        session.execute(delete(NotificationAttempt).where(NotificationAttempt.notification_id.in_(ids)))
        session.execute(delete(Notification).where(Notification.id.in_(ids)))
    return len(ids), {}


def _sessions(
    session: Session, organisation_id: int, before: datetime, _now: datetime
) -> tuple[int, dict[str, object]]:
    ids = session.scalars(
        select(LoginSession.id)
        .where(LoginSession.organisation_id == organisation_id, LoginSession.expires_at < before)
        .limit(BATCH)
    ).all()
    if ids:
        session.execute(delete(LoginSession).where(LoginSession.id.in_(ids)))
    return len(ids), {}


def _reported(model: type[Asset | Behaviour]) -> Sweep:
    """What sensors report as it stands; it comes again as soon as it is seen again."""

    def sweep(session: Session, organisation_id: int, before: datetime, now: datetime) -> tuple[int, dict[str, object]]:
        old = select(model.id).where(
            model.organisation_id == organisation_id,
            model.updated_at < before,
            ~holds.holds_time(model.organisation_id, model.updated_at, now),
        )
        ids = session.scalars(old.order_by(model.updated_at).limit(BATCH)).all()
        if ids:
            session.execute(delete(model).where(model.id.in_(ids)).execution_options(synchronize_session=False))
        return len(ids), {}

    return sweep


def _summaries(
    session: Session, organisation_id: int, before: datetime, _now: datetime
) -> tuple[int, dict[str, object]]:
    old = select(Summary.id).where(Summary.organisation_id == organisation_id, Summary.begins_at < before)
    ids = session.scalars(old.limit(BATCH)).all()
    if ids:
        session.execute(delete(Summary).where(Summary.id.in_(ids)).execution_options(synchronize_session=False))
    return len(ids), {}


def _audit(session: Session, organisation_id: int, before: datetime, now: datetime) -> tuple[int, dict[str, object]]:
    """The oldest entries of the chain, in their order; the entry that says so names where the chain begins now."""
    mine = AuditEntry.organisation_id == organisation_id
    head = session.scalar(select(AuditHead).where(AuditHead.organisation_id == organisation_id).with_for_update())
    if head is None:
        return 0, {}
    stays = or_(AuditEntry.at >= before, holds.holds_time(AuditEntry.organisation_id, AuditEntry.at, now))
    first_kept = session.scalar(select(AuditEntry.sequence).where(mine, stays).order_by(AuditEntry.sequence).limit(1))
    end = min(first_kept if first_kept is not None else head.sequence, head.sequence) - 1  # one entry always stays
    last = session.scalar(
        select(AuditEntry)
        .where(mine, AuditEntry.sequence <= min(end, head.base_sequence + BATCH))
        .order_by(AuditEntry.sequence.desc())
        .limit(1)
    )
    if last is None or last.sequence <= head.base_sequence:
        return 0, {}
    count = last.sequence - head.base_sequence
    head.base_sequence, head.base_hash = last.sequence, last.hash
    session.flush()
    session.execute(
        delete(AuditEntry)
        .where(mine, AuditEntry.sequence <= last.sequence)
        .execution_options(synchronize_session=False)
    )
    return count, {"hash": head.base_hash, "up_to": head.base_sequence}


CLASSES: Mapping[str, Class] = {
    one.name: one
    for one in (
        Class("findings_critical", None, 180, _findings(Severity.CRITICAL)),
        Class("findings_high", 1_095, 180, _findings(Severity.HIGH)),
        Class("findings_medium", 365, 180, _findings(Severity.MEDIUM)),
        Class("findings_low", 365, 180, _findings(Severity.LOW)),
        Class("findings_informational", 180, 180, _findings(Severity.INFORMATIONAL)),
        Class("evidence", 365, 1, _evidence),
        Class("receipts", 180, 7, _receipts),
        Class("notifications", 365, 180, _notifications),
        Class("sessions", 1, 1, _sessions),
        Class("assets", 1_095, 30, _reported(Asset)),
        Class("behaviours", 365, 30, _reported(Behaviour)),
        Class("summaries", None, 365, _summaries),
        Class("audit", None, 365, _audit),
    )
}


def rules_of(session: Session, organisation_id: int) -> dict[str, int | None]:
    """Days by class, None for ever."""
    said = session.scalars(select(RetentionRule).where(RetentionRule.organisation_id == organisation_id))
    return {one.name: one.days for one in CLASSES.values()} | {rule.name: rule.days for rule in said}


def set_rule(session: Session, actor: Actor, name: str, days: int | None, now: datetime) -> None:
    """Keep a class for so many days, None for ever. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    wanted = CLASSES.get(name)
    if wanted is None:
        raise InvalidError("There is no such class.")
    if days is not None and not wanted.least <= days <= MAX_DAYS:
        raise InvalidError(
            "This is kept for %(least)d to %(most)d days, or for ever.", least=wanted.least, most=MAX_DAYS
        )
    before = rules_of(session, actor.organisation_id)[name]
    rule = session.scalar(scoped(actor, RetentionRule).where(RetentionRule.name == name))
    if rule is None:
        session.add(RetentionRule(organisation_id=actor.organisation_id, name=name, days=days))
    else:
        rule.days = days
    if before != days:
        details = {"class": name, "before": before, "days": days}
        audit.record(session, actor, actor.organisation_id, "retention.set", "", details, now)


def sweep(
    store: Store, now: Callable[[], datetime], may_go_on: Callable[[Session], bool] = lambda _session: True
) -> dict[tuple[int, str], int]:
    """Delete what is over its time, in batches; gives how many rows by organisation and class.

    may_go_on: asked in each batch's transaction, which commits nothing when it says no (the lease went to another).
    """
    gone: dict[tuple[int, str], int] = {}
    with store.reader() as session:
        organisations: Sequence[int] = session.scalars(select(Organisation.id).order_by(Organisation.id)).all()
    for organisation_id in organisations:
        for one in CLASSES.values():
            while True:
                with store.writer() as session:
                    if not may_go_on(session):
                        session.rollback()
                        return gone
                    days = rules_of(session, organisation_id)[one.name]
                    at = now()
                    if days is None:
                        break
                    rows, about = one.sweep(session, organisation_id, at - timedelta(days=days), at)
                    if rows:
                        action = PRUNED if one.name == "audit" else "retention.deleted"
                        details = {"class": one.name, "days": days, "rows": rows, **about}
                        audit.record(session, SYSTEM, organisation_id, action, "", details, at)
                    session.commit()
                gone[organisation_id, one.name] = gone.get((organisation_id, one.name), 0) + rows
                if rows < BATCH:
                    break
    return {key: rows for key, rows in gone.items() if rows}
