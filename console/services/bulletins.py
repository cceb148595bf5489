"""Bulletins that an organisation writes: from a finding to a draft, from a draft to those whom it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import audit, publishing, receipts
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import ConflictError, InvalidError, NotFoundError
from console.services.offers import Offer, offers
from console.services.peers import active_peers
from console.sharing.document import Colour, Notice
from console.sharing.patterns import Match
from console.sharing.stix import indicator_id, report_id
from console.sharing.tlp import Held, Relation, Tlp, decide
from console.store.models import (
    Bulletin,
    BulletinRecipient,
    Finding,
    FindingEvidence,
    Indicator,
    Organisation,
    Peer,
)
from detectors.finding import Severity

TITLE_CHARS, TEXT_CHARS = 300, 20_000


class Origin(StrEnum):
    """Who wrote a bulletin: this organisation, or another whose console it was pulled from."""

    ISSUED = "issued"
    RECEIVED = "received"


class State(StrEnum):
    """Of a version of a bulletin."""

    DRAFT = "draft"
    ISSUED = "issued"  # in force
    SUPERSEDED = "superseded"  # a later version is in force
    WITHDRAWN = "withdrawn"  # lifted


@dataclass(slots=True)
class Content:
    """What the author decides. matches: what is offered to sensors; recipients by id of organisation and of peer."""

    title_en: str = ""
    title_zh: str = ""
    body_en: str = ""
    body_zh: str = ""
    advice_en: str = ""
    advice_zh: str = ""
    tlp: Tlp = Tlp.AMBER
    colour: Colour = Colour.YELLOW
    drill: bool = False
    techniques: list[str] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    organisations: list[int] = field(default_factory=list)
    peers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who gets a bulletin when it is issued.

    named: recipients by name. also: peers that may pull it under its label without being named.
    """

    named: tuple[str, ...]
    also: tuple[str, ...]


def from_finding(session: Session, actor: Actor, finding_id: int) -> tuple[Finding, Content, list[Offer]]:
    """A finding, what a bulletin about it would say before the author has touched it, and what it could offer.

    The text says what was seen, not where: names and addresses of the plant are the author's to add.
    """
    actor.require(Role.ANALYST)
    finding = load(session, actor, Finding, finding_id)
    evidence = session.scalar(scoped(actor, FindingEvidence).where(FindingEvidence.finding_id == finding.id))
    possible = offers(finding, evidence.pdus if evidence is not None else ())
    protocol, day = finding.protocol or "-", f"{finding.first_seen:%Y-%m-%d}"
    colours = {Severity.CRITICAL: Colour.ORANGE, Severity.HIGH: Colour.YELLOW}
    content = Content(
        title_en=f"{finding.rule_name_en} ({protocol})"[:TITLE_CHARS],
        title_zh=f"{finding.rule_name_zh}（{protocol}）"[:TITLE_CHARS],
        body_en=f"On {day} a sensor of ours saw: {finding.rule_name_en}. Protocol: {protocol}. Count: {finding.count}.",
        body_zh=f"{day}，我单位探针发现：{finding.rule_name_zh}。协议 {protocol}，共 {finding.count} 次。",
        colour=colours.get(Severity(finding.severity), Colour.BLUE),
        drill=finding.drill,
        techniques=list(finding.techniques),
        matches=[offer.match for offer in possible if offer.offered],
    )
    return finding, content, possible


def draft(session: Session, actor: Actor, content: Content, now: datetime, finding_id: int | None = None) -> Bulletin:
    """A new bulletin, not issued. The drill mark of its finding cannot be taken off."""
    actor.require(Role.ANALYST)
    finding = load(session, actor, Finding, finding_id) if finding_id is not None else None
    content.drill = content.drill or bool(finding and finding.drill)
    series = uuid4()
    made = _write(session, actor, content, now, series=series, version=1, notice=Notice.ALERT, finding=finding)
    _record(session, actor, "drafted", made, now)
    return made


def revise(session: Session, actor: Actor, bulletin_id: int, content: Content, now: datetime) -> Bulletin:
    """Replace the content of a draft, or begin the next version of what was issued."""
    actor.require(Role.ANALYST)
    old = load_own(session, actor, bulletin_id)
    content.drill = content.drill or old.drill  # for ever
    finding = session.get(Finding, old.finding_id) if old.finding_id is not None else None
    if State(old.state) is State.DRAFT:
        version, notice = old.version, Notice(old.notice)
        session.delete(old)
        _drop_indicators(session, old)
        session.flush()
    elif State(old.state) is State.ISSUED:
        _refuse_second_draft(session, actor, old)
        version, notice = old.version + 1, Notice.UPDATE
    else:
        raise ConflictError("This version of the bulletin is not in force any more.")
    made = _write(session, actor, content, now, UUID(old.series), version, notice, finding)
    made.first_issued_at = old.first_issued_at
    _record(session, actor, "revised", made, now)
    return made


def _refuse_second_draft(session: Session, actor: Actor, old: Bulletin) -> None:
    mine = scoped(actor, Bulletin).where(Bulletin.series == old.series, Bulletin.version > old.version)
    if session.scalar(mine) is not None:
        raise ConflictError("There is a later version of this bulletin already.")


def discard(session: Session, actor: Actor, bulletin_id: int, now: datetime) -> None:
    """Throw a draft away."""
    actor.require(Role.ANALYST)
    old = load_own(session, actor, bulletin_id)
    if State(old.state) is not State.DRAFT:
        raise ConflictError("Only a draft can be thrown away.")
    _drop_indicators(session, old)
    _record(session, actor, "discarded", old, now)
    session.delete(old)


def load_own(session: Session, actor: Actor, bulletin_id: int) -> Bulletin:
    """A bulletin that the actor's organisation wrote; NotFoundError alike for all others."""
    found = load(session, actor, Bulletin, bulletin_id)
    if Origin(found.origin) is not Origin.ISSUED:
        raise NotFoundError
    return found


def audience(session: Session, actor: Actor, bulletin_id: int) -> Audience:
    """Preview: who will receive a bulletin. What it says is what happens at issue."""
    bulletin = load_own(session, actor, bulletin_id)
    named = [name for entry in bulletin.recipients if (name := recipient_name(entry))]
    peer_ids = {entry.peer_id for entry in bulletin.recipients}
    also = [
        peer.name
        for peer in active_peers(session, actor)
        if peer.id not in peer_ids and decide(Tlp.of(bulletin.tlp), Relation(peer.relation), Held.AS_SOURCE).allowed
    ]
    return Audience(tuple(named), tuple(also))


def recipient_name(entry: BulletinRecipient) -> str:
    """Name of a recipient; "" for a peer that was revoked."""
    if entry.to_organisation is not None:
        return entry.to_organisation.name
    return entry.peer.name if entry.peer is not None and entry.peer.revoked_at is None else ""


def issue(session: Session, actor: Actor, bulletin_id: int, now: datetime) -> Bulletin:
    """Send a draft out: in force from now, delivered to the organisations of this console, offered to peers."""
    actor.require(Role.ANALYST)
    bulletin = load_own(session, actor, bulletin_id)
    if State(bulletin.state) is not State.DRAFT:
        raise ConflictError("This bulletin was issued already.")
    previous = session.scalar(
        scoped(actor, Bulletin).where(Bulletin.series == bulletin.series, Bulletin.state == State.ISSUED.value)
    )
    if previous is not None:
        previous.state = State.SUPERSEDED.value
    _put_in_force(session, bulletin, State.ISSUED, now)
    _record(session, actor, "issued", bulletin, now)
    return bulletin


def cancel(session: Session, actor: Actor, bulletin_id: int, reason_en: str, reason_zh: str, now: datetime) -> Bulletin:
    """Lift a bulletin (解除): a last version goes to the same recipients and says so; its indicators are revoked."""
    actor.require(Role.ANALYST)
    old = load_own(session, actor, bulletin_id)
    if State(old.state) is not State.ISSUED:
        raise ConflictError("This version of the bulletin is not in force any more.")
    _refuse_second_draft(session, actor, old)
    content = content_of(session, old)
    content.body_en, content.body_zh = reason_en or old.body_en, reason_zh or old.body_zh
    finding = session.get(Finding, old.finding_id) if old.finding_id is not None else None
    last = _write(session, actor, content, now, UUID(old.series), old.version + 1, Notice.CANCEL, finding)
    last.first_issued_at = old.first_issued_at
    old.state = State.SUPERSEDED.value
    last.withdrawn_at = now
    _put_in_force(session, last, State.WITHDRAWN, now)
    _record(session, actor, "withdrawn", last, now)
    return last


def _record(session: Session, actor: Actor, verb: str, bulletin: Bulletin, now: datetime) -> None:
    details = {
        "stix_id": bulletin.stix_id, "version": bulletin.version, "tlp": bulletin.tlp, "colour": bulletin.colour,
        "drill": bulletin.drill, "title": bulletin.title_en or bulletin.title_zh,
        "recipients": [entry.to_organisation_id or f"peer:{entry.peer_id}" for entry in bulletin.recipients],
    }  # fmt: skip
    audit.record(session, actor, actor.organisation_id, f"bulletin.{verb}", f"bulletin:{bulletin.id}", details, now)


def _put_in_force(session: Session, bulletin: Bulletin, state: State, now: datetime) -> None:
    bulletin.state = state.value
    bulletin.issued_at = now
    bulletin.first_issued_at = bulletin.first_issued_at or now
    session.flush()
    for entry in bulletin.recipients:
        if entry.to_organisation_id is not None:
            receipts.reach(session, entry, receipts.Rung.DELIVERED, now)
    publishing.publish(session, bulletin, now)


def content_of(session: Session, bulletin: Bulletin) -> Content:
    """What a version says, as its author gave it."""
    return Content(
        bulletin.title_en, bulletin.title_zh, bulletin.body_en, bulletin.body_zh, bulletin.advice_en,
        bulletin.advice_zh, Tlp.of(bulletin.tlp), Colour(bulletin.colour), bulletin.drill, list(bulletin.techniques),
        matches_of(session, bulletin),
        [entry.to_organisation_id for entry in bulletin.recipients if entry.to_organisation_id is not None],
        [entry.peer_id for entry in bulletin.recipients if entry.peer_id is not None],
    )  # fmt: skip


def matches_of(session: Session, bulletin: Bulletin) -> list[Match]:
    """What a version offers to sensors."""
    rows = session.scalars(
        select(Indicator)
        .where(Indicator.organisation_id == bulletin.organisation_id, Indicator.bulletin_id == bulletin.id)
        .order_by(Indicator.id)
    )
    return [publishing.match_of(row) for row in rows if row.type]


def possible_recipients(session: Session, actor: Actor) -> tuple[Sequence[Organisation], Sequence[Peer]]:
    """Whom a bulletin can name: the other organisations of the actor's tree, and registered peers."""
    own = session.get(Organisation, actor.organisation_id)
    root = own.path.split("/")[1] if own is not None else ""
    tree = (
        select(Organisation)
        .where(Organisation.path.startswith(f"/{root}/"), Organisation.id != actor.organisation_id)
        .order_by(Organisation.path)
    )
    return session.scalars(tree).all(), active_peers(session, actor)


def _write(
    session: Session,
    actor: Actor,
    content: Content,
    now: datetime,
    series: UUID,
    version: int,
    notice: Notice,
    finding: Finding | None,
) -> Bulletin:
    _check(content)
    organisations, peers = possible_recipients(session, actor)
    if not set(content.organisations) <= {one.id for one in organisations}:
        raise InvalidError("A recipient is not an organisation of your tree.")
    if not set(content.peers) <= {peer.id for peer in peers} and notice is not Notice.CANCEL:
        raise InvalidError("A recipient is not a registered peer.")
    bulletin = Bulletin(
        organisation_id=actor.organisation_id,
        stix_id=report_id(series),
        series=str(series),
        version=version,
        notice=notice.value,
        origin=Origin.ISSUED.value,
        state=State.DRAFT.value,
        tlp=content.tlp.word,
        colour=content.colour.value,
        drill=content.drill,
        title_en=content.title_en.strip(),
        title_zh=content.title_zh.strip(),
        body_en=content.body_en.strip(),
        body_zh=content.body_zh.strip(),
        advice_en=content.advice_en.strip(),
        advice_zh=content.advice_zh.strip(),
        techniques=content.techniques,
        finding_id=finding.id if finding is not None else None,
        created_at=now,
        created_by_id=actor.user_id,
    )
    named = [{"to_organisation_id": one} for one in dict.fromkeys(content.organisations)]
    named += [{"peer_id": one} for one in dict.fromkeys(content.peers)]
    bulletin.recipients = [BulletinRecipient(organisation_id=actor.organisation_id, **who) for who in named]
    session.add(bulletin)
    session.flush()
    for match in dict.fromkeys(content.matches):
        session.add(
            Indicator(
                organisation_id=actor.organisation_id,
                bulletin_id=bulletin.id,
                stix_id=indicator_id(series, match),
                type=match.type,
                value={"value": match.value},
                operation_id=match.operation_id,
                text=match.text[:1000],
                tlp=int(content.tlp),
                created_at=now,
            )
        )
    session.flush()
    return bulletin


def _check(content: Content) -> None:
    if not (content.title_en.strip() or content.title_zh.strip()):
        raise InvalidError("A bulletin needs a title.")
    if max(len(content.title_en), len(content.title_zh)) > TITLE_CHARS:
        raise InvalidError("The title is too long.")
    if max(map(len, (content.body_en, content.body_zh, content.advice_en, content.advice_zh))) > TEXT_CHARS:
        raise InvalidError("The text is too long.")


def _drop_indicators(session: Session, bulletin: Bulletin) -> None:
    for row in session.scalars(select(Indicator).where(Indicator.bulletin_id == bulletin.id)):
        session.delete(row)
