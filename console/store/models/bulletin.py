"""Bulletins: warnings that leave the house or came in, whom they are for, and who has seen them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.organisation import Organisation
from console.store.models.peer import Peer
from console.store.models.user import User


class Bulletin(OrgOwned):
    """One version of a bulletin that the organisation wrote, or the newest version of one that it received.

    stix_id: identifier of its STIX report, the same in all versions and on all consoles. series: UUID that names a
    written bulletin through its versions; of a received one the UUID of its report.
    origin, state: values of console.services.bulletins.Origin and State. notice, colour: of console.sharing.document.
    tlp: `Tlp.word`. source_name: who answers for a received one, as that side calls itself.
    withdrawn_at: when it was cancelled (解除).
    """

    __tablename__ = "bulletin"
    __table_args__ = (
        UniqueConstraint("organisation_id", "series", "version"),
        Index(None, "organisation_id", "state", "issued_at"),
        Index(None, "organisation_id", "stix_id"),
    )

    stix_id: Mapped[str] = mapped_column(String(300), index=True)
    series: Mapped[str] = mapped_column(String(36))
    version: Mapped[int]
    notice: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    tlp: Mapped[str] = mapped_column(String(16))
    colour: Mapped[str] = mapped_column(String(16))
    drill: Mapped[bool] = mapped_column(default=False)
    title_en: Mapped[str] = mapped_column(String(500))
    title_zh: Mapped[str] = mapped_column(String(500))
    body_en: Mapped[str] = mapped_column(Text)
    body_zh: Mapped[str] = mapped_column(Text)
    advice_en: Mapped[str] = mapped_column(Text)
    advice_zh: Mapped[str] = mapped_column(Text)
    techniques: Mapped[list[str]]
    source_name: Mapped[str] = mapped_column(String(200), default="")
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("finding.id"), index=True)
    subscription_id: Mapped[int | None] = mapped_column(ForeignKey("subscription.id"), index=True)
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    first_issued_at: Mapped[datetime | None]
    issued_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]

    created_by: Mapped[User | None] = relationship()
    recipients: Mapped[list[BulletinRecipient]] = relationship(
        back_populates="bulletin", cascade="all, delete-orphan", order_by="BulletinRecipient.id"
    )


class BulletinRecipient(OrgOwned):
    """Whom the source named: an organisation of this console or a peer console, exactly one of the two."""

    __tablename__ = "bulletin_recipient"
    __table_args__ = (
        UniqueConstraint("bulletin_id", "to_organisation_id"),
        UniqueConstraint("bulletin_id", "peer_id"),
    )

    bulletin_id: Mapped[int] = mapped_column(ForeignKey("bulletin.id"), index=True)
    to_organisation_id: Mapped[int | None] = mapped_column(ForeignKey("organisation.id"), index=True)
    peer_id: Mapped[int | None] = mapped_column(ForeignKey("peer.id"), index=True)

    bulletin: Mapped[Bulletin] = relationship(back_populates="recipients")
    to_organisation: Mapped[Organisation | None] = relationship(foreign_keys=[to_organisation_id])
    peer: Mapped[Peer | None] = relationship()
    receipts: Mapped[list[BulletinReceipt]] = relationship(
        back_populates="recipient", cascade="all, delete-orphan", order_by="BulletinReceipt.id"
    )


class BulletinReceipt(OrgOwned):
    """One rung of a recipient's ladder, reached once. state: value of console.services.receipts.Rung."""

    __tablename__ = "bulletin_receipt"
    __table_args__ = (UniqueConstraint("recipient_id", "state"),)

    recipient_id: Mapped[int] = mapped_column(ForeignKey("bulletin_recipient.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    person: Mapped[str] = mapped_column(String(200), default="")

    recipient: Mapped[BulletinRecipient] = relationship(back_populates="receipts")


class BulletinReference(OrgOwned):
    """An object that a received report refers to, whether it has arrived or not."""

    __tablename__ = "bulletin_reference"
    __table_args__ = (
        UniqueConstraint("bulletin_id", "stix_id"),
        Index(None, "organisation_id", "stix_id"),
    )

    bulletin_id: Mapped[int] = mapped_column(ForeignKey("bulletin.id", ondelete="CASCADE"))
    stix_id: Mapped[str] = mapped_column(String(300))
