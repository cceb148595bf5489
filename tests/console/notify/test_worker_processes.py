"""Real worker processes on one store: several never send twice, a killed one loses nothing."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import people
import pytest
from sqlalchemy import func, select
from support.far_side import DROP_AFTER_DATA, OK, MailServer

from console.notify.worker import run_worker, start_beside
from console.services import contacts, incidents
from console.services.actor import utc_now
from console.settings import Settings
from console.store.engine import Store
from console.store.models import Incident, Lease, Notification, NotificationAttempt

Start = Callable[[], Any]


@pytest.fixture(scope="module")
def processes() -> Any:
    """Makes processes quickly: a server process imports the worker once, and forks one for each start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["console.notify.worker"])
    return context


@pytest.fixture
def worker_settings(settings: Settings, mail_server: MailServer) -> Settings:
    changes = {
        "smtp_host": "127.0.0.1",
        "smtp_port": mail_server.port,
        "smtp_security": "none",
        "smtp_sender": "fenghuo@console.example",
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def start(processes: Any, worker_settings: Settings) -> Iterator[Start]:
    """Starts a worker process on the test's store and mail server."""
    running: list[Any] = []

    def one() -> Any:
        running.append(processes.Process(target=run_worker, args=(worker_settings,)))
        running[-1].start()
        return running[-1]

    yield one
    for process in running:
        process.kill()
        process.join()


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def unfinished(store: Store) -> int:
    with store.reader() as session:
        waiting = Notification.state.in_(["pending", "sending", "failed for now"])
        return session.scalar(select(func.count(Notification.id)).where(waiting)) or 0


def write_messages(store: Store, tree: Any, count: int, boxes: int) -> None:
    with store.transaction() as session:
        addresses = [people.mailbox(session, tree.plant, f"box{number}").id for number in range(boxes)]
        for number in range(count):
            contacts.send_test(session, tree.plant, addresses[number % boxes], utc_now())


def test_two_workers_on_one_store_send_each_message_once(
    start: Start, store: Store, tree: Any, mail_server: MailServer
) -> None:
    first, second = start(), start()
    write_messages(store, tree, 120, boxes=15)
    until(lambda: unfinished(store) == 0)
    assert Counter(Counter(delivery.key for delivery in mail_server.box.taken).values()) == {1: 120}
    assert first.is_alive()
    assert second.is_alive()
    with store.reader() as session:
        # An attempt may fail before the message is handed over (a slow machine); one in each succeeds.
        sent = select(func.count(NotificationAttempt.id)).where(NotificationAttempt.result == "sent")
        assert session.scalar(sent) == 120


def test_a_worker_that_is_asked_to_stop_gives_its_lease_back(
    start: Start, store: Store, tree: Any, mail_server: MailServer
) -> None:
    first = start()
    write_messages(store, tree, 1, boxes=1)
    until(lambda: unfinished(store) == 0)
    first.terminate()
    first.join(30)
    assert first.exitcode == 0
    began = time.monotonic()
    start()
    with store.transaction() as session:
        address = session.scalars(select(people.ContactAddress.id)).one()
        contacts.send_test(session, tree.plant, address, utc_now())
    until(lambda: unfinished(store) == 0)
    assert time.monotonic() - began < 60
    assert len(mail_server.box.taken) == 2


def test_killed_ten_times_among_faults_it_loses_nothing_and_repeats_only_under_the_same_key(
    start: Start, store: Store, tree: Any, mail_server: MailServer
) -> None:
    """The far side answers 4xx, drops the connection before or after it took the message, or takes it."""
    chance = random.Random(20261122)
    lost_answers: Counter[str] = Counter()

    def choose(_recipient: str, key: str) -> str:
        answer = chance.choices([OK, DROP_AFTER_DATA, "451 busy"], [0.8, 0.1, 0.1])[0]
        time.sleep(0.01)  # long enough to be killed in between
        if answer == DROP_AFTER_DATA:
            lost_answers[key] += 1
        return answer

    mail_server.box.chooser = choose
    write_messages(store, tree, 200, boxes=20)
    kills = 0
    while kills < 10:
        with store.transaction() as session:  # a dead worker's lease ends by itself; a test need not wait for it
            for row in session.scalars(select(Lease)):
                row.until = utc_now()
        worker = start()
        before = len(mail_server.box.deliveries)
        until(lambda before=before: len(mail_server.box.deliveries) > before or unfinished(store) == 0)
        time.sleep(chance.uniform(0, 0.15))
        worker.kill()
        worker.join()
        kills += 1
    assert unfinished(store) > 0, "the kills came too late to interrupt anything"
    with store.transaction() as session:
        for row in session.scalars(select(Lease)):
            row.until = utc_now()
    start()
    until(lambda: unfinished(store) == 0, seconds=180)
    with store.reader() as session:
        rows = session.scalars(select(Notification)).all()
        assert {row.state for row in rows} == {"sent"}
        taken = Counter(delivery.key for delivery in mail_server.box.taken)
        assert set(taken) == {f"<{row.key}@console.example>" for row in rows}, "each one arrived, and nothing else"
        for row in rows:
            cut_short = sum(1 for attempt in row.history if attempt.result is None)
            key = f"<{row.key}@console.example>"
            assert taken[key] <= 1 + cut_short + lost_answers[key], "repeated without a lost answer"


def test_an_incident_reaches_both_contacts_through_a_worker_started_beside_the_console(
    worker_settings: Settings, store: Store, tree: Any, mail_server: MailServer
) -> None:
    with store.transaction() as session:
        steps = [(people.mailbox(session, tree.plant, "lin"), 0), (people.mailbox(session, tree.plant, "wang"), 5)]
        people.escalation(session, tree.plant, steps)
        found = people.finding(session, tree.plant, tree.plant_sensor_id)
        incidents.open_incident(session, tree.plant_analyst, [found.id], utc_now())
    beside = start_beside(worker_settings)
    try:
        until(lambda: len(mail_server.box.taken) == 2)
    finally:
        beside.terminate()
        assert beside.wait(60) == 0
    assert {delivery.to for delivery in mail_server.box.taken} == {"lin@plant.example", "wang@plant.example"}
    with store.reader() as session:
        assert session.scalars(select(Incident.state)).one() == "open"
