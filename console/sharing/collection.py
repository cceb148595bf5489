"""The objects of an organisation's collection: adding them, in one order for ever.

A later reader must never find an object *before* one it has already read: sequence and date_added grow in the order of
commits. Whoever adds takes the collection's row first and so holds off other writers until its commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.sharing.hostile import time_text
from console.sharing.tlp import Held, Tlp
from console.store.models import Collection, SharedObject

_BATCH = 500  # identifiers in one query
_TICK = timedelta(microseconds=1)  # the finest step of a TAXII timestamp (TAXII 2.1, 2)


@dataclass(frozen=True, slots=True)
class NewObject:
    """One STIX object to be added.

    version: its `modified`, else its `created`, None where it has neither. body: the object as JSON, ASCII.
    about: what a translation translates.
    """

    stix_id: str
    stix_type: str
    version: datetime | None
    spec_version: str
    tlp: Tlp
    held: Held
    body: str
    bulletin_id: int | None = None
    subscription_id: int | None = None
    about: str = ""


def find(session: Session, organisation_id: int) -> Collection | None:
    """The organisation's collection, if it has one yet."""
    return session.scalar(select(Collection).where(Collection.organisation_id == organisation_id))


def ensure(session: Session, organisation_id: int, now: datetime) -> Collection:
    """The organisation's collection, made at its first need."""
    found = find(session, organisation_id)
    if found is None:
        made = Collection(
            organisation_id=organisation_id, uid=str(uuid4()), identity=str(uuid4()), created_at=now, last_sequence=0
        )
        try:
            with session.begin_nested():
                session.add(made)
        except IntegrityError:  # another writer needed it at the same moment, and was first
            return session.scalars(select(Collection).where(Collection.organisation_id == organisation_id)).one()
        return made
    return found


class Outcome(StrEnum):
    """What became of an object that was to be added."""

    ADDED = "added"
    KNOWN = "known"  # it is there already
    CONFLICTING = "conflicting"  # the same id and version with another body; the first stays
    # Another version of an object that somebody else brought. Only the source that brought an object may replace it:
    # a STIX id proves nothing.
    FOREIGN = "foreign"


def add(session: Session, collection: Collection, new: Iterable[NewObject], now: datetime) -> list[Outcome]:
    """Add what is not there yet; the outcome of each object, in their order."""
    session.execute(  # takes the row, so that other writers of this collection wait (see above)
        update(Collection).where(Collection.id == collection.id).values(last_sequence=Collection.last_sequence)
    )
    session.refresh(collection)
    new = list(new)
    there = _by_id(session, collection, {item.stix_id for item in new})
    outcomes = [_add_one(session, collection, item, there.setdefault(item.stix_id, []), now) for item in new]
    session.flush()
    return outcomes


def _by_id(session: Session, collection: Collection, wanted: set[str]) -> dict[str, list[SharedObject]]:
    """Versions that are there, in the order of their adding, by STIX identifier."""
    found: dict[str, list[SharedObject]] = {}
    for some in batched(sorted(wanted)):
        mine = select(SharedObject).where(SharedObject.collection_id == collection.id, SharedObject.stix_id.in_(some))
        for row in session.scalars(mine.order_by(SharedObject.sequence)):
            found.setdefault(row.stix_id, []).append(row)
    return found


def batched(stix_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Identifiers in groups that fit into one query."""
    return (stix_ids[at : at + _BATCH] for at in range(0, len(stix_ids), _BATCH))


def newest_versions(session: Session, collection: Collection, wanted: set[str]) -> dict[str, str]:
    """By STIX identifier the greatest version that is there."""
    found: dict[str, str] = {}
    for some in batched(sorted(wanted)):
        query = select(SharedObject.stix_id, func.max(SharedObject.version)).where(
            SharedObject.collection_id == collection.id, SharedObject.stix_id.in_(some)
        )
        found |= dict(session.execute(query.group_by(SharedObject.stix_id)).all())
    return found


def _add_one(
    session: Session, collection: Collection, item: NewObject, before: list[SharedObject], now: datetime
) -> Outcome:
    if item.version is None and before:
        return Outcome.KNOWN if any(old.body == item.body for old in before) else Outcome.CONFLICTING
    version = time_text(item.version) if item.version is not None else None
    for old in before:
        if old.version == version:
            return Outcome.KNOWN if old.body == item.body else Outcome.CONFLICTING
    if before and before[0].subscription_id != item.subscription_id:
        return Outcome.FOREIGN
    added = now if collection.last_added is None else max(now, collection.last_added + _TICK)
    collection.last_sequence += 1
    collection.last_added = added
    row = SharedObject(
        organisation_id=collection.organisation_id,
        collection_id=collection.id,
        sequence=collection.last_sequence,
        date_added=added,
        stix_id=item.stix_id,
        stix_type=item.stix_type,
        version=version or time_text(added),
        spec_version=item.spec_version,
        tlp=int(item.tlp),
        held=item.held.value,
        bulletin_id=item.bulletin_id,
        subscription_id=item.subscription_id,
        about=item.about,
        body=item.body,
    )
    session.add(row)
    before.append(row)
    return Outcome.ADDED
