"""The content itself: two languages, three parts, live techniques; broken content is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from detectors import knowledge
from detectors.content import ContentError
from detectors.finding import Severity
from detectors.knowledge import Rule, load_rules
from detectors.sigma.ruleset import shipped
from detectors.wording import MAX_SHOWN
from sensor.view import EXPLAINERS

ATTACK = Path(__file__).resolve().parents[3] / "shared" / "attack" / "ics-attack-18.1.json"

OPERATIONS = [rule for rule in shipped().rules if rule.id.startswith("operation.")]
RULES: list[Rule] = [*shipped().rules, *shipped().correlations, *knowledge.detector_rules().values()]
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
    assert {operation.product for operation in OPERATIONS} == {name for name, _ in EXPLAINERS.values()}
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
rules:
  - id: scan.example
    severity: low
    techniques: [T0855]
    name: {zh: 例, en: Example}
    saw: {zh: "{source} 写。", en: "{source} wrote."}
    why: {zh: 因为。, en: Because.}
    check: {zh: 检查。, en: Check.}
"""


def test_good_content_loads(tmp_path: Path) -> None:
    path = tmp_path / "detectors.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_rules(path)["scan.example"].severity is Severity.LOW


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("severity: low", "severity: urgent", 3, "unknown severity"),
        ("[T0855]", "[T855]", 4, "techniques"),
        ("[T0855]", "T0855", 4, "techniques"),
        ("{source} wrote.", "{soruce} wrote.", 6, "unknown name"),
        ("{source} wrote.", "[{source} wrote.", 6, "brackets"),
        (", en: Because.", "", 7, "must be a non-empty text"),
        ("en: Check.", "fr: Verifiez.", 8, "unknown key"),
        ("id: scan.example", "id: Example", 2, "lower-case"),
        ("    severity: low\n", "    severity: low\n    colour: red\n", 4, "unknown key"),
    ],
)
def test_broken_content_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, why: str) -> None:
    path = tmp_path / "detectors.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        load_rules(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert why in caught.value.why


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detectors.yaml"
    path.write_text(GOOD + GOOD.split("rules:\n", 1)[1], encoding="utf-8")
    with pytest.raises(ContentError, match="stands twice"):
        load_rules(path)


def test_hostile_values_are_made_safe_inside_the_paragraph() -> None:
    rule = next(it for it in OPERATIONS if it.id == "operation.dnp3.delete-file")
    said = rule.explain({"source": "a", "destination": "b", "dnp3.file.name": "x\x1b[2J\u202e" + "y" * 1000})
    assert "\x1b" not in said.en
    assert "\u202e" not in said.zh
    assert "y" * (MAX_SHOWN + 1) not in said.en
