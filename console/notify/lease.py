"""A lease row: of several processes one holds the right to work, and a dead one loses it by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.store.models.outbox import Lease

DURATION = timedelta(seconds=10)
NOTIFY = "notify"  # the lease of whoever sends notifications


def hold(session: Session, name: str, owner: str, now: datetime) -> bool:
    """Take the lease or renew it until now + DURATION; False while another owner holds it. The caller commits.

    A lease that would end much later than now + DURATION was written under another clock: the clock was set back, and
    waiting for its end could take hours. It counts as ended. A clock that is corrected by less than DURATION leaves it.
    """
    until = now + DURATION
    free = or_(Lease.owner == owner, Lease.until <= now, Lease.until > until + DURATION)
    taken = session.execute(update(Lease).where(Lease.name == name, free).values(owner=owner, until=until))
    if taken.rowcount == 1:  # type: ignore[attr-defined]
        return True
    if session.scalar(select(Lease.id).where(Lease.name == name)) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(Lease(name=name, owner=owner, until=until))
    except IntegrityError:  # another process made the row in the same moment
        return False
    return True


def release(session: Session, name: str, owner: str, now: datetime) -> None:
    """Give the lease back at once, so that a successor need not wait for its end. The caller commits."""
    session.execute(update(Lease).where(Lease.name == name, Lease.owner == owner).values(until=now))


def is_held(session: Session, name: str, now: datetime) -> bool:
    """Whether any process holds the lease now."""
    until = session.scalar(select(Lease.until).where(Lease.name == name))
    return until is not None and now < until <= now + 2 * DURATION
