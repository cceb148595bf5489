"""Sensors: their keys, whether they speak, what they lost on the way."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session, joinedload

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError, NotFoundError
from console.store.models import FindingReceipt, LostRange, Segment, Sensor, SensorEpoch, Site

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
KEY_PREFIX = "fhs_"  # lets secret scanners and people recognise a leaked key
SILENT_AFTER = timedelta(seconds=31)  # three missed heartbeats of ten seconds and a second of grace


class State(StrEnum):
    """What a sensor is doing, as far as the console can tell."""

    NEVER = "never"  # has not spoken yet
    ACTIVE = "active"
    SILENT = "silent"
    REVOKED = "revoked"


def state(sensor: Sensor, now: datetime) -> State:
    """A sensor's state at a time."""
    if sensor.revoked_at is not None:
        return State.REVOKED
    if sensor.last_seen_at is None:
        return State.NEVER
    return State.ACTIVE if now - sensor.last_seen_at < SILENT_AFTER else State.SILENT


def key_hash(key: str) -> str:
    """How a key is stored. A fast hash is right here: a key is 256 random bits, so there is nothing to guess or to
    slow down, and it is checked with every request; a password hash would only make flooding cheaper."""
    return hashlib.sha256(key.encode()).hexdigest()


def add_sensor(
    session: Session, actor: Actor, name: str, site: str, segment: str, now: datetime, drill: bool = False
) -> tuple[Sensor, str]:
    """A new sensor on a segment of a site (made where they are new), and its key: the only time anybody sees it."""
    actor.require(Role.ADMINISTRATOR)
    name = name.strip().lower()
    if not NAME.fullmatch(name):
        raise InvalidError("A sensor's name has 1 to 63 of the characters a-z, 0-9, dot, dash and underscore.")
    if session.scalar(scoped(actor, Sensor).where(Sensor.name == name)) is not None:
        raise InvalidError("This name is taken.")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    sensor = Sensor(
        organisation_id=actor.organisation_id,
        segment=_segment(session, actor, site, segment),
        name=name,
        key_hash=key_hash(key),
        key_hint=key[: len(KEY_PREFIX) + 4],
        drill=drill,
        created_at=now,
        counters={},
    )
    session.add(sensor)
    session.flush()
    details = {"name": name, "site": site, "segment": segment, "drill": drill, "key": sensor.key_hint}
    audit.record(session, actor, actor.organisation_id, "sensor.added", f"sensor:{sensor.id}", details, now)
    return sensor, key


def _segment(session: Session, actor: Actor, site_name: str, segment_name: str) -> Segment:
    site_name, segment_name = " ".join(site_name.split()), " ".join(segment_name.split())
    if not 1 <= len(site_name) <= 100 or not 1 <= len(segment_name) <= 100:
        raise InvalidError("Site and segment have names of 1 to 100 characters.")
    site = session.scalar(scoped(actor, Site).where(Site.name == site_name))
    if site is None:
        site = Site(organisation_id=actor.organisation_id, name=site_name)
        session.add(site)
        session.flush()
    segment = session.scalar(scoped(actor, Segment).where(Segment.site_id == site.id, Segment.name == segment_name))
    if segment is None:
        segment = Segment(organisation_id=actor.organisation_id, site=site, name=segment_name)
        session.add(segment)
    return segment


def named(session: Session, actor: Actor, name: str) -> Sensor:
    """The organisation's sensor of that name."""
    sensor = session.scalar(scoped(actor, Sensor).where(Sensor.name == name))
    if sensor is None:
        raise NotFoundError("There is no sensor %(name)s.", name=name)
    return sensor


def renew_key(session: Session, actor: Actor, sensor_id: int, now: datetime) -> tuple[Sensor, str]:
    """A new key for a sensor; the old one is worth nothing from now on."""
    actor.require(Role.ADMINISTRATOR)
    sensor = load(session, actor, Sensor, sensor_id)
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    sensor.key_hash, sensor.key_hint, sensor.revoked_at = key_hash(key), key[: len(KEY_PREFIX) + 4], None
    session.flush()
    details = {"name": sensor.name, "key": sensor.key_hint}
    audit.record(session, actor, actor.organisation_id, "sensor.key_renewed", f"sensor:{sensor.id}", details, now)
    return sensor, key


def revoke_key(session: Session, actor: Actor, sensor_id: int, now: datetime) -> Sensor:
    """Refuse whatever comes with this sensor's key from now on. What it sent stays."""
    actor.require(Role.ADMINISTRATOR)
    sensor = load(session, actor, Sensor, sensor_id)
    sensor.revoked_at = sensor.revoked_at or now
    audit.record(
        session, actor, actor.organisation_id, "sensor.revoked", f"sensor:{sensor.id}", {"name": sensor.name}, now
    )
    return sensor


def find_by_key(session: Session, key: str) -> Sensor | None:
    """The sensor that a key belongs to, unless it was revoked."""
    sensor = session.scalar(select(Sensor).where(Sensor.key_hash == key_hash(key)))
    return sensor if sensor is not None and sensor.revoked_at is None else None


def heartbeat(sensor: Sensor, epoch: int, counters: dict[str, Any], now: datetime) -> None:
    """The sensor says that it is alive, and its counters."""
    sensor.last_seen_at = sensor.heartbeat_at = now
    sensor.heartbeat_epoch = epoch
    sensor.counters = counters


def all_sensors(session: Session, actor: Actor) -> list[Sensor]:
    """Sensors of the organisation with their segments and sites, by site, segment and name."""
    where = joinedload(Sensor.segment).joinedload(Segment.site)
    found = session.scalars(scoped(actor, Sensor).options(where))
    return sorted(found, key=lambda s: (s.revoked_at is not None, s.segment.site.name, s.segment.name, s.name))


def lives(session: Session, actor: Actor) -> dict[int, list[SensorEpoch]]:
    """By sensor id: what arrived of each life of its spool, newest first."""
    found: dict[int, list[SensorEpoch]] = {}
    for life in session.scalars(scoped(actor, SensorEpoch).order_by(SensorEpoch.last_at.desc())):
        found.setdefault(life.sensor_id, []).append(life)
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences of one spool that never arrived, first and last of them included."""

    epoch: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


def gaps(session: Session, actor: Actor, sensor_id: int, limit: int = 50) -> list[Gap]:
    """What is missing of a sensor's findings, the latest spool and the lowest sequences first.

    What a loss stands for is not missing: it is accounted for, see console/services/losses.py.
    """
    receipts = scoped(actor, FindingReceipt).where(FindingReceipt.sensor_id == sensor_id)
    ranges = scoped(actor, LostRange).where(LostRange.sensor_id == sensor_id)
    known = union_all(
        receipts.with_only_columns(
            FindingReceipt.epoch, FindingReceipt.sequence.label("first"), FindingReceipt.sequence.label("last")
        ),
        ranges.with_only_columns(LostRange.epoch, LostRange.first_sequence, LostRange.last_sequence),
    ).subquery()
    before = func.lag(known.c.last, 1, 0).over(partition_by=known.c.epoch, order_by=known.c.first)
    arrived = select(known, before.label("before")).subquery()
    rows = session.execute(
        select(arrived.c.epoch, arrived.c.before, arrived.c.first)
        .where(arrived.c.first - arrived.c.before > 1)
        .order_by(arrived.c.epoch.desc(), arrived.c.first)
        .limit(limit)
    )
    return [Gap(epoch, previous + 1, first - 1) for epoch, previous, first in rows]


def rejected(session: Session, actor: Actor, sensor_id: int, limit: int = 20) -> list[FindingReceipt]:
    """The latest records of a sensor that could not be stored, with the reason."""
    query = scoped(actor, FindingReceipt).where(FindingReceipt.sensor_id == sensor_id)
    latest = query.where(FindingReceipt.reason.is_not(None)).order_by(FindingReceipt.id.desc()).limit(limit)
    return list(session.scalars(latest))
