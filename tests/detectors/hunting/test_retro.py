"""A sensor with an archive searches it for each indicator that is new to it, and tells what it finds once."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from detectors.finding import Finding
from detectors.hunting.retro import RetroHunt, finding_of, look
from detectors.pipeline import Options, Pipeline
from detectors.program import SensorProgram
from sensor.archive.origin import Target
from sensor.archive.store import Archive
from sensor.capture.source import open_capture
from sensor.spool import Spool

CAPTURE = Path(__file__).resolve().parents[3] / "pcaps" / "s7comm" / "memory_reset.pcap"
BULLETIN = {"id": "b1", "title": "Wave"}


def item(name: str, kind: str, value: object) -> dict[str, object]:
    return {"id": name, "type": kind, "value": value, "bulletin": BULLETIN}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("retro") / "archive"
    pipeline = Pipeline(Options(archive=Target(made), capture=str(CAPTURE)), [])
    pipeline.engineering = None
    list(pipeline.run(open_capture(str(CAPTURE))))
    return made


@pytest.fixture(scope="module")
def address(folder) -> str:
    from sensor.archive.columns import lines_of
    from sensor.archive.compaction import read

    archive = Archive(folder)
    return str(lines_of(read(archive, archive.catalogue.files("behaviours")[0]))[0]["source.ip"])


def test_each_indicator_gives_its_sums_the_ends_and_rows_that_lead_to_frames(folder, address):
    items = [
        item("i1", "ip", address), item("i2", "cidr", "192.0.2.0/24"), item("i3", "operation", "operation.s7comm.stop"),
        item("i4", "operation", {"network.protocol": "s7comm", "s7comm.rosctr": 1}), item("i5", "domain", "x.example"),
    ]  # fmt: skip
    found = {it["id"]: it for it in look(folder, items)}
    counted = sum(it.events for it in Archive(folder).catalogue.files("behaviours"))
    assert found["i1"]["events"] == counted
    assert {"i2", "i5"}.isdisjoint(found)
    assert 0 < found["i4"]["events"] < counted
    finding = finding_of(found["i1"])
    assert finding.rule_id == "indicator.archived"
    assert finding.fields == {"indicator.id": "i1", "bulletin.id": "b1"}
    assert finding.count == counted
    assert address in finding.explanation.zh
    assert all(pdu["frame"] > 0 and pdu["capture"] == str(CAPTURE) for pdu in finding.evidence.pdus)


def wait_for(happened) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_indicator_is_searched_for_once_also_after_a_new_start(folder, address, tmp_path):
    notes, found, kept = tmp_path / "hunted.json", [], threading.Event()

    def take(finding: Finding) -> None:
        found.append(finding)
        kept.set()

    hunter = RetroHunt(folder, notes, take)
    hunter.ask([item("i1", "ip", address), item("i2", "ip", "192.0.2.9")])
    wait_for(notes.exists)
    assert [it.fields["indicator.id"] for it in found] == ["i1"]
    assert len(json.loads(notes.read_text())) == 2
    hunter.close()
    again = RetroHunt(folder, notes, take)
    again.ask([item("i1", "ip", address), item("i3", "ip", address)])
    wait_for(lambda: len(json.loads(notes.read_text())) == 3)
    again.close()
    assert [it.fields["indicator.id"] for it in found] == ["i1", "i3"]


def test_an_archive_that_cannot_be_searched_leaves_the_indicators_for_the_next_time(tmp_path, caplog):
    hunter = RetroHunt(tmp_path / "nowhere", tmp_path / "hunted.json", pytest.fail)
    hunter.ask([item("i1", "ip", "192.0.2.1")])
    wait_for(lambda: "could not be searched" in caplog.text)
    hunter.close()
    assert not (tmp_path / "hunted.json").exists()


def test_a_sensor_tells_what_its_indicators_match_in_the_past(folder, address, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"sensor": "line-1", "indicators": [item("i1", "ip", address)]}))
    said: list[str] = []
    declared = Options(archive=Target(folder))
    program = SensorProgram("http://127.0.0.1:9", "a-key", tmp_path, "", said.append, declared=declared)
    running = threading.Thread(target=program.run, args=([],))
    running.start()
    wait_for((tmp_path / "hunted.json").exists)
    program.stop()
    running.join(60)
    spool = Spool(tmp_path / "spool", lambda loss: {"lost": loss.last})
    lines = [json.loads(record.line) for record in spool.batch(500, 8_000_000)]
    spool.close()
    (told,) = (line for line in lines if line["rule.id"] == "indicator.archived")
    assert '"indicator.id": "i1"' in json.dumps(told)
    assert str(told["finding.id"]).startswith("line-1/")
