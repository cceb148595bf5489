"""Folders of rules: what is refused and where, what is kept between runs, what happens when files change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.findings import S7, Plant, of, the

from detectors.content import rules_folder
from detectors.finding import Severity
from detectors.pipeline import Options, Pipeline, merge
from detectors.sigma import ruleset
from detectors.sigma.ruleset import compile_folders, load_folders, shipped
from detectors.sigma.tree import predicate
from detectors.sigma.watch import RuleWatch
from fenghuo import main
from pcaps.messages import modbus, s7comm

HMI, PLC = "10.1.0.5", "10.1.0.20"
RULE = """\
title: Coil 7 of the mixer is written
id: 6f1f0f7e-5b7a-4a3e-9d57-0d5bb1f0a001
name: site.mixer
status: test
description: Nobody writes this coil.
author: plant
date: 2026-11-01
logsource:
  category: ics_network
  product: modbus
detection:
  selection:
    event.kind: request
    modbus.function_code: 5
    modbus.address: 7
  condition: selection
falsepositives:
  - none
level: high
tags:
  - attack.t0855
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plans are kept, so that tests do not crowd out those of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fenghuo" / "rules"


def write(folder: Path, text: str = RULE, name: str = "site_mixer_rule.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def writes(address: int) -> Plant:
    plant = Plant()
    pdu = modbus.adu(1, 1, modbus.write_coil(address, on=True))
    plant.exchange(HMI, PLC, pdu, pdu)
    return plant


def test_a_rule_of_a_plant_is_found_and_told_in_its_own_words(tmp_path: Path) -> None:
    write(tmp_path)
    options = Options(rules=load_folders([rules_folder(), tmp_path]))
    found = the(writes(7).findings(options=options), "site.mixer")
    assert (found.severity, found.techniques, found.source_ip) == (Severity.HIGH, ("T0855",), HMI)
    assert "Nobody writes this coil." in found.explanation.en
    assert "Coil 7 of the mixer is written" in found.explanation.zh
    assert of(writes(7).findings(options=options), "operation.modbus.write-coils")
    assert not of(writes(8).findings(options=options), "site.mixer")


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "why"),
    [
        ("modbus.address: 7", "modbus.adress: 7", 15, 5, "unknown field"),
        ("modbus.address: 7", "modbus.address: seven", 15, 5, "expected a number"),
        ("modbus.address: 7", "modbus.address|re: 7.*", 15, 5, "regular expressions are for texts"),
        ("modbus.address: 7", "event.action|re: (?=x)", 15, 5, "RE2 refuses"),
        ("modbus.address: 7", "source.ip|cidr: 10.0.0.300/8", 15, 5, "CIDR"),
        ("modbus.address: 7", "source.ip: 10.0.*", 15, 5, "|cidr"),
        ("modbus.address: 7", "event.action|expand: '%verbs%'", 15, 5, "placeholders"),
        ("modbus.address: 7", "modbus.address|mangled: 7", 15, 5, "Unknown modifier"),
        ("modbus.address: 7", "modbus.address|gte: many", 15, 5, "incompatible"),
        ("product: modbus", "product: profinet", 10, 3, "unknown product"),
        ("category: ics_network", "category: process_creation", 9, 3, "category"),
        ("condition: selection", "condition: selction", 16, 3, "selction"),
        ("condition: selection", "condition: " + "(" * 30 + "selection" + ")" * 30, 16, 3, "nested"),
        ("level: high", "level: urgent", 19, 1, "level"),
        ("  selection:\n", "  words: [stop]\n  selection:\n", 12, 3, "name the field"),
        ("name: site.mixer", "name: Site Mixer", 3, 1, "lower-case"),
        ("date: 2026-11-01", "date: soon", 7, 1, ""),
        ("tags:", "fenghuo: {class: wirte}\ntags:", 20, 11, "unknown class"),
        ("title: Coil 7", "title: Coil 7\ntitle: Coil 8", 2, 0, "twice"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_line_and_column(
    tmp_path: Path, old: str, new: str, line: int, column: int, why: str
) -> None:
    assert old in RULE
    path = write(tmp_path, RULE.replace(old, new, 1))
    found = compile_folders([tmp_path])
    assert found.rules == ()
    (it,) = found.broken
    assert (it.path, it.line, it.column) == (str(path), line, column)
    assert why in it.why


def test_one_bad_rule_is_told_and_the_others_work(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, RULE.replace("modbus.address", "modbus.adress").replace("0a001", "0a002"), "site_other_rule.yml")
    findings = writes(7).findings(options=Options(rules=load_folders([tmp_path])))
    assert of(findings, "site.mixer")
    told = the(findings, "rules.broken")
    assert "site_other_rule.yml:15:5" in told.explanation.en
    done = CliRunner().invoke(main, ["rules", "check", str(tmp_path)])
    assert done.exit_code == 1
    assert "site_other_rule.yml:15:5: modbus.adress: unknown field" in done.output


def test_a_name_that_stands_twice_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, RULE.replace("0a001", "0a002").replace("level: high", "level: low"), "site_twice_rule.yml")
    found = compile_folders([tmp_path])
    assert [rule.severity for rule in found.rules] == [Severity.HIGH]
    assert "already used" in found.broken[0].why


def test_a_technique_that_is_not_in_force_and_missing_texts_are_found_by_the_check(tmp_path: Path) -> None:
    write(tmp_path, RULE.replace("t0855", "t0999"))
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "modbus.yaml").write_text("rules: {}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["rules", "check", str(tmp_path)])
    assert done.exit_code == 1
    assert "T0999 is not in force" in done.output
    assert "has no texts" in done.output


MODIFIERS: list[tuple[str, str, Any, bool]] = [
    ("s7comm.service|contains", "PROG", "P_PROGRAM", True), ("s7comm.service|contains", "prog", "P_PROGRAM", True),
    ("s7comm.service|contains|cased", "prog", "P_PROGRAM", False), ("s7comm.service|startswith", "p_", "P_X", True),
    ("s7comm.service|endswith", "M", "P_PROGRAM", True), ("s7comm.service", "P_?ROGRAM", "P_PROGRAM", True),
    ("s7comm.service", "P*G*M", "P_PROGRAM", True), ("s7comm.service", r"P\*M", "P_M", False),
    ("s7comm.service|re", "^P_.+M$", "P_PROGRAM", True), ("s7comm.service|re", "^p_", "P_PROGRAM", False),
    ("s7comm.service|re|i", "^p_", "P_PROGRAM", True), ("s7comm.service|neq", "P_PROGRAM", "P_PROGRAM", False),
    ("modbus.address|gt", "7", 7, False), ("modbus.address|gte", "7", 7, True), ("modbus.address|lt", "7", 6, True),
    ("modbus.address|lte", "7", 8, False), ("modbus.address|neq", "7", 8, True),
    ("source.ip|cidr", "10.0.0.0/8", "10.9.9.9", True), ("source.ip|cidr", "fe80::/10", "10.9.9.9", False),
    ("modbus.unit_id|exists", "true", 1, True), ("modbus.unit_id|exists", "false", 1, False),
    ("modbus.unit_id", "null", None, True), ("dnp3.objects|all", "[g1v*, g2v*]", ["g1v1", "g2v2"], True),
    ("dnp3.objects|all", "[g1v*, g2v*]", ["g1v1"], False), ("@timestamp|hour", "3", "2026-01-01T03:10:00Z", True),
    ("s7comm.service|windash", "' -x'", " /x", True), ("s7comm.service|base64", "abc", "YWJj", True),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "got", "holds"), MODIFIERS)
def test_modifiers_mean_what_sigma_says(tmp_path: Path, key: str, value: str, got: Any, holds: bool) -> None:
    text = RULE.replace("  product: modbus\n", "").replace(
        "    event.kind: request\n    modbus.function_code: 5\n    modbus.address: 7\n", f'    "{key}": {value}\n'
    )
    write(tmp_path, text)
    found = compile_folders([tmp_path])
    assert found.broken == ()
    (rule,) = found.rules
    assert predicate(rule.condition)({key.split("|")[0]: got} if got is not None else {}) is holds


def test_a_field_is_compared_with_another(tmp_path: Path) -> None:
    write(tmp_path, RULE.replace("modbus.address: 7", "source.ip|fieldref: destination.ip"))
    (rule,) = compile_folders([tmp_path]).rules
    fields = {"network.protocol": "modbus", "event.kind": "request", "modbus.function_code": 5, "source.ip": "10.0.0.1"}
    assert predicate(rule.condition)({**fields, "destination.ip": "10.0.0.1"})
    assert not predicate(rule.condition)({**fields, "destination.ip": "10.0.0.2"})
    assert not predicate(rule.condition)(fields)


def test_a_plan_is_kept_for_its_owner_and_read_without_pysigma(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder)
    first = load_folders([folder])
    (plan,) = cache.glob("*.json")
    assert plan.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(ruleset, "compile_folders", lambda *_: pytest.fail("read anew"))
    assert load_folders([folder]) == first


def test_a_plan_that_others_could_have_written_or_that_is_damaged_is_not_used(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder)
    first = load_folders([folder])
    (plan,) = cache.glob("*.json")
    plan.write_text('{"rules": [], "correlations": [], "aggravations": [], "broken": []}')
    os.chmod(plan, 0o666)
    assert load_folders([folder]) == first
    plan.write_text("{")
    assert load_folders([folder]) == first


def test_a_changed_file_makes_another_plan(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder)
    load_folders([folder])
    write(folder, RULE.replace("level: high", "level: low"))
    assert load_folders([folder]).rules[0].severity is Severity.LOW


def test_rules_are_loaded_again_when_a_file_changes_and_the_old_ones_stay_when_it_is_broken(tmp_path: Path) -> None:
    write(tmp_path)
    given: list[ruleset.RuleSet] = []
    watch = RuleWatch([tmp_path], load_folders([tmp_path]), given.append)
    assert not watch.look()
    write(tmp_path, RULE.replace("level: high", "level: critical"))
    assert watch.look()
    assert given[-1].rules[0].severity is Severity.CRITICAL
    write(tmp_path, RULE.replace("condition: selection", "condition: nothing at all"))
    assert watch.look()
    assert [(rule.id, rule.severity) for rule in given[-1].rules] == [("site.mixer", Severity.CRITICAL)]
    assert given[-1].broken
    assert not watch.look()
    watch.ask()
    assert not watch.look()  # asked for, and nothing has changed


def test_a_rule_broken_beside_a_sound_one_stays_in_force_as_it_was(tmp_path: Path) -> None:
    write(tmp_path)
    other = RULE.replace("0a001", "0a002").replace("site.mixer", "site.other")
    write(tmp_path, other, "site_other_rule.yml")
    given: list[ruleset.RuleSet] = []
    watch = RuleWatch([tmp_path], load_folders([tmp_path]), given.append)
    write(tmp_path, other.replace("modbus.address", "modbus.adress"), "site_other_rule.yml")
    assert watch.look()
    assert {rule.id for rule in given[-1].rules} == {"site.mixer", "site.other"}


def test_new_rules_take_over_in_the_middle_of_a_run_and_counts_stay_exact(tmp_path: Path) -> None:
    write(tmp_path)
    plant = Plant()
    pdu = modbus.adu(1, 1, modbus.write_coil(7, on=True))
    for _ in range(10):
        plant.exchange(HMI, PLC, pdu, pdu)
        plant.wait(0.5)
    pipeline = Pipeline(Options())
    batches = plant.batches(size=11)

    def frames() -> Any:
        yield batches[0]
        pipeline.use_rules(load_folders([rules_folder(), tmp_path]))
        yield from batches[1:]

    found = merge(pipeline.run(frames()))
    assert the(found, "operation.modbus.write-coils").count == 10
    assert 0 < the(found, "site.mixer").count < 10


CORRELATION = """\
title: Many stops
id: 6f1f0f7e-5b7a-4a3e-9d57-0d5bb1f0b001
name: site.many-stops
status: test
description: Several stops in a row.
author: plant
date: 2026-11-01
correlation:
  type: event_count
  rules: [operation.s7comm.stop]
  group-by: [source.ip]
  timespan: 1m
  condition: {gte: 3}
  generate: true
level: critical
"""


def stops(times: int, pause_s: float) -> Plant:
    plant = Plant()
    stop = bytes.fromhex("290000000000") + b"\x09P_PROGRAM"
    for number in range(times):
        plant.exchange(HMI, PLC, s7comm.job(number, stop), s7comm.ack_data(number, b"\x29"), S7)
        plant.wait(pause_s)
    return plant


@pytest.mark.parametrize("size", [None, 1, 3])
def test_a_correlation_is_found_in_the_stream_where_its_count_is_reached_in_time(
    tmp_path: Path, size: int | None
) -> None:
    write(tmp_path, CORRELATION, "site_many_stops.yml")
    options = Options(rules=load_folders([rules_folder(), tmp_path]))
    assert options.rules is not None
    assert options.rules.broken == ()
    findings = stops(4, 10).findings(size, options)
    found = the(findings, "site.many-stops")
    assert (found.severity, found.source_ip, found.count) == (Severity.CRITICAL, HMI, 1)
    assert found.fields["source.ip"] == HMI
    assert of(stops(4, 10).findings(size, options), "operation.s7comm.stop")
    assert not of(stops(4, 40).findings(size, options), "site.many-stops")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[operation.s7comm.stop]", "[no.such.rule]", "not there"),
        ("event_count", "value_median", "field"),
        ("event_count", "temporal", "too few"),
        ("{gte: 3}", "{gte: 0}", "count up"),
        ("[source.ip]", "[source.address]", "unknown field"),
        ("1m", "soon", "soon"),
    ],
)
def test_a_correlation_that_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    write(tmp_path, CORRELATION.replace(old, new, 1), "site_many_stops.yml")
    found = compile_folders([rules_folder(), tmp_path])
    assert found.correlations == shipped().correlations
    assert why in found.broken[0].why


def test_rules_that_serve_a_correlation_alone_are_not_told_by_themselves(tmp_path: Path) -> None:
    write(tmp_path)
    text = CORRELATION.replace("operation.s7comm.stop", "site.mixer").replace("  generate: true\n", "")
    write(tmp_path, text, "site_many_stops.yml")
    findings = writes(7).findings(options=Options(rules=load_folders([tmp_path])))
    assert not of(findings, "site.mixer")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("fenghuo:\n  taken_back: 7\n", "'taken_back' must name a rule"),
        ("fenghuo:\n  taken_back: site.nothing\n", "'taken_back' names 'site.nothing', which is no plain rule here"),
    ],
)
def test_a_rule_that_is_taken_back_by_nothing_known_is_named(tmp_path: Path, given: str, why: str) -> None:
    write(tmp_path, RULE + given)
    made = compile_folders([tmp_path])
    assert not made.rules
    assert why in str(made.broken[0])
