"""The content itself: two languages, three parts, live techniques; broken content is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from detectors import knowledge
from detectors.content import ContentError
from detectors.finding import Severity
from detectors.knowledge import Rule, load_operations, load_rules
from detectors.wording import MAX_SHOWN
from sensor.decode.pdu import family
from sensor.view import EXPLAINERS

ATTACK = Path(__file__).resolve().parents[3] / "shared" / "attack" / "ics-attack-18.1.json"

OPERATIONS = [operation for known in knowledge.operations() for operation in known.operations]
RULES: list[Rule] = [*OPERATIONS, *knowledge.detector_rules().values()]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_in_both_languages_what_was_seen_why_it_matters_and_what_to_check(rule: Rule) -> None:
    for part in (rule.saw, rule.why, rule.check):
        assert len(CHINESE.findall(part.zh)) >= 6
        assert part.zh.endswith("。")
        assert not CHINESE.search(part.en)
        assert len(part.en.split()) >= 6
        assert part.en.endswith(".")
    assert len({rule.saw.en, rule.why.en, rule.check.en}) == 3
    assert CHINESE.search(rule.name.zh)
    assert rule.name.en


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_paragraph_without_any_values_leaves_no_brace_or_bracket(rule: Rule) -> None:
    said = rule.explain({})
    assert not set("{}[]") & set(said.zh + said.en)
    assert "  " not in said.en


def test_operations_name_the_addresses_they_are_about() -> None:
    for operation in OPERATIONS:
        for template in (operation.saw.zh, operation.saw.en):
            assert "{source}" in template, operation.id
            assert "{destination}" in template, operation.id


def test_every_protocol_has_operations_and_every_id_is_used_once() -> None:
    read = {family(protocol) for protocol in EXPLAINERS}
    assert {operation.protocol for operation in OPERATIONS} == read
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_reads_writes_and_recon_are_never_severe_by_themselves() -> None:
    for operation in OPERATIONS:
        if operation.kind in ("read", "write", "recon", "session", "report"):
            assert operation.severity <= Severity.MEDIUM, operation.id


def test_what_is_critical_is_never_less_than_medium() -> None:
    for operation in OPERATIONS:
        if operation.kind == "critical":
            assert operation.severity >= Severity.MEDIUM, operation.id
            assert operation.techniques, operation.id


@pytest.mark.skipif(not ATTACK.is_file(), reason="../shared/attack/ics-attack-18.1.json is not on this machine")
def test_every_technique_is_live_in_attack_for_ics() -> None:
    live = {
        reference["external_id"]
        for thing in json.loads(ATTACK.read_bytes())["objects"]
        if thing["type"] == "attack-pattern" and not thing.get("revoked") and not thing.get("x_mitre_deprecated")
        for reference in thing["external_references"]
        if reference["source_name"] == "mitre-attack"
    }
    assert len(live) > 70
    used = {technique for rule in RULES for technique in rule.techniques}
    assert used
    assert used - live == set()


GOOD = """\
protocol: modbus
operations:
  - id: operation.modbus.example
    match: {modbus.function_code: 5}
    class: write
    severity: low
    techniques: [T0855]
    name: {zh: 例, en: Example}
    saw: {zh: "{source} 写。", en: "{source} wrote."}
    why: {zh: 因为。, en: Because.}
    check: {zh: 检查。, en: Check.}
"""


def test_good_content_loads(tmp_path: Path) -> None:
    path = tmp_path / "modbus.yaml"
    path.write_text(GOOD, encoding="utf-8")
    (operation,) = load_operations(path).operations
    assert operation.severity is Severity.LOW
    assert operation.answers


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("protocol: modbus", "protocol: profinet", 1, "unknown protocol"),
        ("severity: low", "severity: urgent", 6, "unknown severity"),
        ("class: write", "class: wirte", 5, "unknown class"),
        ("modbus.function_code: 5", "modbus.function_cod: 5", 4, "unknown field"),
        ("modbus.function_code: 5", "modbus.function_code: five", 4, "expected a number"),
        ("[T0855]", "[T855]", 7, "techniques"),
        ("[T0855]", "T0855", 7, "techniques"),
        ("{source} wrote.", "{soruce} wrote.", 9, "unknown name"),
        ("{source} wrote.", "[{source} wrote.", 9, "brackets"),
        (", en: Because.", "", 10, "must be a non-empty text"),
        ("en: Check.", "fr: Verifiez.", 11, "unknown key"),
        ("id: operation.modbus.example", "id: operation.dnp3.example", 3, "must begin with"),
        ("id: operation.modbus.example", "id: Example", 3, "lower-case"),
        ("    class: write\n", "    class: write\n    colour: red\n", 6, "unknown key"),
        ("    match: {modbus.function_code: 5}\n", "", 3, "'match' is missing"),
    ],
)
def test_broken_content_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, why: str) -> None:
    path = tmp_path / "modbus.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        load_operations(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert why in caught.value.why


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "modbus.yaml"
    path.write_text(GOOD + GOOD.split("operations:\n", 1)[1], encoding="utf-8")
    with pytest.raises(ContentError, match="already stands in line 3"):
        load_operations(path)


def test_a_detector_rule_with_an_operations_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detectors.yaml"
    path.write_text(GOOD.replace("protocol: modbus\noperations", "rules", 1), encoding="utf-8")
    with pytest.raises(ContentError, match="unknown key"):
        load_rules(path)


def test_hostile_values_are_made_safe_inside_the_paragraph() -> None:
    rule = next(it for it in OPERATIONS if it.id == "operation.dnp3.delete-file")
    said = rule.explain({"source": "a", "destination": "b", "dnp3.file.name": "x\x1b[2J\u202e" + "y" * 1000})
    assert "\x1b" not in said.en
    assert "\u202e" not in said.zh
    assert "y" * (MAX_SHOWN + 1) not in said.en
