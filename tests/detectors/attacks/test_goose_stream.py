"""GOOSE publishers and their counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import Plant, of, the

from detectors.attacks.goose_tail import values_size
from detectors.finding import Severity
from pcaps.messages import goose

IED, OTHER = "00:30:a7:00:00:01", "02:aa:00:00:00:66"


def published(plant: Plant, card: str, *counters: tuple[int, int]) -> None:
    for state, sequence in counters:
        plant.sends(goose.publication(card, state=state, sequence=sequence))
        plant.wait(1)


def test_a_second_publisher_of_a_control_block_is_named_beside_the_first() -> None:
    plant = Plant()
    published(plant, IED, (5, 1), (5, 2), (5, 3))
    published(plant, OTHER, (6, 0))
    found = the(plant.findings(), "goose.publisher")
    assert (found.source_ip, found.severity, found.station) == (OTHER, Severity.HIGH, 0x3001)
    assert "which 00:30:a7:00:00:01 published before" in found.explanation.en
    assert "BAY1PROT/LLN0$GO$gcbTrip" in found.explanation.zh


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("counters", [((5, 1), (6, 0), (6, 1), (5, 2)), ((5, 40), (5, 41), (5, 7))])
def test_counters_that_fall_are_a_replay(counters: tuple[tuple[int, int], ...], size: int | None) -> None:
    plant = Plant()
    published(plant, IED, *counters)
    found = the(plant.findings(size), "goose.replay")
    assert (found.source_ip, found.techniques, found.count) == (IED, ("T0856",), 1)


@pytest.mark.parametrize(
    "counters",
    [
        ((5, 1), (5, 2), (6, 0), (6, 1), (9, 0)),
        ((5, 1), (5, 1), (5, 2), (5, 2)),
        ((77, 9), (1, 0), (1, 1)),
        ((5, 2**32 - 1), (5, 1), (5, 2)),
    ],
    ids=["states change", "mirrored twice", "restarted", "comes round"],
)
def test_ordinary_streams_are_quiet(counters: tuple[tuple[int, int], ...]) -> None:
    plant = Plant()
    published(plant, IED, *counters)
    found = plant.findings()
    assert not of(found, "goose.replay") + of(found, "goose.publisher")


@pytest.mark.parametrize("size", [None, 1])
def test_a_forged_state_far_ahead_shows_when_the_true_first_state_goes_on(size: int | None) -> None:
    plant = Plant()
    published(plant, IED, (1, 20), (1, 21), (5000, 0), (1, 22), (1, 23))
    assert the(plant.findings(size), "goose.replay").count == 1


def test_a_device_that_starts_again_unseen_is_no_replay() -> None:
    plant = Plant()
    published(plant, IED, (40, 20), (40, 21))
    plant.wait(30)
    published(plant, IED, (1, 4), (1, 5))
    assert not of(plant.findings(), "goose.replay")


def valued(plant: Plant, *messages: tuple[int, int, bool], pause: float = 1.0) -> None:
    """Messages of state, sequence and first value."""
    for state, sequence, value in messages:
        plant.sends(goose.publication(IED, state=state, sequence=sequence, values=(value, False)))
        plant.wait(pause)


@pytest.mark.parametrize("size", [None, 1])
def test_another_value_under_a_state_that_had_settled_is_named_each_time(size: int | None) -> None:
    plant = Plant()
    valued(plant, (5, 0, False), (5, 1, False), (5, 2, False), (5, 3, True), (5, 4, True), (5, 5, False))
    found = the(plant.findings(size), "goose.content")
    assert (found.source_ip, found.techniques, found.count) == (IED, ("T0856",), 2)
    assert "under the same state number 5" in found.explanation.en


def test_values_that_come_with_a_new_state_or_settle_within_milliseconds_are_ordinary() -> None:
    plant = Plant()
    valued(plant, (5, 0, False), (5, 1, False), (6, 0, True), (6, 1, True), (7, 0, False))
    valued(plant, (8, 0, False), (8, 1, True), (8, 2, True), pause=0.01)
    assert not of(plant.findings(), "goose.content")


@pytest.mark.parametrize("size", [None, 1])
def test_a_stream_that_returns_after_it_had_to_be_disbelieved_is_told(size: int | None) -> None:
    plant = Plant()
    for second in range(60):
        if not 20 <= second < 40:
            plant.sends(goose.publication(IED, state=5, sequence=second))
        plant.sends(goose.publication(OTHER, state=5, sequence=second, appid=0x3002, control_block="B/LLN0$GO$g"))
        plant.wait(1)
    found = the(plant.findings(size), "goose.expired")
    assert (found.source_ip, found.severity, found.count) == (IED, Severity.LOW, 1)
    assert "stayed away for 21.0 seconds" in found.explanation.en
    assert "for 2 seconds only" in found.explanation.en


def test_a_pause_of_everything_is_no_streams_own() -> None:
    plant = Plant()
    published(plant, IED, (5, 1), (5, 2))
    plant.wait(60)
    published(plant, IED, (5, 3), (5, 4))
    assert not of(plant.findings(), "goose.expired")


@given(st.binary(max_size=80))
def test_values_are_looked_for_in_any_octets(octets: bytes) -> None:
    sound = goose.publication(IED, state=5, sequence=1)[14:]
    assert values_size(sound) == len(sound) - sound.index(b"\xab")
    assert 0 <= values_size(octets) <= len(octets)
    assert 0 <= values_size(sound[: len(octets)] + octets) <= 2 * len(octets) + len(sound)
