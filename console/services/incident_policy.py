"""When findings open incidents by themselves.

A grave finding joins an unsettled incident of the same segment that shares one of its addresses, as long as that is
fresh; otherwise it opens one. So an intruder who touches forty controllers is one incident and one call, not forty.
What is graver than an incident that somebody has acknowledged never joins it in silence: it opens a new one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from console.services import audit, incidents
from console.services.actor import Actor, Role, load, scoped, the_console
from console.services.errors import InvalidError
from console.store.models.finding import Finding
from console.store.models.incident import Incident, IncidentFinding, IncidentPolicy, IncidentState
from console.store.models.sensor import Sensor
from detectors.finding import Severity

STORM = 10  # automatic incidents of an hour; further findings join the newest: people can read one page, not a thousand
STORM_SPAN = timedelta(hours=1)


def policy_of(session: Session, actor: Actor) -> IncidentPolicy:
    """The organisation's policy, or the defaults where it has set none (not yet in the store)."""
    stored = session.scalar(scoped(actor, IncidentPolicy))
    return stored or IncidentPolicy(organisation_id=actor.organisation_id, opens_at=int(Severity.HIGH), join_hours=24)


def set_policy(session: Session, actor: Actor, opens_at: int | None, join_hours: int, now: datetime) -> IncidentPolicy:
    """Change it. opens_at: a severity, None for never. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    if opens_at is not None and opens_at not in set(Severity):
        raise InvalidError("There is no such severity.")
    if not 1 <= join_hours <= 720:
        raise InvalidError("Findings can join an incident for 1 to 720 hours.")
    policy = policy_of(session, actor)
    policy.opens_at, policy.join_hours = opens_at, join_hours
    session.add(policy)
    details = {"opens_at": opens_at, "join_hours": join_hours}
    audit.record(session, actor, actor.organisation_id, "incident_policy.set", "", details, now)
    return policy


def on_new_finding(session: Session, finding: Finding, now: datetime) -> None:
    """Hook of the ingest, in its transaction: a grave finding joins an incident or opens one."""
    console = the_console(finding.organisation_id)
    policy = policy_of(session, console)
    if policy.opens_at is None or finding.severity < policy.opens_at:
        return
    incident = _related(session, console, finding, now - timedelta(hours=policy.join_hours))
    if incident is None:
        incident = _in_a_storm(session, console, finding, now)
    if incident is None:
        incidents.create(session, console, [finding], now, automatic=True)
    else:
        incidents.join(session, console, incident, finding, now)


def _related(session: Session, console: Actor, finding: Finding, since: datetime) -> Incident | None:
    """The newest unsettled incident with a finding of the same segment that names one of the same addresses."""
    ends = [end for end in (finding.source_ip, finding.destination_ip) if end]
    if not ends:
        return None
    segment_id = load(session, console, Sensor, finding.sensor_id).segment_id
    # EXISTS stops at the first finding that fits: in a flood an incident may hold thousands.
    fits = (
        exists()
        .where(
            IncidentFinding.incident_id == Incident.id,
            IncidentFinding.added_at >= since,
            Finding.id == IncidentFinding.finding_id,
            or_(Finding.source_ip.in_(ends), Finding.destination_ip.in_(ends)),
            Sensor.id == Finding.sensor_id,
            Sensor.segment_id == segment_id,
        )
        .correlate(Incident)
    )
    return session.scalar(scoped(console, Incident).where(_takes(finding), fits).order_by(Incident.id.desc()).limit(1))


def _in_a_storm(session: Session, console: Actor, finding: Finding, now: datetime) -> Incident | None:
    """The newest automatic incident of the last hour, once STORM of them were opened in it."""
    recent = (
        Incident.organisation_id == console.organisation_id,
        Incident.automatic.is_(True),
        Incident.opened_at > now - STORM_SPAN,
    )
    if (session.scalar(select(func.count(Incident.id)).where(*recent)) or 0) < STORM:
        return None
    rows = select(Incident).where(*recent, _takes(finding))
    return session.scalar(rows.order_by(Incident.id.desc()).limit(1))


def _takes(finding: Finding) -> ColumnElement[bool]:
    """Incidents that the finding may join without anybody being called anew."""
    heard = and_(Incident.state == IncidentState.ACKNOWLEDGED, Incident.severity >= finding.severity)
    return and_(Incident.drill == finding.drill, or_(Incident.state == IncidentState.OPEN, heard))
