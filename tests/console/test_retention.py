"""Retention and legal hold: what is over its time goes, counted; what somebody still needs stays."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from browser_kit import both_engines
from records import STOP, record, send
from sqlalchemy import func, select

from console.services import audit, bulletins, holds, incidents, retention, sensors
from console.services.errors import ConflictError, InvalidError, NotFoundError
from console.services.holds import NewHold
from console.store.audit_chain import verify
from console.store.models import (
    AuditEntry,
    AuditHead,
    Finding,
    FindingEvidence,
    FindingReceipt,
    Incident,
    LegalHold,
    SensorEpoch,
)
from detectors.finding import Severity

pytestmark = both_engines
DAY_NS = 86_400_000_000_000


def low(sequence: int, **changes):
    """A finding that opens no incident, a problem of its own."""
    return record(sequence, severity=Severity.LOW, rule_id=f"test.rule{sequence}", **changes)


def count(store, model) -> int:
    with store.reader() as session:
        return session.scalar(select(func.count(model.id))) or 0


def years_later(clock, days: int = 400) -> None:
    clock.advance(days=days)


def told(store, organisation_id: int, action: str) -> list[dict]:
    with store.reader() as session:
        mine = select(AuditEntry).where(AuditEntry.organisation_id == organisation_id, AuditEntry.action == action)
        return [json.loads(entry.details) for entry in session.scalars(mine.order_by(AuditEntry.sequence))]


def test_old_findings_go_in_batches_and_the_audit_counts_them(store, client, tree, clock, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 4)
    send(client, tree.plant_key, [low(number) for number in range(1, 12)])
    assert retention.sweep(store, clock) == {}
    years_later(clock)
    gone = retention.sweep(store, clock)
    mine = tree.plant.organisation_id
    assert gone[mine, "findings_low"] == 10  # the newest row stays, so that its id is never given again
    assert (count(store, Finding), count(store, FindingEvidence)) == (1, 1)
    said = [one for one in told(store, mine, "retention.deleted") if one["class"] == "findings_low"]
    assert [one["rows"] for one in said] == [4, 4, 2]
    with store.engine.connect() as connection:
        assert verify(connection, mine).fault is None


def test_what_an_incident_a_bulletin_or_a_hold_needs_stays(store, client, tree, clock):
    send(client, tree.plant_key, [record(1), *(low(number) for number in range(2, 8))])
    with store.transaction() as session:
        by_rule = {f.rule_id: f.id for f in session.scalars(select(Finding))}
        bulletins.draft(session, tree.plant, bulletins.Content(title_en="x"), clock(), by_rule["test.rule2"])
        holds.place(session, tree.plant, NewHold(finding=by_rule["test.rule3"], reason="a lawsuit"), clock())
        closed = incidents.open_incident(session, tree.plant_analyst, [by_rule["test.rule4"]], clock())
        incidents.close(session, tree.plant_analyst, closed.id, "confirmed", "done", clock())
    years_later(clock, 4_000)
    retention.sweep(store, clock)
    with store.reader() as session:
        left = set(session.scalars(select(Finding.rule_id)))
        open_incident = session.scalars(select(Incident).where(Incident.state != "closed")).one()
        assert incidents.findings_of(session, tree.plant, open_incident)[1] == 1
        # rule4's incident is closed; rule7 is the newest row
        assert left == {STOP.rule_id, "test.rule2", "test.rule3", "test.rule7"}
        assert session.scalar(select(func.count(Incident.id))) == 2  # incidents and their timelines stay


def test_a_hold_on_an_incident_keeps_its_findings_and_no_others(store, client, tree, clock):
    send(client, tree.plant_key, [low(number) for number in range(1, 6)])
    with store.transaction() as session:
        by_rule = {f.rule_id: f.id for f in session.scalars(select(Finding))}
        for rule in ("test.rule1", "test.rule2"):
            opened = incidents.open_incident(session, tree.plant_analyst, [by_rule[rule]], clock())
            incidents.close(session, tree.plant_analyst, opened.id, "confirmed", "done", clock())
            if rule == "test.rule1":
                holds.place(session, tree.plant, NewHold(incident=opened.number, reason="a lawsuit"), clock())
    years_later(clock, 4_000)
    retention.sweep(store, clock)
    with store.reader() as session:
        assert set(session.scalars(select(Finding.rule_id))) == {"test.rule1", "test.rule5"}  # 5: the newest row


def test_a_time_that_is_held_keeps_all_that_happened_in_it(store, client, tree, clock):
    send(client, tree.plant_key, [low(1), low(2)])
    with store.transaction() as session:
        span = NewHold(since=clock() - timedelta(days=1), until=clock() + timedelta(days=1), reason="an inspection")
        holds.place(session, tree.plant, span, clock())
    years_later(clock)
    gone = retention.sweep(store, clock)
    assert not {name for owner, name in gone if owner == tree.plant.organisation_id} & {"findings_low", "receipts"}
    assert count(store, Finding) == 2


def test_a_hold_is_lifted_by_two_persons_and_ends_by_itself_at_its_end(store, client, db, tree, clock):
    send(client, tree.plant_key, [low(1), low(2)])
    first = db.scalars(select(Finding.id).order_by(Finding.id)).first()
    hold = holds.place(db, tree.plant, NewHold(finding=first, reason="a lawsuit"), clock())
    db.commit()
    holds.lift(db, tree.plant, hold.id, clock())
    db.commit()
    with pytest.raises(ConflictError, match="another administrator"):
        holds.lift(db, tree.plant, hold.id, clock())
    db.rollback()
    years_later(clock)
    retention.sweep(store, clock)
    assert count(store, Finding) == 2
    from dataclasses import replace

    second = replace(tree.plant, user_id=tree.plant_analyst.user_id, name="Second")
    assert holds.lift(db, second, hold.id, clock()).lifted_by == "Second"
    db.commit()
    retention.sweep(store, clock)
    assert count(store, Finding) == 1
    assert count(store, LegalHold) == 0
    acts = [entry.action for entry in audit.listing(db, tree.plant, audit.AuditFilter(action="hold."))[0]]
    assert acts == ["hold.lifted", "hold.lifting_asked", "hold.placed"]
    db.rollback()


def test_who_asks_for_a_hold_says_what_and_why(db, tree, clock):
    for wrong in (
        NewHold(finding=1, reason=" "),
        NewHold(reason="nothing"),
        NewHold(finding=1, incident=1, reason="both"),
        NewHold(since=clock(), until=clock(), reason="no time at all"),
        NewHold(incident=4711, reason="no such"),
    ):
        with pytest.raises(InvalidError):
            holds.place(db, tree.plant, wrong, clock())
    with pytest.raises(NotFoundError):
        holds.place(db, tree.plant, NewHold(finding=987_654, reason="no such"), clock())
    db.rollback()


def test_receipts_go_and_repeats_are_still_repeats(store, client, tree, clock):
    send(client, tree.plant_key, [low(number) for number in range(1, 7)])
    send(client, tree.plant_key, [low(9)])  # 7 and 8 are missing
    years_later(clock)
    retention.sweep(store, clock)
    with store.reader() as session:
        life = session.scalars(select(SensorEpoch)).one()
        assert (life.acknowledged, life.swept, life.highest) == (6, 5, 9)
        assert session.scalars(select(FindingReceipt.sequence).order_by(FindingReceipt.sequence)).all() == [6, 9]
        assert [(gap.first, gap.last) for gap in sensors.gaps(session, tree.plant, tree.plant_sensor_id)] == [(7, 8)]
    again = send(client, tree.plant_key, [low(number) for number in range(1, 10)]).json
    assert (again["acknowledged"], again["stored"], again["duplicates"]) == (9, 2, 7)


def test_the_audit_log_begins_later_and_says_so(store, tree, clock):
    mine = tree.mill.organisation_id
    with store.transaction() as session:
        retention.set_rule(session, tree.mill, "audit", 400, clock())
    for number in range(20):
        with store.transaction() as session:
            audit.record(session, tree.mill, mine, "x.y", f"n:{number}", {}, clock())
    clock.advance(days=401)
    with store.transaction() as session:
        audit.record(session, tree.mill, mine, "x.late", "", {}, clock())
    gone = retention.sweep(store, clock)
    with store.engine.connect() as connection:
        found = verify(connection, mine)
        assert found.fault is None
        assert found.first == gone[mine, "audit"] + 1
    assert told(store, mine, "audit.pruned")[0]["rows"] == gone[mine, "audit"]
    with store.transaction() as session:  # whoever moves the beginning by hand is found
        head = session.scalars(select(AuditHead).where(AuditHead.organisation_id == mine)).one()
        head.base_sequence, head.base_hash = (
            head.base_sequence + 1,
            session.scalars(
                select(AuditEntry.hash).where(
                    AuditEntry.organisation_id == mine, AuditEntry.sequence == head.base_sequence + 1
                )
            ).one(),
        )
    with store.engine.connect() as connection:
        assert verify(connection, mine).fault is not None


def test_evidence_goes_before_its_finding(store, client, tree, clock):
    send(client, tree.plant_key, [low(1)])
    with store.transaction() as session:
        retention.set_rule(session, tree.plant, "evidence", 30, clock())
    clock.advance(days=31)
    gone = retention.sweep(store, clock)
    assert gone[tree.plant.organisation_id, "evidence"] == 1
    with store.reader() as session:
        evidence = session.scalars(select(FindingEvidence)).one()
        assert (evidence.pcap, evidence.pdus, evidence.frames) == (b"", [], [7, 8])


def test_whoever_has_lost_the_lease_deletes_nothing(store, client, tree, clock):
    send(client, tree.plant_key, [low(1), low(2)])
    years_later(clock)
    assert retention.sweep(store, clock, lambda _session: False) == {}
    assert count(store, Finding) == 2


@pytest.mark.parametrize(("name", "days"), [("findings_low", 1), ("audit", 30), ("nothing", 400), ("evidence", 10**9)])
def test_a_rule_that_the_law_or_reason_forbids_is_refused(db, tree, clock, name, days):
    with pytest.raises(InvalidError):
        retention.set_rule(db, tree.plant, name, days, clock())
