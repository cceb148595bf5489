"""The command `fenghuo` as people and scripts use it: real processes, real captures, real pipes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENGHUO = Path(sys.executable).with_name("fenghuo")
PCAPS = ROOT / "pcaps"
UMAS_STOP = PCAPS / "modbus" / "umas_stop.pcap"
FILE_DELETED = PCAPS / "dnp3" / "file_deleted.pcap"
BLOCKS_DELETED = PCAPS / "s7comm" / "blocks_deleted_and_cold_start.pcap"
GARBAGE = PCAPS / "mixed" / "garbage_on_industrial_ports.pcap"

# A classic pcap, little-endian, Ethernet, with one ARP request and nothing else.
ARP_ONLY = (
    bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    + bytes.fromhex("80b2a669 00000000 3c000000 3c000000")
    + bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a140101 000000000000 0a140102")
    + bytes(18)
)


def fenghuo(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One call, output captured."""
    command = [str(FENGHUO), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT, env=env, check=False)
    assert "Traceback" not in done.stderr
    return done


def objects(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What people hand in instead of a capture."""
    folder = tmp_path_factory.mktemp("unreadable")
    (folder / "empty.pcap").write_bytes(b"")
    (folder / "text.pcap").write_text("dear operator,\nplease find attached\n")
    (folder / "magic.pcap").write_bytes(ARP_ONLY[:4])
    (folder / "folder.pcap").mkdir()
    (folder / "line\nbreak\x1b[31m.pcap").write_text("x")
    paths = {path.name: path for path in folder.iterdir()}
    return {**paths, "missing.pcap": folder / "missing.pcap"}


@pytest.mark.parametrize("command", ["decode", "inspect"])
def test_what_is_no_capture_gives_one_line_each_and_the_others_are_still_taken(
    command: str, unreadable: dict[str, Path]
) -> None:
    done = fenghuo(command, "--format", "jsonl", *unreadable.values(), FILE_DELETED)
    assert done.returncode == 2
    complaints = done.stderr.splitlines()
    assert len(complaints) == len(unreadable)
    assert "\x1b" not in done.stderr
    for name in ("empty.pcap", "text.pcap", "magic.pcap", "folder.pcap", "missing.pcap"):
        assert sum(name in line for line in complaints) == 1
    lines = objects(done.stdout)
    assert lines
    assert {line["capture"] for line in lines} == {str(FILE_DELETED)}


def test_nothing_but_unreadable_input_gives_no_output(unreadable: dict[str, Path]) -> None:
    done = fenghuo("inspect", unreadable["empty.pcap"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_decode_prints_one_object_for_each_message_with_the_keys_of_the_contract() -> None:
    done = fenghuo("decode", UMAS_STOP, BLOCKS_DELETED, FILE_DELETED)
    assert (done.returncode, done.stderr) == (0, "")
    lines = objects(done.stdout)
    by_protocol = {
        name: [it for it in lines if it["network.protocol"] == name] for name in ("modbus", "s7comm", "dnp3")
    }
    assert {name: len(found) for name, found in by_protocol.items()} == {"modbus": 12, "s7comm": 10, "dnp3": 2}
    common = {"@timestamp", "frame", "source.ip", "source.port", "destination.ip", "destination.port", "capture"}
    assert all(common <= line.keys() for line in lines)
    assert [line["modbus.function_code"] for line in by_protocol["modbus"]] == [90] * 12
    assert by_protocol["modbus"][0]["modbus.transaction_id"] == by_protocol["modbus"][1]["modbus.transaction_id"] == 1
    assert by_protocol["modbus"][0]["modbus.unit_id"] == 0
    asked, answered = by_protocol["dnp3"]
    assert (asked["dnp3.link.source"], asked["dnp3.link.destination"], asked["dnp3.function_code"]) == (1, 42, 27)
    assert (answered["dnp3.link.source"], answered["dnp3.function_code"]) == (42, 129)
    assert asked["dnp3.sequence"] == answered["dnp3.sequence"] == 0
    services = [
        line["s7comm.service"]
        for line in by_protocol["s7comm"]
        if line["s7comm.rosctr"] == 1 and "s7comm.service" in line
    ]
    assert services == ["_DELE", "_DELE", "P_PROGRAM"]


def test_every_line_of_decode_names_its_capture_as_it_was_given() -> None:
    lines = objects(fenghuo("decode", FILE_DELETED).stdout)
    assert {line["capture"] for line in lines} == {str(FILE_DELETED)}


def test_csv_has_a_row_for_each_message_and_no_cell_that_a_spreadsheet_would_run() -> None:
    rows = list(csv.DictReader(io.StringIO(fenghuo("decode", "--format", "csv", UMAS_STOP).stdout)))
    assert [row["modbus.function_code"] for row in rows] == ["90"] * 12
    assert not [cell for row in rows for cell in row.values() if cell[:1] in {"=", "+", "@", "\t"}]


def test_several_captures_together_are_one_stream_of_time() -> None:
    lines = objects(fenghuo("decode", "--together", UMAS_STOP, FILE_DELETED, BLOCKS_DELETED).stdout)
    assert len(lines) == 12 + 2 + 10
    assert [line["@timestamp"] for line in lines] == sorted(line["@timestamp"] for line in lines)
    assert {line["capture"] for line in lines} == {str(UMAS_STOP), str(FILE_DELETED), str(BLOCKS_DELETED)}
    assert max(line["frame"] for line in lines if line["capture"] == str(FILE_DELETED)) <= 9


def test_a_capture_that_was_cut_off_gives_what_is_there_and_one_warning(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(UMAS_STOP.read_bytes()[:-700])
    done = fenghuo("decode", cut)
    whole = objects(fenghuo("decode", UMAS_STOP).stdout)
    assert done.returncode == 0
    assert 0 < len(objects(done.stdout)) < 12
    read = [{**line, "capture": ""} for line in objects(done.stdout)]
    assert read == [{**line, "capture": ""} for line in whole[: len(read)]]
    assert done.stderr.count("\n") == 1
    assert str(cut) in done.stderr


def test_traffic_without_an_industrial_protocol_is_plainly_nothing(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.pcap"
    quiet.write_bytes(ARP_ONLY)
    decoded = fenghuo("decode", quiet)
    assert (decoded.returncode, decoded.stdout, decoded.stderr) == (0, "", "")
    told = fenghuo("inspect", "--lang", "en", quiet)
    assert (told.returncode, told.stderr) == (0, "")
    assert "nothing found" in told.stdout.lower()
    assert fenghuo("inspect", "--format", "jsonl", quiet).stdout == ""


def test_garbage_on_industrial_ports_is_neither_a_message_nor_an_alarm() -> None:
    decoded = fenghuo("decode", GARBAGE)
    assert (decoded.returncode, decoded.stdout, decoded.stderr) == (0, "", "")
    found = fenghuo("inspect", "--format", "jsonl", GARBAGE)
    assert found.returncode == 0
    assert {line["rule.severity"] for line in objects(found.stdout)} == {"informational"}


def test_a_finding_line_has_the_keys_of_the_contract() -> None:
    done = fenghuo("inspect", "--format", "jsonl", UMAS_STOP, BLOCKS_DELETED)
    assert (done.returncode, done.stderr) == (0, "")
    lines = objects(done.stdout)
    keys = {
        "finding.id", "@timestamp", "rule.id", "rule.name", "rule.severity", "source.ip", "destination.ip",
        "network.protocol", "threat.technique.id", "message", "frames", "capture",
    }  # fmt: skip
    assert all(keys <= line.keys() for line in lines)
    assert len({line["finding.id"] for line in lines}) == len(lines)
    (stop,) = [line for line in lines if line["rule.id"] == "engineering.start-stop"]
    assert "T0858" in stop["threat.technique.id"]
    assert (stop["source.ip"], stop["destination.ip"]) == ("10.20.9.66", "10.20.2.11")
    assert stop["rule.severity"] == "critical"
    sent = [line for line in objects(fenghuo("decode", UMAS_STOP).stdout) if line["frame"] in stop["frames"]]
    assert {line["modbus.subfunction"] for line in sent if line["event.kind"] == "request"} >= {"stop_controller"}


@pytest.mark.parametrize(("lang", "word"), [("zh", "停"), ("en", "stop")])
def test_findings_are_told_to_people_in_their_language(lang: str, word: str) -> None:
    done = fenghuo("inspect", "--lang", lang, UMAS_STOP)
    assert done.returncode == 0
    assert word in done.stdout
    assert "10.20.9.66" in done.stdout
    assert "10.20.2.11" in done.stdout


def test_a_reader_who_has_seen_enough_ends_it_quietly() -> None:
    polling = PCAPS / "modbus" / "benign_polling.pcap"  # more output than a pipe holds
    with subprocess.Popen(
        [FENGHUO, "decode", polling], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        json.loads(child.stdout.readline())
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0


@pytest.mark.parametrize("arguments", [(), ("decode",), ("decode", "--format", "xml", UMAS_STOP), ("nonsense",)])
def test_wrong_use_is_told_on_standard_error(arguments: tuple[object, ...]) -> None:
    done = fenghuo(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: fenghuo" in done.stderr


# Each takes a tenth of a second or more to import, and a capture that is only read needs none.
HEAVY = ("numba", "httpx", "cryptography", "pyarrow", "sigma", "scapy", "sqlalchemy", "flask")
LOADED = """
import sys
import fenghuo
try:
    fenghuo.main()
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
@pytest.mark.parametrize("command", ["decode", "inspect", "span-check"])
def test_a_command_that_ran_before_starts_without_what_it_does_not_need(command):
    call = [sys.executable, "-c", LOADED, command, str(UMAS_STOP)]
    for _ in range(2):
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout
    assert [name for name in HEAVY if name in done.stderr.split()] == []
