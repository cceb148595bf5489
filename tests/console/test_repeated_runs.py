"""One problem is one finding, however often it is found: exact numbers, the same document."""

from __future__ import annotations

from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from records import EPOCH, STOP, record, send
from sqlalchemy import select

from console.store.models import Finding
from detectors.assets.ledger import Entry, Importance, Ledger
from detectors.finding import FindingId, Severity, to_dict
from detectors.pipeline import inspect, merge
from detectors.severity import Override, Weigher
from sensor.capture.source import open_capture

PCAPS = Path(__file__).parents[2] / "pcaps"
CAPTURES = ("s7comm/stop.pcap", "modbus/rogue_writer.pcap", "s7comm/block_download.pcap")


def found(name: str):
    return merge(inspect(open_capture((PCAPS / name).as_posix())))


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_inspected_three_times_is_each_finding_three_times_as_often(anonymous, tree, db, name):
    once = found(name)
    assert once
    documents = []
    for run in range(3):
        findings = found(name)
        assert [it.fingerprint for it in findings] == [it.fingerprint for it in once]
        lines = [to_dict(it, FindingId("s1", EPOCH + run, number)) for number, it in enumerate(findings, 1)]
        answer = send(anonymous, tree.plant_key, lines, EPOCH + run)
        assert (answer.json["stored"], answer.json["rejected"]) == (len(once), [])

        documents.append({row.fingerprint: (row.id, row.uid) for row in db.scalars(select(Finding))})
        db.rollback()  # lets go of the store
    assert documents[0] == documents[1] == documents[2]
    counted = {row.fingerprint: row.count for row in db.scalars(select(Finding))}
    assert counted == {it.fingerprint: 3 * it.count for it in once}


@pytest.mark.parametrize("name", CAPTURES)
def test_records_of_three_runs_merge_into_what_one_run_found_with_three_times_the_count(name):
    once = found(name)
    thrice = merge([record for _ in range(3) for record in inspect(open_capture((PCAPS / name).as_posix()))])
    sums = Counter({it.fingerprint: it.count for it in once})
    assert {it.fingerprint: it.count for it in thrice} == {name: 3 * count for name, count in sums.items()}
    assert [it.evidence.frames for it in thrice] == [it.evidence.frames for it in once]


def test_where_the_severity_comes_from_is_kept_and_shown_in_the_readers_language(client, tree, db):
    ledger = Ledger([Entry("10.0.0.9", "", "PLC 3", Importance.LOW, "", True)])
    weighed = Weigher(ledger).weigh(STOP)
    send(client, tree.plant_key, [record(1, weighed)])
    row = db.scalars(select(Finding)).one()
    assert (row.severity, row.risk["score"]) == (Severity.HIGH, 56)
    assert row.risk["factors"]["importance"] == 0.7
    assert "risk 56 = danger 80 (critical) × importance 0.7 (10.0.0.9 PLC 3 of low importance)" in unescape(
        client.get("/findings/1").text
    )
    client.submit("/preferences", {"locale": "zh", "next": "/findings/1"})
    assert "风险 56 = 危险度 80（严重）" in unescape(client.get("/findings/1").text)


def test_the_equation_is_that_of_the_gravest_record(anonymous, tree, db):
    mild = Weigher(overrides=[Override("*", "", Severity.LOW, "planned", "")]).weigh(STOP)
    send(anonymous, tree.plant_key, [record(1, mild), record(2, Weigher().weigh(STOP)), record(3, mild)])
    row = db.scalars(select(Finding)).one()
    assert (row.severity, row.count) == (Severity.CRITICAL, 3)
    assert row.risk["overridden"] is False


@pytest.mark.parametrize("change", [{"finding.risk": -1}, {"finding.risk": "80"}, {"finding.risk_factors": {"a b": 1}}])
def test_a_risk_that_is_none_is_rejected(anonymous, tree, db, change):
    line = {**record(1, Weigher().weigh(STOP)), **change}
    assert len(send(anonymous, tree.plant_key, [line]).json["rejected"]) == 1
    assert not db.scalars(select(Finding)).all()
