"""A worker that dies of frames costs these frames, is told of with their exact number, and another one goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.faults import MARK
from support.programs import ROOT

from detectors.finding import Finding, Severity
from detectors.pipeline import Options, Pipeline, merge
from detectors.worker.fork_server import ForkServer
from detectors.worker.quarantine import Fault, Quarantine
from detectors.worker.services import Services
from detectors.worker.setup import Setup
from detectors.worker.supervisor import Worker
from detectors.yara_rules import shipped
from sensor.archive.origin import Target
from sensor.archive.store import Archive
from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture

STOP = ROOT / "pcaps" / "s7comm" / "stop.pcap"
CHANGED = ROOT / "pcaps" / "s7comm" / "program_replaced.pcap"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=os.pathsep)  # for the hook
        made.start()
    assert made.ready(1800)
    yield made
    made.close()


class Bench:
    """A worker under test and what it found."""

    def __init__(self, server: ForkServer, folder: Path, options: Options) -> None:
        archive = options.archive.folder if options.archive else None
        self.found: list[Finding] = []
        self.said: list[str] = []
        self.services = Services(None, shipped, archive=archive)
        self.quarantine = Quarantine(folder)
        self.folder = folder
        self.worker = Worker(
            server, Setup(options, live=False), self.found.append, self.services, self.quarantine,
            say=self.said.append, hook="support.faults:trip",
        )  # fmt: skip

    def faults(self) -> list[Finding]:
        return [it for it in self.found if it.rule_id == "sensor.parser-fault"]


@pytest.fixture
def bench(server: ForkServer, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(options: Options | None = None) -> Bench:
        made.append(Bench(server, tmp_path / "quarantine", options or Options()))
        return made[-1]

    yield make
    for it in made:
        it.worker.close()
        it.services.close()


def poison(word: bytes, first: int, frames: int = 5) -> FrameBatch:
    """A batch that carries a word for the hook."""
    size = 100
    data = np.zeros(frames * size, np.uint8)
    data[60 : 60 + len(MARK + word)] = np.frombuffer(MARK + word, np.uint8)
    narrow = np.full(frames, size, np.int32)
    return FrameBatch(
        data, 10**18 + np.arange(frames, dtype=np.int64), np.arange(frames, dtype=np.int64) * size, narrow, narrow,
        np.ones(frames, np.int32), first,
    )  # fmt: skip


def told(finding: Finding) -> tuple[object, ...]:
    return finding.rule_id, finding.count, finding.severity, finding.evidence.frames, finding.explanation


def test_what_is_archived_comes_through_as_it_was(bench: Callable[..., Bench], tmp_path: Path) -> None:
    b = bench(Options(capture=str(STOP), archive=Target(tmp_path / "a")))
    for frames in open_capture(STOP):
        b.worker.put(frames)
    b.worker.finish()
    list(Pipeline(Options(capture=str(STOP), archive=Target(tmp_path / "b"))).run(open_capture(STOP)))
    here, there = (Archive(tmp_path / name).catalogue.files() for name in "ab")
    assert [(it.kind, it.rows, it.events, it.first_ns) for it in here] == [
        (it.kind, it.rows, it.events, it.first_ns) for it in there
    ]
    assert sum(it.events for it in here) > 0


def test_a_capture_of_which_a_part_was_lost_is_not_archived(bench: Callable[..., Bench], tmp_path: Path) -> None:
    b = bench(Options(capture=str(STOP), archive=Target(tmp_path / "a")))
    b.worker.put(poison(b"raise", 1))
    for frames in open_capture(STOP):
        b.worker.put(frames._replace(first=6))
    b.worker.finish()
    assert Archive(tmp_path / "a", create=True).catalogue.files() == []
    assert any("not archived" in line for line in b.said)


@pytest.mark.parametrize("path", [STOP, CHANGED], ids=lambda path: path.stem)
def test_a_worker_finds_what_is_found_without_one(bench: Callable[..., Bench], path: Path) -> None:
    b = bench(Options(capture="x"))
    for frames in open_capture(path):
        b.worker.put(frames)
    counters = b.worker.finish()
    plain = Pipeline(Options(capture="x"))
    expected = merge(plain.run(open_capture(path)))
    assert expected
    got = merge(b.found)
    assert [told(it) for it in got] == [told(it) for it in expected]
    assert [it.fingerprint for it in got] == [it.fingerprint for it in expected]
    assert [it.evidence.pcap for it in got] == [it.evidence.pcap for it in expected]
    assert {name: counters[name] for name in plain.counters()} == plain.counters()


def test_each_fault_costs_its_batch_is_told_with_its_frames_and_the_next_batches_are_looked_at(
    bench: Callable[..., Bench],
) -> None:
    b = bench()
    kinds = {b"loop": "hang", b"allocate": "memory", b"segv": "crash"}
    (stop,) = open_capture(STOP)
    first, sent = 1, 0
    for number, word in enumerate(kinds, 1):
        b.worker.put(poison(word, first, frames=number))
        b.worker.put(stop._replace(first=first + number))
        first, sent = first + number + stop.size, sent + number
    begun = time.monotonic()
    counters = b.worker.finish()
    assert time.monotonic() - begun < 60
    assert [(it.fields["fault"], it.count) for it in b.faults()] == [("hang", 1), ("memory", 2), ("crash", 3)]
    assert all(it.severity is Severity.HIGH for it in b.faults())
    assert [it.evidence.frames[0] for it in b.faults()] == [1, 2 + stop.size, 4 + 2 * stop.size]
    assert (counters["quarantine.frames"], counters["worker.restarts"]) == (sent, 3)
    assert {name: counters[f"parser_faults.{name}"] for name in kinds.values()} == dict.fromkeys(kinds.values(), 1)
    assert counters["frames"] == 3 * stop.size  # all others were looked at, none of them twice
    assert sum(it.count for it in b.found if it.rule_id == "operation.s7comm.stop") == 3
    kept = sorted(b.folder.glob("*.pcap"))
    assert [sum(batch.size for batch in open_capture(path)) for path in kept] == [1, 2, 3]
    assert json.loads(kept[1].with_suffix(".json").read_text("utf-8"))["frames"] == [2 + stop.size, 3 + stop.size]


def test_an_exception_is_told_with_its_place(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.worker.put(poison(b"raise", 1))
    b.worker.finish()
    (fault,) = b.faults()
    assert fault.fields["fault"] == "exception"
    assert "KeyError" in fault.explanation.en
    assert "faults.py:" in fault.explanation.zh


def test_a_worker_cannot_write_read_run_or_reach_anything(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.worker.put(poison(b"escape", 1))
    b.worker.finish()
    (fault,) = b.faults()
    if not {"files", "calls"} <= set(b.worker.held):
        pytest.skip(f"this kernel confines by {b.worker.held} only")
    assert "possible: []" in fault.explanation.en


def test_faults_one_after_the_other_are_answered_by_pauses_and_the_text_says_so(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detectors.worker.supervisor.FIRST_PAUSE_S", 0.3)
    b = bench()
    for first in range(1, 26, 5):
        b.worker.put(poison(b"raise", first))
    b.worker.finish()
    assert [it.count for it in b.faults()] == [5] * 5
    assert "again and again" not in b.faults()[2].explanation.en
    assert "again and again" in b.faults()[4].explanation.en
    assert any("faults of the decoder" in line for line in b.said)


def test_a_worker_that_works_long_but_gets_on_is_not_cut(bench: Callable[..., Bench]) -> None:
    b = bench()
    (stop,) = open_capture(STOP)
    for number in range(400):  # far longer than a hang may take, in steps that are each short
        b.worker.put(stop._replace(first=1 + number * stop.size))
    counters = b.worker.finish()
    assert counters["frames"] == 400 * stop.size
    assert not b.faults()


def test_the_quarantine_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    q = Quarantine(tmp_path / "q", quota_bytes=3000)
    names = [q.keep(poison(b"loop", first), Fault("hang", "x", frames=5, first=first)) for first in (1, 6, 11, 16)]
    assert sorted((tmp_path / "q").glob("*.pcap")) == names[1:]
    assert len(list((tmp_path / "q").iterdir())) == 6
    assert q.bytes <= 3000
    assert q.removed == 1
