"""A live run on a wire of our own: findings while it goes on, evidence from the disk, tables that never fill up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.findings import Plant, the
from support.programs import ROOT

from detectors import live_run
from detectors.finding import Finding
from detectors.live_feed import LiveFeed, LiveOptions
from detectors.live_run import LiveRun
from pcaps.messages import modbus
from sensor.capture.frame_ring import LEAST_BYTES
from sensor.capture.source import open_capture
from sensor.capture.write import Frame, frame_of, small_pcap
from tools.wires import Wire, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)
STOP = ROOT / "pcaps" / "s7comm" / "stop.pcap"
PATIENCE_S = 120.0


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    try:
        with made.inside():
            yield made
    finally:
        made.remove()


def frames_in(path: Path) -> list[Frame]:
    return [frame_of(batch, batch.first + row) for batch in open_capture(path) for row in range(batch.size)]


def run(feed: LiveFeed, live: LiveRun, frames: int) -> list[Finding]:
    """What is found until so many frames have come, and at the end."""
    end = time.monotonic() + PATIENCE_S

    def tick() -> None:
        if feed.source.frames >= frames or time.monotonic() > end:
            feed.stop()

    try:
        return list(live.findings(tick))
    finally:
        feed.close()


def test_evidence_that_is_not_in_memory_any_more_is_cut_from_the_ring(wire: Wire, tmp_path: Path) -> None:
    plant = Plant()
    plant.exchange("10.1.0.5", "10.1.0.20", modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, b"\x03\x02\0\5"))
    plant.asks("10.1.0.5", "10.1.0.20", modbus.adu(2, 1, modbus.write_register(10, 7)))
    (batch,) = plant.batches()
    sent = [frame_of(batch, number) for number in range(1, batch.size + 1)]
    capture = tmp_path / "unanswered.pcap"
    capture.write_bytes(small_pcap(1, sent))
    feed = LiveFeed(LiveOptions(["mirror"], ring=tmp_path / "ring", ring_bytes=LEAST_BYTES))
    live = LiveRun(feed, cut=feed.cut)
    wire.send("--capture", str(capture), "--count", str(len(sent)))
    with wire.sending("--count", "500", "--rate", "100"):  # more batches than are remembered
        found = the(run(feed, live, len(sent) + 500), "command.unanswered")
    evidence = tmp_path / "evidence.pcap"
    evidence.write_bytes(found.evidence.pcap)
    (command,) = frames_in(evidence)
    assert found.evidence.frames == (len(sent),)
    assert command.data == sent[-1].data
    counters = feed.counters() | live.counters()
    assert counters["mirror.frames"] == counters["frames"] == counters["ring.recorded"] == len(sent) + 500


def test_tables_that_are_nearly_full_are_begun_anew_and_nothing_is_missed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_run, "NEARLY_FULL", 1e-6)  # one conversation
    feed = LiveFeed(LiveOptions(["mirror"]))
    live = LiveRun(feed)
    size = len(frames_in(STOP))
    for _ in range(2):
        wire.send("--capture", str(STOP), "--count", str(size), "--rate", "100000")
        time.sleep(0.3)  # another block
    findings = [it for it in run(feed, live, 2 * size) if it.rule_id == "operation.s7comm.stop"]
    counters = feed.counters() | live.counters()
    assert counters["renewed"] >= 1
    assert counters["frames"] == counters["mirror.frames"] == 2 * size
    assert sum(it.count for it in findings) == 2
    assert max(frame for it in findings for frame in it.evidence.frames) > size  # numbers go on
