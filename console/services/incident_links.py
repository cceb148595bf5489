"""Which findings belong to an incident, and through which addresses further ones find their way to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from console.services.new_finding import NewFinding
from console.store.base import table_of
from console.store.many import insert_many
from console.store.models.finding import Finding
from console.store.models.incident import Incident, IncidentAddress, IncidentFinding

Joined = Sequence[tuple[Incident, Sequence[Finding | NewFinding]]]  # incidents of one organisation, what joins them


def link(session: Session, joined: Joined, now: datetime) -> None:
    """Findings of the incidents' organisation, not linked before; many at once."""
    rows = [
        {"organisation_id": incident.organisation_id, "incident_id": incident.id, "finding_id": finding.id}
        for incident, findings in joined
        for finding in findings
    ]
    if not rows:
        return
    insert_many(session, table_of(IncidentFinding), [row | {"added_at": now} for row in rows])
    ends = {
        (incident.id, finding.segment_id, end): incident.organisation_id
        for incident, findings in joined
        for finding in findings
        for end in ends_of(finding)
    }
    known = {
        (row.incident_id, row.segment_id, row.address): row.id
        for row in session.execute(
            select(
                IncidentAddress.id, IncidentAddress.incident_id, IncidentAddress.segment_id, IncidentAddress.address
            ).where(
                IncidentAddress.incident_id.in_({incident.id for incident, _ in joined}),
                IncidentAddress.segment_id.in_({segment_id for _, segment_id, _ in ends}),
                IncidentAddress.address.in_({end for _, _, end in ends}),
            )
        )
    }
    if again := [known[end] for end in ends.keys() & known.keys()]:
        renewed = update(IncidentAddress).where(IncidentAddress.id.in_(again)).values(added_at=now)
        session.execute(renewed.execution_options(synchronize_session=False))  # nobody keeps these rows as objects
    names = ("incident_id", "segment_id", "address")
    new = [
        dict(zip(names, end, strict=True)) | {"organisation_id": ends[end], "added_at": now}
        for end in sorted(ends.keys() - known.keys())
    ]
    insert_many(session, table_of(IncidentAddress), new)


def ends_of(finding: Finding | NewFinding) -> list[str]:
    """The addresses that a finding names."""
    return [end for end in (finding.source_ip, finding.destination_ip) if end]
