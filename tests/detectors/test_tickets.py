"""Tickets: what was planned is kept and quiet; at another time, by another host or of another kind it is loud."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.findings import BEGINS_NS, Plant, of

from detectors.baseline.book import Baseline, State
from detectors.baseline.learner import Learner
from detectors.baseline.review import decide
from detectors.content import ContentError
from detectors.finding import Finding, Severity, rfc3339
from detectors.pipeline import Options, Pipeline, merge
from detectors.tickets import load_tickets
from pcaps.messages import modbus
from sensor.capture.source import open_capture

ENGINEER, ROGUE, PLC = "10.1.0.7", "10.1.0.66", "10.1.0.20"
RESTART = "operation.modbus.restart-communications"
CAPTURES = Path(__file__).parents[2] / "pcaps"


def ticket(path: Path, **changes: str) -> Path:
    fields = {
        "id": "CHG-17", "who": f"[{ENGINEER}]", "device": "[10.1.0.0/24]", "operations": "[operation.modbus.*]",
        "from": rfc3339(BEGINS_NS), "to": rfc3339(BEGINS_NS + 100 * 10**9), "reason": "firmware of the pump",
    } | changes  # fmt: skip
    lines = "".join(f"    {name}: {value}\n" for name, value in fields.items() if value)
    path.write_text("tickets:\n  -\n" + lines, "utf-8")
    return path


def options(path: Path) -> Options:
    tickets, errors = load_tickets(path)
    assert errors == []
    return Options(tickets=tickets)


def restart(plant: Plant, source: str = ENGINEER) -> None:
    request = modbus.adu(1, 1, modbus.diagnostics(1))
    plant.exchange(source, PLC, request, request)


def restarts(plant: Plant, path: Path, size: int = 4) -> list[Finding]:
    return of(plant.findings(size, options(path)), RESTART)


def test_what_fits_a_ticket_is_kept_and_quiet(tmp_path: Path) -> None:
    plant = Plant()
    restart(plant)
    (found,) = restarts(plant, ticket(tmp_path / "t.yaml"))
    assert found.severity is Severity.INFORMATIONAL
    assert found.fields["event.change"] == "CHG-17"
    assert found.fields["event.severity_before"] == "high"
    assert found.explanation.en.startswith("Matches change CHG-17 (firmware of the pump).")
    assert found.explanation.zh.startswith("符合变更 CHG-17（firmware of the pump）。")


@pytest.mark.parametrize(
    "changes",
    [
        {"who": f"[{ROGUE}]"},
        {"device": "[10.9.0.0/16]"},
        {"operations": "[operation.s7comm.*]"},
        {"operations": "", "classes": "[write]"},
        {"station": "9"},
        {"from": rfc3339(BEGINS_NS + 50 * 10**9)},
    ],
)
def test_what_lies_outside_the_ticket_stays_loud(tmp_path: Path, changes: dict[str, str]) -> None:
    plant = Plant()
    restart(plant)
    (found,) = restarts(plant, ticket(tmp_path / "t.yaml", **changes))
    assert found.severity is Severity.HIGH
    assert "event.change" not in found.fields


def test_a_class_covers_its_operations(tmp_path: Path) -> None:
    plant = Plant()
    restart(plant)
    (found,) = restarts(plant, ticket(tmp_path / "t.yaml", operations="", classes="[critical]"))
    assert found.severity is Severity.INFORMATIONAL


def test_the_same_operation_inside_and_after_the_window_are_two_problems(tmp_path: Path) -> None:
    plant = Plant()
    restart(plant)
    plant.wait(200)
    restart(plant)
    quiet, loud = sorted(restarts(plant, ticket(tmp_path / "t.yaml"), size=5), key=lambda it: it.severity)
    assert (quiet.severity, quiet.count) == (Severity.INFORMATIONAL, 1)
    assert (loud.severity, loud.count) == (Severity.HIGH, 1)
    assert quiet.fingerprint != loud.fingerprint


def test_a_planned_program_download_is_one_quiet_finding(tmp_path: Path) -> None:
    capture = str(CAPTURES / "s7comm" / "block_download.pcap")
    loud = merge(Pipeline().run(open_capture(capture)))
    worst = max(loud, key=lambda it: it.severity)
    assert worst.severity >= Severity.HIGH
    path = ticket(
        tmp_path / "t.yaml", who=f"[{worst.source_ip}]", device=f"[{worst.destination_ip}]",
        operations="['engineering.*', 'operation.s7comm.*']",
        **{"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"},
    )  # fmt: skip
    quiet = merge(Pipeline(options(path)).run(open_capture(capture)))
    assert {it.rule_id for it in quiet} == {it.rule_id for it in loud}
    assert [it.count for it in of(quiet, worst.rule_id)] == [it.count for it in of(loud, worst.rule_id)]
    assert all(it.severity is Severity.INFORMATIONAL for it in of(quiet, worst.rule_id))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"from": "2026-01-01T00:00:00"}, "'from' must be a time with its zone"),
        ({"to": "2020-01-01T00:00:00Z"}, "'to' must be later than 'from'"),
        ({"operations": ""}, "name the operations or classes"),
        ({"operations": "['*']"}, "a ticket for everything hides attacks"),
        ({"who": "[somebody]"}, "'who' must be addresses or networks"),
        ({"classes": "[everything]"}, "unknown class 'everything'"),
        ({"wo": "x"}, "unknown key 'wo'"),
        ({"reason": ""}, "'reason' must be a non-empty text"),
    ],
)
def test_a_wrong_ticket_is_named_with_file_and_line_and_quiets_nothing(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    path = ticket(tmp_path / "t.yaml", **changes)
    good = ticket(tmp_path / "good.yaml", id="CHG-18").read_text("utf-8").removeprefix("tickets:\n")
    path.write_text(path.read_text("utf-8") + good, "utf-8")
    tickets, (error,) = load_tickets(path)
    assert [it.id for it in tickets] == ["CHG-18"]
    assert why in str(error)
    assert "t.yaml:" in str(error)


def test_a_file_that_is_no_list_of_tickets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("tickets: 7\n")
    with pytest.raises(ContentError, match=r"t\.yaml:1: 'tickets' must be a list"):
        load_tickets(tmp_path / "t.yaml")


def test_an_operation_that_the_baseline_approves_is_quiet_and_says_which_line() -> None:
    plant = Plant()
    restart(plant)
    plant.wait(5)
    learned = Baseline()
    for _ in Pipeline(detectors=[Learner(learned.merge)]).run(plant.batches()):
        pass
    before = plant.findings(options=Options(baseline=learned))
    assert {it.rule_id for it in before if it.severity >= Severity.MEDIUM} == {RESTART, "baseline.not-approved"}
    decide(learned, [name for name, _ in learned], State.APPROVED, "li.na", "weekly restart", 1)
    (found,) = plant.findings(options=Options(baseline=learned))
    assert (found.rule_id, found.severity) == (RESTART, Severity.INFORMATIONAL)
    assert found.fields["baseline.line"] in found.explanation.en
