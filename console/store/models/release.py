"""The release log: who was given what, and who was refused."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class Release(OrgOwned):
    """Answers of the release decision about one object to one requester over one channel, counted.

    A peer asks every few minutes about thousands of objects: one row with first and last time says the same as a row
    for each request, and cannot be used to fill the disk.

    organisation_id: who holds the object. stix_id, version, tlp: of the object.
    requester: "organisation:<id>/user:<id>" or "peer:<id>". relation, reason: of console.sharing.tlp.
    channel: "page", "export" or "taxii".
    """

    __tablename__ = "release_log"
    __table_args__ = (
        UniqueConstraint(
            "organisation_id", "stix_id", "version", "requester", "channel", "reason", name="uq_release_log_decision"
        ),
    )

    stix_id: Mapped[str] = mapped_column(String(300))
    version: Mapped[str] = mapped_column(String(27))
    tlp: Mapped[int]
    requester: Mapped[str] = mapped_column(String(40), index=True)
    requester_name: Mapped[str] = mapped_column(String(200))
    relation: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str] = mapped_column(String(16))
    allowed: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(40))
    count: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    bulletin_id: Mapped[int | None] = mapped_column(ForeignKey("bulletin.id", ondelete="SET NULL"), index=True)
