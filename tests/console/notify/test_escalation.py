"""Escalation under a clock moved by hand: who is told when, what stops it, what survives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import people
import pytest
from browser_kit import both_engines
from sqlalchemy import select
from support.far_side import HookServer, MailServer

from console.notify.dispatch import Dispatcher
from console.services import contacts, escalation, incidents
from console.store.engine import Store
from console.store.models import Escalation, Incident, IncidentEntry, Notification

pytestmark = both_engines


LIN, WANG, ZHAO = "lin@plant.example", "wang@plant.example", "zhao@plant.example"


@pytest.fixture
def incident_id(store: Store, tree: Any, clock: Any) -> int:
    """Lin is called, 10 minutes later Wang, 5 minutes later Zhao; two rounds."""
    with store.transaction() as session:
        steps = [(people.mailbox(session, tree.plant, name), wait) for name, wait in (("lin", 10), ("wang", 5))]
        steps.append((people.mailbox(session, tree.plant, "zhao", "en"), 15))
        people.escalation(session, tree.plant, steps, rounds=2)
        found = people.finding(session, tree.plant, tree.plant_sensor_id)
        return incidents.open_incident(session, tree.plant_analyst, [found.id], clock()).id


def run(dispatcher: Dispatcher) -> None:
    assert dispatcher.tick()
    dispatcher.settle()


def told(mail_server: MailServer) -> list[str]:
    return [delivery.to for delivery in mail_server.box.taken]


def test_nobody_answers_and_each_step_is_told_at_its_exact_time(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, clock: Any, incident_id: int
) -> None:
    expected = [(0, LIN), (10, WANG), (15, ZHAO), (30, LIN), (40, WANG), (45, ZHAO)]
    so_far: list[str] = []
    for minute, who in expected:
        clock.time = people.START + timedelta(minutes=minute, seconds=-1)
        if minute:
            run(dispatcher)
            assert told(mail_server) == so_far, "told before its time"
        clock.time = people.START + timedelta(minutes=minute)
        run(dispatcher)
        so_far.append(who)
        assert told(mail_server) == so_far
    clock.advance(hours=5)
    run(dispatcher)
    assert told(mail_server) == so_far
    with store.reader() as session:
        kinds = session.scalars(select(IncidentEntry.kind).order_by(IncidentEntry.id)).all()
        assert kinds == ["opened", *["told"] * 6, "nobody answered"]
        assert session.scalars(select(Escalation.due_at)).all() == [None]


def test_an_acknowledgement_ends_the_calling_in_its_own_transaction(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    run(dispatcher)
    with store.writer() as session:
        incidents.acknowledge(session, tree.plant_analyst, incident_id, clock())
        session.rollback()
    with store.reader() as session:
        assert session.scalars(select(Escalation.due_at)).one() is not None, "it went without the acknowledgement"
    with store.transaction() as session:
        incidents.acknowledge(session, tree.plant_analyst, incident_id, clock())
    clock.advance(hours=1)
    run(dispatcher)
    mails = mail_server.box.taken
    assert [mail.to for mail in mails] == [LIN, LIN]
    assert "已有人处理" in mails[1].mail["Subject"]
    assert "Lin" in mails[1].mail.get_content()
    assert "acknowledge/" not in mails[1].mail.get_content()


def test_a_message_that_still_waits_is_withdrawn_by_the_acknowledgement(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    mail_server.box.always[LIN] = "451 4.3.0 try again"
    run(dispatcher)
    with store.transaction() as session:
        incidents.acknowledge(session, tree.plant_analyst, incident_id, clock())
    mail_server.box.always.clear()
    clock.advance(minutes=10)
    run(dispatcher)
    with store.reader() as session:
        call = session.scalars(select(Notification).where(Notification.kind == "incident")).one()
        assert (call.state, call.withdrawn) == ("expired", "acknowledged by Lin")
        assert len(call.history) == 1


def test_whoever_was_never_called_gets_no_all_clear(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    with store.transaction() as session:
        incidents.acknowledge(session, tree.plant_analyst, incident_id, clock())
    run(dispatcher)
    assert mail_server.box.deliveries == []


def test_a_call_that_fails_while_somebody_acknowledges_is_not_tried_again(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    def acknowledge_meanwhile(_recipient: str, _key: str) -> str:
        with store.transaction() as session:
            incidents.acknowledge(session, tree.plant_analyst, incident_id, clock())
        return "451 4.3.0 try again"

    mail_server.box.chooser = acknowledge_meanwhile
    assert dispatcher.tick()
    dispatcher.settle()
    mail_server.box.chooser = None
    clock.advance(hours=1)
    run(dispatcher)
    with store.reader() as session:
        call = session.scalars(select(Notification).where(Notification.kind == "incident")).one()
        assert (call.state, len(call.history)) == ("expired", 1)


def test_a_contact_who_can_never_be_reached_is_not_waited_for(
    dispatcher: Dispatcher, mail_server: MailServer, incident_id: int
) -> None:
    mail_server.box.always[LIN] = "RCPT 550 5.1.1 no such mailbox"
    run(dispatcher)
    run(dispatcher)
    assert told(mail_server) == [WANG]


def test_a_failing_channel_does_not_hold_up_the_next_step(
    dispatcher: Dispatcher, mail_server: MailServer, clock: Any, incident_id: int
) -> None:
    mail_server.box.always[LIN] = "451 4.3.0 try again"
    run(dispatcher)
    clock.advance(minutes=10)
    run(dispatcher)
    assert told(mail_server) == [WANG]


def test_reopening_calls_from_the_first_step_again(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    run(dispatcher)
    with store.transaction() as session:
        incidents.close(session, tree.plant_analyst, incident_id, "false alarm", "a test of the engineer", clock())
    clock.advance(minutes=30)
    run(dispatcher)
    assert told(mail_server) == [LIN]
    with store.transaction() as session:
        incidents.reopen(session, tree.plant_analyst, incident_id, "it happened again", clock())
    run(dispatcher)
    assert told(mail_server) == [LIN, LIN]


def test_steps_without_a_wait_are_told_together(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any
) -> None:
    with store.transaction() as session:
        both = [(people.mailbox(session, tree.plant, "lin"), 0), (people.mailbox(session, tree.plant, "wang"), 5)]
        people.escalation(session, tree.plant, both)
        found = people.finding(session, tree.plant, tree.plant_sensor_id)
        incidents.open_incident(session, tree.plant_analyst, [found.id], clock())
    run(dispatcher)
    assert sorted(told(mail_server)) == [LIN, WANG]


def test_without_steps_the_timeline_says_so_and_later_steps_are_used(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any
) -> None:
    with store.transaction() as session:
        found = people.finding(session, tree.plant, tree.plant_sensor_id)
        incidents.open_incident(session, tree.plant_analyst, [found.id], clock())
    clock.advance(minutes=3)
    run(dispatcher)
    with store.transaction() as session:
        assert "nobody to tell" in session.scalars(select(IncidentEntry.kind)).all()
        people.escalation(session, tree.plant, [(people.mailbox(session, tree.plant, "lin"), 5)])
    clock.advance(minutes=1)
    run(dispatcher)
    assert told(mail_server) == [LIN]


def test_a_clock_set_back_delays_a_step_by_no_more_than_its_wait(
    dispatcher: Dispatcher, mail_server: MailServer, clock: Any, incident_id: int
) -> None:
    run(dispatcher)
    clock.advance(hours=-1)
    run(dispatcher)
    clock.advance(minutes=10)
    run(dispatcher)
    assert told(mail_server) == [LIN, WANG]


def test_deadlines_survive_a_worker_that_dies(
    make_dispatcher: Any, mail_server: MailServer, clock: Any, incident_id: int
) -> None:
    run(make_dispatcher())
    clock.advance(minutes=10)  # the first worker's lease ended unrenewed
    successor = make_dispatcher()
    run(successor)
    assert told(mail_server) == [LIN, WANG]


def test_a_removed_contact_is_called_no_more(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, tree: Any, clock: Any, incident_id: int
) -> None:
    with store.transaction() as session:
        wang = next(contact for contact in contacts.contacts(session, tree.plant) if contact.name == "wang")
        contacts.remove_contact(session, tree.plant, wang.id, clock())
    run(dispatcher)
    clock.advance(minutes=10)
    run(dispatcher)
    assert told(mail_server) == [LIN, ZHAO]


def test_a_drill_is_marked_in_every_message(
    dispatcher: Dispatcher, store: Store, mail_server: MailServer, hook_server: HookServer, tree: Any, clock: Any
) -> None:
    with store.transaction() as session:
        steps = [
            (people.mailbox(session, tree.plant, "lin"), 0),
            (people.mailbox(session, tree.plant, "smith", "en"), 0),
            (people.hook(session, tree.plant, "desk", hook_server.url), 5),
        ]
        people.escalation(session, tree.plant, steps)
        found = people.finding(session, tree.plant, tree.plant_sensor_id, drill=True)
        assert incidents.open_incident(session, tree.plant_analyst, [found.id], clock()).drill
    run(dispatcher)
    subjects = {delivery.to: delivery.mail for delivery in mail_server.box.taken}
    assert subjects[LIN]["Subject"].startswith("【演练】")
    assert subjects["smith@plant.example"]["Subject"].startswith("[DRILL] ")
    assert subjects[LIN]["Fenghuo-Drill"] == "yes"
    assert b'"drill":true' in hook_server.calls[0].body


def test_ten_thousand_running_escalations_cost_one_look_at_those_that_are_due(
    store: Store, tree: Any, clock: Any
) -> None:
    with store.transaction() as session:
        found = people.finding(session, tree.plant, tree.plant_sensor_id)
        first = incidents.open_incident(session, tree.plant_analyst, [found.id], clock())
        copies = [
            Incident(
                organisation_id=first.organisation_id, number=number, title_en="t", title_zh="t", severity=4,
                state="open", drill=False, opened_at=clock(), opened_by="", updated_at=clock(),
            )
            for number in range(2, 10_002)
        ]  # fmt: skip
        session.add_all(copies)
        session.flush()
        far = clock() + timedelta(hours=1)
        session.add_all(
            Escalation(organisation_id=first.organisation_id, incident_id=copy.id, told_at=clock(), due_at=far)
            for copy in copies
        )
    clock.advance(minutes=1)
    with store.reader() as session:
        assert len(escalation.due(session, clock())) == 1
        if not store.is_sqlite:
            return  # PostgreSQL's planner looks at statistics that a fresh table has not got
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM escalation WHERE due_at IS NOT NULL "
            "AND (due_at <= '2026' OR told_at > '2027') ORDER BY due_at LIMIT 500"
        )
        assert "ix_escalation_due_at" in str(plan.all())
