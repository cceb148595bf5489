"""Incidents: open, acknowledge, close, reopen; every change with its line in the timeline, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from console.services import escalation
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import ConflictError, InvalidError
from console.services.incident_links import Joined, link
from console.services.new_finding import NewFinding
from console.services.organisations import take_turns
from console.services.timeline import Line, note, note_all
from console.store.models.finding import Finding
from console.store.models.incident import Disposition, EntryKind, Incident, IncidentFinding, IncidentState
from console.store.models.outbox import Notification
from console.store.models.user import User

PAGE_SIZE = 50
TEXT_LIMIT = 4000  # characters of a comment or reason
TITLE_LIMIT = 200
FINDINGS_AT_ONCE = 200
SHOWN_FINDINGS = 100  # on the page of one incident; a flood can put thousands into it


class AlreadyAcknowledgedError(ConflictError):
    """Somebody else was first; `by` and `at` say who and when."""

    def __init__(self, by: str, at: datetime | None) -> None:
        super().__init__("%(name)s has already acknowledged this incident.", name=by)
        self.by = by
        self.at = at


def open_incident(
    session: Session, actor: Actor, finding_ids: Sequence[int], now: datetime, title: str = "", drill: bool = False
) -> Incident:
    """A person opens an incident from findings of the own organisation; a drill if any of them is, or if said so."""
    actor.require(Role.ANALYST)
    wanted = sorted(set(finding_ids))
    if not wanted:
        raise InvalidError("Choose at least one finding.")
    if len(wanted) > FINDINGS_AT_ONCE:
        raise InvalidError("That is too many findings at once.")
    findings = [load(session, actor, Finding, finding_id) for finding_id in wanted]
    return create(session, actor, findings, now, title=_text(title, TITLE_LIMIT), drill=drill)


def create(
    session: Session,
    actor: Actor,
    findings: Sequence[Finding | NewFinding],
    now: datetime,
    *,
    title: str = "",
    drill: bool = False,
    automatic: bool = False,
) -> Incident:
    """Write the incident, link its findings and begin the calling; findings belong to the actor's organisation."""
    first = max(findings, key=lambda finding: finding.severity)
    incident = Incident(
        organisation_id=actor.organisation_id,
        number=_next_number(session, actor),
        title_en=title or first.rule_name_en,
        title_zh=title or first.rule_name_zh,
        severity=first.severity,
        state=IncidentState.OPEN,
        drill=drill or any(finding.drill for finding in findings),
        automatic=automatic,
        opened_at=now,
        opened_by=actor.name,
        updated_at=now,
    )
    session.add(incident)
    session.flush()
    note(session, incident, EntryKind.OPENED, actor, now, automatic=automatic)
    link(session, [(incident, findings)], now)
    escalation.begin(session, incident, now)
    return incident


def _next_number(session: Session, actor: Actor) -> int:
    """The next number of the organisation; its row is locked, where the database locks rows, until the commit."""
    take_turns(session, actor.organisation_id)
    mine = select(func.max(Incident.number)).where(Incident.organisation_id == actor.organisation_id)
    return (session.scalar(mine) or 0) + 1


def add_findings(
    session: Session, actor: Actor, incident_id: int, finding_ids: Sequence[int], now: datetime
) -> Incident:
    """A person adds findings to an incident that is not closed. A drill and reality never mix."""
    actor.require(Role.ANALYST)
    incident = load(session, actor, Incident, incident_id)
    if len(finding_ids) > FINDINGS_AT_ONCE:
        raise InvalidError("That is too many findings at once.")
    for finding_id in sorted(set(finding_ids)):
        join(session, actor, incident, load(session, actor, Finding, finding_id), now)
    return incident


def join(session: Session, actor: Actor, incident: Incident, finding: Finding, now: datetime) -> None:
    """Add one finding of the same organisation; severity follows the gravest. Raises ConflictError."""
    if incident.state == IncidentState.CLOSED:
        raise ConflictError("The incident is closed. Reopen it first.")
    if finding.drill and not incident.drill:
        raise ConflictError("A finding of a drill does not belong to a real incident.")
    linked = scoped(actor, IncidentFinding).where(
        IncidentFinding.incident_id == incident.id, IncidentFinding.finding_id == finding.id
    )
    if session.scalar(linked) is None:
        add(session, actor, [(incident, [finding])], now)


def add(session: Session, actor: Actor, joined: Joined, now: datetime) -> None:
    """Add findings that may belong to their incidents and do not yet, each with its line in the timeline."""
    link(session, joined, now)
    lines: list[Line] = []
    for incident, findings in joined:
        for finding in findings:
            lines.append((incident, EntryKind.FINDING_ADDED, {"finding": finding.id, "rule": finding.rule_id}))
            if finding.severity > incident.severity:
                raised = {"before": incident.severity, "after": finding.severity}
                lines.append((incident, EntryKind.SEVERITY_RAISED, raised))
                incident.severity = finding.severity
    note_all(session, lines, actor, now)


def acknowledge(
    session: Session, actor: Actor, incident_id: int, now: datetime, by_address: int | None = None
) -> Incident:
    """Take an open incident: exactly one succeeds, all others get AlreadyAcknowledgedError; the calling ends with it.

    actor: a user, who becomes the owner, or a contact through the link in a message (user_id None; by_address: where
    that message went).
    """
    actor.require(Role.ANALYST)
    incident = load(session, actor, Incident, incident_id)
    # The condition is in the statement itself: whatever was read before, the database lets one through.
    taken = session.execute(
        update(Incident)
        .where(
            Incident.id == incident.id,
            Incident.organisation_id == actor.organisation_id,
            Incident.state == IncidentState.OPEN,
        )
        .values(
            state=IncidentState.ACKNOWLEDGED,
            acknowledged_at=now,
            acknowledged_by=actor.name,
            owner_id=actor.user_id,
            updated_at=now,
        )
        .execution_options(synchronize_session=False)
    )
    session.refresh(incident)
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        if incident.acknowledged_at is None:
            raise ConflictError("The incident is closed. Reopen it first.")
        raise AlreadyAcknowledgedError(incident.acknowledged_by, incident.acknowledged_at)
    note(session, incident, EntryKind.ACKNOWLEDGED, actor, now)
    escalation.stop(session, incident, f"acknowledged by {actor.name}", now)
    escalation.tell_taken(session, incident, by_address, now)
    return incident


def close(session: Session, actor: Actor, incident_id: int, disposition: str, reason: str, now: datetime) -> Incident:
    """Settle an incident; disposition and reason are compulsory. Closing an open one ends its calling too."""
    actor.require(Role.ANALYST)
    incident = _load_locked(session, actor, incident_id)
    if incident.state == IncidentState.CLOSED:
        raise ConflictError("The incident is closed already.")
    if disposition not in set(Disposition):
        raise InvalidError("Say what the incident turned out to be.")
    reason = _required(reason)
    incident.state, incident.disposition, incident.reason = IncidentState.CLOSED, disposition, reason
    incident.closed_at, incident.closed_by = now, actor.name
    note(session, incident, EntryKind.CLOSED, actor, now, reason, disposition=disposition)
    escalation.stop(session, incident, f"closed by {actor.name}", now)
    return incident


def reopen(session: Session, actor: Actor, incident_id: int, reason: str, now: datetime) -> Incident:
    """A closed incident is open again: nobody owns it, and people are called again."""
    actor.require(Role.ANALYST)
    incident = _load_locked(session, actor, incident_id)
    if incident.state != IncidentState.CLOSED:
        raise ConflictError("The incident is not closed.")
    reason = _required(reason)
    incident.state, incident.disposition, incident.reason = IncidentState.OPEN, None, ""
    incident.closed_at, incident.closed_by = None, ""
    incident.acknowledged_at, incident.acknowledged_by, incident.owner_id = None, "", None
    note(session, incident, EntryKind.REOPENED, actor, now, reason)
    escalation.begin(session, incident, now)
    return incident


def comment(session: Session, actor: Actor, incident_id: int, text: str, now: datetime) -> None:
    """Add a remark to the timeline."""
    actor.require(Role.ANALYST)
    note(session, load(session, actor, Incident, incident_id), EntryKind.COMMENT, actor, now, _required(text))


def set_owner(session: Session, actor: Actor, incident_id: int, user_id: int, now: datetime) -> None:
    """Hand an incident to a user of the same organisation."""
    actor.require(Role.ANALYST)
    incident = _load_locked(session, actor, incident_id)
    user = load(session, actor, User, user_id)
    if incident.owner_id != user.id:
        incident.owner_id = user.id
        note(session, incident, EntryKind.OWNER_SET, actor, now, owner=user.name)


def _load_locked(session: Session, actor: Actor, incident_id: int) -> Incident:
    """The incident as it is now, locked until the commit where the database locks rows."""
    incident = load(session, actor, Incident, incident_id)
    session.refresh(incident, with_for_update=True)
    return incident


def _required(text: str) -> str:
    text = _text(text, TEXT_LIMIT)
    if not text:
        raise InvalidError("Give a reason: others must understand it later.")
    return text


def _text(text: str, limit: int) -> str:
    text = text.strip()
    if len(text) > limit:
        raise InvalidError("The text is longer than %(limit)d characters.", limit=limit)
    return text


def listing(session: Session, actor: Actor, state: str = "", page: int = 1) -> tuple[Sequence[Incident], int]:
    """Incidents in one state ("" every one), the gravest unsettled first; one page, and how many there are."""
    mine = scoped(actor, Incident)
    if state in set(IncidentState):
        mine = mine.where(Incident.state == state)
    total = session.scalar(select(func.count()).select_from(mine.subquery())) or 0
    order = (Incident.state == IncidentState.CLOSED, Incident.state == IncidentState.ACKNOWLEDGED)
    rows = mine.order_by(*order, Incident.severity.desc(), Incident.opened_at.desc(), Incident.id.desc())
    start = (max(page, 1) - 1) * PAGE_SIZE
    return session.scalars(rows.options(joinedload(Incident.owner)).limit(PAGE_SIZE).offset(start)).all(), total


def counts(session: Session, actor: Actor) -> dict[str, int]:
    """How many incidents are in each state."""
    mine = select(Incident.state, func.count()).where(Incident.organisation_id == actor.organisation_id)
    found = dict(session.execute(mine.group_by(Incident.state)).all())
    return {state.value: found.get(state.value, 0) for state in IncidentState}


def findings_of(session: Session, actor: Actor, incident: Incident) -> tuple[Sequence[Finding], int]:
    """The gravest SHOWN_FINDINGS findings of an incident, and how many it has."""
    linked = scoped(actor, Finding).join(IncidentFinding, IncidentFinding.finding_id == Finding.id)
    mine = linked.where(IncidentFinding.incident_id == incident.id)
    total = session.scalar(select(func.count()).select_from(mine.with_only_columns(Finding.id).subquery())) or 0
    worst = mine.order_by(Finding.severity.desc(), Finding.last_seen.desc()).limit(SHOWN_FINDINGS)
    return session.scalars(worst).all(), total


def incidents_of(session: Session, actor: Actor, finding_id: int) -> Sequence[Incident]:
    """The incidents that a finding belongs to, the newest first."""
    linked = scoped(actor, Incident).join(IncidentFinding, IncidentFinding.incident_id == Incident.id)
    mine = linked.where(IncidentFinding.finding_id == finding_id)
    return session.scalars(mine.order_by(Incident.id.desc())).all()


def unsettled(session: Session, actor: Actor, limit: int = 50) -> Sequence[Incident]:
    """Incidents that findings can still be added to, the newest first."""
    mine = scoped(actor, Incident).where(Incident.state != IncidentState.CLOSED)
    return session.scalars(mine.order_by(Incident.id.desc()).limit(limit)).all()


def ladder(session: Session, actor: Actor, incident: Incident) -> Sequence[Notification]:
    """The messages about an incident with their attempts, in the order in which they were written."""
    mine = scoped(actor, Notification).where(Notification.incident_id == incident.id)
    return session.scalars(mine.order_by(Notification.id)).all()
