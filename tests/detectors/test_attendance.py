"""How steadily a device was met: what a claim of novelty may rest on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.findings import BEGINS_NS, MODBUS, Plant
from support.wire import SECOND, Talk

from detectors.attendance import LONG_NS, fell_silent, steadily_met
from detectors.pipeline import Pipeline
from pcaps.messages import modbus
from sensor.view import View

HMI, PLC = "10.1.0.5", "10.1.0.20"


def meets(talks: list[tuple[int, int]]) -> View:
    """Connections, each (begin, length) in seconds, with a poll at both ends."""
    plant = Plant()
    for number, (begin, length) in enumerate(talks):
        talk = Talk(src=HMI, dst=PLC, dport=MODBUS, sport=40000 + number)
        plant.now_s = float(begin)
        for packet in talk.handshake():
            plant.sends(packet)
        plant._talks[HMI, PLC, MODBUS] = talk
        for at in (begin, begin + length):
            plant.now_s = max(plant.now_s, float(at))
            pdus = modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [7]))
            plant.exchange(HMI, PLC, *pdus)
    pipeline = Pipeline(detectors=[])
    list(pipeline.run(plant.batches()))
    return pipeline.decoder.view


def host(view: View, address: str) -> int:
    return next(row for row in range(len(view.hosts)) if view.host(row) == address)


@pytest.mark.parametrize(
    ("talks", "at_s", "steady"),
    [
        ([(0, 300)], 300, True),  # one long connection
        ([(0, 100)], 150, True),
        ([(0, 100), (1500, 100), (2900, 100)], 3600, False),  # now and then
        ([(n * 300, 1) for n in range(12)], 3600, True),  # a call every five minutes is a rhythm
        ([(n * 300, 1) for n in range(12)], 9000, False),  # that ended long ago
        ([(0, LONG_NS // SECOND + 10), (5000, 1)], 20000, True),  # ten minutes are enough
    ],
)
def test_a_device_counts_as_watched_by_the_time_that_its_conversations_cover(
    talks: list[tuple[int, int]], at_s: int, steady: bool
) -> None:
    view = meets(talks)
    assert steadily_met(view, host(view, PLC), BEGINS_NS + at_s * SECOND) is steady


def test_a_device_that_nobody_met_is_not_watched() -> None:
    view = meets([(0, 10)])
    assert not steadily_met(view, host(view, PLC), BEGINS_NS)
    assert not steadily_met(view, host(view, PLC), BEGINS_NS + 20 * SECOND, partner=host(view, PLC) + 7)


def test_an_asker_is_silent_when_it_missed_its_own_rhythm() -> None:
    view = meets([(n * 20, 1) for n in range(6)])
    asker, device, last_s = host(view, HMI), host(view, PLC), 101
    later = BEGINS_NS + (last_s + 200) * SECOND
    assert fell_silent(view, asker, device, BEGINS_NS + (last_s + 1) * SECOND, later)
    assert not fell_silent(view, asker, device, BEGINS_NS + (last_s + 1) * SECOND, BEGINS_NS + (last_s + 5) * SECOND)
    assert not fell_silent(view, asker, device, BEGINS_NS + 50 * SECOND, later), "it asked after that moment"
    assert not fell_silent(view, device, asker, later, later), "it never asked"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 2000))
def test_watching_on_without_meeting_never_makes_a_device_better_known(pauses: list[int], more: int) -> None:
    begins, at = [], 0
    for pause in pauses:
        begins.append((at, 1))
        at += pause + 2
    view = meets(begins)
    device = host(view, PLC)
    now, later = (BEGINS_NS + (at + extra) * SECOND for extra in (0, more))
    assert steadily_met(view, device, now) or not steadily_met(view, device, later)
