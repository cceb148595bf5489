"""How long what is kept, and what must be kept whatever that says."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class RetentionRule(OrgOwned):
    """How long an organisation keeps one class (console.services.retention.CLASSES). days: None for ever."""

    __tablename__ = "retention_rule"
    __table_args__ = (UniqueConstraint("organisation_id", "name"),)

    name: Mapped[str] = mapped_column(String(32))
    days: Mapped[int | None]


class LegalHold(OrgOwned):
    """What must not be deleted: an incident with its findings, a finding, or all of a time range; exactly one of these.

    since, until: of a time range. ends_at: when it ends by itself, None never. placed_by, asked_by, lifted_by: names as
    they were then. Two persons lift it: one asks, another agrees; lifted_at: when that was done.
    """

    __tablename__ = "legal_hold"

    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incident.id"), index=True)
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("finding.id"), index=True)
    since: Mapped[datetime | None]
    until: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text)
    placed_at: Mapped[datetime]
    placed_by: Mapped[str] = mapped_column(String(200))
    ends_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    asked_by: Mapped[str] = mapped_column(String(200), default="")
    asked_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str] = mapped_column(String(200), default="")
