"""Hunting back as people do it: captures and logs into an archive, looked after, searched, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from commands.hunt_query import condition_of, pointed
from console.store.search.query.errors import QueryError
from detectors.sigma.tree import predicate
from fenghuo import main
from sensor.archive.store import Archive

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = [str(path) for kind in ("modbus", "s7comm") for path in sorted((ROOT / "pcaps" / kind).glob("*.pcap"))[:2]]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(it) for it in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("hunting") / "archive"
    for capture in CAPTURES:
        assert run("archive", "add", "--archive", made, capture).exit_code == 0
    return made


def hits(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines() if "hunt.name" in line]


def test_a_capture_is_added_once_and_a_missing_one_is_named(folder):
    again = run("archive", "add", "--archive", folder, CAPTURES[0], "no-such.pcap")
    assert again.exit_code == 2
    assert "archived before" in again.stdout
    assert "no-such.pcap" in again.stderr


def test_the_archive_tells_what_it_holds_and_is_sound(folder):
    records = [
        json.loads(line)
        for line in run("archive", "status", "--archive", folder, "--format", "jsonl").stdout.splitlines()
    ]
    sources = [it for it in records if it["record"] == "source"]
    assert [it["path"] for it in sources] == CAPTURES
    assert all(it["records"] == it["archived"] for it in sources)
    counted = sum(it["events"] for it in records if it.get("kind") == "behaviours" and it["record"] == "files")
    assert counted == sum(it["records"] for it in sources)
    verified = run("archive", "verify", "--archive", folder)
    assert (verified.exit_code, "0 faults" in verified.stdout) == (0, True)


def test_a_query_leads_back_to_the_frames_of_its_capture(folder):
    result = run("hunt", "--archive", folder, "protocol:modbus", "--format", "jsonl", "--limit", "0")
    assert result.exit_code == 1
    rows = hits(result)
    assert {row["origin.path"] for row in rows} <= set(CAPTURES)
    assert all(row["frame"] <= row["archive.frame_last"] for row in rows)
    total = json.loads(result.stdout.splitlines()[-1])
    assert total["rows"] == len(rows)
    assert total["events"] == sum(row["archive.count"] for row in rows)


def test_an_address_is_found_by_query_and_by_list_alike(folder, tmp_path):
    everything = hits(run("hunt", "--archive", folder, "*", "--format", "jsonl", "--limit", "0"))
    address = everything[0]["source.ip"]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{address}\nnonsense\n")
    by_list = run("hunt", "--archive", folder, "--indicators", listed, "--format", "jsonl", "--limit", "0")
    by_query = run("hunt", "--archive", folder, address, "--format", "jsonl", "--limit", "0")
    wanted = sum(address in (row.get("source.ip"), row.get("destination.ip")) for row in everything)
    assert len(hits(by_list)) == len(hits(by_query)) == wanted > 0
    assert f"{listed}:2: 'nonsense'" in by_list.stderr
    assert "2 records: 1 used, 1 rejected" in by_list.stderr


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_nothing_found_is_said_and_exit_code_0(folder, lang):
    result = run("hunt", "--archive", folder, "--lang", lang, "ip:192.0.2.77")
    assert result.exit_code == 0
    assert ("没有找到" if lang == "zh" else "Nothing found") in result.stdout


def test_times_limit_a_hunt(folder):
    last = max(it.last_ns for it in Archive(folder).catalogue.files())
    after = f"{last // 10**9 + 1}"
    assert run("hunt", "--archive", folder, "*", "--since", "1990-01-01").exit_code == 1
    assert run("hunt", "--archive", folder, "*", "--until", "1990-01-01T00:00:00+08:00").exit_code == 0
    assert run("hunt", "--archive", folder, "*", "--since", "1s").exit_code == 0
    assert run("hunt", "--archive", folder, "*", "--since", after).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "say what to hunt for"),
        (["modbus.x:3"], "There is no field modbus.x"),
        (["stop"], "Name the field"),
        (["@timestamp:>2026-01-01"], "--since"),
        (["--rule", "no-such-rule"], "there is no rule"),
        (["--archive", "no-such-folder", "ip:10.0.0.1"], "is no archive"),
    ],
)
def test_wrong_use_says_what_to_do(folder, arguments, why):
    result = run("hunt", "--archive", folder, *arguments)
    assert result.exit_code == 2
    assert why in result.stderr


def test_compaction_and_retention_by_command(folder, tmp_path):
    before = hits(run("hunt", "--archive", folder, "*", "--format", "jsonl", "--limit", "0"))
    assert run("archive", "compact", "--archive", folder).exit_code == 0
    after = hits(run("hunt", "--archive", folder, "*", "--format", "jsonl", "--limit", "0"))
    assert sum(it["archive.count"] for it in before) == sum(it["archive.count"] for it in after)
    assert "would be removed" in run("archive", "prune", "--archive", folder, "--max-bytes", "0", "--dry-run").stdout
    assert Archive(folder).catalogue.files()
    assert run("archive", "prune", "--archive", folder).exit_code == 2


def test_a_log_with_rejected_records_ends_with_exit_code_1(tmp_path):
    log = tmp_path / "eve.json"
    event = {
        "timestamp": "2020-07-25T07:03:28.2+0000", "event_type": "alert", "src_ip": "10.0.0.1", "dest_ip": "10.0.0.2",
        "src_port": 1, "dest_port": 502, "proto": "TCP", "alert": {"signature": "ET SCADA", "signature_id": 7},
    }  # fmt: skip
    log.write_text(json.dumps(event) + "\n{}\n")
    result = run("archive", "import", "--archive", tmp_path / "a", log)
    assert result.exit_code == 1
    assert "2 records = 1 archived (1 events) + 1 rejected" in result.stdout
    (hit, *_) = hits(run("hunt", "--archive", tmp_path / "a", "archive.alert:*SCADA*", "--format", "jsonl"))
    assert (hit["archive.alert"], hit["frame"], hit["origin.kind"]) == ("7: ET SCADA", 1, "suricata")


def test_a_file_that_crossed_the_wire_is_found_by_its_hash_and_by_who_sent_it(tmp_path):
    for capture in sorted((ROOT / "pcaps" / "mixed").glob("*.pcap")):
        assert run("archive", "add", "--archive", tmp_path, capture).exit_code == 0
    (file, *_) = hits(run("hunt", "--archive", tmp_path, "artifact.kind:ftp-file", "--format", "jsonl"))
    assert (file["network.protocol"], file["archive.kept_for"]) == ("ftp", "artifact")
    listed = tmp_path / "list.csv"
    listed.write_text(f"value,what\n{file['artifact.sha256'].upper()},tool\n{file['source.ip']},host\n")
    found = hits(run("hunt", "--archive", tmp_path, "--indicators", listed, "--format", "jsonl", "--limit", "0"))
    assert any(row["hunt.name"] == file["artifact.sha256"] and row["hunt.title"] == "tool" for row in found)
    assert any(row["hunt.name"] == file["source.ip"] and row.get("artifact.kind") == "ftp-file" for row in found)


ROW = {
    "source.ip": "10.1.2.3", "destination.ip": "10.1.9.9", "event.action": "write", "modbus.function_code": 5,
    "modbus.function": "write_single_coil", "modbus.values": [1, 7], "modbus.device_id.more_follows": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("ip:10.1.2.3", True),
        ("destination:10.1.2.3", False),
        ("10.1.9.0/24", True),
        ("source.ip:10.1.2.*", True),
        ("action:WRITE AND modbus.function_code:(5 OR 15)", True),
        ("action:write -modbus.function_code:5", False),
        ("NOT action:read", True),
        ("modbus.function_code:[4 TO 6]", True),
        ("modbus.function_code:{5 TO 6}", False),
        ("modbus.function_code:>=5 modbus.function:*coil", True),
        ("modbus.values:7", True),
        ("modbus.values:>7", False),
        ("modbus.device_id.more_follows:true", True),
        ("dnp3.iin:*", False),
        ("-dnp3.iin:*", True),
        ("*", True),
        ("ab" * 32, False),
    ],
)
def test_queries_mean_what_they_mean_in_the_console(query, holds):
    assert predicate(condition_of(query))(ROW) is holds


def test_a_mark_stands_under_what_is_wrong():
    with pytest.raises(QueryError) as error:
        condition_of("action:write AND nosuch:1")
    lines = pointed("action:write AND nosuch:1", error.value).splitlines()
    assert lines[1][lines[2].index("^") :].startswith("nosuch")
