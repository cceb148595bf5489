"""Indicators of bulletins: what sensors look for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.bulletin import Bulletin


class Indicator(OrgOwned):
    """One thing to look for, of one bulletin version; a STIX indicator with several addresses gives several rows.

    stix_id, position: which STIX indicator, and which of its matches. type: "ip", "cidr", "operation", or "" where
    sensors cannot match it (`unusable` says why). value: {"value": ...} as console.sharing.patterns.Match has it.
    text: for people. pattern, pattern_type: of a received one, as it came. bulletin_id: None until a report names it.
    tlp: value of Tlp, of a received one its own marking.
    """

    __tablename__ = "indicator"
    __table_args__ = (Index(None, "organisation_id", "stix_id"),)

    bulletin_id: Mapped[int | None] = mapped_column(ForeignKey("bulletin.id", ondelete="CASCADE"), index=True)
    subscription_id: Mapped[int | None] = mapped_column(ForeignKey("subscription.id"), index=True)
    stix_id: Mapped[str] = mapped_column(String(300))
    position: Mapped[int] = mapped_column(default=0)
    type: Mapped[str] = mapped_column(String(16))
    value: Mapped[dict[str, Any]]
    operation_id: Mapped[str] = mapped_column(String(100), default="")
    text: Mapped[str] = mapped_column(String(1000))
    pattern: Mapped[str] = mapped_column(Text, default="")
    pattern_type: Mapped[str] = mapped_column(String(40), default="")
    unusable: Mapped[str] = mapped_column(String(60), default="")
    tlp: Mapped[int]
    revoked: Mapped[bool] = mapped_column(default=False)
    valid_until: Mapped[datetime | None]
    created_at: Mapped[datetime]

    bulletin: Mapped[Bulletin | None] = relationship()
