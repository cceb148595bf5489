"""ARP and network cards: two for one address, one for many, searches and storms."""

from __future__ import annotations

import pytest
from support import slow_wire
from support.findings import Plant, of, the
from support.wire import Talk

from detectors.attacks import addresses
from detectors.finding import Severity
from pcaps.messages import modbus

PLC, HMI, LAPTOP = (
    ("00:1b:1b:01:02:03", "10.1.0.20"),
    ("02:00:5e:00:53:09", "10.1.0.5"),
    ("02:aa:00:00:00:66", "10.1.0.66"),
)
NOBODY = "00:00:00:00:00:00"


def reply(plant: Plant, card: str, address: str, to: tuple[str, str] = HMI) -> None:
    plant.sends(slow_wire.arp(2, (card, address), to))
    plant.wait(1)


def asks(plant: Plant, sender: tuple[str, str], target: str) -> None:
    plant.sends(slow_wire.arp(1, sender, (NOBODY, target)))


@pytest.mark.parametrize("size", [None, 1])
def test_a_host_that_takes_the_addresses_of_two_others_stands_between_them(size: int | None) -> None:
    plant = Plant()
    reply(plant, *PLC)
    reply(plant, *LAPTOP)
    for _ in range(3):
        reply(plant, LAPTOP[0], PLC[1])
        reply(plant, *PLC)
    found = the(plant.findings(size), "address.conflict")
    assert (found.destination_ip, found.severity, found.techniques) == (PLC[1], Severity.HIGH, ("T0830",))
    assert "02:aa:00:00:00:66 also uses 10.1.0.66" in found.explanation.en
    assert found.evidence.frames


def test_one_address_given_to_two_devices_is_a_smaller_matter() -> None:
    plant = Plant()
    for _ in range(3):
        reply(plant, *PLC)
        reply(plant, "00:1b:1b:99:99:99", PLC[1])
    assert the(plant.findings(size=1), "address.conflict").severity is Severity.MEDIUM


def test_a_device_that_was_replaced_is_no_conflict() -> None:
    plant = Plant()
    for card in (PLC[0], "00:1b:1b:99:99:99"):
        for _ in range(5):
            reply(plant, card, PLC[1])
    assert not of(plant.findings(size=1), "address.conflict")


def test_redundant_routers_are_passed_over() -> None:
    plant = Plant()
    for _ in range(3):
        reply(plant, "00:00:5e:00:01:07", "10.1.0.1")
        reply(plant, "00:1b:1b:00:00:01", "10.1.0.1")
    assert not of(plant.findings(size=1), "address.conflict")


def test_the_same_address_in_two_networks_is_no_conflict() -> None:
    plant = Plant()
    for vlan, card in ((10, PLC[0]), (20, "00:1b:1b:99:99:99")) * 3:
        plant.sends(slow_wire.arp(2, (card, PLC[1]), HMI, tags=(vlan,)))
    assert not of(plant.findings(size=1), "address.conflict")


def test_a_search_of_one_address_a_minute_is_found() -> None:
    plant = Plant()
    for n in range(addresses.ENOUGH_ASKED):
        asks(plant, LAPTOP, f"10.1.7.{n + 1}")
        plant.wait(60)
    found = the(plant.findings(size=3), "arp.sweep")
    assert (found.source_ip, found.count, found.techniques) == (LAPTOP[1], 32, ("T0846",))


def test_a_server_that_asks_for_devices_which_are_there_searches_nothing() -> None:
    plant = Plant()
    for n in range(2 * addresses.ENOUGH_ASKED):
        asks(plant, HMI, f"10.1.7.{n + 1}")
        reply(plant, f"00:1b:1b:01:03:{n:02x}", f"10.1.7.{n + 1}")
    assert not of(plant.findings(size=5), "arp.sweep")


def test_a_station_that_misses_its_peers_asks_for_them_again_and_again() -> None:
    plant = Plant()
    for _ in range(addresses.ATTEMPTS + 1):
        for n in range(20):
            asks(plant, HMI, f"10.1.7.{n + 1}")
    assert not of(plant.findings(), "arp.sweep")


def test_arp_by_the_thousand_is_a_storm() -> None:
    plant = Plant()
    for _ in range(addresses.STORM + 50):
        asks(plant, LAPTOP, PLC[1])
    found = the(plant.findings(), "arp.storm")
    assert (found.source_ip, found.severity) == (LAPTOP[0], Severity.MEDIUM)


def from_card(card: str, frame: bytes) -> bytes:
    return frame[:6] + slow_wire.octets(card) + frame[12:]


def test_segments_that_come_from_the_card_of_another_host_are_an_impostor() -> None:
    plant = Plant()
    reply(plant, *LAPTOP)
    talk = Talk(src=HMI[1], dst=PLC[1])
    for n in range(10):
        request, answer = modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n]))
        plant.sends(from_card(HMI[0], talk.asks(request)))
        plant.sends(from_card(PLC[0] if n < 6 else LAPTOP[0], talk.answers(answer)))
    found = the(plant.findings(size=4), "address.impostor")
    assert (found.source_ip, found.destination_ip, found.count) == (PLC[1], HMI[1], 4)
    assert "belongs to 10.1.0.66" in found.explanation.en


def test_a_card_that_is_nobody_elses_is_left_to_the_baseline() -> None:
    plant = Plant()
    talk = Talk(src=HMI[1], dst=PLC[1])
    for n in range(10):
        frame = talk.asks(modbus.adu(n, 1, modbus.read(3, 0, 1)))
        plant.sends(from_card(HMI[0] if n < 5 else "02:00:5e:00:53:77", frame))
    assert not of(plant.findings(), "address.impostor")
