"""Receipts: what arrived from which sensor, sequence by sequence, so that a gap is visible and a repeat is one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import BigId, OrgOwned, where


class SensorEpoch(OrgOwned):
    """One life of a sensor's spool: its sequence begins at 1 and has no gaps.

    acknowledged: highest sequence up to which everything arrived; highest: highest that arrived at all;
    received: how many different ones arrived (stored or rejected); highest - received are missing.
    swept: up to here receipts were deleted by retention, all of which had arrived.
    """

    __tablename__ = "sensor_epoch"
    __table_args__ = (UniqueConstraint("sensor_id", "epoch"),)

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    epoch: Mapped[int] = mapped_column(BigInteger)
    acknowledged: Mapped[int] = mapped_column(BigInteger, default=0)
    highest: Mapped[int] = mapped_column(BigInteger, default=0)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    duplicates: Mapped[int] = mapped_column(BigInteger, default=0)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    swept: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")

    @property
    def missing(self) -> int:
        """How many sequences below the highest never arrived."""
        return self.highest - self.received


class FindingReceipt(OrgOwned):
    """One finding record as it arrived; (sensor, epoch, sequence) is its identity.

    finding_id: the row it was counted into, which retention may have deleted since; None where it was rejected; reason:
    why. payload: a rejected record, whole as far as limits allow, kept to be stored after all: it is a dead letter
    until it is replayed or discarded.
    digest: of the content, so that the same identity with another content shows; None of old ones.
    """

    __tablename__ = "finding_receipt"
    __table_args__ = (
        UniqueConstraint("sensor_id", "epoch", "sequence"),
        Index("ix_finding_receipt_dead_letter", "organisation_id", "id", **where("payload IS NOT NULL")),
    )

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisation.id"))  # no index of its own
    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    epoch: Mapped[int] = mapped_column(BigInteger)
    sequence: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime]
    finding_id: Mapped[int | None] = mapped_column(BigId)  # no key: an index here is a page for each record
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    reason: Mapped[str | None] = mapped_column(String(500))
    payload: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[int | None] = mapped_column(BigInteger)
    discarded_at: Mapped[datetime | None]


class LostRange(OrgOwned):
    """Sequences of a sensor that a loss stands for: nothing else ever arrives under them.

    Ranges never overlap; of their sequences only the last one may have a receipt, that of the finding about the loss.
    why: "shed", "damaged" or "missing", as the sensor says.
    """

    __tablename__ = "lost_range"
    __table_args__ = (UniqueConstraint("sensor_id", "epoch", "first_sequence"),)

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    epoch: Mapped[int] = mapped_column(BigInteger)
    first_sequence: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(String(16))
    received_at: Mapped[datetime]


class LostCount(OrgOwned):
    """How many findings of a rule and severity a sensor's spool has lost; its own sums, exact.

    rule_id: "" and severity: 0 where nobody can know. findings: how many; events: what they counted.
    """

    __tablename__ = "lost_count"
    __table_args__ = (UniqueConstraint("sensor_id", "epoch", "why", "rule_id", "severity"),)

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    epoch: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(String(16))
    rule_id: Mapped[str] = mapped_column(String(200))
    severity: Mapped[int]
    findings: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime]
