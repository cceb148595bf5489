"""Every capture of pcaps/ against the file beside it: what it holds, which findings it must and must not give."""

from __future__ import annotations

import gzip
import importlib
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from detectors import knowledge, yara_rules
from detectors.finding import Finding, Severity
from detectors.pipeline import Options, Pipeline, merge
from detectors.sigma.ruleset import shipped
from pcaps import build
from pcaps.dialogue import Frame
from pcaps.files import pcap
from pcaps.recordings.__main__ import RECORDINGS
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch

FOLDER = Path(build.__file__).resolve().parent
CAPTURES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.pcap*"))
SEVERITIES = {severity.word: severity for severity in Severity}
LARGEST, ALL_TOGETHER = 300_000, 2_000_000  # bytes


def beside(name: str) -> Path:
    """The file that says what a capture must show."""
    path = FOLDER / name
    return path.with_name(path.name.split(".")[0] + ".toml")


def expected(name: str) -> dict[str, Any]:
    """What stands in it."""
    return tomllib.loads(beside(name).read_text(encoding="utf-8"))


def decoded(path: Path) -> tuple[Decoder, list[EventBatch]]:
    """All events of a capture."""
    decoder = Decoder()
    return decoder, list(decoder.decode(open_capture(path)))


def lines(path: Path) -> list[dict[str, Any]]:
    """Every event at full depth."""
    decoder, batches = decoded(path)
    return [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]


def per_protocol(batches: list[EventBatch]) -> dict[str, int]:
    """Number of messages of each protocol."""
    counts: Counter[int] = Counter()
    for batch in batches:
        counts.update(batch.columns.protocol.tolist())
    return {Protocol(number).name.lower(): count for number, count in counts.items()}


def fits(finding: Finding, wanted: dict[str, Any]) -> bool:
    """Whether a finding is the one that a [[must]] names."""
    return (
        finding.rule_id == wanted["rule"]
        and finding.severity.word == wanted["severity"]
        and set(wanted["techniques"]) <= set(finding.techniques)
        and wanted.get("source", finding.source_ip) == finding.source_ip
        and wanted.get("destination", finding.destination_ip) == finding.destination_ip
    )


def test_every_capture_has_a_file_beside_it_and_a_script_that_makes_it() -> None:
    assert set(CAPTURES) == {*build.SCENARIOS, *RECORDINGS}
    assert {beside(name) for name in CAPTURES} == set(FOLDER.glob("*/*.toml"))
    assert len(CAPTURES) == len({beside(name) for name in CAPTURES})


def test_captures_stay_small() -> None:
    sizes = {name: (FOLDER / name).stat().st_size for name in CAPTURES}
    assert max(sizes.values()) <= LARGEST
    assert sum(sizes.values()) <= ALL_TOGETHER


@pytest.mark.parametrize("name", CAPTURES)
def test_the_file_beside_a_capture_is_complete(name: str) -> None:
    side = expected(name)
    recorded = {"stack", "recorded"} if name in RECORDINGS else set()
    assert set(side) - {"must"} == {"title", "shows", "origin", "made_by", "pdus", "must_not"} | recorded
    assert side["origin"] == ("recorded" if recorded else "scenario")
    if recorded:
        assert isinstance(side["recorded"], date)
    for text in (side["title"], side["shows"]):
        assert set(text) == {"zh", "en"}
        assert all(text.values())
    module, function = side["made_by"].rsplit(".", 1)
    assert getattr(importlib.import_module(module), function) is {**build.SCENARIOS, **RECORDINGS}[name]
    rules = {*knowledge.detector_rules(), *(rule.id for rule in (*shipped().rules, *shipped().correlations))}
    rules |= {rule.id for rule in yara_rules.shipped().meaning.values()}
    named = [wanted["rule"] for wanted in side.get("must", [])] + side["must_not"].get("rules", [])
    assert set(named) <= rules
    assert side["must_not"]["above"] in SEVERITIES


@pytest.mark.parametrize("name", CAPTURES)
def test_capture_holds_the_messages_that_were_sent(name: str) -> None:
    _, batches = decoded(FOLDER / name)
    assert per_protocol(batches) == expected(name)["pdus"]


@pytest.mark.parametrize("name", CAPTURES)
def test_capture_gives_the_findings_that_it_must_and_no_others(name: str) -> None:
    side = expected(name)
    findings = merge(Pipeline(Options(capture=name)).run(open_capture(FOLDER / name)))
    told = "\n".join(f"{it.severity.word} {it.rule_id} {it.source_ip} -> {it.destination_ip}" for it in findings)
    for wanted in side.get("must", []):
        assert any(fits(finding, wanted) for finding in findings), f"{wanted} is missing in:\n{told}"
    due = {wanted["rule"] for wanted in side.get("must", [])}
    above = SEVERITIES[side["must_not"]["above"]]
    assert [it.rule_id for it in findings if it.severity > above and it.rule_id not in due] == [], told
    assert {it.rule_id for it in findings} & set(side["must_not"].get("rules", [])) == set(), told


@pytest.mark.parametrize("name", build.SCENARIOS)
def test_scenario_rebuilds_byte_for_byte(name: str) -> None:
    stored, rebuilt = (FOLDER / name).read_bytes(), build.build(name)
    if name.endswith(".gz"):  # another zlib may pack the same octets otherwise
        stored, rebuilt = gzip.decompress(stored), gzip.decompress(rebuilt)
    assert rebuilt == stored


@pytest.mark.parametrize("name", RECORDINGS)
def test_real_stacks_still_say_as_much_when_they_are_recorded_anew(name: str, tmp_path: Path) -> None:
    frames: list[Frame] = RECORDINGS[name]()
    anew = tmp_path / "anew.pcap"
    anew.write_bytes(pcap(frames))
    _, batches = decoded(anew)
    said, before = per_protocol(batches), expected(name)["pdus"]
    assert said.keys() == before.keys()
    for protocol, messages in before.items():  # a server may still answer a caller that hangs up on it, or be too late
        assert messages <= said[protocol] <= messages + 1


def test_a_dialogue_gives_the_same_events_however_it_is_cut() -> None:
    events = lines(FOLDER / "mixed" / "segmentation.pcap")
    asked = [line["modbus.transaction_id"] for line in events if line["event.kind"] == "request"]
    answered = [line["modbus.transaction_id"] for line in events if line["event.kind"] == "response"]
    assert asked == answered == list(range(1, 61))
    assert {line["modbus.quantity"] for line in events if line["event.kind"] == "request"} == {4}
    assert all(line["event.outcome"] == "answered" for line in events if line["event.kind"] == "response")


def test_pcapng_and_gzipped_big_endian_pcap_of_the_same_frames_give_the_same_events() -> None:
    plain = lines(FOLDER / "mixed" / "three_protocols.pcapng")
    packed = lines(FOLDER / "mixed" / "three_protocols_gzip.pcap.gz")
    inexact = {"@timestamp", "event.duration"}  # one interface of the former counts microseconds
    assert [{key: line[key] for key in line.keys() - inexact} for line in plain] == [
        {key: line[key] for key in line.keys() - inexact} for line in packed
    ]
