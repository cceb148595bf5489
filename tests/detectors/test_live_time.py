"""On a live link nobody waits for an end, or for traffic: time passes in batches without frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.findings import BEGINS_NS, Plant, the
from support.wire import SECOND

from detectors.contract import FRAMES_KEPT, FRAMES_KEPT_BYTES, FRAMES_KEPT_LIVE, Detector, Scene
from detectors.finding import Finding
from detectors.pipeline import DETECTORS, Options, Pipeline
from pcaps.messages import modbus
from sensor.capture.frames import FrameBatch
from sensor.capture.pcap import empty_columns
from sensor.decode.decoder import TICK_NS, Decoder

HMI, PLC = "10.1.0.5", "10.1.0.20"
WRITE = modbus.adu(1, 1, modbus.write_register(10, 7))
READ, VALUES = modbus.adu(2, 1, modbus.read(3, 0, 1)), modbus.adu(2, 1, modbus.registers(3, [5]))


def at(seconds: float, batch: FrameBatch | None = None) -> FrameBatch:
    """A batch that was closed at this second of the run; without frames where none is given."""
    batch = batch or FrameBatch(np.zeros(0, np.uint8), *empty_columns(0), first=1)
    return batch._replace(clock_ns=BEGINS_NS + round(seconds * SECOND))


def silence(begin: float, end: float) -> Iterator[FrameBatch]:
    """A batch without frames in every second."""
    second = begin
    while second < end:
        yield at(second)
        second += 1


def while_it_runs(pipeline: Pipeline, batches: Iterator[FrameBatch]) -> list[Finding]:
    """What comes out before the batches end."""
    found: list[Finding] = []
    at_end: list[int] = []

    def watched() -> Iterator[FrameBatch]:
        yield from batches
        at_end.append(len(found))

    for finding in pipeline.run(watched()):
        found.append(finding)
    return found[: at_end[0]]


def test_a_command_without_an_answer_is_told_although_nothing_happens_any_more() -> None:
    plant = Plant()
    plant.exchange(HMI, PLC, READ, VALUES)
    plant.asks(HMI, PLC, WRITE)
    (batch,) = plant.batches()

    def batches() -> Iterator[FrameBatch]:
        yield at(1, batch)
        yield from silence(2, 40)

    found = the(while_it_runs(Pipeline(Options(learn_s=60)), batches()), "command.unanswered")
    assert found.count == 1
    assert found.last_ns < BEGINS_NS + SECOND


def test_a_cap_that_is_reached_is_told_at_once_and_again_only_for_what_came_after() -> None:
    pipeline = Pipeline(Options(learn_s=60))
    counters = pipeline.decoder.view.state.counters[0]

    def batches() -> Iterator[FrameBatch]:
        yield from silence(0, 2)
        counters.conversations_refused = 3
        yield from silence(2, 20)
        counters.conversations_refused = 5
        yield from silence(20, 22)

    told = [it.count for it in while_it_runs(pipeline, batches()) if it.rule_id == "sensor.flood"]
    assert told == [3, 2]


@pytest.mark.parametrize("make", DETECTORS)
def test_every_detector_takes_batches_without_events(make: Callable[[Options], Detector]) -> None:
    plant = Plant()
    for _ in range(3):
        plant.exchange(HMI, PLC, READ, VALUES)
    pipeline = Pipeline(detectors=[make(Options(learn_s=60))])
    found = list(pipeline.run(iter([at(0), at(1, plant.batches()[0]), *silence(2, 40)])))
    assert [it.rule_id for it in found if it.rule_id == "detector.failed"] == []
    assert len(pipeline.detectors) == 1


def test_a_clock_that_is_set_back_gives_no_request_up_and_goes_on_ticking() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, READ)
    decoder = Decoder()
    sizes = []
    for events in decoder.decode([at(1, plant.batches()[0]), at(-3600), at(-3599)]):
        sizes.append(events.size)
        assert decoder.counters()["unanswered"] == 0
    assert sizes == [1, 0, 0, 0]


def test_time_passes_no_more_often_than_it_must() -> None:
    batches = [at(n / 100) for n in range(100)]
    assert [it.size for it in Decoder().decode(batches)] == [0] * (SECOND // TICK_NS)


def test_small_batches_are_kept_longer_than_large_ones() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, READ)
    (small,) = plant.batches()
    scene = Scene(Decoder().view)
    for _ in range(2 * FRAMES_KEPT_LIVE):
        scene.remember(small)
        scene.remember(at(1))
    assert len(scene.frames) == FRAMES_KEPT_LIVE
    large = small._replace(data=small.data.repeat(FRAMES_KEPT_BYTES // small.data.nbytes + 1))
    for _ in range(2 * FRAMES_KEPT):
        scene.remember(large)
    assert len(scene.frames) == FRAMES_KEPT
