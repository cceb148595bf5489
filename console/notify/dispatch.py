"""Doing what is due: renew the lease, tell whom escalations call next, send what the outbox holds.

Several dispatchers may run on one store: the lease lets one work, and another takes over when it dies.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from console.notify import lease, message, outbox
from console.notify.contract import Channel, DeliveryResult, Message, State
from console.notify.link import Links
from console.services import escalation
from console.services.actor import Clock, utc_now
from console.store.engine import Store
from console.store.models.outbox import Notification
from sensor.failpoints import failpoint

P = ParamSpec("P")

log = logging.getLogger(__name__)

SENDERS = 8  # threads of each channel: a channel that hangs never takes another's
RECORD_AGAIN_S = 0.5  # pause before an answer is written again that the store did not take
RENEW_S = 3.0  # a third of the lease: two renewals may fail before it is lost


class Dispatcher:
    """One contender for the lease. `tick` does all that is due; it is called often and never waits for a send."""

    def __init__(
        self, store: Store, by_name: Mapping[str, Channel], links: Links, zone: ZoneInfo, clock: Clock = utc_now
    ) -> None:
        self.owner = secrets.token_hex(16)
        self._store = store
        self._channels = by_name
        self._links = links
        self._zone = zone
        self._clock = clock
        self._random = random.Random(secrets.randbits(64))  # noqa: S311  (jitter, not a secret)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._busy = dict.fromkeys(by_name, 0)
        self._pools = {name: ThreadPoolExecutor(SENDERS, f"send-{name}") for name in by_name}
        self._renew_at = 0.0  # by steady()
        self._held_until = 0.0
        self._stopping = False

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """A writing transaction. Threads queue for it here, for SQLite's own waiting is a poll, and unfair."""
        with self._writing, self._store.transaction() as session:
            yield session

    def tick(self) -> bool:
        """Renew the lease, tell who is due, start sending; whether this worker held the lease."""
        if not self._hold():
            return False
        now = self._clock()
        with self._store.reader() as session:
            late = escalation.due(session, now)
        for escalation_id in late:
            if not self._hold():  # many may be due at once after an outage: the lease is renewed in between
                return False
            self._guarded(self._escalate, escalation_id)
        self._guarded(self._expire)
        with self._store.reader() as session:
            waiting = outbox.due_by_channel(session, self.owner, self._clock())
        for name, count in waiting.items():
            self._start_senders(name, count)
        return True

    @property
    def holds(self) -> bool:
        """Whether this worker held the lease when it last looked, and the lease has not ended since."""
        return steady() < self._held_until

    def _hold(self) -> bool:
        """Whether this worker holds the lease; it is renewed when a third of it has passed."""
        if steady() < self._renew_at:
            return True
        with self._as_holder() as session:
            return session is not None

    @contextmanager
    def _as_holder(self) -> Iterator[Session | None]:
        """A writing transaction of the lease's holder, which renews it in passing; None while another has it.

        What one holder claims is left behind for the next. So the row itself is asked in the same transaction, and no
        clock: a worker that still believes in a lease that was taken from it would send what the other sends.
        """
        with self._transaction() as session:
            start = steady()
            held = lease.hold(session, lease.NOTIFY, self.owner, self._clock())
            if not held:  # whoever has it may now repeat what we claimed: none of it is ours when we hold it again
                self.owner, self._renew_at, self._held_until = secrets.token_hex(16), 0.0, 0.0
            yield session if held else None
        if held:  # and committed
            self._renew_at, self._held_until = start + RENEW_S, start + lease.DURATION.total_seconds()

    def _guarded(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """One item that fails is reported and passed over; the others go on."""
        try:
            work(*args, **kwargs)
        except Exception:
            log.exception("notification work failed; it is tried again at the next tick")

    def _escalate(self, escalation_id: int) -> None:
        with self._transaction() as session:
            escalation.advance(session, escalation_id, self._clock())
            failpoint("outbox.before_escalate_commit")
        failpoint("outbox.after_escalate_commit")

    def _expire(self) -> None:
        with self._store.reader() as session:
            if not outbox.expirable(session, self.owner, self._clock()):
                return
        with self._transaction() as session:
            outbox.expire(session, self.owner, self._clock())

    def _start_senders(self, name: str, count: int) -> None:
        """Let idle threads of a channel look for work, one for each message; each goes on until it finds none."""
        if name not in self._pools:
            log.error("messages wait for a channel that does not exist: %s", name)
            return
        with self._lock:
            idle = SENDERS - self._busy[name]
            starting = min(idle, count)
            self._busy[name] += starting
        for _ in range(starting):
            self._pools[name].submit(self._drain, name)

    def _drain(self, name: str) -> None:
        try:
            while not self._stopping and self._send_next(name):
                pass
        except SQLAlchemyError:
            log.exception("the store did not answer; sending goes on at the next tick")
        finally:
            with self._lock:
                self._busy[name] -= 1

    def _send_next(self, name: str) -> bool:
        """Claim, send, record: one message of a channel. False when there is none."""
        with self._as_holder() as session:
            claim = outbox.claim(session, self.owner, name, self._clock()) if session is not None else None
        if claim is None:
            return False
        failpoint("outbox.after_claim")
        result = self._attempt(name, claim)
        failpoint("outbox.after_send")
        while not self._record(claim, result):
            if self._stopping:
                return False
            time.sleep(RECORD_AGAIN_S)
        return True

    def _record(self, claim: outbox.Claim, result: DeliveryResult) -> bool:
        """Whether it was written. It is not given up: an answer that is forgotten is a message sent twice."""
        try:
            with self._transaction() as session:
                judged = outbox.record(session, claim, result, self._clock(), self._random)
                if judged is not None and judged.state == State.FAILED_FOR_GOOD:
                    escalation.hasten(session, judged, self._clock())
                failpoint("outbox.before_record_commit")
            failpoint("outbox.after_record_commit")
        except SQLAlchemyError:
            log.exception("the store did not take the answer for notification %d", claim.notification_id)
            return False
        return True

    def _attempt(self, name: str, claim: outbox.Claim) -> DeliveryResult:
        """The far side's answer."""
        try:
            with self._store.reader() as session:
                prepared = self._message(session.get_one(Notification, claim.notification_id))
            if steady() >= self._held_until:
                return DeliveryResult(State.FAILED_FOR_NOW, "not sent: another worker may have taken over meanwhile")
            return self._channels[name].send(prepared)
        except Exception as error:  # a message that cannot even be made, or a channel's own fault
            log.exception("notification %d could not be sent", claim.notification_id)
            return DeliveryResult(State.FAILED_FOR_NOW, f"internal error: {type(error).__name__}")

    def _message(self, row: Notification) -> Message:
        contact = row.address.contact
        wording = message.word(
            row.kind,
            row.content,
            locale=contact.locale,
            drill=row.drill,
            zone=self._zone,
            acknowledge=""
            if row.kind == message.TAKEN
            else self._links.acknowledge(row.id, contact.id, row.created_at),
            page=self._links.incident(row.incident_id) if row.incident_id is not None else "",
        )
        return Message(
            key=row.key,
            created_at=row.created_at,
            destination=row.address.destination,
            subject=wording.subject,
            body=wording.body,
            data=wording.data,
            thread=f"incident-{row.organisation_id}-{row.incident_id}" if row.incident_id is not None else "",
            drill=row.drill,
        )

    def settle(self) -> None:
        """Wait until no thread is sending (tests that advance the clock by hand)."""
        while any(self._busy.values()):
            time.sleep(0.005)

    def stop(self, patience_s: float = 5.0) -> None:
        """Begin no more attempts, wait for those that run, give the lease back.

        An attempt that outlasts the patience is left behind like one of a dead worker: the next one repeats it under
        the same key.
        """
        self._stopping = True
        end = time.monotonic() + patience_s
        for pool in self._pools.values():
            pool.shutdown(wait=False)
        while any(self._busy.values()) and time.monotonic() < end:
            time.sleep(0.05)
        with self._transaction() as session:
            lease.release(session, lease.NOTIFY, self.owner, self._clock())


def steady() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
