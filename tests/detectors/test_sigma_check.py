"""The rules through sigma-cli's own `sigma check`, with every validator that needs no network, and ATT&CK for ICS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from sigma.cli.check import check as sigma_check
from sigma.data import mitre_attack

from detectors.content import rules_folder

MITRE = Path(__file__).resolve().parents[3] / "shared" / "attack" / "ics-attack-18.1.json"
TACTICS = [
    "initial-access", "execution", "persistence", "privilege-escalation", "evasion", "discovery", "lateral-movement",
    "collection", "command-and-control", "inhibit-response-function", "impair-process-control", "impact",
]  # fmt: skip


def _reference(number: str) -> list[dict[str, str]]:
    return [{"source_name": "mitre-attack", "external_id": number}]


def own_data() -> dict[str, object]:
    """What pySigma wants to know of ATT&CK, out of our own list of techniques."""
    known = yaml.safe_load((rules_folder() / "attack" / "techniques.yaml").read_text())["techniques"]
    techniques = [
        {"type": "attack-pattern", "name": names["en"], "external_references": _reference(number)}
        for number, names in known.items()
    ]
    tactics = [
        {"type": "x-mitre-tactic", "x_mitre_shortname": name, "external_references": _reference(f"TA{at:04}")}
        for at, name in enumerate(TACTICS, 100)
    ]
    return {"objects": techniques + tactics}


@pytest.fixture
def attack_for_ics(tmp_path: Path) -> Iterator[None]:
    """pySigma would download ATT&CK for enterprises, in which no technique of ours stands."""
    own = tmp_path / "ics.json"
    own.write_text(json.dumps(own_data()))
    mitre_attack.set_cache_dir(str(tmp_path / "cache"))
    mitre_attack.set_url(str(MITRE if MITRE.is_file() else own))
    yield
    mitre_attack.set_url(mitre_attack.MITRE_ATTACK_ENTERPRISE_URL)
    mitre_attack.set_cache_dir(str(Path.home() / ".cache" / "pysigma" / "mitre_attack"))


def check(path: Path) -> tuple[int, str]:
    """Exit code and output of `sigma check` failing on every issue; D3FEND tags, not used here, need a network."""
    result = CliRunner().invoke(sigma_check, ["--fail-on-issues", "-x", "d3_fendtag", str(path)])
    return result.exit_code, result.output


def test_sigma_check_finds_nothing_wrong_with_the_rules(attack_for_ics: None) -> None:
    code, said = check(rules_folder() / "sigma")
    assert code == 0, said
    assert "Found 0 errors, 0 condition errors and 0 issues" in said


def test_sigma_check_would_find_a_technique_that_is_none_and_a_broken_condition(
    tmp_path: Path, attack_for_ics: None
) -> None:
    rule = (rules_folder() / "sigma" / "modbus" / "modbus_force_listen_only.yml").read_text()
    bad = tmp_path / "modbus_force_listen_only.yml"
    bad.write_text(rule.replace("attack.t0814", "attack.t0999"))
    code, said = check(bad)
    assert (code, "InvalidATTACKTagIssue" in said) == (1, True), said
    bad.write_text(rule.replace("condition: selection", "condition: nothing"))
    code, said = check(bad)
    assert (code, "Found 1 errors" in said or "1 condition errors" in said) == (1, True), said
