"""The outbox: messages enter in the transaction of their reason, and leave it one attempt at a time.

Claim, send, record are three steps. Between claim and record the far side may already have the message; whoever takes
over after a crash sends it again under the same key. Only the holder of the lease claims, so a row that is `sending`
under another owner's name was left behind by a process that died.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from console.notify.contract import DeliveryResult, State
from console.notify.retry import LONGEST_WISH_S, next_wait
from console.store.models.contact import ContactAddress
from console.store.models.outbox import Notification, NotificationAttempt

WAITING = [state.value for state in State if state.waiting]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt: notification, number of the attempt, owner of the lease it was claimed under."""

    notification_id: int
    attempt: int
    owner: str


def enqueue(
    session: Session,
    *,
    dedup_key: str,
    kind: str,
    address: ContactAddress,
    content: Mapping[str, Any],
    drill: bool,
    now: datetime,
    life: timedelta,
    incident_id: int | None = None,
) -> Notification | None:
    """Write a message to be sent; None where one with this dedup_key was written before. The caller commits."""
    organisation_id = address.organisation_id
    known = select(Notification.id).where(
        Notification.organisation_id == organisation_id, Notification.dedup_key == dedup_key
    )
    if session.scalar(known) is not None:
        return None
    notification = Notification(
        organisation_id=organisation_id,
        dedup_key=dedup_key,
        key=secrets.token_hex(16),
        kind=kind,
        incident_id=incident_id,
        address_id=address.id,
        channel=address.channel,
        lane=address.lane,
        content=dict(content),
        drill=drill,
        state=State.PENDING,
        created_at=now,
        next_at=now,
        deadline_at=now + life,
    )
    session.add(notification)
    session.flush()
    return notification


def withdraw(session: Session, incident_id: int, why: str, now: datetime) -> None:
    """Nothing is left to say about an incident: what waits expires; what is being sent is not tried again."""
    mine = Notification.incident_id == incident_id
    session.execute(
        update(Notification)
        .where(mine, Notification.state.in_(WAITING))
        .values(state=State.EXPIRED, withdrawn=why, finished_at=now)
    )
    session.execute(update(Notification).where(mine, Notification.state == State.SENDING).values(withdrawn=why))


def _due(owner: str, now: datetime) -> ColumnElement[bool]:
    """Rows whose next attempt may begin.

    A next_at further ahead than any wait was written before the clock was set back: it counts as due.
    """
    horizon = now + timedelta(seconds=LONGEST_WISH_S)
    rested = and_(Notification.state.in_(WAITING), or_(Notification.next_at <= now, Notification.next_at > horizon))
    return or_(rested, _left_behind(owner))


def _left_behind(owner: str) -> ColumnElement[bool]:
    return and_(Notification.state == State.SENDING, Notification.claimed_by != owner)


def due_by_channel(session: Session, owner: str, now: datetime) -> dict[str, int]:
    """How many messages each channel could send now; a look without a write."""
    counted = select(Notification.channel, func.count()).where(_due(owner, now)).group_by(Notification.channel)
    return dict(session.execute(counted).all())


def _over(owner: str, now: datetime) -> ColumnElement[bool]:
    """Unsent rows past their deadline."""
    return and_(or_(Notification.state.in_(WAITING), _left_behind(owner)), Notification.deadline_at <= now)


def expirable(session: Session, owner: str, now: datetime) -> bool:
    """Whether anything is to be given up; a look without a write."""
    return session.scalar(select(Notification.id).where(_over(owner, now)).limit(1)) is not None


def expire(session: Session, owner: str, now: datetime) -> list[int]:
    """Give up what is past its deadline; ids of those notifications. The caller commits."""
    rows = session.scalars(select(Notification).where(_over(owner, now))).all()
    for row in rows:
        row.state, row.finished_at, row.claimed_by = State.EXPIRED, now, None
    return [row.id for row in rows]


def claim(session: Session, owner: str, channel: str, now: datetime) -> Claim | None:
    """Take the next message of a channel; None when there is none. The caller holds the lease, and commits.

    Fresh messages go before those that have failed, and a lane in which something is being sent is passed over: so
    neither a poisoned message nor a dead receiver delays the others.
    """
    busy = aliased(Notification)
    lane_is_busy = exists().where(
        busy.channel == channel,
        busy.lane == Notification.lane,
        busy.state == State.SENDING,
        busy.claimed_by == owner,
    )
    row = session.scalar(
        select(Notification)
        .where(Notification.channel == channel, _due(owner, now), Notification.deadline_at > now, ~lane_is_busy)
        .order_by(Notification.attempts, Notification.next_at, Notification.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    row.state, row.claimed_by, row.attempts = State.SENDING, owner, row.attempts + 1
    session.add(
        NotificationAttempt(
            organisation_id=row.organisation_id, notification_id=row.id, number=row.attempts, began_at=now
        )
    )
    return Claim(row.id, row.attempts, owner)


def record(
    session: Session, held: Claim, result: DeliveryResult, now: datetime, random_source: random.Random
) -> Notification | None:
    """Write down what became of an attempt. None when another claim judges the message now. The caller commits."""
    session.execute(
        update(NotificationAttempt)
        .where(NotificationAttempt.notification_id == held.notification_id, NotificationAttempt.number == held.attempt)
        .values(ended_at=now, result=result.state, proof=result.proof)
    )
    row = session.get_one(Notification, held.notification_id, with_for_update=True)
    if row.state != State.SENDING or row.attempts != held.attempt or row.claimed_by != held.owner:
        return None
    row.claimed_by, row.proof = None, result.proof
    if result.state is State.FAILED_FOR_NOW and not row.withdrawn:
        row.state = State.FAILED_FOR_NOW
        row.next_at = now + next_wait(row.attempts, result.retry_after_s, random_source)
    else:
        row.state = State.EXPIRED if result.state is State.FAILED_FOR_NOW else result.state
        row.finished_at = now
    return row


def delivered(notification: Notification, proof: str, now: datetime) -> None:
    """A person proved that the message arrived. The caller commits."""
    if notification.state != State.DELIVERED:
        notification.state, notification.proof, notification.claimed_by = State.DELIVERED, proof, None
        notification.finished_at = now
