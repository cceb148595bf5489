"""Who is told, in which order, and how far an escalation has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import Base, OrgOwned
from console.store.models.incident import Incident


class Contact(OrgOwned, Base):
    """A person or a desk that can be told; need not be a user of the console.

    locale: "zh" or "en", the language of messages to it. removed_at: no longer told; kept, for old incidents name it.
    """

    __tablename__ = "contact"

    name: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    addresses: Mapped[list[ContactAddress]] = relationship(back_populates="contact", order_by="ContactAddress.id")


class ContactAddress(OrgOwned, Base):
    """One way to reach a contact. Never edited: a changed address is a new one, so that proofs keep their meaning.

    channel: name of a console.notify channel. destination: that channel's fields, as its `validate` gave them; shown:
    the same for people's eyes, without secrets; lane: what its `lane` gave.
    """

    __tablename__ = "contact_address"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    channel: Mapped[str] = mapped_column(String(32))
    destination: Mapped[dict[str, str]] = mapped_column(JSON)
    shown: Mapped[str] = mapped_column(Text)
    lane: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    contact: Mapped[Contact] = relationship(back_populates="addresses")


class EscalationPolicy(OrgOwned, Base):
    """How an organisation calls for help. rounds: how often the steps are gone through, at least once."""

    __tablename__ = "escalation_policy"
    __table_args__ = (UniqueConstraint("organisation_id"), CheckConstraint("rounds >= 1", name="rounds"))

    rounds: Mapped[int] = mapped_column(default=3)

    steps: Mapped[list[EscalationStep]] = relationship(order_by="EscalationStep.position", cascade="all, delete-orphan")


class EscalationStep(OrgOwned, Base):
    """One step: tell this address, then wait for an acknowledgement before the next. position: from 0, without gaps."""

    __tablename__ = "escalation_step"
    __table_args__ = (CheckConstraint("wait_minutes >= 0", name="wait_minutes"),)

    policy_id: Mapped[int] = mapped_column(ForeignKey("escalation_policy.id"), index=True)
    position: Mapped[int]
    address_id: Mapped[int] = mapped_column(ForeignKey("contact_address.id"))
    wait_minutes: Mapped[int]

    address: Mapped[ContactAddress] = relationship()


class Escalation(OrgOwned, Base):
    """The running call for one incident; persisted, so that a deadline survives any restart.

    run: how often it was begun (reopening begins it again). told: steps told in this run. told_at: when the last one
    was. due_at: when the next is told if nobody acknowledges; None once it has stopped.
    """

    __tablename__ = "escalation"
    __table_args__ = (UniqueConstraint("incident_id"),)

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    run: Mapped[int] = mapped_column(default=1)
    told: Mapped[int] = mapped_column(default=0)
    told_at: Mapped[datetime]
    due_at: Mapped[datetime | None] = mapped_column(index=True)

    incident: Mapped[Incident] = relationship()
