"""Bulletins as their readers meet them: the list, opening, acknowledging, taking a copy out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session, selectinload

from console.services import publishing, receipts, releases
from console.services.actor import Actor, Role
from console.services.bulletins import Origin, State
from console.services.errors import NotFoundError
from console.services.received import parts_of
from console.sharing import stix
from console.sharing.hostile import time_text
from console.sharing.tlp import Decision, Held, Relation, Tlp, decide
from console.store.models import Bulletin, BulletinRecipient, Indicator, Organisation, SharedObject

LIST_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Opened:
    """A bulletin that the reader may have, and the reader's own entry among its recipients, if there is one."""

    bulletin: Bulletin
    entry: BulletinRecipient | None
    indicators: Sequence[Indicator]

    @property
    def mine(self) -> bool:
        """Whether the reader's organisation wrote it."""
        return self.entry is None


def listed(session: Session, actor: Actor, *, received: bool) -> Sequence[Bulletin]:
    """Bulletins of the organisation: those it received (from here or from other consoles), or those it writes.

    Newest first; of each series the newest version that the organisation may see. RED is shown to those who count as
    its named persons only, not even by its title.
    """
    mine = Bulletin.organisation_id == actor.organisation_id
    condition: ColumnElement[bool] = _named(actor) if received else mine & (Bulletin.origin == Origin.ISSUED.value)
    query = (
        select(Bulletin)
        .where(condition)
        .options(selectinload(Bulletin.recipients).selectinload(BulletinRecipient.receipts))
        .order_by(Bulletin.issued_at.is_(None).desc(), Bulletin.issued_at.desc(), Bulletin.id.desc())
        .limit(LIST_LIMIT)
    )
    newest: dict[str, Bulletin] = {}
    for bulletin in session.scalars(query):
        if _decide(actor, bulletin, named=received).allowed:
            kept = newest.setdefault(bulletin.series, bulletin)
            if bulletin.version > kept.version:
                newest[bulletin.series] = bulletin
    return list(newest.values())


def sources(session: Session, rows: Sequence[Bulletin]) -> dict[int, str]:
    """By the id of a bulletin who answers for it: an organisation of this console, or what another console calls it."""
    holders = {row.organisation_id for row in rows}
    names = {one.id: one.name for one in session.scalars(select(Organisation).where(Organisation.id.in_(holders)))}
    return {row.id: row.source_name or names[row.organisation_id] for row in rows}


def waiting(session: Session, actor: Actor) -> int:
    """How many received bulletins in force the organisation has not acknowledged."""
    rows = listed(session, actor, received=True)
    return sum(
        State(row.state) is State.ISSUED and receipts.rung_of(entry) is not receipts.Rung.ACKNOWLEDGED
        for row in rows
        for entry in row.recipients
        if entry.to_organisation_id == actor.organisation_id
    )


def read(session: Session, actor: Actor, bulletin_id: int) -> Opened:
    """One bulletin that the actor may have. NotFoundError alike for what is refused and for what is not there."""
    bulletin = _find(session, actor, bulletin_id)
    if bulletin is None:
        raise NotFoundError
    entry = receipts.own_entry(session, actor, bulletin.id)
    if not _decide(actor, bulletin, named=entry is not None).allowed:
        raise NotFoundError
    indicators = session.scalars(
        select(Indicator)
        .where(Indicator.organisation_id == bulletin.organisation_id, Indicator.bulletin_id == bulletin.id)
        .order_by(Indicator.id)
    ).all()
    return Opened(bulletin, entry, indicators)


def note(session: Session, actor: Actor, bulletin_id: int, now: datetime, channel: str) -> None:
    """Write down that the actor asked for a bulletin: release or refusal, and for a recipient that it was opened.

    Apart from `read`, so that a refusal stays in the log though the request ends as "not found". Unknown ids leave no
    trace. channel: "page" or "export".
    """
    bulletin = _find(session, actor, bulletin_id)
    if bulletin is None:
        return
    entry = receipts.own_entry(session, actor, bulletin.id)
    decision = _decide(actor, bulletin, named=entry is not None)
    answer = releases.Answer(
        organisation_id=bulletin.organisation_id,
        stix_id=bulletin.stix_id,
        version=time_text(bulletin.issued_at) if bulletin.issued_at is not None else "",
        tlp=Tlp.of(bulletin.tlp),
        relation=_relation(actor, bulletin, named=entry is not None),
        decision=decision,
        bulletin_id=bulletin.id,
    )
    who = f"organisation:{actor.organisation_id}/user:{actor.user_id}"
    releases.record(session, [answer], requester=who, name=actor.name, channel=channel, now=now)
    if decision.allowed and entry is not None:
        receipts.reach(session, entry, receipts.Rung.OPENED, now, actor.name)


def _find(session: Session, actor: Actor, bulletin_id: int) -> Bulletin | None:
    mine = Bulletin.organisation_id == actor.organisation_id
    return session.scalar(select(Bulletin).where(Bulletin.id == bulletin_id, or_(mine, _named(actor))))


def find_by_stix_id(session: Session, actor: Actor, stix_id: str) -> Bulletin | None:
    """The newest version of a bulletin that the actor may see, by the identifier of its report."""
    rows = session.scalars(
        select(Bulletin)
        .where(Bulletin.stix_id == stix_id, or_(Bulletin.organisation_id == actor.organisation_id, _named(actor)))
        .order_by(Bulletin.version.desc())
    )
    for row in rows:
        named = receipts.own_entry(session, actor, row.id) is not None
        if _decide(actor, row, named=named).allowed:
            return row
    return None


def acknowledge(session: Session, actor: Actor, bulletin_id: int, now: datetime) -> bool:
    """The organisation has taken note, by this person. False when somebody was first."""
    actor.require(Role.ANALYST)
    opened = read(session, actor, bulletin_id)
    if opened.entry is None:
        raise NotFoundError
    return receipts.reach(session, opened.entry, receipts.Rung.ACKNOWLEDGED, now, actor.name)


def export(session: Session, actor: Actor, bulletin_id: int, now: datetime) -> dict[str, Any]:
    """The bulletin as a STIX bundle for a file. Of a received one the objects as they came, as far as the reader may
    have each."""
    bulletin = read(session, actor, bulletin_id).bulletin
    if Origin(bulletin.origin) is Origin.ISSUED:
        return stix.bundle(publishing.document_of(session, bulletin, now))
    objects = [json.loads(row.body) for row in parts_of(session, bulletin) if _object_decision(actor, row).allowed]
    return {"type": "bundle", "id": f"bundle--{bulletin.series}", "objects": objects}


def _object_decision(actor: Actor, row: SharedObject) -> Decision:
    named = Tlp(row.tlp) is not Tlp.RED or actor.may(Role.ADMINISTRATOR)
    return decide(Tlp(row.tlp), Relation.NAMED if named else Relation.OWN, Held(row.held))


def _named(actor: Actor) -> ColumnElement[bool]:
    entry = exists().where(
        BulletinRecipient.bulletin_id == Bulletin.id,
        BulletinRecipient.to_organisation_id == actor.organisation_id,
    )
    return entry & (Bulletin.state != State.DRAFT.value)


def _decide(actor: Actor, bulletin: Bulletin, *, named: bool) -> Decision:
    return decide(Tlp.of(bulletin.tlp), _relation(actor, bulletin, named=named), _held(actor, bulletin))


def _held(actor: Actor, bulletin: Bulletin) -> Held:
    """Whoever is not the author's organisation reads as a recipient, also within this console."""
    written = Origin(bulletin.origin) is Origin.ISSUED and bulletin.organisation_id == actor.organisation_id
    return Held.AS_SOURCE if written else Held.AS_RECIPIENT


def _relation(actor: Actor, bulletin: Bulletin, *, named: bool) -> Relation:
    """Named persons of an organisation are, for RED, its administrators: they hold its keys and answer for it."""
    if named and (Tlp.of(bulletin.tlp) is not Tlp.RED or actor.may(Role.ADMINISTRATOR)):
        return Relation.NAMED
    return Relation.OWN
