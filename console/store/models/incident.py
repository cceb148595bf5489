"""Incidents: findings that people handle together, with everything that was done about them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import Base, OrgOwned
from console.store.models.finding import Finding
from console.store.models.user import User
from detectors.finding import Severity


class IncidentState(StrEnum):
    """Where an incident stands; stored as its value."""

    OPEN = "open"  # nobody has taken it; people are being told
    ACKNOWLEDGED = "acknowledged"  # somebody has taken it; nobody else is called
    CLOSED = "closed"  # settled, with a disposition and a reason


class Disposition(StrEnum):
    """What an incident turned out to be; compulsory on closing; stored as its value."""

    CONFIRMED = "confirmed"  # a real attack or fault, handled
    EXPECTED = "expected"  # real, and planned: maintenance, commissioning
    FALSE_ALARM = "false alarm"  # what the findings claim did not happen
    DUPLICATE = "duplicate"  # handled in another incident
    TEST = "test"  # a drill or a trial


class EntryKind(StrEnum):
    """What a line of the timeline tells; stored as its value."""

    OPENED = "opened"
    FINDING_ADDED = "finding added"
    SEVERITY_RAISED = "severity raised"
    TOLD = "told"  # a message to a contact entered the outbox
    NOBODY_TO_TELL = "nobody to tell"  # no escalation steps are set
    NOBODY_ANSWERED = "nobody answered"  # every step of every round was told
    ACKNOWLEDGED = "acknowledged"
    OWNER_SET = "owner set"
    COMMENT = "comment"
    CLOSED = "closed"
    REOPENED = "reopened"
    RECOVERED = "recovered"  # what a finding of the console itself told of is over


class Incident(OrgOwned, Base):
    """One matter that people handle.

    number: counts from 1 in each organisation; what people call it. title_en, title_zh: of the first finding's rule, or
    what the opener typed, in both. severity: the highest of its findings, detectors.finding.Severity. drill: inherited
    from the findings or set at birth, never changed. opened_by: a name, "" for the policy. automatic: opened by policy.
    owner: who handles it. acknowledged_by, closed_by: names as they were then; a contact need not be a user.
    """

    __tablename__ = "incident"
    __table_args__ = (
        UniqueConstraint("organisation_id", "number"),
        CheckConstraint("severity BETWEEN 1 AND 5", name="severity"),
        Index(None, "organisation_id", "state", "opened_at"),
    )

    number: Mapped[int]
    title_en: Mapped[str] = mapped_column(String(500))
    title_zh: Mapped[str] = mapped_column(String(500))
    severity: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default=IncidentState.OPEN.value)
    drill: Mapped[bool]
    automatic: Mapped[bool] = mapped_column(default=False)
    opened_at: Mapped[datetime]
    opened_by: Mapped[str] = mapped_column(String(200))
    updated_at: Mapped[datetime]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(String(200), default="")
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str] = mapped_column(String(200), default="")
    disposition: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")

    owner: Mapped[User | None] = relationship()

    @property
    def severity_word(self) -> str:
        """Lower-case name of the severity."""
        return Severity(self.severity).word

    def title(self, locale: str) -> str:
        """The title in the reader's language."""
        return self.title_zh if locale == "zh" else self.title_en


class IncidentFinding(OrgOwned, Base):
    """A finding that belongs to an incident."""

    __tablename__ = "incident_finding"
    __table_args__ = (UniqueConstraint("incident_id", "finding_id"),)

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    finding_id: Mapped[int] = mapped_column(ForeignKey("finding.id"), index=True)
    added_at: Mapped[datetime]

    incident: Mapped[Incident] = relationship()
    finding: Mapped[Finding] = relationship()


class IncidentAddress(OrgOwned, Base):
    """An address that a finding of an incident names, in the segment where it means one device.

    added_at: of the latest finding that does.
    """

    __tablename__ = "incident_address"
    __table_args__ = (
        UniqueConstraint("incident_id", "segment_id", "address"),
        Index(None, "segment_id", "address"),
    )

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"))
    address: Mapped[str] = mapped_column(String(64))
    added_at: Mapped[datetime]


class IncidentEntry(OrgOwned, Base):
    """One line of an incident's timeline. Append-only: the database refuses to change or delete one.

    kind: an EntryKind. actor_name: who, as named then; "" for the console itself. text: what a person wrote.
    data: what the line is about, for the page to put into words in the reader's language.
    """

    __tablename__ = "incident_entry"
    __table_args__ = (Index(None, "organisation_id", "incident_id"),)

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisation.id"))  # no index of its own
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    actor_name: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


class IncidentPolicy(OrgOwned, Base):
    """When an organisation's findings open incidents by themselves; no row means the defaults.

    opens_at: from this severity on, None never. join_hours: a further finding joins an incident whose latest finding is
    not older than this.
    """

    __tablename__ = "incident_policy"
    __table_args__ = (UniqueConstraint("organisation_id"),)

    opens_at: Mapped[int | None]
    join_hours: Mapped[int]
