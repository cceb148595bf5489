"""The ladder of a bulletin's recipients: delivered, opened, acknowledged. Each rung is reached once and stays."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services.actor import Actor
from console.store.models import BulletinReceipt, BulletinRecipient


class Rung(StrEnum):
    """How far a recipient got; ordered."""

    DELIVERED = "delivered"  # it stands in the recipient's list, or the recipient's console has fetched it
    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"


def reach(session: Session, recipient: BulletinRecipient, rung: Rung, now: datetime, person: str = "") -> bool:
    """Note a rung, once; False when it was reached before. A higher rung does not invent the lower ones."""
    if any(receipt.state == rung for receipt in recipient.receipts):
        return False
    recipient.receipts.append(
        BulletinReceipt(organisation_id=recipient.organisation_id, state=rung.value, at=now, person=person)
    )
    session.flush()
    return True


def rung_of(recipient: BulletinRecipient) -> Rung | None:
    """The highest rung reached, None while nothing is known."""
    reached = {receipt.state for receipt in recipient.receipts}
    return next((rung for rung in reversed(Rung) if rung in reached), None)


def own_entry(session: Session, actor: Actor, bulletin_id: int) -> BulletinRecipient | None:
    """The actor's organisation among a bulletin's recipients, if it is one."""
    return session.scalar(
        select(BulletinRecipient).where(
            BulletinRecipient.bulletin_id == bulletin_id, BulletinRecipient.to_organisation_id == actor.organisation_id
        )
    )


def fetched_by_peer(session: Session, peer_id: int, bulletin_ids: set[int], now: datetime) -> None:
    """A peer console has fetched these bulletins: delivered, where it is a named recipient."""
    rows = session.scalars(
        select(BulletinRecipient).where(
            BulletinRecipient.peer_id == peer_id, BulletinRecipient.bulletin_id.in_(bulletin_ids)
        )
    )
    for recipient in rows:
        reach(session, recipient, Rung.DELIVERED, now)
