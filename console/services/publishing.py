"""From the row of a bulletin to the objects that leave: its document, its STIX objects, its place in the collection."""

from __future__ import annotations

import ipaddress
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.sharing import collection, stix
from console.sharing.collection import NewObject
from console.sharing.document import BulletinDocument, Colour, Issuer, Notice, Technique
from console.sharing.hostile import timestamp
from console.sharing.patterns import Match
from console.sharing.tlp import DEFINITION_IDS, Held, Tlp
from console.store.models import Bulletin, Indicator, Organisation
from detectors.attack.techniques import technique
from detectors.finding import Text

_LABELS = {identifier: marking for marking, identifier in DEFINITION_IDS.items()}


def match_of(row: Indicator) -> Match:
    """The match that an indicator row holds."""
    return Match(row.type, row.value["value"], row.operation_id)  # type: ignore[arg-type]


def is_private(match: Match) -> bool:
    """Whether it names a device of a private network, which means nothing elsewhere and tells what a plant has."""
    return match.type != "operation" and not ipaddress.ip_network(str(match.value)).is_global


def issuer_of(session: Session, organisation_id: int, now: datetime) -> Issuer:
    """An organisation as others know it; its identity is made at its first need."""
    shared = collection.ensure(session, organisation_id, now)
    organisation = session.get_one(Organisation, organisation_id)
    return Issuer(UUID(shared.identity), organisation.name, shared.created_at)


def document_of(session: Session, bulletin: Bulletin, now: datetime) -> BulletinDocument:
    """A version of a bulletin that this organisation wrote. now: stands for times that a draft does not have yet."""
    matches = _matches(session, bulletin)
    earlier = session.scalars(
        select(Bulletin).where(
            Bulletin.organisation_id == bulletin.organisation_id,
            Bulletin.series == bulletin.series,
            Bulletin.version < bulletin.version,
        )
    )
    before = {match for old in earlier for match in _matches(session, old)} if bulletin.version > 1 else set()
    return BulletinDocument(
        series=UUID(bulletin.series),
        version=bulletin.version,
        notice=Notice(bulletin.notice),
        issuer=issuer_of(session, bulletin.organisation_id, now),
        first_issued=bulletin.first_issued_at or now,
        issued=bulletin.issued_at or now,
        tlp=Tlp.of(bulletin.tlp),
        colour=Colour(bulletin.colour),
        title=Text(bulletin.title_zh, bulletin.title_en),
        body=Text(bulletin.body_zh, bulletin.body_en),
        advice=Text(bulletin.advice_zh, bulletin.advice_en),
        drill=bulletin.drill,
        techniques=tuple(Technique(each, technique(each).en) for each in bulletin.techniques),
        matches=tuple(matches),
        withdrawn=tuple(sorted(before - set(matches), key=lambda match: match.text)),
    )


def publish(session: Session, bulletin: Bulletin, now: datetime) -> None:
    """Put the STIX objects of an issued version into the organisation's collection."""
    objects = stix.objects(document_of(session, bulletin, now))
    shared = collection.ensure(session, bulletin.organisation_id, now)
    collection.add(session, shared, [_new(thing, bulletin) for thing in objects], now)


def _new(thing: dict[str, Any], bulletin: Bulletin) -> NewObject:
    version = thing.get("modified") or thing.get("created")
    marked = [_LABELS[ref] for ref in thing.get("object_marking_refs", ())]
    return NewObject(
        stix_id=thing["id"],
        stix_type=thing["type"],
        version=timestamp(version) if version else None,
        spec_version="2.1",
        tlp=max(marked, default=Tlp.CLEAR),  # markings themselves have none and are public
        held=Held.AS_SOURCE,
        body=json.dumps(thing, ensure_ascii=True, separators=(",", ":")),
        bulletin_id=bulletin.id,
    )


def _matches(session: Session, bulletin: Bulletin) -> list[Match]:
    rows = session.scalars(select(Indicator).where(Indicator.bulletin_id == bulletin.id).order_by(Indicator.id))
    return [match_of(row) for row in rows]
