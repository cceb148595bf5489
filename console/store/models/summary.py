"""Summaries: what a day was like at a site, in numbers that are kept when the rest is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.site import Site


class Summary(OrgOwned):
    """One day (UTC) of one site.

    key: the day, "2026-11-22". findings: that came that day and were new; of them by severity. rules: those with most,
    as {"rule.id", "findings"}. frames, bytes: that sensors looked at, by their heartbeats. assets, behaviours: reported
    for the first time that day. words: tokens for searching (console/store/search/states.py).
    """

    __tablename__ = "summary"
    __table_args__ = (UniqueConstraint("site_id", "key"),)

    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    key: Mapped[str] = mapped_column(String(10))
    begins_at: Mapped[datetime]
    findings: Mapped[int] = mapped_column(BigInteger, default=0)
    critical: Mapped[int] = mapped_column(BigInteger, default=0)
    high: Mapped[int] = mapped_column(BigInteger, default=0)
    medium: Mapped[int] = mapped_column(BigInteger, default=0)
    low: Mapped[int] = mapped_column(BigInteger, default=0)
    informational: Mapped[int] = mapped_column(BigInteger, default=0)
    rules: Mapped[list[dict[str, Any]]]
    frames: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    assets: Mapped[int] = mapped_column(BigInteger, default=0)
    behaviours: Mapped[int] = mapped_column(BigInteger, default=0)
    updated_at: Mapped[datetime]
    words: Mapped[str] = mapped_column(Text, default="")

    site: Mapped[Site] = relationship()
