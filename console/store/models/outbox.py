"""The transactional outbox: what is to be sent, written together with its reason; every attempt; the worker's lease."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import Base, OrgOwned
from console.store.models.contact import ContactAddress
from console.store.models.incident import Incident


class Notification(OrgOwned, Base):
    """One message to one address.

    dedup_key: names the reason; a second row for the same reason is refused by the database. key: 32 random hex
    digits, the idempotency key on the wire, the same on every attempt. kind, content: what the text is made from
    (console/notify/message.py). lane: messages of one channel and lane go one after another.
    state: a console.notify.contract.State. attempts: how many began. next_at: when the next may begin.
    deadline_at: when trying ends. claimed_by: the lease's owner that is sending it.
    withdrawn: why there is nothing to say any more, "" while there is. proof: what the far side said last, or why it
    failed.
    """

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("organisation_id", "dedup_key"),
        Index(None, "state", "channel", "next_at"),
        Index(None, "channel", "lane", "state"),
    )

    dedup_key: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(32))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incident.id"), index=True)
    address_id: Mapped[int] = mapped_column(ForeignKey("contact_address.id"), index=True)
    channel: Mapped[str] = mapped_column(String(32))
    lane: Mapped[str] = mapped_column(String(320))
    content: Mapped[dict[str, Any]]
    drill: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]
    withdrawn: Mapped[str] = mapped_column(String(300), default="")
    proof: Mapped[str] = mapped_column(Text, default="")

    address: Mapped[ContactAddress] = relationship()
    incident: Mapped[Incident | None] = relationship()
    history: Mapped[list[NotificationAttempt]] = relationship(order_by="NotificationAttempt.number")


class NotificationAttempt(OrgOwned, Base):
    """One attempt. It is written before anything is sent, so that one cut short by a crash is visible: no result.

    number: from 1. result: the State it led to, None while it runs or where nobody lived to say. proof: as above.
    """

    __tablename__ = "notification_attempt"
    __table_args__ = (UniqueConstraint("notification_id", "number"),)

    notification_id: Mapped[int] = mapped_column(ForeignKey("notification.id"))
    number: Mapped[int]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    result: Mapped[str | None] = mapped_column(String(16))
    proof: Mapped[str] = mapped_column(Text, default="")


class Lease(Base):
    """A right that one process at a time holds; of the installation, not of an organisation.

    name: what for. owner: random, new for each process. until: when it ends unless it is renewed.
    """

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(32), unique=True)
    owner: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]
