"""Legal holds: what must be kept whatever retention says. One person places a hold, two lift it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import ConflictError, InvalidError
from console.store.models import Finding, Incident, IncidentFinding, LegalHold

MAX_REASON = 2_000  # characters


@dataclass(frozen=True, slots=True)
class NewHold:
    """What to hold: an incident by its number, a finding by its id, or a time range; reason; until when, None open."""

    incident: int | None = None
    finding: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    ends_at: datetime | None = None


def place(session: Session, actor: Actor, wanted: NewHold, now: datetime) -> LegalHold:
    """Hold something from now on. InvalidError, NotFoundError. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    reason = wanted.reason.strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise InvalidError("Give a reason: others must understand it later.")
    spans = wanted.since is not None or wanted.until is not None
    if (wanted.incident is not None) + (wanted.finding is not None) + spans != 1:
        raise InvalidError("Hold one incident, one finding or one time range.")
    if spans and (wanted.since is None or wanted.until is None or wanted.until <= wanted.since):
        raise InvalidError("A time range has a beginning and a later end.")
    if wanted.ends_at is not None and wanted.ends_at <= now:
        raise InvalidError("A hold ends in the future, or is lifted by two persons.")
    hold = LegalHold(
        organisation_id=actor.organisation_id, since=wanted.since, until=wanted.until, reason=reason, placed_at=now,
        placed_by=actor.name, ends_at=wanted.ends_at, asked_by="", lifted_by="",
    )  # fmt: skip
    if wanted.incident is not None:
        mine = scoped(actor, Incident).where(Incident.number == min(wanted.incident, 2**31 - 1))
        incident = session.scalar(mine)
        if incident is None:
            raise InvalidError("There is no incident of that number.")
        hold.incident_id = incident.id
    if wanted.finding is not None:
        hold.finding_id = load(session, actor, Finding, wanted.finding).id
    session.add(hold)
    session.flush()
    _record(session, actor, "placed", hold, now)
    return hold


def lift(session: Session, actor: Actor, hold_id: int, now: datetime) -> LegalHold:
    """The first person asks; a second one agrees, and the hold is lifted. ConflictError where it cannot be."""
    actor.require(Role.ADMINISTRATOR)
    hold = load(session, actor, LegalHold, hold_id)
    session.refresh(hold, with_for_update=True)
    if hold.lifted_at is not None:
        raise ConflictError("This hold is lifted already.")
    if hold.asked_at is None:
        hold.asked_at, hold.asked_by, hold.asked_by_id = now, actor.name, actor.user_id
        _record(session, actor, "lifting_asked", hold, now)
    elif hold.asked_by_id == actor.user_id:
        raise ConflictError("You asked for it: another administrator must agree.")
    else:
        hold.lifted_at, hold.lifted_by = now, actor.name
        _record(session, actor, "lifted", hold, now)
    return hold


def keep(session: Session, actor: Actor, hold_id: int, now: datetime) -> LegalHold:
    """Refuse a lifting that was asked for: the hold goes on."""
    actor.require(Role.ADMINISTRATOR)
    hold = load(session, actor, LegalHold, hold_id)
    session.refresh(hold, with_for_update=True)
    if hold.lifted_at is not None or hold.asked_at is None:
        raise ConflictError("Nobody asks to lift this hold.")
    hold.asked_at, hold.asked_by, hold.asked_by_id = None, "", None
    _record(session, actor, "kept", hold, now)
    return hold


def _record(session: Session, actor: Actor, verb: str, hold: LegalHold, now: datetime) -> None:
    details = {
        "incident": hold.incident_id, "finding": hold.finding_id, "since": hold.since, "until": hold.until,
        "ends_at": hold.ends_at, "reason": hold.reason,
    }  # fmt: skip
    said = {name: value for name, value in details.items() if value is not None}
    audit.record(session, actor, hold.organisation_id, f"hold.{verb}", f"legal_hold:{hold.id}", said, now)


def listing(session: Session, actor: Actor) -> Sequence[LegalHold]:
    """The organisation's holds, those in force first, the newest first."""
    return session.scalars(
        scoped(actor, LegalHold).order_by(LegalHold.lifted_at.is_not(None), LegalHold.id.desc()).limit(500)
    ).all()


def in_force(now: datetime) -> ColumnElement[bool]:
    """Condition on LegalHold."""
    return and_(LegalHold.lifted_at.is_(None), or_(LegalHold.ends_at.is_(None), LegalHold.ends_at > now))


def holds_finding(now: datetime) -> ColumnElement[bool]:
    """Condition on Finding: a hold names it, its incident, or a time in which it was seen or arrived."""
    linked = select(IncidentFinding.incident_id).where(IncidentFinding.finding_id == Finding.id).correlate(Finding)
    return exists().where(
        LegalHold.organisation_id == Finding.organisation_id,
        in_force(now),
        or_(
            LegalHold.finding_id == Finding.id,
            LegalHold.incident_id.in_(linked),
            and_(LegalHold.since <= Finding.last_seen, LegalHold.until >= Finding.first_seen),
            and_(LegalHold.since <= Finding.received_at, LegalHold.until >= Finding.received_at),
        ),
    )


def holds_time(
    organisation_id: InstrumentedAttribute[int], at: InstrumentedAttribute[datetime], now: datetime
) -> ColumnElement[bool]:
    """Condition on a row: a hold covers the time."""
    return exists().where(
        LegalHold.organisation_id == organisation_id, in_force(now), LegalHold.since <= at, LegalHold.until >= at
    )
