"""Who does what to whom, as sensors report it. Counts are the sensor's sums of a run: what is new in them is added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session, joinedload

from console.services.actor import Actor, scoped
from console.services.intake import MAX_COUNT, Moment, Strict
from console.services.standing import MAX_RECORDS, Outcome, checked
from console.services.standing_search import PAGE_SIZE, Page
from console.store.models import Asset, Behaviour, Segment, Sensor
from console.store.search.behaviours import BEHAVIOUR
from console.store.search.states import words

MAX_BEHAVIOURS = 50_000  # of one sensor: further ones are refused, and the sensor is told
MAX_CODE = 2**40

Address = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{2,64}$")]
Code = Annotated[int, Field(ge=-1, le=MAX_CODE)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
SUMS = ("count", "answered", "refused", "unanswered")


class BehaviourRecord(Strict):
    """One group of behaviours as detectors/behaviour_groups.py makes it; what else stands there is not kept."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    segment: Annotated[str, StringConstraints(max_length=100)] = ""
    client: Address
    server: Address
    port: Annotated[int, Field(ge=-1, le=65535)] = -1
    protocol: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    station: Code = -1
    function: Code = -1
    subfunction: Code = -1
    operation: Annotated[str, StringConstraints(max_length=100)] = ""
    action: Annotated[str, StringConstraints(max_length=32)] = ""
    first_seen: Moment
    last_seen: Moment
    count: Count
    answered: Count = 0
    refused: Count = 0
    unanswered: Count = 0
    variants: Count = 0
    run: Annotated[str, StringConstraints(min_length=1, max_length=64)]

    def key(self) -> str:
        """See Behaviour."""
        parts = (self.segment, self.client, self.server, self.protocol, self.station, self.operation, self.action,
                 self.function, self.subfunction)  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Report(Strict):
    """The envelope of POST /api/v1/behaviours. Its records are checked one by one."""

    behaviours: Annotated[list[Any], Field(max_length=MAX_RECORDS)]


def check(report: Report) -> tuple[Outcome, list[tuple[int, BehaviourRecord]]]:
    """What needs no store."""
    return checked(BehaviourRecord, report.behaviours)


def store(
    session: Session, sensor: Sensor, outcome: Outcome, records: Sequence[tuple[int, BehaviourRecord]], now: datetime
) -> None:
    """Bring what a sensor knows up to date; the caller commits."""
    keyed = [(place, record.key(), record) for place, record in records]
    mine = select(Behaviour).where(Behaviour.sensor_id == sensor.id)
    known = {row.key: row for row in session.scalars(mine.where(Behaviour.key.in_({key for _, key, _ in keyed})))}
    room = MAX_BEHAVIOURS - (session.scalar(select(func.count()).where(Behaviour.sensor_id == sensor.id)) or 0)
    for place, key, record in keyed:
        row = known.get(key)
        if row is None:
            if room <= 0:
                outcome.rejected.append((place, "this sensor has too many behaviours"))
                continue
            room -= 1
            row = known[key] = _new(sensor, key, record, now)
            session.add(row)
        _renew(row, record, now)
        outcome.stored += 1
    sensor.last_seen_at = now
    session.flush()


def _new(sensor: Sensor, key: str, record: BehaviourRecord, now: datetime) -> Behaviour:
    named = ("segment", "client", "server", "protocol", "function", "subfunction", "operation", "action", "first_seen",
             "last_seen")  # fmt: skip
    return Behaviour(
        organisation_id=sensor.organisation_id, sensor_id=sensor.id, key=key, received_at=now, variants=0,
        station=None if record.station < 0 else record.station, port=None, run="", run_counts=[0] * len(SUMS),
        **{name: getattr(record, name) for name in named}, **dict.fromkeys(SUMS, 0),
    )  # fmt: skip


def _renew(row: Behaviour, record: BehaviourRecord, now: datetime) -> None:
    before = row.run_counts if row.run == record.run else [0] * len(SUMS)
    counts = [getattr(record, name) for name in SUMS]
    for name, count, counted in zip(SUMS, counts, before, strict=True):
        setattr(row, name, getattr(row, name) + max(count - counted, 0))
    row.run = record.run
    row.run_counts = [max(count, counted) for count, counted in zip(counts, before, strict=True)]
    row.first_seen, row.last_seen = min(row.first_seen, record.first_seen), max(row.last_seen, record.last_seen)
    row.variants, row.updated_at = record.variants, now
    if record.port >= 0:
        row.port = record.port
    row.words = words(BEHAVIOUR, row)


def as_record(row: Behaviour) -> dict[str, Any]:
    """A behaviour for programs: names as sensors report it, times in RFC 3339."""
    names = ("segment", "client", "server", "port", "protocol", "station", "operation", "action", *SUMS, "variants")
    times = {name: getattr(row, name).isoformat() for name in ("first_seen", "last_seen")}
    found = {name: getattr(row, name) for name in names} | times
    return {name: value for name, value in found.items() if value not in (None, "")}


def of_asset(session: Session, actor: Actor, asset: Asset, number: int) -> Page:
    """What a device does and what is done to it, as its own sensor saw it; the latest first."""
    mine = select(Behaviour.id).where(Behaviour.organisation_id == actor.organisation_id)
    ends = (mine.where(end == asset.address) for end in (Behaviour.client, Behaviour.server))  # each has its index
    here = scoped(actor, Behaviour).where(
        Behaviour.id.in_(union_all(*ends)), Behaviour.sensor_id == asset.sensor_id, Behaviour.segment == asset.segment
    )
    total = session.scalar(select(func.count()).select_from(here.subquery())) or 0
    number = min(max(number, 1), Page([], total, 1).pages)
    rows = session.scalars(
        here.options(joinedload(Behaviour.sensor).joinedload(Sensor.segment).joinedload(Segment.site))
        .order_by(Behaviour.last_seen.desc(), Behaviour.id.desc())
        .limit(PAGE_SIZE)
        .offset((number - 1) * PAGE_SIZE)
    )
    return Page(list(rows), total, number)
