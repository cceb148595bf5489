"""The contract between sensor and console."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from browser_kit import both_engines
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from records import EPOCH, PCAP, START_NS, STOP, record, send
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from console.services import hooks, sensors
from console.services.errors import InvalidError
from console.services.intake import Batch, FindingRecord, explain, parse
from console.store.models import Finding, FindingEvidence, FindingReceipt, Sensor, SensorEpoch
from detectors.finding import Severity

pytestmark = both_engines


HOUR_NS = 3_600_000_000_000
START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def post(client, key, body: bytes):
    return client.post("/api/v1/findings", data=body, headers={"Authorization": f"Bearer {key}"})


def test_a_finding_is_stored_whole(anonymous, tree, db):
    answer = send(anonymous, tree.plant_key, [record(1)])
    assert answer.status_code == 200
    assert answer.json == {"acknowledged": 1, "stored": 1, "duplicates": 0, "rejected": []}
    row = db.scalars(select(Finding)).one()
    assert row.organisation_id == tree.plant.organisation_id
    assert (row.uid, row.rule_id, row.severity, row.count) == (f"s1/{EPOCH}/1", STOP.rule_id, Severity.CRITICAL, 1)
    assert (row.rule_name_zh, row.message_zh) == (STOP.rule_name.zh, STOP.explanation.zh)
    assert (row.source_ip, row.destination_ip, row.destination_port) == ("10.0.0.5", "10.0.0.9", 102)
    assert row.first_seen.isoformat() == "2026-11-22T08:00:00+00:00"
    assert row.evidence.pcap == PCAP
    assert row.evidence.frames == [7, 8]
    assert row.evidence.pdus[0]["s7comm.function"] == 41


def test_the_same_batch_twice_is_one(anonymous, tree, db):
    batch = [record(n, source_ip=f"10.0.0.{n}") for n in range(1, 6)]
    send(anonymous, tree.plant_key, batch)
    again = send(anonymous, tree.plant_key, batch)
    assert again.json == {"acknowledged": 5, "stored": 0, "duplicates": 5, "rejected": []}
    assert db.scalar(select(func.count(Finding.id))) == 5
    assert db.scalar(select(func.sum(Finding.count))) == 5


def test_a_problem_seen_again_writes_nothing_that_has_not_changed(anonymous, tree, store, db):
    """A column that is named in an UPDATE has its indexes written, and each is a page somewhere else."""
    send(anonymous, tree.plant_key, [record(1)])
    row = db.scalars(select(Finding)).one()
    before = {column.name: getattr(row, column.name) for column in Finding.__table__.columns}
    db.rollback()
    written: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        if statement.startswith("UPDATE finding SET"):
            written.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    send(anonymous, tree.plant_key, [record(2, first_ns=START_NS + HOUR_NS, last_ns=START_NS + HOUR_NS), record(3)])
    after = db.scalars(select(Finding)).one()
    changed = {name for name, value in before.items() if getattr(after, name) != value}
    assert (after.count, changed - {"updated_at"}) == (3, {"count", "last_seen"})
    assert len(written) == 1
    assert not any(name in written[0] for name in ("first_seen", "fingerprint", "message", "uid"))


def test_the_same_sequence_twice_in_one_batch_is_one(anonymous, tree, db):
    answer = send(anonymous, tree.plant_key, [record(1), record(1)])
    assert (answer.json["stored"], answer.json["duplicates"]) == (1, 1)
    assert db.scalars(select(Finding)).one().count == 1


def test_records_of_one_problem_within_a_day_are_counted_into_one_row_exactly(anonymous, tree, db):
    records = [record(1, count=3)]
    records += [record(2, count=40, first_ns=START_NS + 23 * HOUR_NS, last_ns=START_NS + 25 * HOUR_NS)]
    records += [record(3, count=500, severity=Severity.HIGH, first_ns=START_NS - HOUR_NS)]
    send(anonymous, tree.plant_key, records[:2])
    send(anonymous, tree.plant_key, records[2:])
    row = db.scalars(select(Finding)).one()
    assert row.count == 543
    assert row.first_seen.isoformat() == "2026-11-22T07:00:00+00:00"
    assert row.last_seen.isoformat() == "2026-11-23T09:00:00+00:00"
    assert row.severity == Severity.CRITICAL  # the gravest of them
    assert row.uid == f"s1/{EPOCH}/1"
    assert db.scalar(select(func.sum(FindingReceipt.count))) == 543


def test_a_day_later_the_problem_is_a_new_row(anonymous, tree, db):
    later = START_NS + 24 * HOUR_NS
    send(anonymous, tree.plant_key, [record(1), record(2, first_ns=later, last_ns=later)])
    assert db.scalar(select(func.count(Finding.id))) == 2


def test_two_sensors_with_the_same_addresses_are_two_problems(anonymous, tree, db):
    # the same private address repeats from one machine line to the next
    sensor, key = sensors.add_sensor(db, tree.plant, "s2", "North works", "Line 2", START)
    assert sensor.segment.site.name == "North works"
    db.commit()
    send(anonymous, tree.plant_key, [record(1)])
    send(anonymous, key, [record(1, sensor="s2")])
    assert db.scalar(select(func.count(Finding.id))) == 2


def test_a_gap_is_visible_until_it_is_filled(anonymous, tree, db):
    answer = send(anonymous, tree.plant_key, [record(1), record(2), record(4), record(5)])
    assert answer.json["acknowledged"] == 2
    life = db.scalars(select(SensorEpoch)).one()
    assert (life.highest, life.received, life.missing) == (5, 4, 1)
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(3)]).json["acknowledged"] == 5
    db.expire_all()
    assert db.scalars(select(SensorEpoch)).one().missing == 0


def test_nothing_is_acknowledged_before_the_first_sequence_arrived(anonymous, tree):
    assert send(anonymous, tree.plant_key, [record(2)]).json["acknowledged"] == 0
    assert send(anonymous, tree.plant_key, [record(1)]).json["acknowledged"] == 2


def test_epochs_are_counted_apart(anonymous, tree, db):
    send(anonymous, tree.plant_key, [record(1)])
    answer = send(anonymous, tree.plant_key, [record(1, epoch=EPOCH + 9)], epoch=EPOCH + 9)
    assert (answer.json["acknowledged"], answer.json["stored"]) == (1, 1)
    assert db.scalar(select(func.count(FindingReceipt.id))) == 2


def test_an_empty_batch_tells_how_far_the_console_is(anonymous, tree):
    send(anonymous, tree.plant_key, [record(1), record(2)])
    assert send(anonymous, tree.plant_key, []).json == {
        "acknowledged": 2, "stored": 0, "duplicates": 0, "rejected": [],
    }  # fmt: skip


WRONG = {
    "an unknown key": {"surprise": 1},
    "a count of zero": {"finding.count": 0},
    "a count that is a string": {"finding.count": "3"},
    "a count that is a truth value": {"finding.count": True},
    "a count beyond all bounds": {"finding.count": 10**15},
    "an unknown severity": {"rule.severity": "apocalyptic"},
    "an address that is none": {"source.ip": "10.0.0.5; DROP TABLE"},
    "a port beyond 65535": {"source.port": 70000},
    "a technique that is none": {"threat.technique.id": ["<b>"]},
    "a time without a zone": {"@timestamp": "2026-11-22T08:00:00"},
    "a time that does not exist": {"@timestamp": "2026-02-30T08:00:00Z"},
    "a time before 1970": {"@timestamp": "1969-12-31T23:59:59Z"},
    "a fingerprint that is none": {"finding.fingerprint": "0" * 31 + "g"},
    "a rule id with spaces": {"rule.id": "a b"},
    "a message beyond all bounds": {"message": "x" * 20_001},
    "a message that is missing": {"message": None},
    "too many frames": {"frames": list(range(1, 102))},
    "frame zero": {"frames": [0]},
    "too many PDUs": {"evidence.pdus": [{}] * 21},
    "a capture that is not base64": {"evidence.pcap": "???"},
    "a capture that is a program": {"evidence.pcap": "TVqQAAMAAAAEAAAA"},
    "a capture beyond all bounds": {"evidence.pcap": "A" * 400_000},
    "fields that are a list": {"fields": []},
    "a field name that is none": {"fields": {"<script>": 1}},
    "a string in the fields beyond all bounds": {"fields": {"a": "x" * 65_537}},
    "a number in the fields beyond all bounds": {"fields": {"a": 2**64}},
    "an infinite number in the fields": {"fields": {"a": float("inf")}},
    "no number in the fields": {"fields": {"a": float("nan")}},
    "fields nested too deeply": {"fields": {"a": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]}},
    "too many values in the fields": {"fields": {"a": [0] * 50_001}},
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_poisoned_record_is_rejected_for_good_and_the_others_are_stored(anonymous, tree, db, change):
    answer = send(anonymous, tree.plant_key, [record(1), record(2) | change, record(3)])
    assert answer.status_code == 200
    assert (answer.json["stored"], answer.json["acknowledged"]) == (2, 3)
    (rejected,) = answer.json["rejected"]
    assert rejected["finding.id"] == f"s1/{EPOCH}/2"
    assert next(iter(change)).split(".")[0].strip("@") in rejected["reason"]
    receipt = db.scalars(select(FindingReceipt).where(FindingReceipt.sequence == 2)).one()
    assert receipt.finding_id is None
    assert receipt.reason == rejected["reason"]
    assert f"s1/{EPOCH}/2" in (receipt.payload or "")


@pytest.mark.parametrize("where", ['"finding.count":1', '"event.action":"stop"', '"frame":7', '"capture":""'])
def test_a_key_that_stands_twice_spoils_its_own_record_only(anonymous, tree, db, where):
    batch = [record(1, capture="x"), record(2)]
    text = json.dumps({"epoch": EPOCH, "findings": batch}, separators=(",", ":"))
    where = where if where in text else '"capture":"x"'
    answer = post(anonymous, tree.plant_key, text.replace(where, f"{where},{where}", 1).encode())
    assert (answer.json["stored"], answer.json["acknowledged"]) == (1, 2)
    assert "twice" in answer.json["rejected"][0]["reason"]


def test_an_integer_of_five_thousand_digits_spoils_its_own_record_only(anonymous, tree):
    body = json.dumps({"epoch": EPOCH, "findings": [record(1), record(2)]})
    body = body.replace('"finding.count": 1', f'"finding.count": {"9" * 5000}', 1)
    answer = post(anonymous, tree.plant_key, body.encode())
    assert (answer.json["stored"], len(answer.json["rejected"])) == (1, 1)


def test_strings_that_no_database_keeps_are_stored_with_a_mark(anonymous, tree, db):
    odd = record(1) | {"message": "a\x00b\ud800c", "fields": {"event.action": "x\x00\udfff"}}
    assert send(anonymous, tree.plant_key, [odd]).json["stored"] == 1
    row = db.scalars(select(Finding)).one()
    assert row.message_en == "a\ufffdb\ufffdc"
    assert row.fields == {"event.action": "x\ufffd\ufffd"}


def test_the_last_second_of_the_calendar_is_a_time_too(anonymous, tree, client):
    # a capture may claim any time: the finding must not get lost, and pages must show it
    send(anonymous, tree.plant_key, [record(1, first_ns=2**63 - 1, last_ns=2**66)])
    assert client.get("/findings/?from=").status_code == 200
    assert client.get("/findings/1").status_code == 200


BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no epoch": b'{"findings":[]}',
    "an epoch that is a string": b'{"epoch":"1","findings":[]}',
    "an epoch that is no number": b'{"epoch":NaN,"findings":[]}',
    "a negative epoch": b'{"epoch":-1,"findings":[]}',
    "an epoch that stands twice": b'{"epoch":1,"epoch":2,"findings":[]}',
    "bytes of another charset": '{"epoch":1,"findings":[]}'.encode("utf-16"),
    "an epoch of five thousand digits": b'{"epoch":' + b"1" * 5000 + b',"findings":[]}',
    "findings that are an object": b'{"epoch":1,"findings":{}}',
    "an unknown key": b'{"epoch":1,"findings":[],"organisation_id":2}',
    "too many findings": b'{"epoch":1,"findings":[' + b",".join([b"1"] * 1001) + b"]}",
    "a hundred thousand nested lists": b'{"epoch":1,"findings":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bytes that are not UTF-8": b'{"epoch":1,"findings":["\xff"]}',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_batch_is_answered_with_400_and_a_reason(anonymous, tree, body):
    answer = post(anonymous, tree.plant_key, body)
    assert answer.status_code == 400
    assert answer.json["error"]


def test_a_batch_beyond_eight_mebibytes_is_answered_with_413(anonymous, tree):
    answer = post(anonymous, tree.plant_key, b" " * (8 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json["error"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic cGxhbnQ6eA==", "Bearer \u00e9"])
def test_without_a_known_key_nothing_is_stored(anonymous, db, header):
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("POST", "findings"), ("POST", "heartbeat"), ("GET", "config")):
        answer = anonymous.open(f"/api/v1/{path}", method=method, json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json["error"]
    assert db.scalar(select(func.count(FindingReceipt.id))) == 0


def test_a_login_is_no_key(client):
    assert client.post("/api/v1/findings", json={"epoch": 1, "findings": []}).status_code == 401


def test_a_revoked_key_is_refused_at_once(anonymous, tree, db, clock):
    sensors.revoke_key(db, tree.plant, tree.plant_sensor_id, clock())
    db.commit()
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 401


def test_who_keeps_trying_with_a_wrong_key_is_told_to_wait_and_others_are_not(anonymous, tree):
    answers = [send(anonymous, "wrong", []).status_code for _ in range(25)]
    assert answers[:20] == [401] * 20
    assert answers[20:] == [429] * 5
    assert "Retry-After" in send(anonymous, "wrong", []).headers
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 200


def test_more_batches_at_a_time_than_allowed_are_answered_with_429(anonymous, app, tree):
    turns = app.extensions["fenghuo_ingest"].turns
    with ExitStack() as held:
        for number in range(app.extensions["fenghuo"].settings.ingest_at_once):
            assert held.enter_context(turns.turn(1, number))
        answer = send(anonymous, tree.plant_key, [record(1)])
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "1"
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 200


def test_a_sensor_cannot_speak_for_another(anonymous, tree, db):
    foreign = [record(1, sensor="s9"), record(1, epoch=EPOCH + 1), record(1) | {"finding.id": "nonsense"}, 7, None]
    answer = send(anonymous, tree.plant_key, foreign)
    assert answer.json["stored"] == 0
    assert len(answer.json["rejected"]) == 5
    assert answer.json["acknowledged"] == 0
    assert db.scalar(select(func.count(FindingReceipt.id))) == 0


def test_a_sensor_reaches_its_own_organisation_only(anonymous, tree, db):
    send(anonymous, tree.mill_key, [record(1)])  # both sensors are called s1, and both send s1/EPOCH/1
    send(anonymous, tree.plant_key, [record(1)])
    owners = db.scalars(select(Finding.organisation_id).order_by(Finding.id)).all()
    assert owners == [tree.mill.organisation_id, tree.plant.organisation_id]
    for model in (FindingReceipt, FindingEvidence, SensorEpoch):
        assert sorted(db.scalars(select(model.organisation_id))) == sorted(owners)


def test_a_drill_sensor_marks_its_findings_at_birth(anonymous, tree, db, clock):
    _, key = sensors.add_sensor(db, tree.plant, "range", "North works", "Exercise", clock(), drill=True)
    db.commit()
    send(anonymous, key, [record(1, sensor="range")])
    assert db.scalars(select(Finding.drill)).one() is True


def test_a_hook_runs_once_for_a_new_finding_in_the_same_transaction(anonymous, tree, db, monkeypatch):
    seen = []
    note = lambda session, findings, now: seen.extend((finding.id, finding.uid) for finding in findings)  # noqa: E731
    monkeypatch.setattr(hooks, "ON_NEW_FINDINGS", [note])
    send(anonymous, tree.plant_key, [record(1), record(2), record(3, source_ip="10.0.0.6")])
    send(anonymous, tree.plant_key, [record(4, source_ip="10.0.0.6"), record(3, source_ip="10.0.0.6")])
    assert [uid for _, uid in seen] == [f"s1/{EPOCH}/1", f"s1/{EPOCH}/3"]
    first, other = db.scalars(select(Finding.id).order_by(Finding.id))
    assert [seen_id for seen_id, _ in seen] == [first, other]


def test_when_a_hook_fails_nothing_is_stored_and_the_sensor_may_send_again(anonymous, tree, db, monkeypatch):
    def fail(session, findings, now):
        raise RuntimeError("the outbox is broken")

    with monkeypatch.context() as broken:
        broken.setattr(hooks, "ON_NEW_FINDINGS", [*hooks.ON_NEW_FINDINGS, fail])
        assert send(anonymous, tree.plant_key, [record(1)]).status_code == 500
    assert db.scalar(select(func.count(Finding.id))) == 0
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(1)]).json["stored"] == 1


def test_a_heartbeat_is_remembered(anonymous, tree, db, clock):
    clock.advance(minutes=5)
    headers = {"Authorization": f"Bearer {tree.plant_key}"}
    body = {"epoch": EPOCH, "counters": {"capture.frames": 12, "capture": {"dropped": 0.5}}}
    answer = anonymous.post("/api/v1/heartbeat", json=body, headers=headers)
    assert answer.status_code == 200
    config = anonymous.get("/api/v1/config", headers=headers)
    assert config.json["version"] == answer.json["config_version"]
    assert config.json["sensor"] == "s1"
    sensor = db.get_one(Sensor, tree.plant_sensor_id)
    assert sensor.heartbeat_at == sensor.last_seen_at == clock()
    assert sensor.counters == body["counters"]
    assert db.get_one(Sensor, tree.mill_sensor_id).last_seen_at is None


def test_an_unchanged_configuration_is_not_sent_again(anonymous, tree):
    headers = {"Authorization": f"Bearer {tree.plant_key}"}
    first = anonymous.get("/api/v1/config", headers=headers)
    again = anonymous.get("/api/v1/config", headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "counters", [[], "x", {"a": float("nan")}, {"a": 2**70}, {"<a>": 1}, {"a": {"a": {"a": "x" * 70_000}}}]
)
def test_a_hostile_heartbeat_is_refused(anonymous, tree, counters):
    headers = {"Authorization": f"Bearer {tree.plant_key}"}
    body = json.dumps({"epoch": EPOCH, "counters": counters})
    assert anonymous.post("/api/v1/heartbeat", data=body, headers=headers).status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
GOOD = record(1)


@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_body_is_a_batch_or_a_reason(body):
    try:
        batch = parse(Batch, body)
    except InvalidError as error:
        batch, reason = None, error.message
    assert isinstance(batch, Batch) or reason


@given(key=st.sampled_from(sorted(GOOD)), value=JSON)
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_change_of_a_record_is_a_record_or_a_reason_never_a_fault(key, value):
    changed = json.loads(json.dumps(GOOD | {key: value}))
    try:
        found = FindingRecord.model_validate(changed)
    except ValidationError as error:
        found, reason = None, explain(error)
    assert reason if found is None else json.dumps([found.fields, found.count, found.message], allow_nan=False)


def test_many_at_a_time_who_send_the_same_are_counted_once(app, tree, db):
    # four senders repeat overlapping batches at the same time, as a sensor does whose answers get lost
    problems = [record(n, source_ip=f"10.0.0.{n % 7}", count=n) for n in range(1, 61)]

    def sender(first: int) -> None:
        client = app.test_client()
        for start in (first, 0, first // 2):
            for _attempt in range(200):
                answer = send(client, tree.plant_key, problems[start : start + 30])
                if answer.status_code == 200:
                    break
                assert answer.status_code in (429, 503), answer.text
                assert int(answer.headers["Retry-After"]) >= 1
            else:
                pytest.fail("never taken")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(sender, first) for first in (0, 10, 20, 30)]:
            done.result()
    assert db.scalar(select(func.sum(Finding.count))) == sum(range(1, 61))
    assert db.scalar(select(func.count(FindingReceipt.id))) == 60
    life = db.scalars(select(SensorEpoch)).one()
    assert (life.received, life.highest, life.acknowledged) == (60, 60, 60)


def test_what_could_not_be_committed_is_not_acknowledged(anonymous, store, tree, db):
    def disk_full(_connection):
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    event.listen(store.engine, "commit", disk_full)
    answer = send(anonymous, tree.plant_key, [record(1)])
    event.remove(store.engine, "commit", disk_full)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert "acknowledged" not in answer.json
    assert db.scalar(select(func.count(Finding.id))) == 0
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(1)]).json["acknowledged"] == 1
