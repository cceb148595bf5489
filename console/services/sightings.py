"""Sightings: what an organisation's own sensors saw of a bulletin's indicators. Counts and times, no plant data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from console.services import bulletin_reading, publishing
from console.services.actor import Actor, scoped
from console.services.errors import InvalidError
from console.services.new_finding import NewFinding
from console.sharing import stix
from console.sharing.hostile import BadContentError, stix_id
from console.sharing.tlp import Tlp
from console.store.models import Bulletin, BulletinRecipient, Finding

RULE_PREFIX = "indicator."  # rule ids of detectors/indicators.py
BULLETIN_FIELD, INDICATOR_FIELD = "bulletin.id", "indicator.id"
MAX_FINDINGS = 2000


@dataclass(frozen=True, slots=True)
class Sighting:
    """One indicator, seen `count` times between two times."""

    indicator: str
    count: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Hits:
    """Findings of the organisation that name a bulletin, newest first, and their sum for each indicator. Drills apart:
    only findings that are as real as the bulletin count."""

    findings: Sequence[Finding]
    sightings: tuple[Sighting, ...]

    @property
    def count(self) -> int:
        """Over all indicators."""
        return sum(sighting.count for sighting in self.sightings)


def hits(session: Session, actor: Actor, bulletin: Bulletin) -> Hits:
    """What the actor's organisation saw of a bulletin that the actor may read."""
    rows = session.scalars(
        scoped(actor, Finding)
        .where(
            Finding.rule_id.startswith(RULE_PREFIX, autoescape=True),
            Finding.fields[BULLETIN_FIELD].as_string() == bulletin.stix_id,
            Finding.drill.is_(bulletin.drill),
        )
        .order_by(Finding.last_seen.desc())
        .limit(MAX_FINDINGS)
    ).all()
    by_indicator: dict[str, list[Finding]] = {}
    for row in rows:
        named = str(row.fields.get(INDICATOR_FIELD, "")).partition("/")[0]
        by_indicator.setdefault(named, []).append(row)
    return Hits(
        rows,
        tuple(
            Sighting(
                indicator,
                sum(row.count for row in seen),
                min(row.first_seen for row in seen),
                max(row.last_seen for row in seen),
            )
            for indicator, seen in sorted(by_indicator.items())
        ),
    )


def export(session: Session, actor: Actor, bulletin_id: int, now: datetime) -> dict[str, Any]:
    """The sightings of a bulletin as a STIX bundle, under the bulletin's own label; InvalidError if there are none."""
    bulletin = bulletin_reading.read(session, actor, bulletin_id).bulletin
    reporter = publishing.issuer_of(session, actor.organisation_id, now)
    objects: dict[str, dict[str, Any]] = {}
    for seen in hits(session, actor, bulletin).sightings:
        try:
            stix_id(seen.indicator)
        except BadContentError:  # a sensor is an untrusted client too
            continue
        made = stix.sighting(
            seen.indicator,
            reporter=reporter,
            key=f"{bulletin.stix_id}/{seen.indicator}",
            count=seen.count,
            first_seen=seen.first_seen,
            last_seen=seen.last_seen,
            marking=Tlp.of(bulletin.tlp),
        )
        objects |= {thing["id"]: thing for thing in made}
    if not objects:
        raise InvalidError("There is no sighting of this bulletin.")
    identifier = uuid5(UUID(bulletin.series), f"sightings/{reporter.identity}")
    return {"type": "bundle", "id": f"bundle--{identifier}", "objects": list(objects.values())}


def inherit_drill(session: Session, findings: Sequence[NewFinding], _now: datetime) -> None:
    """Hook of new findings: what a drill's indicator finds is a drill, marked at birth."""
    hit = [finding for finding in findings if finding.rule_id.startswith(RULE_PREFIX) and not finding.drill]
    if not hit:
        return
    named = exists().where(
        BulletinRecipient.bulletin_id == Bulletin.id,
        BulletinRecipient.to_organisation_id == hit[0].organisation_id,
    )
    bulletins = {str(finding.fields.get(BULLETIN_FIELD, "")) for finding in hit}
    drills = set(
        session.scalars(
            select(Bulletin.stix_id).where(Bulletin.stix_id.in_(bulletins), Bulletin.drill.is_(True), named)
        )
    )
    marked = [finding for finding in hit if str(finding.fields.get(BULLETIN_FIELD, "")) in drills]
    for finding in marked:
        finding.drill = True
    if marked:
        session.execute(update(Finding).where(Finding.id.in_([finding.id for finding in marked])).values(drill=True))
