"""When findings open incidents by themselves.

A grave finding joins an unsettled incident of the same segment that shares one of its addresses, as long as that is
fresh; otherwise it opens one. So an intruder who touches forty controllers is one incident and one call, not forty.
What is graver than an incident that somebody has acknowledged never joins it in silence: it opens a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import audit, incidents
from console.services.actor import Actor, Role, scoped, the_console
from console.services.errors import InvalidError
from console.services.incident_links import ends_of
from console.services.new_finding import NewFinding
from console.services.organisations import take_turns
from console.store.models.incident import Incident, IncidentAddress, IncidentPolicy, IncidentState
from detectors.finding import Severity

STORM = 10  # automatic incidents of an hour; further findings join the newest: people can read one page, not a thousand
STORM_SEEN = 200  # of them are looked at
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


def on_new_findings(session: Session, findings: Sequence[NewFinding], now: datetime) -> None:
    """Hook of the ingest, in its transaction: each grave finding joins an incident or opens one, in their order."""
    console = the_console(findings[0].organisation_id)
    policy = policy_of(session, console)
    if policy.opens_at is None:
        return
    grave = [finding for finding in findings if finding.severity >= policy.opens_at]
    if not grave:
        return
    take_turns(session, console.organisation_id)  # two sensors see one intruder at a time: one incident, not two
    board = _Board(session, console, grave, now - timedelta(hours=policy.join_hours), now)
    joining: dict[int, list[NewFinding]] = {}
    for finding in grave:
        incident = board.related(finding) or board.in_a_storm(finding)
        if incident is None:
            incident = incidents.create(session, console, [finding], now, automatic=True)
            board.opened(incident)
        else:
            joining.setdefault(incident.id, []).append(finding)
        board.note(incident, finding)
    incidents.add(session, console, [(board.incidents[number], joined) for number, joined in joining.items()], now)


class _Board:
    """The incidents that findings of a batch could join, read once for all of them."""

    def __init__(
        self, session: Session, console: Actor, findings: Sequence[NewFinding], since: datetime, now: datetime
    ) -> None:
        self.incidents: dict[int, Incident] = {}
        self._by_address: dict[str, set[int]] = {}  # in the segment, which is the same for a whole batch
        self._session, self._console, self._now = session, console, now
        self._storm: list[Incident] | None = None  # automatic ones of the last hour, the newest first
        ends = {end for finding in findings for end in ends_of(finding)}
        rows = session.execute(
            select(Incident, IncidentAddress.address)
            .join(IncidentAddress, IncidentAddress.incident_id == Incident.id)
            .where(
                Incident.organisation_id == console.organisation_id,
                Incident.state != IncidentState.CLOSED,
                IncidentAddress.segment_id == findings[0].segment_id,
                IncidentAddress.address.in_(ends),
                IncidentAddress.added_at >= since,
            )
        )
        for incident, address in rows:
            self.incidents[incident.id] = incident
            self._by_address.setdefault(address, set()).add(incident.id)

    def related(self, finding: NewFinding) -> Incident | None:
        """The newest unsettled incident with a finding of the same segment that names one of the same addresses."""
        near = {number for end in ends_of(finding) for number in self._by_address.get(end, ())}
        return next(
            (it for it in map(self.incidents.__getitem__, sorted(near, reverse=True)) if _takes(it, finding)), None
        )

    def in_a_storm(self, finding: NewFinding) -> Incident | None:
        """The newest automatic incident of the last hour, once STORM of them were opened in it."""
        if self._storm is None:
            recent = scoped(self._console, Incident).where(
                Incident.automatic.is_(True), Incident.opened_at > self._now - STORM_SPAN
            )
            self._storm = list(self._session.scalars(recent.order_by(Incident.id.desc()).limit(STORM_SEEN)))
        if len(self._storm) < STORM:
            return None
        return next((incident for incident in self._storm if _takes(incident, finding)), None)

    def opened(self, incident: Incident) -> None:
        """One more."""
        if self._storm is not None:
            self._storm.insert(0, incident)

    def note(self, incident: Incident, finding: NewFinding) -> None:
        """The finding belongs to the incident, so its addresses do."""
        self.incidents[incident.id] = incident
        for end in ends_of(finding):
            self._by_address.setdefault(end, set()).add(incident.id)


def _takes(incident: Incident, finding: NewFinding) -> bool:
    """Whether the finding may join without anybody being called anew."""
    heard = incident.state == IncidentState.ACKNOWLEDGED and incident.severity >= finding.severity
    return incident.drill == finding.drill and (incident.state == IncidentState.OPEN or heard)
