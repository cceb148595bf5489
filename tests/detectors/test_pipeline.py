"""The pipeline: wiring, evidence, merging, and detectors that fail."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.findings import Plant, of, the

from detectors.contract import Scene
from detectors.evidence import Budget, Exhibit
from detectors.finding import MAX_EVIDENCE_FRAMES, MAX_EVIDENCE_PCAP_BYTES, MAX_EVIDENCE_PDUS, Finding
from detectors.operations import Operations
from detectors.pipeline import DETECTORS, Options, Pipeline, inspect, merge
from detectors.sigma.ruleset import shipped
from pcaps.messages import modbus
from sensor.capture.source import open_capture
from sensor.capture.write import Frame
from sensor.events import EventBatch

HMI, PLC = "10.1.0.5", "10.1.0.20"


def writes(times: int) -> Plant:
    """A station that looks at the device and writes."""
    plant = Plant()
    plant.exchange(HMI, PLC, modbus.adu(9999, 1, modbus.read(3, 0, 1)), modbus.adu(9999, 1, modbus.registers(3, [1])))
    for n in range(times):
        request = modbus.adu(n, 1, modbus.write_register(10, n))
        plant.exchange(HMI, PLC, request, request)
        plant.wait(1)
    return plant


class Broken:
    """Fails at its second batch."""

    name = "broken"

    def __init__(self) -> None:
        self.batches = 0

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        self.batches += 1
        if self.batches == 2:
            raise KeyError("no such thing")
        return ()

    def flush(self, scene: Scene) -> Iterable[Finding]:
        raise AssertionError("a detector that failed is not asked again")


def test_a_detector_that_fails_is_named_once_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken()
    with caplog.at_level(logging.ERROR):
        findings = list(Pipeline(detectors=[broken, Operations(shipped())]).run(writes(40).batches(size=10)))
    failed = the(findings, "detector.failed")
    assert "broken" in failed.explanation.en
    assert "KeyError" in failed.explanation.zh
    assert broken.batches == 2
    assert sum(it.count for it in of(findings, "operation.modbus.write-registers")) == 40
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_every_detector_in_the_list_has_its_own_name() -> None:
    names = [make(Options()).name for make in DETECTORS]
    assert len(set(names)) == len(names) == len(DETECTORS)


def test_merging_sums_counts_and_keeps_the_first_and_last_time() -> None:
    plant = writes(200)
    records, (found,) = plant.records(size=8), plant.findings(size=8)
    assert len(records) > 2
    assert found.count == sum(record.count for record in records) == 200
    assert found.first_ns == min(record.first_ns for record in records)
    assert found.last_ns == max(record.last_ns for record in records)
    assert "200" in found.explanation.en


def test_merging_keeps_captures_apart() -> None:
    (one,) = writes(3).findings()
    both = merge([dataclasses.replace(one, capture="a"), dataclasses.replace(one, capture="b"), one, one])
    assert sorted((it.capture, it.count) for it in both) == [("", 6), ("a", 3), ("b", 3)]


def test_the_evidence_opens_as_a_capture_of_the_same_frames(tmp_path: Path) -> None:
    plant = writes(5)
    (found,) = plant.findings()
    path = tmp_path / "evidence.pcap"
    path.write_bytes(found.evidence.pcap)
    (cut,), (whole,) = list(open_capture(path)), plant.batches()
    assert cut.size == len(found.evidence.frames) == 10
    for row, number in enumerate(found.evidence.frames):
        there = whole.data[whole.offset[number - 1] :][: whole.captured[number - 1]]
        here = cut.data[cut.offset[row] :][: cut.captured[row]]
        assert bytes(here) == bytes(there)
        assert cut.ts_ns[row] == whole.ts_ns[number - 1]


def test_evidence_is_bounded_however_much_there_is() -> None:
    (found,) = writes(400).findings()
    assert found.count == 400
    assert len(found.evidence.frames) == MAX_EVIDENCE_FRAMES
    assert found.evidence.frames == tuple(sorted(found.evidence.frames))
    assert len(found.evidence.pdus) == MAX_EVIDENCE_PDUS
    assert len(found.evidence.pcap) <= MAX_EVIDENCE_PCAP_BYTES


def test_big_frames_leave_numbers_and_stay_within_the_bytes_of_one_finding() -> None:
    exhibit = Exhibit(Budget())
    for number in range(1, 60):
        exhibit.add(number, raw=Frame(number, bytes(60_000), 60_000))
    evidence = exhibit.take()
    assert len(evidence.frames) == 59
    assert 4 * 60_000 < len(evidence.pcap) <= MAX_EVIDENCE_PCAP_BYTES


def test_a_run_holds_no_more_frames_than_its_budget() -> None:
    budget = Budget(limit=1000)
    exhibits = [Exhibit(budget) for _ in range(5)]
    for exhibit in exhibits:
        exhibit.add(1, raw=Frame(1, bytes(400), 400))
    assert [bool(exhibit.take().pcap) for exhibit in exhibits] == [True, True, False, False, False]
    assert (budget.left, budget.refused) == (1000 - 2 * 416, 3)


def test_evidence_is_sent_once_and_again_only_when_it_grew() -> None:
    exhibit = Exhibit(Budget())
    exhibit.add(1)
    assert exhibit.take().frames == (1,)
    assert exhibit.take().frames == ()
    exhibit.add(2)
    assert exhibit.take().frames == (1, 2)


def test_findings_carry_the_capture_they_come_from() -> None:
    found = list(inspect(writes(2).batches(), Options(capture="plant.pcap")))
    assert [it.capture for it in found] == ["plant.pcap"]


def test_no_traffic_gives_nothing() -> None:
    assert list(inspect([])) == []
