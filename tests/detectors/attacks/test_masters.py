"""A second master for an outstation that had one."""

from __future__ import annotations

import pytest
from support.findings import DNP3, Plant, of, the
from support.wire import Talk

from detectors.attacks import masters
from detectors.finding import Severity
from pcaps.messages import dnp3

FIRST, SECOND, RTU = "10.1.0.5", "10.1.0.6", "10.1.0.41"


def polls(plant: Plant, host: str, times: int, master: int = 1, outstation: int = 41) -> None:
    asks, answers = dnp3.Station(master, outstation, master=True), dnp3.Station(outstation, master, master=False)
    for n in range(times):
        request = asks.send(dnp3.request(n % 16, dnp3.READ, dnp3.EVENT_CLASSES))
        plant.exchange(host, RTU, request, answers.send(dnp3.response(n % 16)), DNP3)
        plant.wait(1)


@pytest.mark.parametrize("size", [None, 7])
def test_a_host_that_joins_later_is_a_second_master(size: int | None) -> None:
    plant = Plant()
    polls(plant, FIRST, 200)
    polls(plant, SECOND, 5, master=3)
    found = the(plant.findings(size), "master.second")
    assert (found.source_ip, found.destination_ip, found.station) == (SECOND, RTU, 41)
    assert (found.techniques, found.count) == (("T0848",), 3)
    assert "until then 10.1.0.5 was the one" in found.explanation.en
    assert "master address" not in found.explanation.en


def test_the_address_of_the_first_master_in_another_hands_is_named() -> None:
    plant = Plant()
    polls(plant, FIRST, 200)
    polls(plant, SECOND, 5, master=1)
    assert "under its master address 1" in the(plant.findings(), "master.second").explanation.en


def test_two_masters_from_the_beginning_are_a_redundant_pair() -> None:
    plant = Plant()
    for _ in range(50):
        polls(plant, FIRST, 3)
        polls(plant, SECOND, 3, master=2)
    assert not of(plant.findings(), "master.second")


def test_a_scanner_that_gets_one_answer_is_no_master() -> None:
    plant = Plant()
    polls(plant, FIRST, 200)
    polls(plant, SECOND, masters.ENOUGH - 1, master=2)
    assert not of(plant.findings(), "master.second")


def test_a_standby_that_takes_over_from_a_silent_master_is_a_low_matter() -> None:
    plant = Plant()
    polls(plant, FIRST, 200)
    plant.wait(30)
    polls(plant, SECOND, 30)
    assert the(plant.findings(), "master.second").severity is Severity.LOW


def test_a_second_master_beside_one_that_goes_on_weighs_more() -> None:
    plant = Plant()
    polls(plant, FIRST, 200)
    for _ in range(20):
        polls(plant, SECOND, 1, master=3)
        polls(plant, FIRST, 1)
    assert the(plant.findings(), "master.second").severity is Severity.MEDIUM


def test_a_device_that_was_met_now_and_then_supports_no_grave_claim() -> None:
    plant = Plant()
    for number in range(4):
        plant._talks[FIRST, RTU, DNP3] = Talk(src=FIRST, dst=RTU, dport=DNP3, sport=40000 + number)
        for packet in plant.talk(FIRST, RTU, DNP3).handshake():
            plant.sends(packet)
        if number < 3:
            polls(plant, FIRST, 5)
            plant.wait(900)
    for _ in range(5):
        polls(plant, SECOND, 1, master=3)
        polls(plant, FIRST, 1)
    assert the(plant.findings(), "master.second").severity is Severity.LOW
