"""ATT&CK for ICS: every technique that a rule names lives, a change in MITRE's data is told, and layers are right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from commands.attack import attack
from detectors.attack import stix
from detectors.attack.layer import counted, coverage, read_findings
from detectors.attack.techniques import all_techniques, pinned_version
from detectors.attack.usage import used
from detectors.content import ContentError, rules_folder

MITRE = Path(__file__).resolve().parents[4] / "shared" / "attack" / "ics-attack-18.1.json"
needs_mitre = pytest.mark.skipif(not MITRE.is_file(), reason="../shared/attack is not on this machine")


def pattern(technique: str, name: str = "", **more: Any) -> dict[str, Any]:
    reference = {"source_name": "mitre-attack", "external_id": technique}
    return {"type": "attack-pattern", "id": f"attack-pattern--{technique}", "name": name or f"name of {technique}",
            "x_mitre_domains": ["ics-attack"], "external_references": [reference], **more}  # fmt: skip


def bundle(folder: Path, *objects: Any) -> Path:
    path = folder / "attack.json"
    collection = {"type": "x-mitre-collection", "id": "x-mitre-collection--1", "x_mitre_version": "19.0"}
    path.write_text(json.dumps({"type": "bundle", "objects": [collection, *objects]}))
    return path


def everything(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """All techniques that we know, alive under our names; `changed` are other fields of some."""
    return [pattern(key, **{"name": it.en, **changed.get(key, {})}) for key, it in all_techniques().items()]


def checked(path: Path, lang: str = "en") -> tuple[int, str]:
    done = CliRunner().invoke(attack, ["check", str(path), "--lang", lang])
    return done.exit_code, done.output


@needs_mitre
def test_every_technique_of_every_rule_lives_in_the_pinned_version() -> None:
    edition = stix.read(MITRE)
    assert edition.version == pinned_version()
    named = used()
    assert len(named) > 30
    found = stix.review(edition, named, all_techniques())
    assert found.faults == ()
    assert (found.dead, found.missing, found.renamed) == ((), (), ())
    assert checked(MITRE)[0] == 0


def test_every_technique_that_stands_in_rules_or_in_a_detector_is_among_those_checked() -> None:
    named = used()
    content = [*rules_folder().glob("sigma/**/*.yml"), *rules_folder().glob("knowledge/*.yaml")]
    assert len(content) > 60
    texts = [path.read_text("utf-8") for path in content]
    for path in Path("detectors").rglob("*.py"):
        texts += re.findall(r'"[^"\n]+"', path.read_text("utf-8"))  # not what docstrings say
    written = {found.upper() for text in texts for found in re.findall(r"\b[tT]0\d{3}\b", text)}
    assert {"T0857", "T0858"} <= written <= set(named)
    assert set(named) <= set(all_techniques())


def test_every_technique_has_a_name_in_both_languages() -> None:
    assert all(it.en and re.search("[一-鿿]", it.zh) for it in all_techniques().values())


def test_a_technique_that_was_revoked_is_told_with_its_successor_and_its_rules(tmp_path: Path) -> None:
    revoked = {"type": "relationship", "relationship_type": "revoked-by",
               "source_ref": "attack-pattern--T0858", "target_ref": "attack-pattern--T0881"}  # fmt: skip
    path = bundle(tmp_path, *everything(T0858={"revoked": True}), revoked)
    code, said = checked(path)
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("T0858")]
    assert "revoked -> T0881" in line
    assert "operation.s7comm.stop" in line
    assert "the file is version 19.0" in said
    assert "已撤销" in checked(path, "zh")[1]


def test_a_technique_that_is_deprecated_or_gone_is_told(tmp_path: Path) -> None:
    techniques = everything(T0816={"x_mitre_deprecated": True})
    path = bundle(tmp_path, *[it for it in techniques if it["id"] != "attack-pattern--T0843"], pattern("T0999"))
    code, said = checked(path)
    assert code == 1
    assert re.search(r"^T0816 .*: deprecated: .*cold-restart", said, re.MULTILINE)
    assert re.search(r"^T0843 .*: unknown: ", said, re.MULTILINE)
    assert "T0999 name of T0999: not in our list of names" in said


def test_another_name_is_no_failure(tmp_path: Path) -> None:
    code, said = checked(bundle(tmp_path, *everything(T0858={"name": "Switch Operating Mode"})))
    assert code == 0
    assert "T0858: renamed: Change Operating Mode -> Switch Operating Mode" in said


def test_techniques_of_other_domains_do_not_count(tmp_path: Path) -> None:
    other = pattern("T0858", x_mitre_domains=["enterprise-attack"])
    ours = [it for it in everything() if it["id"] != "attack-pattern--T0858"]
    assert checked(bundle(tmp_path, *ours, other))[0] == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"objects": 3}', '{"objects": []}', '{"objects": [{"type": 1}]}'])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "none.json"
    path.write_text(text)
    done = CliRunner().invoke(attack, ["check", str(path)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from(["attack-pattern", "mitre-attack", "T0858"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "external_references", "source_name", "external_id", "name", "revoked"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_any_objects_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, objects: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"objects": objects}))
    try:
        techniques = stix.read(path).techniques
    except ContentError:
        techniques = {}
    assert all(key == entry.id for key, entry in techniques.items())


def test_a_layer_of_the_rules_scores_each_technique_by_its_rules() -> None:
    layer = coverage({"T0858": ("a.stop", "b.stop"), "T0843": ("a.download",)}, "zh")
    assert layer["domain"] == "ics-attack"
    assert layer["versions"] == {"attack": "18", "navigator": "5.1.0", "layer": "4.5"}
    scores = {item["techniqueID"]: item["score"] for item in layer["techniques"]}
    assert scores == {"T0858": 2, "T0843": 1}
    assert layer["gradient"]["maxValue"] == 2
    assert layer["techniques"][0]["metadata"][0]["value"] == all_techniques()["T0858"].zh


def test_a_layer_of_findings_scores_each_technique_by_their_counts(tmp_path: Path) -> None:
    lines = [
        {"rule.id": "a.stop", "finding.count": 3, "threat.technique.id": ["T0858", "T0816"]},
        {"rule.id": "b.stop", "finding.count": 4, "threat.technique.id": ["T0858"]},
        {"rule.id": "c", "finding.count": 9, "threat.technique.id": []},
    ]
    path = tmp_path / "findings.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    layer = counted(read_findings(path), "en")
    assert {item["techniqueID"]: item["score"] for item in layer["techniques"]} == {"T0858": 7, "T0816": 3}
    stop = next(item for item in layer["techniques"] if item["techniqueID"] == "T0858")
    assert stop["comment"] == "b.stop ×4, a.stop ×3"
    output = tmp_path / "layer.json"
    done = CliRunner().invoke(attack, ["layer", "--findings", str(path), "-o", str(output), "--lang", "en"])
    assert done.exit_code == 0
    assert json.loads(output.read_text("utf-8")) == layer


@pytest.mark.parametrize("text", ["{", "3", '{"threat.technique.id": 3}'])
def test_a_line_that_is_no_finding_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "findings.jsonl"
    path.write_text('{"threat.technique.id": []}\n' + text)
    with pytest.raises(ContentError, match="not a finding") as caught:
        list(read_findings(path))
    assert caught.value.line == 2
