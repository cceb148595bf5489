"""What a peer console reads of an organisation's collection, and what is written down about it."""

from __future__ import annotations

from datetime import datetime

from itsdangerous import URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import peers, receipts, releases
from console.services.errors import NotFoundError
from console.sharing import collection, taxii_server
from console.sharing.taxii_server import Page, Query, Requester
from console.sharing.tlp import Relation, Tlp
from console.store.models import Collection, Peer, SharedObject

# Refusals that one request can add to the log. A page decides over about as many objects; older ones were logged then.
MAX_REFUSALS_LOGGED = taxii_server.MAX_PAGE


def root_of(session: Session, peer: Peer) -> Collection:
    """What this peer was registered to read; it is made with the registration."""
    found = collection.find(session, peer.organisation_id)
    if found is None:
        raise NotFoundError
    return found


def collection_of(session: Session, peer: Peer, root: str, uid: str | None = None) -> Collection:
    """The collection under an API root, for a peer of that organisation. NotFoundError alike for all others."""
    query = select(Collection).where(Collection.organisation_id == peer.organisation_id, Collection.identity == root)
    found = session.scalar(query)
    if found is None or (uid is not None and uid != found.uid):
        raise NotFoundError
    return found


def read(session: Session, peer: Peer, shared: Collection, query: Query, signer: URLSafeSerializer) -> Page:
    """One page for this peer. Raises taxii_server.BadQueryError."""
    return taxii_server.page(session, shared, _requester(peer), query, signer)


def knows(session: Session, peer: Peer, shared: Collection, stix_id: str) -> bool:
    """Whether the peer may have any version of this object."""
    condition = taxii_server.may_have(SharedObject, _requester(peer))
    query = select(SharedObject.id).where(
        SharedObject.collection_id == shared.id, SharedObject.stix_id == stix_id, condition
    )
    return session.scalar(query.limit(1)) is not None


def write_down(session: Session, peer: Peer, shared: Collection, query: Query, page: Page, now: datetime) -> Page:
    """Log what a page releases and holds back, and delivery; gives the page to send.

    Whatever the release decision refuses is taken out here, should the query have let it through.
    """
    requester = _requester(peer)
    held_back = taxii_server.held_back(session, shared, requester, page, query, MAX_REFUSALS_LOGGED)
    rows = [*page.objects, *held_back]
    decided = taxii_server.decision(session, requester, rows)
    releases.record(
        session,
        [
            releases.Answer(
                row.organisation_id, row.stix_id, row.version, Tlp(row.tlp), relation, decision, row.bulletin_id
            )
            for row, (relation, decision) in zip(rows, decided, strict=True)
        ],
        requester=f"peer:{peer.id}",
        name=peer.name,
        channel="taxii",
        now=now,
    )
    sent = [row for row, (_, decision) in zip(page.objects, decided, strict=False) if decision.allowed]
    fetched = {row.bulletin_id for row in sent if row.stix_type == "report" and row.bulletin_id is not None}
    receipts.fetched_by_peer(session, peer.id, fetched, now)
    peers.seen(session, peer.id, now)
    return Page(sent, page.next)


def _requester(peer: Peer) -> Requester:
    return Requester(peer.id, Relation(peer.relation))
