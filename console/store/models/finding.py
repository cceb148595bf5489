"""Findings as the console keeps them: records of one problem counted into one row."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.sensor import Sensor
from console.store.models.user import User
from console.store.packed import PackedBytes, PackedList
from detectors.finding import Severity


class Finding(OrgOwned):
    """One problem that a sensor reported: its records of a day with the same fingerprint, counted.

    uid: the finding id (sensor/epoch/sequence) of the first record. severity: a value of detectors.finding.Severity.
    first_seen, last_seen: capture times; received_at: when the first record arrived; updated_at: the latest.
    verdict: what people decided (console.services.findings.Verdict), None while it is new.
    risk: score, factors and equation (en, zh) that the severity comes from, empty where the sensor sent none.
    """

    __tablename__ = "finding"
    __table_args__ = (
        CheckConstraint("severity BETWEEN 1 AND 5", name="severity"),
        CheckConstraint("count >= 1", name="count"),
        Index(None, "organisation_id", "last_seen", "severity", "protocol"),  # what the page of findings counts
        Index(None, "organisation_id", "severity", "last_seen"),
        Index(None, "sensor_id", "fingerprint", "first_seen"),
    )

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    uid: Mapped[str] = mapped_column(String(120))
    fingerprint: Mapped[str] = mapped_column(String(32))
    rule_id: Mapped[str] = mapped_column(String(200))
    rule_name_en: Mapped[str] = mapped_column(String(500))
    rule_name_zh: Mapped[str] = mapped_column(String(500))
    severity: Mapped[int]
    protocol: Mapped[str] = mapped_column(String(64))
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    received_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    count: Mapped[int] = mapped_column(BigInteger)
    source_ip: Mapped[str] = mapped_column(String(64))
    source_port: Mapped[int | None]
    destination_ip: Mapped[str] = mapped_column(String(64))
    destination_port: Mapped[int | None]
    station: Mapped[int | None] = mapped_column(BigInteger)
    techniques: Mapped[list[str]]
    message_en: Mapped[str] = mapped_column(Text)
    message_zh: Mapped[str] = mapped_column(Text)
    fields: Mapped[dict[str, Any]]
    risk: Mapped[dict[str, Any]] = mapped_column(default=dict)
    capture: Mapped[str] = mapped_column(String(4096), default="")
    drill: Mapped[bool] = mapped_column(default=False)
    verdict: Mapped[str | None] = mapped_column(String(16))
    verdict_note: Mapped[str] = mapped_column(Text, default="")
    verdict_at: Mapped[datetime | None]
    verdict_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))

    sensor: Mapped[Sensor] = relationship()
    verdict_by: Mapped[User | None] = relationship()
    evidence: Mapped[FindingEvidence] = relationship(back_populates="finding", cascade="all, delete-orphan")

    @property
    def severity_word(self) -> str:
        """Lower-case name of the severity."""
        return Severity(self.severity).word

    @property
    def segment_id(self) -> int:
        """The segment of its sensor, in which an address means one device."""
        return self.sensor.segment_id

    def equation(self, locale: str) -> str:
        """Where the severity comes from, in the reader's language; "" where the sensor did not say."""
        return str(self.risk.get("zh" if locale == "zh" else "en", "")) if self.risk else ""

    def rule_name(self, locale: str) -> str:
        """The rule's name in the reader's language."""
        return self.rule_name_zh if locale == "zh" else self.rule_name_en

    def message(self, locale: str) -> str:
        """The explanation in the reader's language."""
        return self.message_zh if locale == "zh" else self.message_en


class FindingEvidence(OrgOwned):
    """What anybody can check a finding against: of its first record, beside the row, for lists never need it.

    frames: frame numbers; pdus: decoded fields; pcap: those frames as a classic pcap file, empty where none was cut.
    """

    __tablename__ = "finding_evidence"

    finding_id: Mapped[int] = mapped_column(ForeignKey("finding.id"), unique=True)
    frames: Mapped[list[int]]
    pdus: Mapped[list[dict[str, Any]]] = mapped_column(PackedList)
    pcap: Mapped[bytes] = mapped_column(PackedBytes, default=b"")

    finding: Mapped[Finding] = relationship(back_populates="evidence")
