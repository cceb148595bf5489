"""Days of sites in numbers: what came and what was new, counted again from the rows; traffic, summed from heartbeats.

A day is one of UTC. The worker counts today and yesterday again every so often, so that what comes late, or while it
was off, still counts; earlier days stay as they are, also when their findings are deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.store.models import Asset, Behaviour, Finding, Segment, Sensor, Summary
from console.store.search.states import words
from console.store.search.summaries import SUMMARY
from detectors.finding import Severity

MAX_RULES = 50  # of one day and site: those with most findings
MAX_DELTA = 10**15  # frames or bytes between two heartbeats; more is no truth
MOST = 2**62
TRAFFIC = ("frames", "bytes")


def begin_of(moment: datetime) -> datetime:
    """When the day of a moment begins, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def count_traffic(session: Session, sensor: Sensor, counters: Mapping[str, Any], now: datetime) -> None:
    """A heartbeat came: add what the sensor has looked at since the one before. Called before the counters are kept."""
    before = sensor.counters or {}
    same = before.get("sensor.started") == counters.get("sensor.started")
    deltas = {name: _delta(before if same else {}, counters, name) for name in TRAFFIC}
    if any(deltas.values()):
        row = _row(session, sensor.organisation_id, sensor.segment.site_id, begin_of(now), now)
        for name, delta in deltas.items():
            setattr(row, name, min(getattr(row, name) + delta, MOST))


def _delta(before: Mapping[str, Any], counters: Mapping[str, Any], name: str) -> int:
    now, then = counters.get(name, 0), before.get(name, 0)
    if type(now) is not int or type(then) is not int:
        return 0
    return min(max(now - then if now >= then else now, 0), MAX_DELTA)


def _row(session: Session, organisation_id: int, site_id: int, day: datetime, now: datetime) -> Summary:
    key = day.date().isoformat()
    mine = select(Summary).where(Summary.site_id == site_id, Summary.key == key)
    row = session.scalar(mine)
    if row is None:
        counts = dict.fromkeys((*TRAFFIC, "findings", "assets", "behaviours", *(it.word for it in Severity)), 0)
        row = Summary(
            organisation_id=organisation_id, site_id=site_id, key=key, begins_at=day, rules=[], updated_at=now, **counts
        )
        row.words = words(SUMMARY, row)
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # another heartbeat of the site came first
            row = session.scalars(mine).one()
    return row


@dataclass(slots=True)
class _Day:
    """What was counted of a site."""

    organisation_id: int
    severities: dict[int, int] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)


def days(now: datetime) -> tuple[datetime, datetime]:
    """The days that are counted again."""
    today = begin_of(now)
    return today - timedelta(days=1), today


def counted(session: Session, day: datetime) -> dict[int, _Day]:
    """What the rows say of a day, by site. Reads only."""
    found: dict[int, _Day] = {}
    end = day + timedelta(days=1)
    by_sensor = select(Sensor.id, Sensor.organisation_id, Segment.site_id).join(Sensor.segment)
    places = {sensor: (organisation, site) for sensor, organisation, site in session.execute(by_sensor)}

    def at(sensor_id: int) -> _Day:
        organisation, site = places[sensor_id]
        return found.setdefault(site, _Day(organisation))

    first = _first_finding(session, day)
    grouped = (
        select(Finding.sensor_id, Finding.severity, Finding.rule_id, func.count())
        .where(Finding.id >= first, Finding.received_at >= day, Finding.received_at < end)
        .group_by(Finding.sensor_id, Finding.severity, Finding.rule_id)
    )
    for sensor_id, severity, rule, number in session.execute(grouped):
        site = at(sensor_id)
        site.severities[severity] = site.severities.get(severity, 0) + number
        site.rules[rule] = site.rules.get(rule, 0) + number
    model: type[Asset | Behaviour]
    for name, model in (("assets", Asset), ("behaviours", Behaviour)):
        new = select(model.sensor_id, func.count()).where(model.received_at >= day, model.received_at < end)
        for sensor_id, number in session.execute(new.group_by(model.sensor_id)):
            site = at(sensor_id)
            site.new[name] = site.new.get(name, 0) + number
    return found


def _first_finding(session: Session, day: datetime) -> int:
    """An id at or before that of the first finding of a day: ids and times of arrival grow together."""
    low, high = 0, session.scalar(select(func.max(Finding.id))) or 0
    while low < high:
        middle = (low + high) // 2
        arrived = session.scalar(select(Finding.received_at).where(Finding.id > middle).order_by(Finding.id).limit(1))
        if arrived is not None and arrived < day - timedelta(hours=1):  # several write at a time
            low = middle + 1
        else:
            high = middle
    return low


def store(session: Session, day: datetime, found: Mapping[int, _Day], now: datetime) -> int:
    """Write what was counted where it differs; gives how many rows. The caller commits."""
    written = 0
    for site_id, it in found.items():
        row = _row(session, it.organisation_id, site_id, day, now)
        most: Sequence[tuple[str, int]] = sorted(it.rules.items(), key=lambda one: (-one[1], one[0]))[:MAX_RULES]
        said: dict[str, Any] = {
            "rules": [{"rule.id": rule, "findings": number} for rule, number in most],
            "findings": sum(it.severities.values()),
            **{severity.word: it.severities.get(int(severity), 0) for severity in Severity},
            **{name: it.new.get(name, 0) for name in ("assets", "behaviours")},
        }
        if any(getattr(row, name) != value for name, value in said.items()):
            for name, value in said.items():
                setattr(row, name, value)
            row.updated_at, row.words = now, words(SUMMARY, row)
            written += 1
    session.flush()
    return written
