"""What a sensor lost on the way is accounted for at the console, to the unit, in whatever order it arrives."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from records import EPOCH, record, send
from sqlalchemy import event, func, select

from console.services import losses, sensors
from console.services.ingest import check, ingest
from console.store.models import Finding, FindingReceipt, LostCount, LostRange, Sensor, SensorEpoch
from detectors.finding import Severity
from detectors.losses import loss_line
from sensor.spool_loss import DAMAGED, MAX_SPAN, MISSING, SHED, Loss

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
AT_S = NOW.timestamp()
EPOCHS = count(1)


def shed(first, last, **tally):
    """A loss of "rule_severity"=findings, each of which counted two events."""
    counts = {}
    for name, findings in tally.items():
        rule, _, severity = name.rpartition("_")
        counts[rule, int(severity)] = (findings, 2 * findings)
    return loss_line(Loss(first, last, SHED if tally else DAMAGED, AT_S, AT_S, counts), "s1", EPOCH)


def test_a_loss_fills_its_range_and_is_counted_by_rule_and_severity(anonymous, tree, db):
    answer = send(anonymous, tree.plant_key, [record(1), shed(2, 9, scan_2=5, write_1=3), record(10)])
    assert answer.json == {"acknowledged": 10, "stored": 3, "duplicates": 0, "rejected": []}
    life = db.scalars(select(SensorEpoch)).one()
    assert (life.highest, life.received, life.missing) == (10, 10, 0)
    assert sensors.gaps(db, tree.plant, tree.plant_sensor_id) == []
    assert losses.lost(db, tree.plant, tree.plant_sensor_id) == [
        losses.Lost("shed", "scan", Severity.LOW, 5, 10), losses.Lost("shed", "write", Severity.INFORMATIONAL, 3, 6),
    ]  # fmt: skip
    row = db.scalars(select(Finding).where(Finding.rule_id == "sensor.findings-shed")).one()
    assert row.count == 8
    assert "scan × 5, write × 3" in row.message_en


def test_a_loss_that_comes_twice_and_a_finding_that_comes_after_it_change_nothing(anonymous, tree, db):
    batch = [shed(1, 4, scan_2=4), record(5)]
    send(anonymous, tree.plant_key, batch)
    again = send(anonymous, tree.plant_key, [*batch, record(3)])
    assert again.json == {"acknowledged": 5, "stored": 0, "duplicates": 3, "rejected": []}
    assert [it.findings for it in losses.lost(db, tree.plant, tree.plant_sensor_id)] == [4]
    assert db.scalars(select(SensorEpoch)).one().received == 5


def test_what_had_arrived_of_a_lost_range_stays_and_only_the_rest_is_lost(anonymous, tree, db):
    send(anonymous, tree.plant_key, [record(1), record(3), record(6)])
    answer = send(anonymous, tree.plant_key, [shed(1, 6)])
    assert answer.json["acknowledged"] == 6
    (lost,) = losses.lost(db, tree.plant, tree.plant_sensor_id)
    assert (lost.why, lost.rule_id, lost.severity, lost.findings) == ("damaged", "", None, 3)
    ranges = losses.lost_ranges(db, tree.plant, tree.plant_sensor_id)
    assert sorted((it.first_sequence, it.last_sequence) for it in ranges) == [(2, 2), (4, 5)]


def test_a_gap_between_two_losses_is_still_a_gap(anonymous, tree, db):
    answer = send(anonymous, tree.plant_key, [shed(1, 4, a_1=4), shed(8, 9, a_1=2), record(12)])
    assert answer.json["acknowledged"] == 4
    gaps = sensors.gaps(db, tree.plant, tree.plant_sensor_id)
    assert [(gap.first, gap.last) for gap in gaps] == [(5, 7), (10, 11)]


def test_losses_that_follow_each_other_are_acknowledged_to_the_end_of_the_last_and_no_further(anonymous, tree):
    batch = [shed(1, 4, a_1=4), shed(5, 5, a_1=1), shed(6, 9, a_1=4), record(11), record(12)]
    assert send(anonymous, tree.plant_key, batch).json["acknowledged"] == 9
    assert send(anonymous, tree.plant_key, [record(10)]).json["acknowledged"] == 12


@pytest.mark.parametrize(
    "change",
    [
        {"first_sequence": 0},
        {"first_sequence": 6},
        {"first_sequence": "1"},
        {"why": "tired"},
        {"why": ["shed"]},
        {"tally": [{"rule.id": "<x>", "rule.severity": "low", "findings": 1, "events": 1}]},
        {"tally": [{"rule.id": "x", "rule.severity": "low", "findings": 0, "events": 1}]},
        {"tally": [{"rule.id": "x", "rule.severity": "low", "findings": 1, "events": 1}] * 501},
    ],
)
def test_a_loss_that_makes_no_sense_is_rejected_with_its_reason(anonymous, tree, db, change):
    line = shed(1, 5, a_1=5)
    line["finding.loss"] |= change
    answer = send(anonymous, tree.plant_key, [line])
    assert answer.json["stored"] == 0
    assert len(answer.json["rejected"]) == 1
    assert db.scalar(select(func.count(LostRange.id))) == 0


def test_a_loss_of_more_than_can_be_checked_at_a_time_is_rejected(anonymous, tree):
    assert send(anonymous, tree.plant_key, [shed(1, MAX_SPAN)]).json["acknowledged"] == MAX_SPAN
    assert len(send(anonymous, tree.plant_key, [shed(MAX_SPAN + 1, 2 * MAX_SPAN + 1)]).json["rejected"]) == 1


def test_a_batch_full_of_losses_asks_the_store_no_more_often_than_one_of_few(store, anonymous, tree, db):
    """A spool at its quota sheds single findings, thousands of times: what it says of them must not stop its queue."""
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    costs = []
    for begin, number in ((0, 2), (100_000, 200)):
        batch = [one for at in range(1, 10 * number, 10)
                 for one in (record(begin + at), shed(begin + at + 1, begin + at + 9, scan_2=9))]  # fmt: skip
        asked.clear()
        assert send(anonymous, tree.plant_key, batch).json["rejected"] == []
        costs.append(len(asked))
    assert costs[1] <= costs[0] + 5
    (lost,) = losses.lost(db, tree.plant, tree.plant_sensor_id)
    assert (lost.findings, lost.events) == (9 * 202, 18 * 202)
    assert len(losses.lost_ranges(db, tree.plant, tree.plant_sensor_id, 1000)) == 202


def test_a_tally_that_does_not_add_up_is_counted_as_unknown(anonymous, tree, db):
    send(anonymous, tree.plant_key, [shed(1, 5, a_1=4)])
    (lost,) = losses.lost(db, tree.plant, tree.plant_sensor_id)
    assert (lost.rule_id, lost.severity, lost.findings) == ("", None, 5)


def test_rules_that_a_hostile_sensor_invents_are_summed_up(anonymous, tree, db, monkeypatch):
    monkeypatch.setattr(losses, "MAX_RULES", 3)
    send(anonymous, tree.plant_key, [shed(n, n, **{f"rule{n}_1": 1}) for n in range(1, 8)])
    found = {it.rule_id: it.findings for it in losses.lost(db, tree.plant, tree.plant_sensor_id)}
    assert found == {"rule1": 1, "rule2": 1, "rule3": 1, "other": 4}


def test_the_sensors_page_says_what_was_lost_and_why(anonymous, client, tree):
    missing = loss_line(Loss(10, 12, MISSING, AT_S, AT_S, {}), "s1", EPOCH)
    send(anonymous, tree.plant_key, [shed(1, 9, scan_2=9), missing])
    text = client.get(f"/sensors/{tree.plant_sensor_id}").text
    assert "Given up: no room" in text
    assert "Lost on the one-way link" in text
    assert f"{EPOCH}: 1–9" in text
    assert f"{EPOCH}: 10–12" in text


def test_losses_of_another_enterprise_are_not_seen(anonymous, tree, db):
    send(anonymous, tree.plant_key, [shed(1, 9, scan_2=9)])
    assert losses.lost(db, tree.mill, tree.plant_sensor_id) == []
    assert list(losses.lost_ranges(db, tree.mill, tree.plant_sensor_id)) == []


def _batches(data, lines):
    at = 0
    while at < len(lines):
        size = data.draw(st.integers(1, 5))
        yield lines[at : at + size]
        at += size


@given(data=st.data())
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_in_any_order_and_with_any_repetition_the_books_are_exact(store, tree, data):
    epoch = next(EPOCHS)  # the store goes on from one example to the next
    end = data.draw(st.integers(1, 20), "sequences")
    batches, at = [], 1
    while at <= end:  # a sensor's queue: findings, and ranges that it shed or cannot read
        last = min(end, at + data.draw(st.integers(0, 6)))
        kind = data.draw(st.sampled_from(["finding", SHED, DAMAGED]))
        if kind == "finding":
            last = at
            batches.append(record(at, epoch=epoch, source_ip="10.0.0.1"))
        else:
            tally = {("scan", 2): (last - at + 1, 7)} if kind == SHED else {}
            batches.append(loss_line(Loss(at, last, kind, AT_S, AT_S, tally), "s1", epoch))
            # of a damaged range, the console may have seen some
            seen = data.draw(st.sets(st.integers(at, last))) if kind == DAMAGED else ()
            batches += [record(number, epoch=epoch, source_ip="10.0.0.1") for number in seen]
        at = last + 1
    sent = data.draw(st.permutations(batches + data.draw(st.lists(st.sampled_from(batches), max_size=5))))
    with store.transaction() as session:
        sensor = session.get_one(Sensor, tree.plant_sensor_id)
        acknowledged = 0
        # once more, one by one, as a sensor does that was not acknowledged: of a sequence that comes twice in a batch
        # the first one counts
        for lines in (*_batches(data, sent), *([line] for line in batches)):
            acknowledged = ingest(session, sensor, check(sensor.name, epoch, lines), NOW).acknowledged
        assert acknowledged == end
        life = session.scalars(select(SensorEpoch).where(SensorEpoch.epoch == epoch)).one()
        assert (life.received, life.highest, life.missing) == (end, end, 0)
        lost = session.scalar(select(func.sum(LostCount.findings)).where(LostCount.epoch == epoch)) or 0
        loss_rules = {"sensor.findings-shed", "sensor.spool-damaged"}
        stored = session.scalar(
            select(func.count(FindingReceipt.id))
            .join(Finding, Finding.id == FindingReceipt.finding_id)
            .where(FindingReceipt.epoch == epoch, Finding.rule_id.not_in(loss_rules))
        )
        assert stored + lost == end
