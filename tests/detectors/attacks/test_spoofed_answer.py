"""One request, two answers."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from pcaps.messages import modbus

HMI, PLC = "10.1.0.5", "10.1.0.20"


def read(plant: Plant, n: int, *values: int) -> None:
    plant.asks(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)))
    for value in values:
        plant.answers(HMI, PLC, modbus.adu(n, 1, modbus.registers(3, [value])))
        plant.wait(0.1)


@pytest.mark.parametrize("size", [None, 1])
def test_two_answers_that_differ_are_named_with_both_frames(size: int | None) -> None:
    plant = Plant()
    read(plant, 1, 700)
    read(plant, 2, 700, 300)
    found = the(plant.findings(size), "spoof.answer")
    assert (found.source_ip, found.destination_ip, found.station, found.count) == (PLC, HMI, 1, 1)
    assert found.techniques == ("T0856", "T0830")
    assert len(found.evidence.frames) == 2


def test_the_same_answer_twice_is_a_duplicate() -> None:
    plant = Plant()
    read(plant, 2, 700, 700)
    assert not of(plant.findings(), "spoof.answer")


def test_a_client_that_numbers_everything_alike_and_asks_twice_gets_two_answers() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, modbus.adu(0, 1, modbus.read(3, 0, 1)))
    plant.wait(2)
    read(plant, 0, 700, 701)
    assert not of(plant.findings(), "spoof.answer")
