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


def link(session: Session, incident: Incident, findings: Sequence[Finding | NewFinding], now: datetime) -> None:
    """Findings of the incident's organisation, not linked before; many at once."""
    if not findings:
        return
    own = {"organisation_id": incident.organisation_id, "incident_id": incident.id, "added_at": now}
    insert_many(session, table_of(IncidentFinding), [own | {"finding_id": finding.id} for finding in findings])
    ends = {(finding.segment_id, end) for finding in findings for end in ends_of(finding)}
    known = {
        (row.segment_id, row.address): row.id
        for row in session.execute(
            select(IncidentAddress.id, IncidentAddress.segment_id, IncidentAddress.address).where(
                IncidentAddress.incident_id == incident.id, IncidentAddress.address.in_({end for _, end in ends})
            )
        )
    }
    if again := [known[end] for end in ends & known.keys()]:
        renewed = update(IncidentAddress).where(IncidentAddress.id.in_(again)).values(added_at=now)
        session.execute(renewed.execution_options(synchronize_session=False))  # nobody keeps these rows as objects
    if new := sorted(ends - known.keys()):
        rows = [own | {"segment_id": segment_id, "address": address} for segment_id, address in new]
        insert_many(session, table_of(IncidentAddress), rows)


def ends_of(finding: Finding | NewFinding) -> list[str]:
    """The addresses that a finding names."""
    return [end for end in (finding.source_ip, finding.destination_ip) if end]
