"""Acknowledging by the link in a message: no login, the signed token says which contact was told of what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from console.notify import message, outbox
from console.notify.contract import State
from console.notify.link import BadLinkError, Links
from console.services import escalation, incidents
from console.services.actor import Actor, Role, load, the_console
from console.services.errors import NotFoundError
from console.store.models.contact import Contact
from console.store.models.incident import Incident, IncidentState
from console.store.models.outbox import Notification


class Standing(StrEnum):
    """What a link can still do, or what it just did."""

    OPEN = "open"  # nobody has acknowledged; a POST would
    DONE = "done"  # this POST acknowledged
    ALREADY = "already"  # somebody was first; `by` and `at` say who and when
    CLOSED = "closed"  # the incident is settled
    SUPERSEDED = "superseded"  # the incident was reopened after this message; a newer one has its own link
    TEST = "test"  # a test message; a POST confirms that it arrived
    CONFIRMED = "confirmed"  # a test message that was confirmed


@dataclass(frozen=True, slots=True)
class LinkView:
    """What the page behind a link shows. incident: None for a test message. by, at: who acknowledged, and when."""

    standing: Standing
    notification: Notification
    contact: Contact
    incident: Incident | None
    by: str = ""
    at: datetime | None = None


def look(session: Session, links: Links, token: str, now: datetime) -> LinkView:
    """What the link stands for, without changing anything: mail scanners open links. Raises NotFoundError."""
    try:
        said = links.read(token, now)
    except BadLinkError:
        raise NotFoundError from None
    notification = session.get(Notification, said.notification_id)  # the signature says that this one may be read
    if notification is None or notification.address.contact_id != said.contact_id:
        raise NotFoundError
    contact = notification.address.contact
    if notification.kind == message.TEST:
        seen = notification.state == State.DELIVERED
        return LinkView(Standing.CONFIRMED if seen else Standing.TEST, notification, contact, None)
    if notification.incident_id is None:
        raise NotFoundError
    incident = load(session, the_console(notification.organisation_id), Incident, notification.incident_id)
    standing = Standing.OPEN
    if incident.state == IncidentState.CLOSED:
        standing = Standing.CLOSED
    elif notification.content.get("run") != escalation.current_run(session, incident):
        standing = Standing.SUPERSEDED
    elif incident.state == IncidentState.ACKNOWLEDGED:
        standing = Standing.ALREADY
    return LinkView(standing, notification, contact, incident, incident.acknowledged_by, incident.acknowledged_at)


def acknowledge(session: Session, links: Links, token: str, now: datetime) -> LinkView:
    """Do what the link stands for. Whatever comes of it, the message has arrived: that is its proof. Caller commits."""
    view = look(session, links, token, now)
    outbox.delivered(view.notification, f"its link was used at {now:%Y-%m-%dT%H:%M:%SZ}", now)
    if view.standing is Standing.TEST:
        return LinkView(Standing.CONFIRMED, view.notification, view.contact, None)
    if view.standing is not Standing.OPEN or view.incident is None:
        return view
    contact = Actor(None, view.contact.name, view.notification.organisation_id, Role.ANALYST)
    try:
        incident = incidents.acknowledge(session, contact, view.incident.id, now, view.notification.address_id)
    except incidents.AlreadyAcknowledgedError as first:
        return LinkView(Standing.ALREADY, view.notification, view.contact, view.incident, first.by, first.at)
    return LinkView(
        Standing.DONE, view.notification, view.contact, incident, incident.acknowledged_by, incident.acknowledged_at
    )
