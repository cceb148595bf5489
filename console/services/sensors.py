"""Sensors: their keys, whether they speak, what they lost on the way."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, literal, or_, select, union_all
from sqlalchemy.orm import Session, joinedload

from console.services import audit, troubles
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import ConflictError, InvalidError, NotFoundError
from console.services.troubles import Kind
from console.store.models import FindingReceipt, LostRange, Segment, Sensor, SensorEpoch, Site
from detectors.finding import Text

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
KEY_PREFIX = "fhs_"  # lets secret scanners and people recognise a leaked key
HINT = len(KEY_PREFIX) + 4
KEY_HINT = re.compile(r"[A-Za-z0-9_-]{8}")
DIGEST = re.compile(r"[0-9a-f]{64}")
OVERLAP = timedelta(hours=1)  # in which a sensor's old and new key are both valid
SILENT_AFTER = timedelta(seconds=31)  # three missed heartbeats of ten seconds and a second of grace


class State(StrEnum):
    """What a sensor is doing, as far as the console can tell."""

    NEVER = "never"  # has not spoken yet
    ACTIVE = "active"
    SILENT = "silent"
    STOPPED = "stopped"  # it said that it would stop
    REVOKED = "revoked"


def state(sensor: Sensor, now: datetime) -> State:
    """A sensor's state at a time."""
    if sensor.revoked_at is not None:
        return State.REVOKED
    if sensor.last_seen_at is None:
        return State.NEVER
    if sensor.stopped_at is not None:
        return State.STOPPED
    return State.ACTIVE if now - sensor.last_seen_at < SILENT_AFTER else State.SILENT


def key_hash(key: str) -> str:
    """How a key is stored. A fast hash is right here: a key is 256 random bits, so there is nothing to guess or to
    slow down, and it is checked with every request; a password hash would only make flooding cheaper."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """What the console keeps of a key: its hash, and its first characters to tell keys apart on a page."""

    hash: str
    hint: str

    @classmethod
    def of(cls, key: str) -> Key:
        """Of a key that was made here."""
        return cls(key_hash(key), key[:HINT])

    @classmethod
    def made_elsewhere(cls, digest: str, hint: str) -> Key:
        """Of a key that a sensor made for itself and keeps; InvalidError where it cannot be one."""
        if not DIGEST.fullmatch(digest) or not (hint.startswith(KEY_PREFIX) and KEY_HINT.fullmatch(hint)):
            raise InvalidError("This is not the hash and the beginning of a sensor key.")
        return cls(digest, hint)


def new_key() -> str:
    """A key that nobody had before."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def add_sensor(
    session: Session, actor: Actor, name: str, site: str, segment: str, now: datetime, drill: bool = False
) -> tuple[Sensor, str]:
    """A new sensor on a segment of a site (made where they are new), and its key: the only time anybody sees it."""
    key = new_key()
    return make_sensor(session, actor, Place(name, site, segment, drill), Key.of(key), now), key


@dataclass(frozen=True, slots=True)
class Place:
    """A sensor that is to be: its name, where it stands, and whether all that it sends is an exercise."""

    name: str
    site: str
    segment: str
    drill: bool = False

    def checked(self) -> Place:
        """In the form in which it is stored; InvalidError where that cannot be."""
        name, site, segment = self.name.strip().lower(), " ".join(self.site.split()), " ".join(self.segment.split())
        if not NAME.fullmatch(name):
            raise InvalidError("A sensor's name has 1 to 63 of the characters a-z, 0-9, dot, dash and underscore.")
        if not 1 <= len(site) <= 100 or not 1 <= len(segment) <= 100:
            raise InvalidError("Site and segment have names of 1 to 100 characters.")
        return Place(name, site, segment, self.drill)


def make_sensor(session: Session, actor: Actor, place: Place, key: Key, now: datetime) -> Sensor:
    """A new sensor that has this key."""
    actor.require(Role.ADMINISTRATOR)
    place = place.checked()
    if session.scalar(scoped(actor, Sensor).where(Sensor.name == place.name)) is not None:
        raise InvalidError("This name is taken.")
    sensor = Sensor(
        organisation_id=actor.organisation_id,
        segment=_segment(session, actor, place.site, place.segment),
        name=place.name,
        key_hash=key.hash,
        key_hint=key.hint,
        drill=place.drill,
        created_at=now,
        counters={},
        health={},
    )
    session.add(sensor)
    session.flush()
    details = {"name": place.name, "site": place.site, "segment": place.segment, "drill": place.drill, "key": key.hint}
    audit.record(session, actor, actor.organisation_id, "sensor.added", f"sensor:{sensor.id}", details, now)
    return sensor


def _segment(session: Session, actor: Actor, site_name: str, segment_name: str) -> Segment:
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
    key = new_key()
    return replace_key(session, actor, load(session, actor, Sensor, sensor_id), Key.of(key), now), key


def replace_key(session: Session, actor: Actor | str, sensor: Sensor, key: Key, now: datetime) -> Sensor:
    """Give a sensor this key and no other; whoever copied the old one is out."""
    sensor.key_hash, sensor.key_hint, sensor.revoked_at = key.hash, key.hint, None
    sensor.previous_key_hash = sensor.previous_key_until = sensor.rotation_asked_at = None
    sensor.health = {}
    troubles.end(session, sensor, Kind.CLONED, now)
    session.flush()
    details = {"name": sensor.name, "key": sensor.key_hint}
    audit.record(session, actor, sensor.organisation_id, "sensor.key_renewed", f"sensor:{sensor.id}", details, now)
    return sensor


def ask_for_rotation(session: Session, actor: Actor, sensor_id: int, now: datetime) -> Sensor:
    """Let the sensor make itself a new key: it is told with its next heartbeat."""
    actor.require(Role.ADMINISTRATOR)
    sensor = load(session, actor, Sensor, sensor_id)
    sensor.rotation_asked_at = now
    details = {"name": sensor.name}
    audit.record(session, actor, actor.organisation_id, "sensor.rotation_asked", f"sensor:{sensor.id}", details, now)
    return sensor


def rotate_key(session: Session, sensor: Sensor, presented: str, key: Key, now: datetime) -> None:
    """The sensor has made itself a new key, and says so with a valid one. Both are valid for OVERLAP.

    Saying it again changes nothing (an answer got lost). But who has only the old key cannot make a third: then two
    programs have had the same key, and the one that was first keeps it. ConflictError, after which the caller commits.
    """
    if key.hash == sensor.key_hash:
        return
    if key_hash(presented) != sensor.key_hash:
        examples = Text("旧密钥的持有者要求再换一次密钥", "whoever has the old key wants another new one")
        troubles.begin(session, sensor, Kind.CLONED, now, {"examples": examples})
        raise ConflictError("The key has been changed already.")
    taken = select(Sensor.id).where(or_(Sensor.key_hash == key.hash, Sensor.previous_key_hash == key.hash))
    if session.scalar(taken) is not None:
        raise ConflictError("This key is in use.")
    sensor.previous_key_hash, sensor.previous_key_until = sensor.key_hash, now + OVERLAP
    sensor.key_hash, sensor.key_hint, sensor.rotation_asked_at = key.hash, key.hint, None
    details = {"name": sensor.name, "key": key.hint, "old_valid_until": sensor.previous_key_until.isoformat()}
    audit.record(session, sensor, sensor.organisation_id, "sensor.key_rotated", f"sensor:{sensor.id}", details, now)


def revoke_key(session: Session, actor: Actor, sensor_id: int, now: datetime) -> Sensor:
    """Refuse whatever comes with this sensor's keys from now on. What it sent stays."""
    actor.require(Role.ADMINISTRATOR)
    sensor = load(session, actor, Sensor, sensor_id)
    sensor.revoked_at = sensor.revoked_at or now
    sensor.previous_key_hash = sensor.previous_key_until = None
    for kind in Kind:  # nobody waits for it any more
        troubles.end(session, sensor, kind, now)
    audit.record(
        session, actor, actor.organisation_id, "sensor.revoked", f"sensor:{sensor.id}", {"name": sensor.name}, now
    )
    return sensor


def find_by_key(session: Session, key: str, now: datetime) -> Sensor | None:
    """The sensor that a key belongs to, unless it was revoked. Asked with every request, so that a key that was
    revoked in one process is refused by all of them."""
    digest = key_hash(key)
    for found in session.scalars(
        select(Sensor).where(or_(Sensor.key_hash == digest, Sensor.previous_key_hash == digest))
    ):
        until = found.previous_key_until
        if found.revoked_at is None and (found.key_hash == digest or (until is not None and now < until)):
            return found
    return None


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
    swept = scoped(actor, SensorEpoch).where(SensorEpoch.sensor_id == sensor_id, SensorEpoch.swept > 0)
    known = union_all(
        receipts.with_only_columns(
            FindingReceipt.epoch, FindingReceipt.sequence.label("first"), FindingReceipt.sequence.label("last")
        ),
        ranges.with_only_columns(LostRange.epoch, LostRange.first_sequence, LostRange.last_sequence),
        swept.with_only_columns(SensorEpoch.epoch, literal(1), SensorEpoch.swept),
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
