"""Captures of others: what is in them is named, and ordinary traffic stays quiet."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.findings import of

from detectors.finding import MAX_EVIDENCE_PCAP_BYTES, Finding, FindingId, Severity, to_dict
from detectors.pipeline import Options, inspect, merge
from detectors.scorecard.card import card_of
from detectors.scorecard.run import Score, score_all
from detectors.scorecard.truth import cases, shipped_meaning
from sensor.capture.source import open_capture

SHARED = Path(__file__).resolve().parents[3] / "shared" / "captures"
PROTOCOLS = ("modbus", "dnp3", "s7comm")

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine"),
]


def manifest() -> dict[str, dict[str, Any]]:
    """Capture name -> what others say about it."""
    if not SHARED.is_dir():
        return {}
    cases = json.loads((SHARED / "manifest.json").read_bytes())
    return {case["file"].rsplit("/", 1)[0]: case for case in cases if case["file"].split("/")[0] in PROTOCOLS}


CASES = manifest()


@cache
def found(name: str) -> tuple[Finding, ...]:
    """The findings of one capture."""
    return tuple(merge(inspect(open_capture(SHARED / CASES[name]["file"]), Options())))


@pytest.mark.parametrize(
    ("name", "rule", "technique", "severity"),
    [
        ("s7comm/gymgit__step7_s300_stop", "operation.s7comm.stop", "T0858", Severity.CRITICAL),
        ("s7comm/iti__s7comm_downloading_block_db1", "engineering.program-download", "T0843", Severity.HIGH),
        ("s7comm/icsnpp-s7comm__snap7", "engineering.session", "T0845", Severity.CRITICAL),
        ("s7comm/icsnpp-s7comm__snap7", "engineering.session", "T0858", Severity.CRITICAL),
        ("dnp3/quickdraw__dnp3_test_data_part1", "operation.dnp3.cold-restart", "T0816", Severity.HIGH),
        ("dnp3/quickdraw__dnp3_test_data_part1", "operation.dnp3.warm-restart", "T0816", Severity.HIGH),
        ("dnp3/quickdraw__dnp3_test_data_part1", "operation.dnp3.stop-application", "T0858", Severity.CRITICAL),
        ("dnp3/qut-dnp3__Injection_training_frequent_attacker", "operation.dnp3.cold-restart", "T0816", Severity.HIGH),
        ("dnp3/qut-dnp3__Injection_training_frequent_attacker", "operation.dnp3.warm-restart", "T0816", Severity.HIGH),
        ("modbus/quickdraw__modbus_test_data_part1", "operation.modbus.force-listen-only", "T0814", Severity.CRITICAL),
        ("s7comm/gymgit__step7_s300_AuthPassword", "operation.s7comm.password", "T0859", Severity.MEDIUM),
        ("s7comm/gymgit__tia_s300_downloadHwConfig", "engineering.hardware-download", "T0843", Severity.CRITICAL),
        ("s7comm/gymgit__tia_s300_downloadHwConfig", "engineering.hardware-download", "T0889", Severity.CRITICAL),
        ("modbus/lemay__send_a_fake_command_modbus_6RTU_with_operate", "writer.polled-device", "T0855", Severity.HIGH),
        ("dnp3/qut-dnp3__Masqurading_training_infrequent_attacker", "writer.new", "T0848", Severity.MEDIUM),
        ("dnp3/qut-dnp3__Flooding_training_infrequent_attacker", "writer.new", "T0855", Severity.MEDIUM),
        ("modbus/zeek__fuzz-72", "scan.function", "T0888", Severity.MEDIUM),
    ],
)
def test_what_is_in_a_capture_is_named(name: str, rule: str, technique: str, severity: Severity) -> None:
    findings = of(found(name), rule)
    assert findings
    assert any(technique in it.techniques and it.severity == severity for it in findings)


@pytest.mark.parametrize(
    "name",
    [
        "modbus/zeek__modbusSmall", "modbus/ndpi__modbus", "dnp3/zeek__dnp3_read", "dnp3/emreekin__DNP3ValueBinary",
        "s7comm/gymgit__step7_s300_readVarTab", "s7comm/iti__s7comm_varservice_libnodavedemo",
    ],
)  # fmt: skip
def test_ordinary_reads_and_writes_give_nothing_severe(name: str) -> None:
    assert [it.rule_id for it in found(name) if it.severity >= Severity.MEDIUM] == []


def test_the_rogue_write_is_the_only_thing_above_informational_in_its_capture() -> None:
    findings = found("modbus/lemay__send_a_fake_command_modbus_6RTU_with_operate")
    (rogue,) = (it for it in findings if it.severity > Severity.INFORMATIONAL)
    assert rogue.count == 1


def test_a_download_of_the_hardware_configuration_is_one_operation() -> None:
    findings = found("s7comm/gymgit__tia_s300_downloadHwConfig")
    (operation,) = (it for it in findings if it.rule_id.startswith(("operation.", "engineering.")))
    assert set(operation.techniques) >= {"T0858", "T0843", "T0889", "T0809"}
    for block in ("SDB0", "SDB1", "SDB3", "SDB4", "SDB7", "SDB1000", "SDB2000"):
        assert block in operation.explanation.en
        assert block in operation.explanation.zh


def test_the_stop_of_every_outstation_at_once_is_critical() -> None:
    (broadcast,) = (
        it
        for it in of(found("dnp3/quickdraw__dnp3_test_data_part1"), "operation.dnp3.disable-unsolicited")
        if it.station == 0xFFFF
    )
    assert broadcast.severity is Severity.CRITICAL


# What an operation of the manifest's `notable_operations` may be called here; the others are ordinary.
NAMED = {
    "PLC stop": {"operation.s7comm.stop", "operation.s7comm.mode-stop"},
    "PLC service": {
        "engineering.program-download", "operation.s7comm.insert-block", "operation.s7comm.delete-block",
        "operation.s7comm.start",
    },
    "request download": {"engineering.program-download", "operation.s7comm.download"},
    "cold restart": {"operation.dnp3.cold-restart", "pattern.dnp3.silenced-and-restarted"},
    "warm restart": {"operation.dnp3.warm-restart", "pattern.dnp3.silenced-and-restarted"},
    "stop application": {"operation.dnp3.stop-application"},
    "disable unsolicited": {"operation.dnp3.disable-unsolicited"},
    "direct operate no ack": {"operation.dnp3.direct-operate-no-answer"},
    "write": {"operation.dnp3.write", "operation.dnp3.set-clock"},
    "diagnostics": {
        "operation.modbus.force-listen-only", "operation.modbus.restart-communications",
        "operation.modbus.clear-counters", "pattern.modbus.silenced-and-wiped",
    },
    "write file record": {"engineering.file-transfer", "operation.modbus.write-file-record"},
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["attack"].startswith("none")])
def test_a_capture_without_attack_gives_nothing_above_low_beyond_the_operations_in_it(name: str) -> None:
    notable = CASES[name].get("notable_operations") or {}
    expected = set().union(*(NAMED.get(operation, set()) for operation in notable))
    loud = {it.rule_id for it in found(name) if it.severity >= Severity.MEDIUM} - expected
    if len(notable) > 2:  # a second host that restarts and stops is a new writer as well
        loud -= {"writer.new", "master.second"}
    assert loud == set()


@pytest.mark.parametrize("name", CASES)
def test_every_finding_can_be_printed_and_is_bounded(name: str) -> None:
    for sequence, it in enumerate(found(name), start=1):
        line = json.dumps(to_dict(it, FindingId("test", 0, sequence)), ensure_ascii=False)
        assert len(line) < 2 * MAX_EVIDENCE_PCAP_BYTES
        assert 0 < len(it.explanation.en) < 3000
        assert 0 < len(it.explanation.zh) < 3000
        assert "{" not in it.explanation.en + it.explanation.zh
        assert it.count >= 1
        assert it.first_ns <= it.last_ns
        assert it.rule_id != "detector.failed"


# Captures that stand for the others: some of each family, and ordinary ones; all of them take minutes.
OFTEN = 4


def shared_scores() -> list[Score]:
    """The scores of a bounded share: of each family the first, and every so many of the rest; no large one."""
    known = [it for it in cases(SHARED, shipped_meaning()) if it.path.stat().st_size < 1_500_000]
    seen: dict[str, int] = {}
    chosen = []
    for case in known:
        kind = f"{case.path.parent.parent.name} {case.family.en}"
        seen[kind] = seen.get(kind, -1) + 1
        if seen[kind] % OFTEN == 0 or (case.attacks and not case.family.en.startswith("S7")):
            chosen.append(case)
    return list(score_all(chosen, processes=1))


def test_labelled_attacks_are_found_and_ordinary_captures_stay_quiet() -> None:
    card = card_of(shared_scores())
    assert card.captures > 80
    assert card.failed == []
    assert card.alarms(Severity.HIGH) == 0
    assert card.alarms() <= 3
    unfound = {attack: row.missed for (_, attack), row in card.rows.items() if row.missed and not row.found}
    assert set(unfound) <= UNFOUND
    assert card.found >= 0.9 * (card.events - card.hidden)
    found = {family for (family, _), row in card.rows.items() if row.found}
    assert found >= {
        "S7 process attacks", "S7 engineering and administration", "Modbus attacks", "DNP3 operations",
        "DNP3: injection", "DNP3: man in the middle", "DNP3: masquerading", "DNP3: flooding", "DNP3: replay",
        "DNP3: reconnaissance", "Floods", "Traffic that tests rules",
    }  # fmt: skip


# Attacks that nothing names yet, each in a protocol's own way: what is added here must be explained in docs/score.md.
UNFOUND = {"Attribute changed", "Devices enumerated"}
