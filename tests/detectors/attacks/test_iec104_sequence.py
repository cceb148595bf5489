"""IEC 104 numbers one after the other."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from pcaps.messages import iec104

MASTER, RTU = "10.1.0.5", "10.1.0.41"
POINT = iec104.asdu(iec104.SINGLE_POINT, iec104.SPONTANEOUS, 3, (1, b"\1"))


def reports(plant: Plant, *numbers: int) -> None:
    for number in numbers:
        plant.answers(MASTER, RTU, iec104.numbered(number, 0, POINT), iec104.PORT)
        plant.wait(0.2)


@pytest.mark.parametrize("size", [None, 1])
def test_numbers_used_again_and_left_out_are_named(size: int | None) -> None:
    plant = Plant()
    reports(plant, 5, 6, 7, 7, 8, 20)
    found = the(plant.findings(size), "iec104.sequence")
    assert (found.source_ip, found.destination_ip, found.count) == (RTU, MASTER, 2)
    assert "the latest is 20 where 9 was due" in found.explanation.en


def test_numbers_in_order_come_round_at_32768() -> None:
    plant = Plant()
    reports(plant, 32766, 32767, 0, 1, 2)
    assert not of(plant.findings(), "iec104.sequence")


def test_one_break_may_be_the_captures_own() -> None:
    plant = Plant()
    reports(plant, 1, 2, 9, 10, 11)
    assert not of(plant.findings(), "iec104.sequence")


def test_a_connection_that_begins_anew_counts_from_zero() -> None:
    plant = Plant()
    for _ in range(4):
        reports(plant, 0, 1, 2, 3)
    assert not of(plant.findings(), "iec104.sequence")
