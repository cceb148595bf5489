"""Severity is an equation: defaults change nothing, importance never lowers, and people may decide otherwise."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import Plant, the

from detectors.assets.ledger import Entry, Importance, Ledger
from detectors.baseline.book import Baseline, ExchangeLine, State
from detectors.content import ContentError
from detectors.finding import Confidence, Evidence, Finding, FindingId, Novelty, Severity, Text, to_dict
from detectors.pipeline import Options
from detectors.report import Report
from detectors.severity import Override, Weigher, level, load_overrides, score
from pcaps.messages import modbus
from sensor.decode.pdu import Protocol

HMI, PLC = "10.1.0.5", "10.1.0.20"
RULE = "operation.modbus.write-registers"
DANGERS = tuple(Severity)
CASES = [  # danger, importance, novelty, confidence: points, level
    ("informational", "NORMAL", "USUAL", "SURE", 4, "informational"),
    ("low", "NORMAL", "USUAL", "SURE", 20, "low"),
    ("medium", "NORMAL", "USUAL", "SURE", 40, "medium"),
    ("high", "NORMAL", "USUAL", "SURE", 60, "high"),
    ("critical", "NORMAL", "USUAL", "SURE", 80, "critical"),
    ("informational", "CRITICAL", "FIRST", "SURE", 9.6, "informational"),
    ("low", "HIGH", "USUAL", "SURE", 30, "medium"),
    ("low", "CRITICAL", "USUAL", "SURE", 40, "medium"),
    ("medium", "HIGH", "USUAL", "SURE", 60, "high"),
    ("medium", "CRITICAL", "USUAL", "SURE", 80, "critical"),
    ("high", "HIGH", "USUAL", "SURE", 90, "critical"),
    ("critical", "CRITICAL", "FIRST", "SURE", 192, "critical"),
    ("critical", "LOW", "USUAL", "SURE", 56, "high"),
    ("high", "LOW", "USUAL", "SURE", 42, "medium"),
    ("medium", "LOW", "USUAL", "SURE", 28, "low"),
    ("high", "NORMAL", "KNOWN", "SURE", 42, "medium"),
    ("high", "NORMAL", "USUAL", "LIKELY", 48, "medium"),
    ("high", "HIGH", "USUAL", "HINT", 45, "medium"),
    ("medium", "CRITICAL", "KNOWN", "HINT", 28, "low"),
    ("low", "LOW", "KNOWN", "HINT", 4.9, "informational"),
]


def finding(severity: Severity = Severity.MEDIUM, **other: object) -> Finding:
    made = Finding(RULE, Text("写", "write"), severity, "modbus", 0, 1, Text("写了。", "Wrote."), HMI, None, PLC)
    return dataclasses.replace(made, **other)


def ledger(**importance: Importance) -> Ledger:
    """Importance of the HMI and of the PLC."""
    addresses = {"hmi": HMI, "plc": PLC}
    return Ledger(Entry(addresses[name], "", name, value, "", True) for name, value in importance.items())


@pytest.mark.parametrize(("danger", "importance", "novelty", "confidence", "points", "word"), CASES)
def test_twenty_cases(danger: str, importance: str, novelty: str, confidence: str, points: float, word: str) -> None:
    given_points = score(Severity[danger.upper()], Importance[importance], Novelty[novelty], Confidence[confidence])
    assert given_points == pytest.approx(points)
    assert level(given_points).word == word


@pytest.mark.parametrize("severity", DANGERS)
def test_without_a_ledger_the_level_is_that_of_the_rule(severity: Severity) -> None:
    weighed = Weigher().weigh(finding(severity))
    assert weighed.severity == severity
    assert weighed.risk is not None
    assert weighed.risk.plain


@given(
    st.sampled_from(DANGERS), st.sampled_from(Novelty), st.sampled_from(Confidence),
    st.sampled_from(Importance), st.sampled_from(Importance), st.sampled_from(Importance),
)  # fmt: skip
def test_raising_importance_never_lowers_rank(
    danger: Severity, novelty: Novelty, confidence: Confidence, one: Importance, other: Importance, source: Importance
) -> None:
    less, more = sorted((one, other))
    made = finding(danger, novelty=novelty, confidence=confidence)
    before, after = (Weigher(ledger(plc=it, hmi=source)).weigh(made) for it in (less, more))
    assert before.risk is not None
    assert after.risk is not None
    assert (before.severity, before.risk.score) <= (after.severity, after.risk.score)


def test_more_danger_never_gives_less_points() -> None:
    for rest in itertools.product(Importance, Novelty, Confidence):
        points = [score(danger, *rest) for danger in sorted(Severity)]
        assert points == sorted(points)


def test_the_more_important_end_counts_and_the_equation_names_it() -> None:
    risk = Weigher(ledger(hmi=Importance.LOW, plc=Importance.CRITICAL)).weigh(finding()).risk
    assert risk is not None
    assert risk.score == 80
    assert "资产重要性 2（10.1.0.20 plc 关键）" in risk.equation.zh
    assert "importance 2 (10.1.0.20 plc critical)" in risk.equation.en
    assert risk.equation.en.endswith("level: critical")


def test_the_vlan_of_the_evidence_says_which_of_two_devices_with_one_address_is_meant() -> None:
    declared = Ledger(
        Entry(PLC, segment, segment, importance, "", True)
        for segment, importance in (("vlan 7", Importance.LOW), ("vlan 8", Importance.CRITICAL))
    )
    seen = finding(evidence=Evidence(pdus=({"network.vlan.id": 7},)))
    assert Weigher(declared).weigh(seen).severity == Severity.LOW
    assert Weigher(declared).weigh(finding()).severity == Severity.CRITICAL  # not known which: the weightier


def test_a_person_decides_and_the_reason_stays_beside_the_equation() -> None:
    override = Override("operation.modbus.*", PLC, Severity.LOW, "水泵每天早上试运行", "张工")
    weighed = Weigher(ledger(plc=Importance.CRITICAL), (override,)).weigh(finding())
    assert weighed.severity == Severity.LOW
    line = to_dict(weighed, FindingId("s", 1, 1))
    assert line["finding.risk"] == 80
    assert line["finding.risk_factors"] == {"danger": 40, "importance": 2, "novelty": 1, "confidence": 1}
    assert line["finding.risk_overridden"] is True
    assert line["finding.risk_equation_zh"].endswith("由张工改定为低：水泵每天早上试运行")
    assert Weigher(overrides=(override,)).weigh(finding(destination_ip="10.1.0.21")).severity == Severity.MEDIUM


def test_the_pipeline_weighs_every_finding_in_one_place() -> None:
    plant = Plant()
    for number in range(3):
        request = modbus.adu(number, 1, modbus.write_register(10, number))
        plant.exchange(HMI, PLC, request, request)
    usual = the(plant.findings(), RULE)
    heavy = the(plant.findings(options=Options(ledger=ledger(plc=Importance.CRITICAL))), RULE)
    assert usual.risk is not None
    assert heavy.risk is not None
    assert heavy.risk.score == 2 * usual.risk.score
    decided = the(plant.findings(options=Options(overrides=(Override(RULE, "", Severity.HIGH, "must not", ""),))), RULE)
    assert (usual.severity, decided.severity) == (Severity.INFORMATIONAL, Severity.HIGH)
    assert heavy.fingerprint == usual.fingerprint


def test_what_a_baseline_never_saw_between_two_hosts_is_new() -> None:
    known = Baseline()
    known.put(ExchangeLine(client=HMI, server=PLC, protocol=Protocol.MODBUS, state=State.APPROVED))
    known.put(ExchangeLine(client="10.1.0.7", server=PLC, protocol=Protocol.MODBUS, state=State.LEARNED))
    weigher = Weigher(baseline=known)
    scores = {}
    for source in (HMI, "10.1.0.7", "10.1.0.8", ""):
        risk = weigher.weigh(finding(Severity.HIGH, source_ip=source)).risk
        assert risk is not None
        scores[source] = risk.score
    assert scores == {HMI: 60, "10.1.0.7": 72, "10.1.0.8": 72, "": 60}
    answers = weigher.weigh(finding(Severity.HIGH, source_ip=PLC, destination_ip=HMI)).risk
    assert answers is not None
    assert answers.novelty == 1
    claim = weigher.weigh(finding(Severity.HIGH, source_ip="10.1.0.8", rule_id="baseline.new-host"))
    assert claim.severity == Severity.HIGH  # novelty is what it claims, and does not count twice
    known_before = weigher.weigh(finding(source_ip="10.1.0.8", novelty=Novelty.KNOWN)).risk
    assert known_before is not None
    assert known_before.novelty == 0.7


def test_what_was_not_seen_is_only_likely_where_frames_are_missing() -> None:
    def found(*, gap: bool) -> Finding:
        plant = Plant()
        for number in range(20):
            read = modbus.adu(number, 1, modbus.read(3, 0, 1))
            plant.exchange(HMI, PLC, read, modbus.adu(number, 1, modbus.registers(3, [7])))
        plant.talk(HMI, PLC).server_seq += 500 * gap  # a segment that the capture lacks
        for number in range(20, 30):
            plant.asks(HMI, PLC, modbus.adu(number, 1, modbus.write_register(10, number)))
            plant.wait(3)
        read = modbus.adu(30, 1, modbus.read(3, 0, 1))
        plant.exchange(HMI, PLC, read, modbus.adu(30, 1, modbus.registers(3, [7])))
        return the(plant.findings(), "command.unanswered")

    whole, holed = found(gap=False), found(gap=True)
    assert whole.risk is not None
    assert holed.risk is not None
    assert (whole.risk.confidence, holed.risk.confidence) == (1, 0.8)
    assert holed.severity == whole.severity


def test_people_read_the_equation_where_something_other_than_the_rule_decided() -> None:
    def shown(weigher: Weigher, lang: str) -> str:
        out = io.StringIO()
        Report(lang, out).finding(weigher.weigh(finding()))
        return out.getvalue()

    weigher = Weigher(ledger(plc=Importance.HIGH))
    assert "风险 60 = 危险度 40（中）× 资产重要性 1.5（10.1.0.20 plc 重要）" in shown(weigher, "zh")
    assert "risk 60 = danger 40 (medium) × importance 1.5" in shown(weigher, "en")
    assert "risk 40" in shown(Weigher(), "en")
    assert "×" not in shown(Weigher(), "en")


def test_overrides_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "levels.yaml"
    path.write_text(
        "overrides:\n  - {rule: 'scan.*', severity: low, reason: inventory tool, address: 10.1.0.5, by: Zhang}\n"
    )
    assert load_overrides(path) == (Override("scan.*", HMI, Severity.LOW, "inventory tool", "Zhang"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("overrides: 3", "list of mappings"),
        ("overrides: [{rule: a.b, severity: huge, reason: x}]", "'huge'"),
        ("overrides: [{rule: a.b, severity: low}]", "reason"),
        ("overrides: [{rule: a.b, severity: low, reason: x, address: nowhere}]", "'nowhere'"),
        ("overrides: [{rule: a.b, severity: low, reason: x, colour: red}]", "colour"),
    ],
)
def test_what_is_wrong_with_a_file_of_overrides_is_said(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "levels.yaml"
    path.write_text(text)
    with pytest.raises(ContentError, match=why):
        load_overrides(path)


def test_the_json_form_of_a_finding_without_a_risk_has_none() -> None:
    assert not [name for name in to_dict(finding(), FindingId("s", 1, 1)) if "risk" in name]
    json.dumps(to_dict(Weigher().weigh(finding()), FindingId("s", 1, 1)))
