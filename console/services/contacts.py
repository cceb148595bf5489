"""Contacts, their addresses, and the order in which they are called."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, selectinload

from console.notify import message, outbox
from console.notify.contract import Channel, DestinationError, State
from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError, NotFoundError
from console.store.models.contact import Contact, ContactAddress, EscalationPolicy, EscalationStep
from console.store.models.organisation import Organisation
from console.store.models.outbox import Notification

LOCALES = ("zh", "en")
MOST_CONTACTS = 500
MOST_STEPS = 20
MOST_ROUNDS = 20
LONGEST_WAIT_MINUTES = 24 * 60
TEST_LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One step as people set it: whom to tell, and how long to wait before the next, 0 for telling both together."""

    address_id: int
    wait_minutes: int


def add_contact(session: Session, actor: Actor, name: str, locale: str, now: datetime) -> Contact:
    """A new contact, without an address yet. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    name = name.strip()
    if not name or len(name) > 200:
        raise InvalidError("A contact has a name of 1 to 200 characters.")
    if locale not in LOCALES:
        raise InvalidError("Choose the language of the messages.")
    if (session.scalar(select(func.count()).select_from(_contacts(actor).subquery())) or 0) >= MOST_CONTACTS:
        raise InvalidError("There are too many contacts.")
    contact = Contact(organisation_id=actor.organisation_id, name=name, locale=locale, created_at=now)
    session.add(contact)
    session.flush()
    audit.record(session, actor, actor.organisation_id, "contact.added", f"contact:{contact.id}", {"name": name}, now)
    return contact


def add_address(
    session: Session, actor: Actor, contact_id: int, channel: Channel, fields: Mapping[str, str], now: datetime
) -> ContactAddress:
    """A new way to reach a contact; generated fields are in its destination, to be shown once. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    contact = load(session, actor, Contact, contact_id)
    if contact.removed_at is not None:
        raise NotFoundError
    typed = {field.name: fields.get(field.name, "") for field in channel.fields if not field.generated}
    try:
        destination = channel.validate(typed)
    except DestinationError as error:
        raise InvalidError(error.reason) from error
    address = ContactAddress(
        organisation_id=actor.organisation_id,
        contact_id=contact.id,
        channel=channel.name,
        destination=destination,
        shown=channel.display(destination),
        lane=channel.lane(destination),
        created_at=now,
    )
    session.add(address)
    session.flush()
    details = {"contact": contact.id, "channel": channel.name, "shown": address.shown}
    audit.record(session, actor, actor.organisation_id, "address.added", f"contact_address:{address.id}", details, now)
    return address


def remove_contact(session: Session, actor: Actor, contact_id: int, now: datetime) -> None:
    """The contact is told nothing more, and leaves the escalation. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    contact = load(session, actor, Contact, contact_id)
    contact.removed_at = contact.removed_at or now
    details = {"name": contact.name}
    audit.record(session, actor, actor.organisation_id, "contact.removed", f"contact:{contact.id}", details, now)
    for address in contact.addresses:
        remove_address(session, actor, address.id, now)


def remove_address(session: Session, actor: Actor, address_id: int, now: datetime) -> None:
    """The address is used no more: its steps go, and what waits for it in the outbox expires. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    address = load(session, actor, ContactAddress, address_id)
    address.removed_at = address.removed_at or now
    about = f"contact_address:{address.id}"
    audit.record(session, actor, actor.organisation_id, "address.removed", about, {"shown": address.shown}, now)
    policy = policy_of(session, actor)
    if policy is not None:
        policy.steps = [step for step in policy.steps if step.address_id != address.id]
        _number(policy)
    waiting = scoped(actor, Notification).where(
        Notification.address_id == address.id, Notification.state.in_(outbox.WAITING)
    )
    for row in session.scalars(waiting):
        row.state, row.withdrawn, row.finished_at = State.EXPIRED, "the address was removed", now


def contacts(session: Session, actor: Actor) -> Sequence[Contact]:
    """The contacts that can be told, by name."""
    mine = _contacts(actor).options(selectinload(Contact.addresses)).order_by(Contact.name, Contact.id)
    return session.scalars(mine).all()


def _contacts(actor: Actor) -> Select[Contact]:
    return scoped(actor, Contact).where(Contact.removed_at.is_(None))


def policy_of(session: Session, actor: Actor) -> EscalationPolicy | None:
    """The organisation's escalation, None where none was set."""
    return session.scalar(scoped(actor, EscalationPolicy).options(selectinload(EscalationPolicy.steps)))


def set_escalation(
    session: Session, actor: Actor, steps: Sequence[Step], rounds: int, now: datetime
) -> EscalationPolicy:
    """Set who is called in which order, and how often from the start. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    if len(steps) > MOST_STEPS or not 1 <= rounds <= MOST_ROUNDS:
        raise InvalidError("An escalation has up to 20 steps and 1 to 20 rounds.")
    for step in steps:
        address = load(session, actor, ContactAddress, step.address_id)
        if address.removed_at is not None:
            raise NotFoundError
        if not 0 <= step.wait_minutes <= LONGEST_WAIT_MINUTES:
            raise InvalidError("A step waits 0 to 1440 minutes.")
    if steps and steps[-1].wait_minutes == 0:
        raise InvalidError("The last step waits at least one minute.")
    policy = policy_of(session, actor) or EscalationPolicy(organisation_id=actor.organisation_id)
    policy.rounds = rounds
    policy.steps = [
        EscalationStep(
            organisation_id=actor.organisation_id, address_id=step.address_id, wait_minutes=step.wait_minutes
        )
        for step in steps
    ]
    _number(policy)
    session.add(policy)
    session.flush()
    details = {"rounds": rounds, "steps": [[step.address_id, step.wait_minutes] for step in policy.steps]}
    audit.record(
        session, actor, actor.organisation_id, "escalation.set", f"escalation_policy:{policy.id}", details, now
    )
    return policy


def _number(policy: EscalationPolicy) -> None:
    """Positions from 0 without gaps; a last step that now waits no time would end the round in an instant."""
    for position, step in enumerate(policy.steps):
        step.position = position
    if policy.steps and policy.steps[-1].wait_minutes == 0:
        policy.steps[-1].wait_minutes = 1


def send_test(session: Session, actor: Actor, address_id: int, now: datetime) -> Notification:
    """A test message to one address, marked as a drill, on the way that real ones take. The caller commits."""
    actor.require(Role.ADMINISTRATOR)
    address = load(session, actor, ContactAddress, address_id)
    if address.removed_at is not None:
        raise NotFoundError
    organisation = session.get_one(Organisation, actor.organisation_id)
    written = outbox.enqueue(
        session,
        dedup_key=f"test:{address.id}:{secrets.token_hex(8)}",
        kind=message.TEST,
        address=address,
        content={"by": actor.name, "organisation": organisation.name, "at": now.isoformat()},
        drill=True,
        now=now,
        life=TEST_LIFE,
    )
    assert written is not None  # its key is random
    about = f"contact_address:{address.id}"
    audit.record(session, actor, actor.organisation_id, "address.tested", about, {"shown": address.shown}, now)
    return written


def last_notifications(session: Session, actor: Actor) -> dict[int, Notification]:
    """For each address the message last written to it: whether it can be reached."""
    newest = (
        select(func.max(Notification.id))
        .where(Notification.organisation_id == actor.organisation_id)
        .group_by(Notification.address_id)
    )
    rows = session.scalars(scoped(actor, Notification).where(Notification.id.in_(newest)))
    return {row.address_id: row for row in rows}
