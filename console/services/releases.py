"""The release log: each answer of the release decision, kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import audit
from console.services.actor import Actor, scoped
from console.sharing.tlp import Decision, Relation, Tlp
from console.store.models import Release


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision about one object. organisation_id: who holds it. version: "" where the object has none."""

    organisation_id: int
    stix_id: str
    version: str
    tlp: Tlp
    relation: Relation
    decision: Decision
    bulletin_id: int | None = None


def record(
    session: Session, answers: Sequence[Answer], *, requester: str, name: str, channel: str, now: datetime
) -> None:
    """Write down what was decided. requester and channel: as Release has them."""
    asked = {answer.stix_id for answer in answers}
    query = select(Release).where(
        Release.requester == requester, Release.channel == channel, Release.stix_id.in_(asked)
    )
    known = {(row.organisation_id, row.stix_id, row.version, row.reason): row for row in session.scalars(query)}
    for answer in answers:
        key = (answer.organisation_id, answer.stix_id, answer.version, answer.decision.reason)
        row = known.get(key)
        if row is not None:
            row.count += 1
            row.last_at = max(row.last_at, now)
            continue
        known[key] = row = Release(
            organisation_id=answer.organisation_id,
            stix_id=answer.stix_id,
            version=answer.version,
            tlp=int(answer.tlp),
            requester=requester,
            requester_name=name,
            relation=answer.relation.value,
            channel=channel,
            allowed=answer.decision.allowed,
            reason=answer.decision.reason,
            count=1,
            first_at=now,
            last_at=now,
            bulletin_id=answer.bulletin_id,
        )
        session.add(row)
        # repeats are counted in the log above; the first answer of each kind is an act
        verb = "granted" if row.allowed else "refused"
        details = {
            "stix_id": row.stix_id,
            "version": row.version,
            "tlp": row.tlp,
            "channel": channel,
            "why": row.reason,
        }
        audit.record(session, requester, row.organisation_id, f"release.{verb}", requester, details, now)
    session.flush()


def of_object(session: Session, actor: Actor, stix_id: str, limit: int = 200) -> list[Release]:
    """Who was given or refused an object that the actor's organisation holds, newest first."""
    query = scoped(actor, Release).where(Release.stix_id == stix_id)
    return list(session.scalars(query.order_by(Release.last_at.desc()).limit(limit)))
