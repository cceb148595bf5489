"""GOOSE publishers and their counters."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

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
