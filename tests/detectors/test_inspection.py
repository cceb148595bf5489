"""`fenghuo inspect`: text for people, JSON lines for programs, exit codes for scripts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.findings import S7, Plant

from detectors import inspection
from detectors.finding import Finding
from detectors.inspection import inspect_captures
from detectors.pipeline import Pipeline
from detectors.report import language
from pcaps.messages import modbus, s7comm
from sensor.capture.write import frame_of, small_pcap

HMI, ENGINEER, PLC = "10.1.0.5", "10.1.0.9", "10.1.0.20"
REQUIRED = {
    "finding.id", "@timestamp", "rule.id", "rule.name", "rule.severity", "source.ip", "destination.ip",
    "network.protocol", "threat.technique.id", "message", "frames",
}  # fmt: skip


def save(plant: Plant, path: Path) -> str:
    (batch,) = plant.batches()
    path.write_bytes(small_pcap(1, [frame_of(batch, number) for number in range(1, batch.size + 1)]))
    return str(path)


@pytest.fixture
def stop(tmp_path: Path) -> str:
    plant = Plant()
    request = bytes.fromhex("290000000000") + b"\x09P_PROGRAM"
    plant.exchange(ENGINEER, PLC, s7comm.job(1, request), s7comm.ack_data(1, b"\x29"), S7)
    return save(plant, tmp_path / "stop.pcap")


@pytest.fixture
def polling(tmp_path: Path) -> str:
    plant = Plant()
    plant.wait(0.0005)
    for n in range(5):
        plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n])))
    return save(plant, tmp_path / "polling.pcap")


def run(*paths: str, form: str = "jsonl", lang: str = "en", together: bool = False) -> tuple[int, str, list[str]]:
    out, said = io.StringIO(), []
    code = inspect_captures(
        paths, form=form, lang=lang, together=together, complain=lambda line: said.append(str(line)), out=out
    )
    return code, out.getvalue(), said


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_finding_line_has_the_keys_of_the_contract(stop: str) -> None:
    code, text, said = run(stop)
    (line,) = lines(text)
    assert line.keys() >= REQUIRED
    assert (code, said) == (0, [])
    assert line["finding.id"] == "inspect/0/1"
    assert line["rule.id"] == "operation.s7comm.stop"
    assert line["threat.technique.id"] == ["T0858"]
    assert line["frames"] == [4, 5]
    assert "capture" not in line


def test_several_captures_are_each_named_and_numbered_through(stop: str, polling: str) -> None:
    _, text, _ = run(stop, polling, stop)
    assert [(line["finding.id"], line["capture"]) for line in lines(text)] == [
        ("inspect/0/1", stop),
        ("inspect/0/2", stop),
    ]


def test_one_capture_that_cannot_be_read_does_not_stop_the_others(stop: str, tmp_path: Path) -> None:
    code, text, said = run(str(tmp_path / "absent.pcap"), stop, str(tmp_path))
    assert code == 2
    assert [line["capture"] for line in lines(text)] == [stop]
    assert len(said) == 2
    assert "absent.pcap: no such file" in said[0]


def test_together_leads_frames_back_to_the_capture_they_stand_in(stop: str, polling: str) -> None:
    code, text, _ = run(polling, stop, together=True)
    (line,) = lines(text)
    assert code == 0
    assert (line["capture"], line["frames"]) == (stop, [4, 5])
    assert {(pdu["capture"], pdu["frame"]) for pdu in line["evidence.pdus"]} == {(stop, 4), (stop, 5)}


def test_text_says_plainly_that_nothing_was_found(polling: str) -> None:
    code, text, _ = run(polling, form="text")
    assert (code, text) == (0, "nothing found (13 frames, 10 protocol messages)\n")


def test_text_is_one_block_for_each_finding_in_the_language_asked_for(stop: str) -> None:
    _, english, _ = run(stop, form="text")
    assert english.startswith(
        "CRITICAL  2023-11-14 22:13:20 UTC  10.1.0.9 -> 10.1.0.20  PLC stop\n    10.1.0.9 ordered"
    )
    assert "operation.s7comm.stop · T0858 · frames 4, 5" in english
    assert english.endswith("found: CRITICAL 1 (5 frames, 2 protocol messages)\n")
    _, chinese, _ = run(stop, form="text", lang="zh")
    assert chinese.startswith("严重  2023-11-14 22:13:20 UTC  10.1.0.9 -> 10.1.0.20  停止 PLC\n")


def test_a_capture_without_industrial_traffic_says_so(tmp_path: Path) -> None:
    plant = Plant()
    plant.asks(HMI, PLC, b"GET / HTTP/1.1\r\n\r\n", port=80)
    _, text, _ = run(save(plant, tmp_path / "web.pcap"), form="text")
    assert text == "nothing found (4 frames, no message of Modbus, S7comm or DNP3 among them)\n"


def test_a_cut_capture_gives_what_can_be_read_and_one_warning(stop: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(stop).read_bytes()[:-5])
    code, text, said = run(str(cut))
    assert code == 0
    assert [line["rule.id"] for line in lines(text)] == ["operation.s7comm.stop"]
    assert len(said) == 1
    assert "cut off" in said[0]


class _Failing:
    name = "failing"

    def observe(self, *_: object) -> list[Finding]:
        raise RuntimeError("broken")

    flush = observe


def test_a_detector_that_fails_gives_exit_code_1(stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "Pipeline", lambda options: Pipeline(options, detectors=[_Failing()]))
    code, text, _ = run(stop)
    assert code == 1
    assert [line["rule.id"] for line in lines(text)] == ["detector.failed"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "zh_TW", "LANG": "de_DE"}, "zh"),
        ({}, "en"),
    ],
)
def test_the_language_follows_the_locale_unless_it_is_asked_for(environment: dict[str, str], expected: str) -> None:
    assert language(None, environment) == expected
    assert language("zh", environment) == "zh"


def fenghuo(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "fenghuo", "inspect", *arguments],
        capture_output=True, text=True, encoding="utf-8", env=environment, check=False, **more,
    )  # fmt: skip


def test_the_command_gives_only_findings_on_standard_output_and_no_progress_in_a_pipe(stop: str) -> None:
    done = fenghuo("--format", "jsonl", stop)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines(done.stdout)) == 1


def test_the_command_says_in_one_line_what_it_cannot_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty\x1b[31m.pcap"
    empty.touch()
    done = fenghuo(str(empty))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_use_gives_exit_code_2_and_help_tells_the_codes(stop: str) -> None:
    assert fenghuo("--format", "xml", stop).returncode == 2
    assert fenghuo().returncode == 2
    assert "Exit codes" in fenghuo("--help").stdout
