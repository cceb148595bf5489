"""Peer consoles: registering them, their credentials, checking these."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError
from console.sharing import collection
from console.sharing.tlp import Relation
from console.store.models import Peer

RELATIONS = (Relation.DESCENDANT, Relation.COMMUNITY, Relation.ANCESTOR)
_SEEN_EVERY = timedelta(minutes=1)  # how finely last_seen_at is kept: not one write for each request


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def register(session: Session, actor: Actor, name: str, relation: str, now: datetime) -> tuple[Peer, str]:
    """A new peer that may read the organisation's collection, and its password: the only time anybody sees it."""
    actor.require(Role.ADMINISTRATOR)
    name = " ".join(name.split())
    if not 1 <= len(name) <= 200:
        raise InvalidError("A name has 1 to 200 characters.")
    if relation not in RELATIONS:
        raise InvalidError("Choose what the peer is to you.")
    if session.scalar(scoped(actor, Peer).where(Peer.name == name, Peer.revoked_at.is_(None))) is not None:
        raise InvalidError("This name is taken.")
    collection.ensure(session, actor.organisation_id, now)
    password = secrets.token_urlsafe(32)
    peer = Peer(
        organisation_id=actor.organisation_id,
        name=name,
        relation=Relation(relation).value,
        username="peer-" + secrets.token_hex(8),
        password_hash=_hash(password),
        created_at=now,
    )
    session.add(peer)
    session.flush()
    details = {"name": name, "relation": peer.relation, "username": peer.username}
    audit.record(session, actor, actor.organisation_id, "peer.registered", f"peer:{peer.id}", details, now)
    return peer, password


def revoke(session: Session, actor: Actor, peer_id: int, now: datetime) -> Peer:
    """Refuse this peer from its next request on."""
    actor.require(Role.ADMINISTRATOR)
    peer = load(session, actor, Peer, peer_id)
    peer.revoked_at = peer.revoked_at or now
    audit.record(session, actor, actor.organisation_id, "peer.revoked", f"peer:{peer.id}", {"name": peer.name}, now)
    return peer


def all_peers(session: Session, actor: Actor) -> list[Peer]:
    """The organisation's peers, those in force first, by name."""
    peers = session.scalars(scoped(actor, Peer))
    return sorted(peers, key=lambda peer: (peer.revoked_at is not None, peer.name))


def active_peers(session: Session, actor: Actor) -> list[Peer]:
    """The organisation's peers that are in force, by name."""
    return list(session.scalars(scoped(actor, Peer).where(Peer.revoked_at.is_(None)).order_by(Peer.name)))


def authenticate(session: Session, username: str, password: str) -> Peer | None:
    """The peer in force with these credentials. The same work is done whether the name exists or not."""
    peer = session.scalar(select(Peer).where(Peer.username == username[:64]))
    expected = peer.password_hash if peer is not None else _hash("")
    right = hmac.compare_digest(expected, _hash(password))
    return peer if peer is not None and right and peer.revoked_at is None else None


def seen(session: Session, peer_id: int, now: datetime) -> None:
    """Note that a peer was here, to the minute."""
    peer = session.get(Peer, peer_id)
    if peer is not None and (peer.last_seen_at is None or now - peer.last_seen_at >= _SEEN_EVERY):
        peer.last_seen_at = now
