"""Enrolling sensors: a token that is valid once and shortly lets a sensor bring a key that it made itself.

So a key never travels: the console knows its hash only, and who reads the token later can do nothing with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from console.services import audit, sensors
from console.services.actor import Actor, Role, load, scoped, the_console
from console.services.errors import ConflictError, InvalidError
from console.services.sensors import Key, Place
from console.store.models import EnrolmentToken, Sensor

PREFIX = "fhe_"
MAX_MINUTES = 24 * 60
MAX_OPEN = 200  # tokens of an organisation that wait at a time
SHOWN_SPAN = timedelta(days=7)


def issue(session: Session, actor: Actor, place: Place, minutes: int, now: datetime) -> tuple[EnrolmentToken, str]:
    """A token for a new sensor, or for a new key of one that is there; the only time anybody sees it."""
    actor.require(Role.ADMINISTRATOR)
    place = place.checked()
    if not 1 <= minutes <= MAX_MINUTES:
        raise InvalidError("A token is valid for 1 minute to 24 hours.")
    if len(waiting(session, actor, now)) >= MAX_OPEN:
        raise InvalidError("Too many tokens wait to be used. Withdraw some.")
    token = PREFIX + secrets.token_urlsafe(24)
    row = EnrolmentToken(
        organisation_id=actor.organisation_id,
        token_hash=sensors.key_hash(token),
        name=place.name,
        site=place.site,
        segment=place.segment,
        drill=place.drill,
        made_at=now,
        made_by=actor.name,
        expires_at=now + timedelta(minutes=minutes),
    )
    session.add(row)
    session.flush()
    details = {"name": place.name, "site": place.site, "segment": place.segment, "minutes": minutes}
    audit.record(session, actor, actor.organisation_id, "enrolment.issued", f"enrolment_token:{row.id}", details, now)
    return row, token


def redeem(session: Session, token: str, key: Key, now: datetime) -> Sensor | None:
    """The sensor that this token has made, with the key that it brings; None where the token is worth nothing.

    The same key with the same token again is the same sensor: the answer got lost. ConflictError where the key is one
    that some sensor has.
    """
    row = session.scalar(select(EnrolmentToken).where(EnrolmentToken.token_hash == sensors.key_hash(token)))
    if row is None or row.withdrawn_at is not None or now >= row.expires_at:
        return None
    console = the_console(row.organisation_id)
    if row.used_at is not None:
        made = session.get(Sensor, row.sensor_id)
        return made if made is not None and made.key_hash == key.hash and made.revoked_at is None else None
    if session.scalar(select(Sensor.id).where((Sensor.key_hash == key.hash) | (Sensor.previous_key_hash == key.hash))):
        raise ConflictError("This key is in use.")
    # The condition is in the statement itself: of two at a time the database lets one through.
    used = update(EnrolmentToken).where(EnrolmentToken.id == row.id, EnrolmentToken.used_at.is_(None))
    if session.execute(used.values(used_at=now)).rowcount != 1:  # type: ignore[attr-defined]
        return None
    sensor = session.scalar(scoped(console, Sensor).where(Sensor.name == row.name))
    if sensor is None:
        place = Place(row.name, row.site, row.segment, row.drill)
        sensor = sensors.make_sensor(session, console, place, key, now)
    else:
        sensors.replace_key(session, "enrolment", sensor, key, now)
    row.sensor_id = sensor.id
    details = {"name": sensor.name, "key": key.hint, "issued_by": row.made_by}
    audit.record(session, sensor, row.organisation_id, "enrolment.used", f"enrolment_token:{row.id}", details, now)
    return sensor


def waiting(session: Session, actor: Actor, now: datetime) -> Sequence[EnrolmentToken]:
    """Tokens of the organisation that can still be used, the latest first."""
    return session.scalars(
        scoped(actor, EnrolmentToken)
        .where(EnrolmentToken.used_at.is_(None), EnrolmentToken.withdrawn_at.is_(None), EnrolmentToken.expires_at > now)
        .order_by(EnrolmentToken.id.desc())
    ).all()


def withdraw(session: Session, actor: Actor, token_id: int, now: datetime) -> EnrolmentToken:
    """Take a token back."""
    actor.require(Role.ADMINISTRATOR)
    row = load(session, actor, EnrolmentToken, token_id)
    row.withdrawn_at = row.withdrawn_at or now
    subject = f"enrolment_token:{row.id}"
    audit.record(session, actor, actor.organisation_id, "enrolment.withdrawn", subject, {"name": row.name}, now)
    return row
