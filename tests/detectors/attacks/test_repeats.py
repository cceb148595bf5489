"""DNP3 messages that come again although they were answered or confirmed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.findings import DNP3, Plant, of, the

from pcaps.messages import dnp3

MASTER, RTU = "10.1.0.5", "10.1.0.41"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Link:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.master, self.outstation = dnp3.Station(1, 41, master=True), dnp3.Station(41, 1, master=False)

    def asks(self, sequence: int, function: int = dnp3.READ, *, answered: bool = True) -> None:
        request = dnp3.request(sequence, function, dnp3.EVENT_CLASSES)
        self.plant.asks(MASTER, RTU, self.master.send(request), DNP3)
        if answered:
            self.plant.answers(MASTER, RTU, self.outstation.send(dnp3.response(sequence)), DNP3)
        self.plant.wait(0.5)

    def reports(self, sequence: int, *, confirmed: bool = True) -> None:
        event = dnp3.unsolicited(sequence, dnp3.binary_event(3, state=True, at=NOON))
        self.plant.answers(MASTER, RTU, self.outstation.send(event), DNP3)
        if confirmed:
            confirm = dnp3.confirm(sequence, of_unsolicited=True)
            self.plant.asks(MASTER, RTU, self.master.send(confirm), DNP3)
        self.plant.wait(0.5)


@pytest.mark.parametrize("size", [None, 1])
def test_a_request_sent_again_and_again_after_its_answer_is_a_replay(size: int | None) -> None:
    plant = Plant()
    link = Link(plant)
    for sequence in (1, 2, 3, 3, 3):
        link.asks(sequence)
    found = the(plant.findings(size), "replay.request")
    assert (found.source_ip, found.destination_ip, found.station, found.count) == (MASTER, RTU, 41, 2)
    assert "sequence number 3" in found.explanation.en


def test_a_request_repeated_because_nobody_answered_is_none() -> None:
    plant = Plant()
    link = Link(plant)
    for _ in range(5):
        link.asks(7, answered=False)
    assert not of(plant.findings(), "replay.request")


def test_one_answer_lost_behind_the_sensor_is_none() -> None:
    plant = Plant()
    link = Link(plant)
    for sequence in (1, 2, 2, 3, 4):
        link.asks(sequence)
    assert not of(plant.findings(), "replay.request")


def test_sequence_numbers_that_come_round_are_none() -> None:
    plant = Plant()
    link = Link(plant)
    for n in range(64):
        link.asks(n % 16)
        link.reports(n % 16)
    assert not of(plant.findings(), "replay.request") + of(plant.findings(), "replay.report")


@pytest.mark.parametrize("size", [None, 1])
def test_a_report_sent_again_after_it_was_confirmed_is_spoofed(size: int | None) -> None:
    plant = Plant()
    link = Link(plant)
    for sequence in (4, 5, 5, 5, 5):
        link.reports(sequence)
    found = the(plant.findings(size), "replay.report")
    assert (found.source_ip, found.destination_ip, found.techniques) == (RTU, MASTER, ("T0856",))
    assert found.count == 3


def test_a_report_repeated_until_it_is_confirmed_is_none() -> None:
    plant = Plant()
    link = Link(plant)
    for _ in range(5):
        link.reports(5, confirmed=False)
    link.reports(5)
    assert not of(plant.findings(), "replay.report")
