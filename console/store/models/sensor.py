"""Sensors: untrusted clients, each with its own key, each on one segment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned, where
from console.store.models.site import Segment


class Sensor(OrgOwned):
    """A sensor that may send findings to its organisation.

    name: the first part of its finding ids. key_hash: SHA-256 of its key, hex. key_hint: the key's first characters, to
    tell keys apart on the page. drill: all that it sends is an exercise, marked at birth.
    counters: of the last heartbeat, as sent. health: what the console makes of the heartbeats so far
    (console.services.heartbeats). stopped_at: when it said goodbye, None while it runs.
    previous_key_hash: a key that is valid beside the new one until previous_key_until, so that a sensor can change from
    one to the other without losing anything. rotation_asked_at: since when it is asked to make itself a new key.
    """

    __tablename__ = "sensor"
    __table_args__ = (
        UniqueConstraint("organisation_id", "name"),
        Index("uq_sensor_previous_key_hash", "previous_key_hash", unique=True),
    )

    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    key_hint: Mapped[str] = mapped_column(String(16))
    drill: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    heartbeat_epoch: Mapped[int | None] = mapped_column(BigInteger)
    counters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    health: Mapped[dict[str, Any]] = mapped_column(default=dict)
    stopped_at: Mapped[datetime | None]
    previous_key_hash: Mapped[str | None] = mapped_column(String(64))
    previous_key_until: Mapped[datetime | None]
    rotation_asked_at: Mapped[datetime | None]

    segment: Mapped[Segment] = relationship()


class SensorTrouble(OrgOwned):
    """Something that is wrong with a sensor, from its beginning to its end; a finding tells of it.

    kind: a console.services.troubles.Kind. began_at, ended_at: by the console's clock; ended_at is None while it lasts.
    """

    __tablename__ = "sensor_trouble"
    __table_args__ = (
        Index(None, "sensor_id", "kind", "began_at"),
        Index("uq_sensor_trouble_open", "sensor_id", "kind", unique=True, **where("ended_at IS NULL")),
    )

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    kind: Mapped[str] = mapped_column(String(16))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    finding_id: Mapped[int | None] = mapped_column(ForeignKey("finding.id"), index=True)

    sensor: Mapped[Sensor] = relationship()


class EnrolmentToken(OrgOwned):
    """A right to enrol one sensor, once, within a short time.

    token_hash: SHA-256 of the token, hex. name, site, segment, drill: of the sensor that it makes, or whose key it
    replaces where one of that name exists. made_by: who issued it, as named then. used_at, sensor_id: by whom it was
    used; withdrawn_at: taken back unused.
    """

    __tablename__ = "enrolment_token"

    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(63))
    site: Mapped[str] = mapped_column(String(100))
    segment: Mapped[str] = mapped_column(String(100))
    drill: Mapped[bool] = mapped_column(default=False)
    made_at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    sensor_id: Mapped[int | None] = mapped_column(ForeignKey("sensor.id"))
