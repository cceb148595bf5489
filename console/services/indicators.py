"""Indicators that an organisation's sensors look for: what bulletins in force offer it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session, joinedload

from console.services.actor import utc_now
from console.services.bulletins import Origin, State
from console.sharing.tlp import Tlp
from console.store.models import Bulletin, BulletinRecipient, Indicator

MAX_ITEMS = 20_000  # newest first; what a sensor reads in one answer


def indicators_for(session: Session, organisation_id: int, now: datetime | None = None) -> dict[str, Any]:
    """{"version": names this set, "items": [{"id", "type", "value", "bulletin"}, ...]}.

    type: "ip", "cidr" (value: a text) or "operation" (value: fields and what they equal; `operation_id` where known).
    bulletin: {"id": identifier of its STIX report, "title", "drill"}.

    Of bulletins pulled from other consoles and of those that other organisations of this console sent to this one. Left
    out: what its own bulletins describe, for that was found here by the rule it came from; what is revoked, expired or
    lifted; and RED, for what a sensor finds is read by more people than the named ones.
    """
    moment = now or utc_now()
    named = exists().where(
        BulletinRecipient.bulletin_id == Bulletin.id, BulletinRecipient.to_organisation_id == organisation_id
    )
    own = Indicator.organisation_id == organisation_id
    pulled = own & (Bulletin.origin == Origin.RECEIVED.value)
    sent_here = (Bulletin.organisation_id != organisation_id) & named
    query = (
        select(Indicator)
        .outerjoin(Bulletin, Bulletin.id == Indicator.bulletin_id)
        .options(joinedload(Indicator.bulletin))
        .where(
            Indicator.type != "",
            Indicator.revoked.is_(False),
            Indicator.tlp < int(Tlp.RED),
            or_(Indicator.valid_until.is_(None), Indicator.valid_until > moment),
            or_(
                own & Indicator.subscription_id.is_not(None) & Indicator.bulletin_id.is_(None),
                (Bulletin.state == State.ISSUED.value) & (Bulletin.tlp != Tlp.RED.word) & or_(pulled, sent_here),
            ),
        )
        .order_by(Indicator.id.desc())
        .limit(MAX_ITEMS)
    )
    items = [_item(row) for row in session.scalars(query)]
    text = json.dumps(items, sort_keys=True, ensure_ascii=True)
    return {"version": hashlib.sha256(text.encode()).hexdigest()[:16], "items": items}


def _item(row: Indicator) -> dict[str, Any]:
    bulletin = row.bulletin
    item: dict[str, Any] = {
        "id": row.stix_id if row.position == 0 else f"{row.stix_id}/{row.position}",
        "type": row.type,
        "value": row.value["value"],
        "bulletin": {
            "id": bulletin.stix_id if bulletin is not None else "",
            "title": (bulletin.title_zh or bulletin.title_en) if bulletin is not None else "",
            "drill": bulletin.drill if bulletin is not None else False,
        },
    }
    if row.operation_id:
        item["operation_id"] = row.operation_id
    return item
