"""The outbox under a clock moved by hand: nothing lost, nothing twice but under the same key, nobody held up."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any

import people
import pytest
from browser_kit import both_engines
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError
from support.far_side import DROP_AFTER_DATA, SLOW, HookServer, MailServer

from console.notify import dispatch, lease, outbox
from console.notify.contract import DeliveryResult, State
from console.notify.dispatch import Dispatcher
from console.notify.retry import LONGEST_WAIT_S, LONGEST_WISH_S, next_wait
from console.services import contacts
from console.store.engine import Store
from console.store.models import Notification, NotificationAttempt

pytestmark = both_engines


LIN = "lin@plant.example"


@pytest.fixture
def lin(store: Store, tree: Any) -> int:
    with store.transaction() as session:
        return people.mailbox(session, tree.plant, "lin").id


def write(store: Store, tree: Any, clock: Any, address_id: int) -> int:
    """A test message in the outbox."""
    with store.transaction() as session:
        return contacts.send_test(session, tree.plant, address_id, clock()).id


def run(dispatcher: Dispatcher) -> None:
    assert dispatcher.tick()
    dispatcher.settle()


def state(store: Store, notification_id: int) -> Notification:
    with store.reader() as session:
        row = session.get_one(Notification, notification_id)
        assert row.history is not None  # loaded while the session is open
        return row


def test_a_sent_message_has_the_far_sides_proof_and_one_attempt(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    written = write(store, tree, clock, lin)
    run(dispatcher)
    row = state(store, written)
    assert (row.state, row.proof) == ("sent", "250 2.0.0 Ok: queued as 000001")
    assert [(attempt.number, attempt.result) for attempt in row.history] == [(1, "sent")]
    assert mail_server.box.taken[0].key == f"<{row.key}@console.example>"


def test_it_is_tried_until_it_is_taken_and_every_attempt_is_kept(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    mail_server.box.script[LIN] = ["451 busy", "RCPT 450 greylisted", "452 full", "421 later"]
    written = write(store, tree, clock, lin)
    for _ in range(8):
        run(dispatcher)
        clock.advance(seconds=LONGEST_WAIT_S)
    row = state(store, written)
    assert row.state == "sent"
    assert [attempt.result for attempt in row.history] == ["failed for now"] * 4 + ["sent"]
    assert row.history[1].proof == "recipient refused: 450 greylisted"


def test_a_lost_answer_repeats_the_message_under_the_same_message_id(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    mail_server.box.script[LIN] = [DROP_AFTER_DATA]
    written = write(store, tree, clock, lin)
    run(dispatcher)
    assert state(store, written).state == "failed for now"
    clock.advance(seconds=LONGEST_WAIT_S)
    run(dispatcher)
    assert state(store, written).state == "sent"
    first, second = mail_server.box.taken
    assert first.key == second.key


def test_a_refusal_for_good_is_never_tried_again(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    mail_server.box.always[LIN] = "RCPT 550 5.1.1 no such mailbox"
    written = write(store, tree, clock, lin)
    for _ in range(3):
        run(dispatcher)
        clock.advance(minutes=10)
    row = state(store, written)
    assert row.state == "failed for good"
    assert len(row.history) == 1
    assert "no such mailbox" in row.proof


def test_trying_ends_at_the_deadline_and_not_before(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    mail_server.box.always[LIN] = "451 busy"
    written = write(store, tree, clock, lin)
    clock.advance(minutes=59)
    run(dispatcher)
    assert state(store, written).state == "failed for now"
    clock.advance(minutes=1)
    run(dispatcher)
    assert state(store, written).state == "expired"
    mail_server.box.always.clear()
    clock.advance(minutes=10)
    run(dispatcher)
    assert mail_server.box.taken == []


def test_one_reason_gives_one_message_however_often_it_is_written(
    store: Store, tree: Any, clock: Any, lin: int
) -> None:
    def reason(session: Any) -> Notification | None:
        address = session.get_one(people.ContactAddress, lin)
        return outbox.enqueue(
            session, dedup_key="incident:1:1:0", kind="test", address=address, content={}, drill=True, now=clock(),
            life=timedelta(hours=1),
        )  # fmt: skip

    with store.transaction() as session:
        assert reason(session) is not None
        assert reason(session) is None
    with store.writer() as session:
        row = session.scalars(select(Notification)).one()
        columns = {c.key: getattr(row, c.key) for c in Notification.__table__.columns if c.key != "id"}
        session.add(Notification(**{**columns, "key": "f" * 32}))
        with pytest.raises(IntegrityError):
            session.flush()


def test_a_poisoned_message_does_not_hold_up_the_others(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    with store.transaction() as session:
        wang = people.mailbox(session, tree.plant, "wang").id
    poisoned = write(store, tree, clock, lin)
    with store.transaction() as session:
        session.get_one(Notification, poisoned).content = {"nonsense": True}
    good = [write(store, tree, clock, address) for address in (lin, wang, lin)]
    run(dispatcher)
    assert [state(store, number).state for number in good] == ["sent"] * 3
    row = state(store, poisoned)
    assert (row.state, row.proof) == ("failed for now", "internal error: KeyError")


def test_a_hanging_channel_does_not_hold_up_another(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer,
    hook_server: HookServer,
) -> None:  # fmt: skip
    hook_server.always, hook_server.slow_s = SLOW, 2.0
    with store.transaction() as session:
        desk = people.hook(session, tree.plant, "desk", hook_server.url).id
    hanging = [write(store, tree, clock, desk) for _ in range(20)]
    mails = [write(store, tree, clock, lin) for _ in range(5)]
    assert dispatcher.tick()
    end = time.monotonic() + 20
    while any(state(store, number).state != "sent" for number in mails) and time.monotonic() < end:
        time.sleep(0.01)
    assert [state(store, number).state for number in mails] == ["sent"] * 5
    assert state(store, hanging[0]).state == "sending", "the hook still hangs"
    assert len(hook_server.calls) == 1, "one dead receiver holds one sender"


def test_a_dead_receiver_does_not_hold_up_another_of_its_channel(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, hook_server: HookServer
) -> None:
    with HookServer("127.0.0.2") as dead:  # another host is another lane
        dead.always, dead.slow_s = SLOW, 2.0
        with store.transaction() as session:
            slow = people.hook(session, tree.plant, "slow", dead.url).id
            quick = people.hook(session, tree.plant, "quick", hook_server.url).id
        for _ in range(20):
            write(store, tree, clock, slow)
        good = write(store, tree, clock, quick)
        assert dispatcher.tick()
        end = time.monotonic() + 20
        while state(store, good).state != "sent" and time.monotonic() < end:
            time.sleep(0.01)
        assert state(store, good).state == "sent"
        assert len(dead.calls) == 1


def test_an_attempt_that_a_crash_cut_short_is_seen_and_repeated_by_the_next_worker(
    make_dispatcher: Any, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    written = write(store, tree, clock, lin)
    with store.transaction() as session:  # what a worker has written when it is killed while sending
        assert lease.hold(session, lease.NOTIFY, "dead", clock())
        assert outbox.claim(session, "dead", "email", clock()) is not None
    successor = make_dispatcher()
    assert not successor.tick(), "the dead worker's lease still runs"
    clock.advance(seconds=10)
    run(successor)
    row = state(store, written)
    assert row.state == "sent"
    assert [(attempt.number, attempt.result) for attempt in row.history] == [(1, None), (2, "sent")]


def test_what_a_worker_claimed_and_could_not_send_before_its_lease_ended_is_sent_at_the_next_attempt(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    written = write(store, tree, clock, lin)
    slept = 0.0
    claim = outbox.claim

    def claim_and_sleep(*args: Any) -> Any:
        nonlocal slept
        slept = 60.0
        return claim(*args)

    monkeypatch.setattr(dispatch, "steady", lambda: time.monotonic() + slept)
    monkeypatch.setattr(outbox, "claim", claim_and_sleep)
    run(dispatcher)
    assert state(store, written).state == "failed for now"
    assert mail_server.box.deliveries == [], "nothing is sent without the lease"
    monkeypatch.setattr(outbox, "claim", claim)
    clock.advance(minutes=2)
    run(dispatcher)
    assert state(store, written).state == "sent"


def test_a_worker_that_still_believes_in_a_lease_that_was_taken_from_it_claims_nothing(
    make_dispatcher: Any, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    believer, successor = make_dispatcher(), make_dispatcher()
    assert believer.tick()
    clock.advance(seconds=11)  # the wall clock was set: no steady clock saw those seconds
    assert successor.tick()
    for _ in range(3):
        write(store, tree, clock, lin)
    with store.transaction() as session:  # what the successor is sending
        held = outbox.claim(session, successor.owner, "email", clock())
    assert held is not None
    believer.tick()
    believer.settle()
    assert mail_server.box.deliveries == []
    assert not believer.tick()
    run(successor)
    assert state(store, held.notification_id).history[-1].number == 1, "nobody took it over"


def test_an_answer_that_the_store_does_not_take_at_once_is_not_forgotten(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    written = write(store, tree, clock, lin)
    record, failures = outbox.record, iter([True, True])

    def busy_at_first(*args: Any) -> Any:
        if next(failures, False):
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        return record(*args)

    monkeypatch.setattr(outbox, "record", busy_at_first)
    monkeypatch.setattr(dispatch, "RECORD_AGAIN_S", 0.01)
    run(dispatcher)
    assert state(store, written).state == "sent"
    assert len(mail_server.box.taken) == 1


def test_a_late_answer_of_a_worker_that_lost_its_lease_changes_nothing(
    store: Store, tree: Any, clock: Any, lin: int
) -> None:
    write(store, tree, clock, lin)
    with store.transaction() as session:
        old = outbox.claim(session, "old", "email", clock())
        new = outbox.claim(session, "new", "email", clock())
        assert old is not None
        assert new is not None
        late = outbox.record(session, old, DeliveryResult(State.FAILED_FOR_GOOD, "late"), clock(), random.Random(1))
        assert late is None
        row = session.get_one(Notification, new.notification_id)
        assert (row.state, row.claimed_by) == ("sending", "new")
        first = session.scalars(select(NotificationAttempt).where(NotificationAttempt.number == 1)).one()
        assert first.result == "failed for good", "but it is kept"


def test_the_lease_has_one_owner_ends_by_itself_and_survives_a_clock_set_back(store: Store, clock: Any) -> None:
    def hold(owner: str) -> bool:
        with store.transaction() as session:
            return lease.hold(session, "x", owner, clock())

    assert hold("a")
    assert not hold("b")
    assert hold("a")
    clock.advance(seconds=-0.01)
    assert not hold("b"), "a small correction of the clock takes it from nobody"
    clock.advance(seconds=9.91)
    assert not hold("b")
    clock.advance(seconds=0.1)
    assert hold("b")
    assert not hold("a")
    clock.advance(hours=-1)
    assert hold("a"), "an end that lies too far ahead was written under another clock"
    with store.transaction() as session:
        lease.release(session, "x", "a", clock())
    assert hold("b")


def test_a_clock_set_back_does_not_stop_the_retries(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    mail_server.box.script[LIN] = ["451 busy"]
    written = write(store, tree, clock, lin)
    run(dispatcher)
    clock.advance(hours=-2)
    run(dispatcher)
    assert state(store, written).state == "sent"


def test_messages_of_a_removed_address_expire(
    dispatcher: Dispatcher, store: Store, tree: Any, clock: Any, lin: int, mail_server: MailServer
) -> None:
    written = write(store, tree, clock, lin)
    with store.transaction() as session:
        contacts.remove_address(session, tree.plant, lin, clock())
    run(dispatcher)
    assert state(store, written).state == "expired"
    assert mail_server.box.deliveries == []


@given(st.integers(1, 10_000), st.one_of(st.none(), st.floats(0, 1e9)), st.integers())
def test_every_wait_is_positive_and_bounded(attempts: int, wish: float | None, seed: int) -> None:
    wait = next_wait(attempts, wish, random.Random(seed)).total_seconds()
    assert 0 < wait <= LONGEST_WISH_S
    if wish is None:
        assert wait <= LONGEST_WAIT_S
    else:
        assert wait >= min(wish, LONGEST_WISH_S) - 1e-6


def test_messages_refused_together_do_not_come_back_together() -> None:
    source = random.Random(7)
    waits = {next_wait(5, None, source) for _ in range(100)}
    assert len(waits) == 100
