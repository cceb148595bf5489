"""The inventory: devices as sensors report them. A report is taken like findings: checked record by record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.services.actor import Actor, load, scoped
from console.services.intake import Moment, Strict, Tree
from console.services.standing import MAX_RECORDS, Outcome, checked
from console.store.models import Asset, Sensor
from console.store.search.assets import ASSET
from console.store.search.states import words

MAX_ROLES, MAX_PROTOCOLS, MAX_MACS, MAX_FACTS = 32, 64, 16, 256  # of one device
NO_ROLE = "host"
WEAKER = {"reader": {"master", "engineering"}}  # who only reads, and who was seen to do more once
MAX_ASSETS = 20_000  # of one sensor: further devices are refused, and the sensor is told

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AssetRecord(Strict):
    """One device as `fenghuo assets --format jsonl` writes it; what else stands there is not kept."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    segment: Annotated[str, StringConstraints(max_length=100)] = ""
    address: Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{2,64}$")]
    first_seen: Moment
    last_seen: Moment
    roles: Annotated[list[Tree], Field(max_length=MAX_ROLES)] = Field(default_factory=list)
    protocols: Annotated[list[Word], Field(max_length=MAX_PROTOCOLS)] = Field(default_factory=list)
    macs: Annotated[list[Word], Field(max_length=MAX_MACS)] = Field(default_factory=list)
    facts: Annotated[list[Tree], Field(max_length=MAX_FACTS)] = Field(default_factory=list)


class Report(Strict):
    """The envelope of POST /api/v1/assets. Its records are checked one by one."""

    assets: Annotated[list[Any], Field(max_length=MAX_RECORDS)]


def check(report: Report) -> tuple[Outcome, list[tuple[int, AssetRecord]]]:
    """What needs no store."""
    return checked(AssetRecord, report.assets)


def store(
    session: Session, sensor: Sensor, outcome: Outcome, records: Sequence[tuple[int, AssetRecord]], now: datetime
) -> None:
    """Bring what a sensor knows of its devices up to date; the caller commits."""
    mine = select(Asset).where(Asset.sensor_id == sensor.id)
    addresses = {record.address for _, record in records}
    known = {(it.segment, it.address): it for it in session.scalars(mine.where(Asset.address.in_(addresses)))}
    room = MAX_ASSETS - (session.scalar(select(func.count()).where(Asset.sensor_id == sensor.id)) or 0)
    for place, record in records:
        row = known.get((record.segment, record.address))
        if row is None:
            if room <= 0:
                outcome.rejected.append((place, "this sensor has too many assets"))
                continue
            room -= 1
            row = known[record.segment, record.address] = Asset(
                organisation_id=sensor.organisation_id, sensor_id=sensor.id, segment=record.segment,
                address=record.address, first_seen=record.first_seen, last_seen=record.last_seen, received_at=now,
                roles=[], protocols=[], macs=[], facts=[],
            )  # fmt: skip
            session.add(row)
        _renew(row, record, now)
        outcome.stored += 1
    sensor.last_seen_at = now
    session.flush()


def _renew(row: Asset, record: AssetRecord, now: datetime) -> None:
    """What was known stays where the record does not say otherwise: a sensor that was started anew knows little."""
    row.first_seen = min(row.first_seen, record.first_seen)
    row.last_seen = max(row.last_seen, record.last_seen)
    row.updated_at = now
    said = [str(role.get("role", ""))[:64] for role in record.roles if role.get("role")]
    roles = list(dict.fromkeys([*said, *row.roles]))[:MAX_ROLES]
    outdone = {role for role, stronger in WEAKER.items() if role in roles and stronger & set(roles)}
    row.roles = [role for role in roles if role != NO_ROLE and role not in outdone] or roles
    row.protocols = list(dict.fromkeys([*record.protocols, *row.protocols]))[:MAX_PROTOCOLS]
    row.macs = list(dict.fromkeys([*record.macs, *row.macs]))[:MAX_MACS]
    about = {_about(fact) for fact in record.facts}
    row.facts = [*record.facts, *(fact for fact in row.facts if _about(fact) not in about)][:MAX_FACTS]
    for name, attributes in (
        ("vendor", ("vendor",)),
        ("model", ("model", "order_number")),
        ("firmware", ("firmware", "software")),
        ("name", ("name", "station_name", "hostname")),
    ):
        setattr(row, name, _said(row.facts, attributes))
    row.words = words(ASSET, row)


def _about(fact: dict[str, Any]) -> tuple[str, ...]:
    """What a fact is about: another one about it takes its place."""
    return tuple(str(fact.get(name, "")) for name in ("component", "attribute", "source"))


def _said(facts: list[dict[str, Any]], attributes: tuple[str, ...]) -> str:
    """The first that the device said of itself, in the order of the attributes."""
    for attribute in attributes:
        for fact in facts:
            if fact.get("attribute") == attribute and not fact.get("component"):
                return str(fact.get("value", ""))[:200]
    return ""


def load_asset(session: Session, actor: Actor, asset_id: int) -> Asset:
    """One device of the organisation; NotFoundError."""
    return load(session, actor, Asset, asset_id)


def beside(session: Session, actor: Actor, asset: Asset, addresses: Iterable[str]) -> dict[str, int]:
    """Ids of the devices that have these addresses on the same segment, as the same sensor sees it."""
    here = scoped(actor, Asset).where(Asset.sensor_id == asset.sensor_id, Asset.segment == asset.segment)
    return {it.address: it.id for it in session.scalars(here.where(Asset.address.in_(set(addresses))))}
