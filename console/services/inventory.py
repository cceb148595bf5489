"""The inventory: devices as sensors report them. A report is taken like findings: checked record by record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from console.services.actor import Actor, scoped
from console.services.intake import Moment, Strict, Tree, explain
from console.store.models import Asset, Segment, Sensor

MAX_RECORDS = 200  # of one report
MAX_ASSETS = 20_000  # of one sensor: further devices are refused, and the sensor is told
PAGE_SIZE = 100

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AssetRecord(Strict):
    """One device as `fenghuo assets --format jsonl` writes it; what else stands there is not kept."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    segment: Annotated[str, StringConstraints(max_length=100)] = ""
    address: Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{2,64}$")]
    first_seen: Moment
    last_seen: Moment
    roles: Annotated[list[Tree], Field(max_length=32)] = Field(default_factory=list)
    protocols: Annotated[list[Word], Field(max_length=64)] = Field(default_factory=list)
    macs: Annotated[list[Word], Field(max_length=16)] = Field(default_factory=list)
    facts: Annotated[list[Tree], Field(max_length=256)] = Field(default_factory=list)


class Report(Strict):
    """The envelope of POST /api/v1/assets. Its records are checked one by one."""

    assets: Annotated[list[Any], Field(max_length=MAX_RECORDS)]


@dataclass(slots=True)
class Outcome:
    """The answer. rejected: (place in the report, reason)."""

    stored: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def receive(session: Session, sensor: Sensor, records: list[Any], now: datetime) -> Outcome:
    """Bring what a sensor knows of its devices up to date; the caller commits."""
    outcome = Outcome()
    known = {(it.segment, it.address): it for it in session.scalars(select(Asset).where(Asset.sensor_id == sensor.id))}
    for place, given in enumerate(records):
        try:
            record = AssetRecord.model_validate(given)
        except ValidationError as error:
            outcome.rejected.append((place, explain(error)))
            continue
        row = known.get((record.segment, record.address))
        if row is None:
            if len(known) >= MAX_ASSETS:
                outcome.rejected.append((place, "this sensor has too many assets"))
                continue
            row = known[record.segment, record.address] = Asset(
                organisation_id=sensor.organisation_id, sensor_id=sensor.id, segment=record.segment,
                address=record.address, first_seen=record.first_seen, last_seen=record.last_seen, received_at=now,
            )  # fmt: skip
            session.add(row)
        _renew(row, record, now)
        outcome.stored += 1
    sensor.last_seen_at = now
    session.flush()
    return outcome


def _renew(row: Asset, record: AssetRecord, now: datetime) -> None:
    row.first_seen = min(row.first_seen, record.first_seen)
    row.last_seen = max(row.last_seen, record.last_seen)
    row.updated_at = now
    row.roles = list(dict.fromkeys(str(role.get("role", ""))[:64] for role in record.roles if role.get("role")))
    row.protocols, row.macs, row.facts = list(record.protocols), list(record.macs), list(record.facts)
    for name, attributes in (
        ("vendor", ("vendor",)),
        ("model", ("model", "order_number")),
        ("firmware", ("firmware", "software")),
        ("name", ("name", "station_name", "hostname")),
    ):
        setattr(row, name, _said(record.facts, attributes))


def _said(facts: list[dict[str, Any]], attributes: tuple[str, ...]) -> str:
    """The first that the device said of itself, in the order of the attributes."""
    for attribute in attributes:
        for fact in facts:
            if fact.get("attribute") == attribute and not fact.get("component"):
                return str(fact.get("value", ""))[:200]
    return ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the assets. total: of all pages."""

    rows: list[Asset]
    total: int
    number: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-self.total // PAGE_SIZE))


def page(session: Session, actor: Actor, number: int) -> Page:
    """Assets of the organisation, by sensor and address."""
    query = scoped(actor, Asset)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    number = min(max(number, 1), max(1, -(-total // PAGE_SIZE)))
    rows = session.scalars(
        query.options(joinedload(Asset.sensor).joinedload(Sensor.segment).joinedload(Segment.site))
        .order_by(Asset.sensor_id, Asset.segment, Asset.address)
        .limit(PAGE_SIZE)
        .offset((number - 1) * PAGE_SIZE)
    )
    return Page(list(rows), total, number)
