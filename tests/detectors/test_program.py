"""The sensor program where its console cannot be reached; with a console: tests/behaviour/test_whole_path.py."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from detectors.program import SensorProgram
from sensor.reports import Reports
from sensor.spool import Spool

CAPTURE = Path(__file__).resolve().parents[2] / "pcaps" / "s7comm" / "memory_reset.pcap"
INDICATOR = {"id": "i1", "type": "operation", "value": "operation.s7comm.stop", "bulletin": {"id": "b1", "title": "t"}}


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def inspect_without_console(url: str, folder: Path, name: str) -> list[dict[str, object]]:
    """What waits in the spool after one capture."""
    said: list[str] = []
    program = SensorProgram(url, "a-key", folder, name, said.append)
    running = threading.Thread(target=program.run, args=([str(CAPTURE)],))
    running.start()
    end = time.monotonic() + 300
    while not any("findings" in line for line in said) and running.is_alive() and time.monotonic() < end:
        time.sleep(0.05)
    program.stop()
    running.join(60)
    assert any("cannot be reached" in line for line in said)
    spool = Spool(folder / "spool", lambda loss: {"lost": loss.last})
    try:
        return [json.loads(record.line) for record in spool.batch(500, 8_000_000)]
    finally:
        spool.close()


def test_a_sensor_that_was_given_its_name_finds_before_its_console_was_ever_reached(
    nobody: str, tmp_path: Path
) -> None:
    kept = inspect_without_console(nobody, tmp_path, "line-1")
    assert {str(line["finding.id"]).split("/")[0] for line in kept} == {"line-1"}
    assert "engineering.memory-reset" in {line["rule.id"] for line in kept}


def test_a_sensor_starts_without_its_console_with_the_name_and_the_indicators_of_last_time(
    nobody: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"sensor": "line-2", "indicators": [INDICATOR]}))
    kept = inspect_without_console(nobody, tmp_path, "")
    assert {str(line["finding.id"]).split("/")[0] for line in kept} == {"line-2"}
    assert "indicator.operation" in {line["rule.id"] for line in kept}


def test_what_stood_in_a_capture_is_still_reported_after_a_restart_when_its_console_is_back(
    nobody: str, tmp_path: Path
) -> None:
    inspect_without_console(nobody, tmp_path, "line-3")
    taken: dict[str, list[dict[str, object]]] = {"assets": [], "behaviours": []}

    def console(what: str, body: bytes) -> dict[str, object]:
        taken[what] += json.loads(body)[what]
        return {"rejected": []}

    reports = Reports(tmp_path / "reports.json", console)
    while reports.step():
        pass
    assert {"10.20.3.31"} <= {str(asset["address"]) for asset in taken["assets"]}
    assert {it["server"] for it in taken["behaviours"]} >= {"10.20.3.31"}
    assert all(it["run"] for it in taken["behaviours"])
