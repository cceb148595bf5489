"""How the search index stands, and what administrators may do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.notify import lease
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import ConflictError
from console.store.models import IndexDeadLetter, IndexFeed, IndexOutbox, IndexPart
from console.store.search import feed as feeding
from console.store.search.indexer import LEASE
from console.store.search.kinds import Kind
from console.store.search.registry import KINDS

MAX_LETTERS = 200  # that a page shows


@dataclass(frozen=True, slots=True)
class Standing:
    """One kind. waiting, refused: documents of the organisation. parts, unfilled: indices in the cluster."""

    feed: IndexFeed
    waiting: int
    refused: int
    parts: int
    unfilled: int


def works(session: Session, now: datetime) -> bool:
    """Whether any process feeds the index now."""
    return lease.is_held(session, LEASE, now)


def standings(session: Session, actor: Actor) -> list[Standing]:
    """How each kind stands for the actor's organisation; none while no cluster is set."""
    found = []
    for feed in feeding.feeds(session):
        parts = feeding.parts_of(session, feed.kind)
        refused = scoped(actor, IndexDeadLetter).where(IndexDeadLetter.kind == feed.kind)
        waiting = scoped(actor, IndexOutbox).where(IndexOutbox.kind == feed.kind)
        found.append(
            Standing(
                feed,
                session.scalar(select(func.count()).select_from(waiting.subquery())) or 0,
                session.scalar(select(func.count()).select_from(refused.subquery())) or 0,
                len(parts),
                sum(part.filled_to is not None for part in parts),
            )
        )
    return found


def dead_letters(session: Session, actor: Actor) -> Sequence[IndexDeadLetter]:
    """Documents of the organisation that the index refuses, the latest first."""
    actor.require(Role.ADMINISTRATOR)
    latest = scoped(actor, IndexDeadLetter).order_by(IndexDeadLetter.last_at.desc(), IndexDeadLetter.id.desc())
    return session.scalars(latest.limit(MAX_LETTERS)).all()


def retry(session: Session, actor: Actor, letter_id: int) -> None:
    """Try one again; it goes from the list when the index takes it."""
    actor.require(Role.ADMINISTRATOR)
    feeding.retry(session, [load(session, actor, IndexDeadLetter, letter_id)])


def retry_all(session: Session, actor: Actor) -> int:
    """Try all of the organisation's again; gives how many."""
    actor.require(Role.ADMINISTRATOR)
    letters = session.scalars(scoped(actor, IndexDeadLetter)).all()
    feeding.retry(session, letters)
    return len(letters)


def rebuild(session: Session, kind: Kind, now: datetime) -> int:
    """Begin a further generation of a kind; gives its number. The indexer fills it, then searches see it."""
    feed = feeding.switch_on(session, kind, now)
    if feed.building is not None and feed.live is None:
        return feed.building  # the first is being filled
    if feed.building is not None:
        raise ConflictError("The index is being rebuilt already.")
    return feeding.begin_building(session, kind, feed, now)


def parts(session: Session) -> list[IndexPart]:
    """All indices in the cluster."""
    return [part for kind in KINDS for part in feeding.parts_of(session, kind.name)]
