"""Writing and reading the timeline of an incident: who did what, when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.services import audit
from console.services.actor import Actor, scoped
from console.store.base import table_of
from console.store.many import insert_many
from console.store.models.incident import EntryKind, Incident, IncidentEntry

SHOWN_ENTRIES = 300
# What the audit log keeps of the console's own acts. Its other lines (who was told, which of a flood of findings
# joined) stand in the timeline, which is append-only too.
OWN_ACTS = (EntryKind.OPENED, EntryKind.ACKNOWLEDGED, EntryKind.CLOSED, EntryKind.REOPENED)

Line = tuple[Incident, EntryKind, dict[str, Any]]  # whose, what it tells, and what it is about


def note(
    session: Session, incident: Incident, kind: EntryKind, actor: Actor, now: datetime, text: str = "", **data: Any
) -> None:
    """Append one line, in the transaction of what it tells."""
    note_all(session, [(incident, kind, data)], actor, now, text)


def note_all(session: Session, lines: Sequence[Line], actor: Actor, now: datetime, text: str = "") -> None:
    """Append lines in their order, many at once."""
    own = {"at": now, "actor_id": actor.user_id, "actor_name": actor.name, "text": text}
    rows = [
        own | {"organisation_id": incident.organisation_id, "incident_id": incident.id, "kind": kind, "data": data}
        for incident, kind, data in lines
    ]
    insert_many(session, table_of(IncidentEntry), rows)
    for incident, kind, data in lines:
        incident.updated_at = now
        if actor.user_id is not None or kind in OWN_ACTS:
            action = f"incident.{kind.value.replace(' ', '_')}"
            details = {"number": incident.number, **({"text": text} if text else {}), **data}
            audit.record(session, actor, incident.organisation_id, action, f"incident:{incident.id}", details, now)


def timeline(session: Session, actor: Actor, incident: Incident) -> tuple[Sequence[IncidentEntry], int]:
    """The latest SHOWN_ENTRIES lines of an incident, oldest first, and how many it has."""
    mine = scoped(actor, IncidentEntry).where(IncidentEntry.incident_id == incident.id)
    total = session.scalar(select(func.count()).select_from(mine.with_only_columns(IncidentEntry.id).subquery())) or 0
    latest = session.scalars(mine.order_by(IncidentEntry.id.desc()).limit(SHOWN_ENTRIES)).all()
    return list(reversed(latest)), total
