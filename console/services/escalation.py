"""Escalation: call one contact after another until somebody acknowledges.

The deadline of the next call is a row, so it survives any restart; a worker looks every second what is due. A call and
its message enter the store in one transaction; so do an acknowledgement and the end of the calling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload

from console.notify import lease, message, outbox
from console.services.actor import Actor, scoped, the_console
from console.services.timeline import note
from console.store.models.contact import ContactAddress, Escalation, EscalationPolicy, EscalationStep
from console.store.models.finding import Finding
from console.store.models.incident import EntryKind, Incident, IncidentFinding, IncidentState
from console.store.models.organisation import Organisation
from console.store.models.outbox import Notification
from detectors.finding import Severity

MESSAGE_LIFE = timedelta(hours=24)  # a call for help that could not be delivered for a day is history
RECHECK = timedelta(minutes=1)  # no steps are set: look again, for somebody may set them meanwhile
FINDINGS_IN_MESSAGE = 3


def begin(session: Session, incident: Incident, now: datetime) -> None:
    """Start calling, or start again after a reopening; the first step is told in the caller's transaction."""
    escalation = _of(session, incident)
    if escalation is None:
        escalation = Escalation(organisation_id=incident.organisation_id, incident_id=incident.id, run=1)
        session.add(escalation)
    else:
        escalation.run += 1
    escalation.told, escalation.told_at, escalation.due_at = 0, now, now
    session.flush()
    if not _steps(session, incident.organisation_id)[0]:
        note(session, incident, EntryKind.NOBODY_TO_TELL, the_console(incident.organisation_id), now)
    _call(session, escalation, incident, now)


def stop(session: Session, incident: Incident, why: str, now: datetime) -> None:
    """Nobody else is called, in the caller's transaction; what waits in the outbox is withdrawn. why: for people."""
    escalation = _of(session, incident)
    if escalation is not None:
        escalation.due_at = None
    outbox.withdraw(session, incident.id, why, now)


def due(session: Session, now: datetime, limit: int = 500) -> Sequence[int]:
    """Ids of escalations whose time has come, the longest overdue first.

    One that was last told in the future was written before the clock was set back; its deadline says nothing.
    """
    come = or_(Escalation.due_at <= now, Escalation.told_at > now)
    waiting = select(Escalation.id).where(Escalation.due_at.is_not(None), come)
    return session.scalars(waiting.order_by(Escalation.due_at).limit(limit)).all()


def advance(session: Session, escalation_id: int, now: datetime) -> bool:
    """Tell the next step of one escalation, if it is still due; whether anything was done. The caller commits."""
    incident_id = session.scalar(select(Escalation.incident_id).where(Escalation.id == escalation_id))
    if incident_id is None:
        return False
    # the incident before its escalation, as whoever acknowledges or closes it does: nobody waits in a ring
    session.get_one(Incident, incident_id, with_for_update=True)
    escalation = session.get(Escalation, escalation_id, with_for_update=True)
    if escalation is None or escalation.due_at is None or (escalation.due_at > now and escalation.told_at <= now):
        return False
    incident = escalation.incident
    if incident.state != IncidentState.OPEN:
        escalation.due_at = None
    elif escalation.told_at > now:  # begin the wait anew under the clock as it is
        steps = _steps(session, incident.organisation_id)[0]
        last = steps[(escalation.told - 1) % len(steps)].wait_minutes if steps and escalation.told else 0
        escalation.told_at, escalation.due_at = now, now + timedelta(minutes=last)
    else:
        _call(session, escalation, incident, now)
    return True


def hasten(session: Session, notification: Notification, now: datetime) -> None:
    """A call that can never arrive is not waited for: the next step is due at once. The caller commits."""
    escalation = session.scalar(
        select(Escalation).where(
            Escalation.organisation_id == notification.organisation_id,
            Escalation.incident_id == notification.incident_id,
            Escalation.due_at.is_not(None),
        )
    )
    if escalation is not None and notification.dedup_key == _key(escalation, escalation.told - 1):
        escalation.due_at = now


def _of(session: Session, incident: Incident) -> Escalation | None:
    return session.scalar(
        select(Escalation).where(
            Escalation.organisation_id == incident.organisation_id, Escalation.incident_id == incident.id
        )
    )


def current_run(session: Session, incident: Incident) -> int:
    """How often calling was begun for an incident; links of an earlier run acknowledge nothing."""
    escalation = _of(session, incident)
    return escalation.run if escalation is not None else 0


def _key(escalation: Escalation, call: int) -> str:
    """Names one call for ever: incident, run, number of the call from 0."""
    return f"incident:{escalation.incident_id}:{escalation.run}:{call}"


def _steps(session: Session, organisation_id: int) -> tuple[Sequence[EscalationStep], int]:
    """The organisation's steps in order, and in how many rounds they are told."""
    policy = session.scalar(
        select(EscalationPolicy)
        .where(EscalationPolicy.organisation_id == organisation_id)
        .options(selectinload(EscalationPolicy.steps).selectinload(EscalationStep.address))
    )
    return (policy.steps, policy.rounds) if policy is not None else ((), 0)


def _call(session: Session, escalation: Escalation, incident: Incident, now: datetime) -> None:
    """Tell the next step, and those after it while a step waits no time; set the deadline."""
    steps, rounds = _steps(session, incident.organisation_id)
    if not steps:
        escalation.due_at = now + RECHECK
        return
    console = the_console(incident.organisation_id)
    while escalation.told < len(steps) * rounds:
        step = steps[escalation.told % len(steps)]
        last = escalation.told + 1 == len(steps) * rounds
        _tell(session, escalation, incident, step, last, now)
        escalation.told += 1
        escalation.told_at, escalation.due_at = now, now + timedelta(minutes=step.wait_minutes)
        if step.wait_minutes > 0:
            return
    note(session, incident, EntryKind.NOBODY_ANSWERED, console, now, rounds=rounds)
    escalation.due_at = None


def _tell(
    session: Session, escalation: Escalation, incident: Incident, step: EscalationStep, last: bool, now: datetime
) -> None:
    address = step.address
    written = outbox.enqueue(
        session,
        dedup_key=_key(escalation, escalation.told),
        kind=message.INCIDENT,
        address=address,
        content={
            **incident_facts(session, incident),
            "run": escalation.run,
            "wait_minutes": step.wait_minutes,
            "last": last,
        },
        drill=incident.drill,
        now=now,
        life=MESSAGE_LIFE,
        incident_id=incident.id,
    )
    if written is not None:
        note(
            session,
            incident,
            EntryKind.TOLD,
            the_console(incident.organisation_id),
            now,
            contact=address.contact.name,
            channel=address.channel,
            address=address.shown,
            call=escalation.told + 1,
        )


@dataclass(frozen=True, slots=True)
class NextCall:
    """Who is told next, and when, if nobody acknowledges before. contact: "" when nobody is left or set."""

    at: datetime
    contact: str


def next_call(session: Session, actor: Actor, incident: Incident) -> NextCall | None:
    """None when nobody is being called."""
    escalation = _of(session, incident)
    if escalation is None or escalation.due_at is None or incident.organisation_id != actor.organisation_id:
        return None
    steps, rounds = _steps(session, incident.organisation_id)
    left = escalation.told < len(steps) * rounds
    name = steps[escalation.told % len(steps)].address.contact.name if left else ""
    return NextCall(escalation.due_at, name)


def worker_runs(session: Session, now: datetime) -> bool:
    """Whether a process is there to send anything."""
    return lease.is_held(session, lease.NOTIFY, now)


def tell_taken(session: Session, incident: Incident, by_address: int | None, now: datetime) -> None:
    """Those who were called learn that somebody has taken the incident, in the caller's transaction.

    by_address: the address whose own link was used; it knows already.
    """
    run = current_run(session, incident)
    called = select(Notification.address_id).where(
        Notification.organisation_id == incident.organisation_id,
        Notification.incident_id == incident.id,
        Notification.kind == message.INCIDENT,
        Notification.dedup_key.startswith(f"incident:{incident.id}:{run}:"),
        Notification.attempts > 0,
    )
    addresses = select(ContactAddress).where(ContactAddress.id.in_(called), ContactAddress.removed_at.is_(None))
    for address in session.scalars(addresses.order_by(ContactAddress.id)):
        if address.id == by_address:
            continue
        outbox.enqueue(
            session,
            dedup_key=f"taken:{incident.id}:{run}:{address.id}",
            kind=message.TAKEN,
            address=address,
            content={**incident_facts(session, incident), "by": incident.acknowledged_by, "at": now.isoformat()},
            drill=incident.drill,
            now=now,
            life=MESSAGE_LIFE,
            incident_id=incident.id,
        )


def incident_facts(session: Session, incident: Incident) -> dict[str, Any]:
    """What a message says about an incident: numbers, times and the first findings, JSON types only."""
    organisation = session.get_one(Organisation, incident.organisation_id)
    findings = scoped(the_console(incident.organisation_id), Finding).join(
        IncidentFinding, IncidentFinding.finding_id == Finding.id
    )
    mine = findings.where(IncidentFinding.incident_id == incident.id)
    total = session.scalar(select(func.count()).select_from(mine.with_only_columns(Finding.id).subquery())) or 0
    rows = session.scalars(mine.order_by(Finding.severity.desc(), Finding.id).limit(FINDINGS_IN_MESSAGE)).all()
    return {
        "organisation": organisation.name,
        "number": incident.number,
        "title_en": incident.title_en,
        "title_zh": incident.title_zh,
        "severity": incident.severity_word,
        "state": str(incident.state),
        "opened_at": incident.opened_at.isoformat(),
        "finding_count": total,
        "findings": [_finding_facts(row) for row in rows],
    }


def _finding_facts(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.uid,
        "rule_id": finding.rule_id,
        "rule_name_en": finding.rule_name_en,
        "rule_name_zh": finding.rule_name_zh,
        "message_en": finding.message_en,
        "message_zh": finding.message_zh,
        "severity": Severity(finding.severity).word,
        "protocol": finding.protocol,
        "source_ip": finding.source_ip,
        "destination_ip": finding.destination_ip,
        "site": finding.sensor.segment.site.name,
        "techniques": finding.techniques,
        "count": finding.count,
        "first_seen": finding.first_seen.isoformat(),
        "last_seen": finding.last_seen.isoformat(),
    }
