"""Sensors: untrusted clients, each with its own key, each on one segment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.site import Segment


class Sensor(OrgOwned):
    """A sensor that may send findings to its organisation.

    name: the first part of its finding ids. key_hash: SHA-256 of its key, hex. key_hint: the key's first characters, to
    tell keys apart on the page. drill: all that it sends is an exercise, marked at birth.
    counters: of the last heartbeat, as sent.
    """

    __tablename__ = "sensor"
    __table_args__ = (UniqueConstraint("organisation_id", "name"),)

    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    key_hint: Mapped[str] = mapped_column(String(16))
    drill: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    heartbeat_epoch: Mapped[int | None] = mapped_column(BigInteger)
    counters: Mapped[dict[str, Any]] = mapped_column(default=dict)

    segment: Mapped[Segment] = relationship()
