"""The tree of organisations in one console."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services import audit
from console.services.actor import Actor
from console.services.errors import InvalidError, NotFoundError
from console.store.models import Organisation, OrganisationKind


def create_organisation(
    session: Session, name: str, kind: OrganisationKind, parent: Organisation | None, now: datetime
) -> Organisation:
    """A new member of the tree below `parent` (None: a root). InvalidError when the name is empty or taken."""
    name = " ".join(name.split())
    if not name or len(name) > 200:
        raise InvalidError("A name has 1 to 200 characters.")
    if session.scalar(select(Organisation.id).where(Organisation.name == name)) is not None:
        raise InvalidError("This name is taken.")
    organisation = Organisation(
        name=name, kind=kind.value, parent_id=parent.id if parent else None, path="", created_at=now
    )
    session.add(organisation)
    session.flush()
    organisation.path = f"{parent.path if parent else '/'}{organisation.id}/"
    session.flush()
    details = {"name": name, "kind": organisation.kind, "parent": organisation.parent_id}
    about = f"organisation:{organisation.id}"
    audit.record(session, "command line", organisation.id, "organisation.created", about, details, now)
    return organisation


def take_turns(session: Session, organisation_id: int) -> None:
    """Until the transaction ends, nobody else does what only one may do at a time in this organisation.

    FOR NO KEY UPDATE: rows that refer to the organisation can be written meanwhile. SQLite's writers take turns anyway.
    """
    own_row = select(Organisation.id).where(Organisation.id == organisation_id)
    session.execute(own_row.with_for_update(key_share=True))


def own(session: Session, actor: Actor) -> Organisation:
    """The organisation that the actor acts for."""
    organisation = session.get(Organisation, actor.organisation_id)
    if organisation is None:
        raise NotFoundError
    return organisation


def named(session: Session, name: str | None) -> Organisation:
    """The organisation of that name; with None the only one there is. NotFoundError otherwise."""
    query = select(Organisation) if name is None else select(Organisation).where(Organisation.name == name)
    found = session.scalars(query.limit(2)).all()
    if not found and name is not None:
        raise NotFoundError("There is no organisation %(name)s.", name=name)
    if len(found) != 1:
        raise NotFoundError("Name the organisation.")
    return found[0]
