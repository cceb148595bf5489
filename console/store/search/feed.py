"""The SQL side of the index: which documents wait, what became of them, which indices there are.

Callers commit. Times are arguments; what a cluster said is kept short.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from console.store.models import IndexDeadLetter, IndexFeed, IndexOutbox, IndexPart, Organisation
from console.store.search.cluster import MAX_NOTE, State
from console.store.search.kinds import Kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the outbox. See IndexOutbox."""

    id: int
    organisation_id: int
    row_id: int
    document_id: str
    period: str
    attempts: int


def feed_of(session: Session, kind: str) -> IndexFeed | None:
    """How a kind stands; None while no cluster is set."""
    return session.scalar(select(IndexFeed).where(IndexFeed.kind == kind))


def feeds(session: Session) -> list[IndexFeed]:
    """All kinds that are fed, by name."""
    return list(session.scalars(select(IndexFeed).order_by(IndexFeed.kind)))


def switch_on(session: Session, kind: Kind, now: datetime) -> IndexFeed:
    """Begin to feed a kind, unless it is fed already: triggers write from now on, all there is will be filled in."""
    feed = feed_of(session, kind.name)
    if feed is None:
        feed = IndexFeed(
            kind=kind.name, installation=_mark(session), state=State.FILLING, state_at=now, note="", indexed=0
        )
        session.add(feed)
        session.flush()
        begin_building(session, kind, feed, now)
    return feed


def _mark(session: Session) -> str:
    """What marks indices as this console's: the same after it was restored from a backup, which has no feeds."""
    first = session.execute(select(Organisation.id, Organisation.created_at).order_by(Organisation.id).limit(1)).first()
    if first is None:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{first.id}/{first.created_at.isoformat()}".encode()).hexdigest()[:32]


def switch_off(session: Session) -> None:
    """Feed nothing any more: no cluster is set. What is in one stays there; it is filled anew if it comes back."""
    for table in (IndexFeed, IndexPart, IndexOutbox, IndexDeadLetter):
        session.execute(delete(table))


def begin_building(session: Session, kind: Kind, feed: IndexFeed, now: datetime) -> int:
    """Begin a further generation, to be filled from the truth and then shown; gives its number.

    Its parts have no uuid yet: the indexer makes them.
    """
    newest = session.scalar(select(func.max(IndexPart.generation)).where(IndexPart.kind == kind.name)) or 0
    feed.building = max(int(now.timestamp()), newest + 1, (feed.live or 0) + 1)
    feed.state, feed.state_at = State.FILLING.value, now
    for period in kind.periods(session):
        add_part(session, kind.name, feed.building, period, now, filled_to=0)
    session.flush()
    return feed.building


def add_part(
    session: Session, kind: str, generation: int, period: str, now: datetime, filled_to: int | None
) -> IndexPart:
    """Note that an index should be there. Its name is set when it is made."""
    part = IndexPart(
        name=f"{kind}-{generation}-{period}",
        kind=kind,
        generation=generation,
        period=period,
        uuid="",
        filled_to=filled_to,
        created_at=now,
    )
    session.add(part)
    session.flush()
    return part


def parts_of(session: Session, kind: str, generations: Collection[int | None] = ()) -> list[IndexPart]:
    """Indices of a kind, of these generations or of all."""
    query = select(IndexPart).where(IndexPart.kind == kind).order_by(IndexPart.generation, IndexPart.period)
    if generations:
        query = query.where(IndexPart.generation.in_([number for number in generations if number is not None]))
    return list(session.scalars(query))


def waiting(session: Session, kind: str, after: int, limit: int) -> list[Entry]:
    """The next documents of a kind that wait, in the order in which they were touched."""
    columns = (
        IndexOutbox.id, IndexOutbox.organisation_id, IndexOutbox.row_id, IndexOutbox.document_id, IndexOutbox.period,
        IndexOutbox.attempts,
    )  # fmt: skip
    query = select(*columns).where(IndexOutbox.kind == kind, IndexOutbox.id > after)
    return [Entry(*row) for row in session.execute(query.order_by(IndexOutbox.id).limit(limit))]


def backlog(session: Session, kind: str, organisation_id: int | None = None) -> int:
    """How many documents of a kind wait, of one organisation or of all."""
    query = select(func.count()).select_from(IndexOutbox).where(IndexOutbox.kind == kind)
    if organisation_id is not None:
        query = query.where(IndexOutbox.organisation_id == organisation_id)
    return session.scalar(query) or 0


def letters(session: Session, kind: str) -> int:
    """How many documents of a kind the index refuses."""
    return session.scalar(select(func.count()).where(IndexDeadLetter.kind == kind)) or 0


def filled(session: Session, kind: Kind) -> int:
    """About how many documents the generation that is being built has; all of them where none is."""
    feed = feed_of(session, kind.name)
    total = kind.count(session)
    if feed is None or feed.building is None:
        return total
    unfilled = [part.filled_to for part in parts_of(session, kind.name, (feed.building,)) if part.filled_to is not None]
    return min(unfilled, default=total)


def newest_version(session: Session) -> int:
    """The highest id that the outbox ever gave."""
    if session.get_bind().dialect.name == "sqlite":
        statement = "SELECT seq FROM sqlite_sequence WHERE name = 'index_outbox'"
    else:
        statement = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM index_outbox_id_seq"
    return int(session.scalar(text(statement)) or 0)


def done(session: Session, kind: str, entries: Sequence[Entry]) -> None:
    """The index has these versions: they wait no more, unless they were touched meanwhile."""
    if not entries:
        return
    session.execute(delete(IndexOutbox).where(IndexOutbox.id.in_([it.id for it in entries])))
    letters = session.scalar(select(func.count()).where(IndexDeadLetter.kind == kind))
    if letters:
        session.execute(
            delete(IndexDeadLetter).where(
                IndexDeadLetter.kind == kind, IndexDeadLetter.document_id.in_([it.document_id for it in entries])
            )
        )


def refused(session: Session, kind: str, failed: Iterable[tuple[Entry, str]], now: datetime) -> None:
    """The index will not take these: kept aside with the reason, until they are touched or tried again by hand."""
    for entry, why in failed:
        session.execute(delete(IndexOutbox).where(IndexOutbox.id == entry.id))
        letter = session.scalar(
            select(IndexDeadLetter).where(
                IndexDeadLetter.kind == kind, IndexDeadLetter.document_id == entry.document_id
            )
        )
        if letter is None:
            letter = IndexDeadLetter(
                organisation_id=entry.organisation_id,
                kind=kind,
                document_id=entry.document_id,
                period=entry.period,
                attempts=0,
                first_at=now,
            )
            session.add(letter)
        letter.row_id, letter.reason, letter.last_at = entry.row_id, why[:MAX_NOTE], now
        letter.attempts += entry.attempts + 1


def again(session: Session, entries: Sequence[Entry]) -> None:
    """Count a failure of these documents; they stay where they are."""
    if entries:
        failed = IndexOutbox.id.in_([it.id for it in entries])
        session.execute(update(IndexOutbox).where(failed).values(attempts=IndexOutbox.attempts + 1))


def touch(session: Session, kind: str, entries: Iterable[Entry]) -> None:
    """Put documents into the outbox under new versions."""
    rows = list(entries)
    if not rows:
        return
    documents = IndexOutbox.document_id.in_([it.document_id for it in rows])
    session.execute(delete(IndexOutbox).where(IndexOutbox.kind == kind, documents))
    session.execute(
        insert(IndexOutbox),
        [
            {
                "organisation_id": it.organisation_id,
                "kind": kind,
                "row_id": it.row_id,
                "document_id": it.document_id,
                "period": it.period,
                "attempts": 0,
            }
            for it in rows
        ],
    )


def retry(session: Session, letters: Sequence[IndexDeadLetter]) -> None:
    """Try dead letters again."""
    by_kind: dict[str, list[Entry]] = {}
    for it in letters:
        entry = Entry(0, it.organisation_id, it.row_id, it.document_id, it.period, 0)
        by_kind.setdefault(it.kind, []).append(entry)
    for kind, entries in by_kind.items():
        touch(session, kind, entries)


def say(session: Session, kind: str, state: State, note: str, now: datetime, **more: Any) -> None:
    """Note how the index of a kind stands."""
    feed = feed_of(session, kind)
    if feed is None:
        return
    if feed.state != state.value:
        feed.state, feed.state_at = state.value, now
    feed.note = note[:MAX_NOTE]
    for name, value in more.items():
        setattr(feed, name, value)
