"""Floods: rates that no device is made for, or that were never there before."""

from __future__ import annotations

import pytest
from support.findings import DNP3, Plant, of, the
from support.wire import SYN, tcp

from detectors.attacks import flood
from pcaps.messages import dnp3, modbus

ATTACKER, HMI, PLC = "10.1.0.66", "10.1.0.5", "10.1.0.20"


def writes(plant: Plant, source: str, seconds: int, rate: int) -> None:
    for n in range(seconds * rate):
        pdu = modbus.write_register(8, 500)
        plant.asks(source, PLC, modbus.adu(n & 0xFFFF, 1, pdu))
        plant.answers(source, PLC, modbus.adu(n & 0xFFFF, 1, pdu))
        plant.wait(1 / rate - 0.002)


@pytest.mark.parametrize("size", [None, 500])
def test_the_same_write_a_hundred_and_fifty_times_a_second_is_a_flood(size: int | None) -> None:
    plant = Plant()
    writes(plant, ATTACKER, 18, 150)
    found = the(plant.findings(size), "flood.messages")
    assert (found.source_ip, found.destination_ip, found.techniques) == (ATTACKER, PLC, ("T0814",))
    assert "up to 150 a second" in found.explanation.en
    assert 2500 <= found.count <= 2700


def test_a_fast_cyclic_writer_is_no_flood() -> None:
    plant = Plant()
    writes(plant, HMI, 20, 50)
    assert not of(plant.findings(), "flood.messages")


def test_a_burst_that_ends_soon_is_no_flood() -> None:
    plant = Plant()
    writes(plant, HMI, 8, 150)
    assert not of(plant.findings(), "flood.messages")


def test_reads_ten_times_as_many_as_in_the_last_minutes_are_a_flood() -> None:
    plant = Plant()
    rates = [1] * 90 + [40] * 12
    for n, rate in enumerate(rates):
        for k in range(rate):
            pdu = modbus.read(3, 0, 2)
            plant.exchange(
                HMI, PLC, modbus.adu(n * 50 + k, 1, pdu), modbus.adu(n * 50 + k, 1, modbus.registers(3, [1, 2]))
            )
            plant.wait(1 / rate - 0.002)
    assert the(plant.findings(), "flood.messages").source_ip == HMI


def test_reads_that_were_always_fast_are_no_flood() -> None:
    plant = Plant()
    for n in range(3000):
        pdu = modbus.read(3, 0, 2)
        plant.exchange(HMI, PLC, modbus.adu(n, 1, pdu), modbus.adu(n, 1, modbus.registers(3, [1, 2])))
        plant.wait(0.023)
    assert not of(plant.findings(), "flood.messages")


def test_dnp3_requests_that_do_not_wait_for_any_answer_are_a_flood_at_once() -> None:
    plant = Plant()
    master = dnp3.Station(1, 41, master=True)
    for n in range(flood.AT_ONCE + 5):
        plant.asks(ATTACKER, PLC, master.send(dnp3.request(n % 16, dnp3.SELECT, dnp3.crob(1, 3))), DNP3)
    found = the(plant.findings(), "flood.messages")
    assert (found.station, found.count) == (41, flood.AT_ONCE + 5)


def test_connections_opened_by_the_hundred_are_a_flood() -> None:
    plant = Plant()
    for n in range(flood.CONNECTIONS + 20):
        plant.sends(tcp(seq=1, flags=SYN, src=ATTACKER, dst=PLC, sport=20000 + n, dport=102))
    found = the(plant.findings(), "flood.connections")
    assert (found.source_ip, found.destination_port, found.count) == (ATTACKER, 102, flood.CONNECTIONS + 20)


def spread(plant: Plant, units: int, seconds: int, rate: int, pdu: bytes) -> None:
    """Requests to one unit after the other behind one address, unanswered."""
    for n in range(seconds * rate):
        plant.asks(ATTACKER, PLC, modbus.adu(n & 0xFFFF, 1 + n % units, pdu))
        plant.wait(1 / rate - 0.001)


@pytest.mark.parametrize("size", [None, 500])
def test_writes_spread_over_the_units_of_a_gateway_are_one_flood(size: int | None) -> None:
    plant = Plant()
    spread(plant, 60, 18, 150, modbus.write_register(8, 500))
    found = the(plant.findings(size), "flood.messages")
    assert (found.source_ip, found.destination_ip, found.station) == (ATTACKER, PLC, None)
    assert "up to 150 a second" in found.explanation.en


def test_a_gateway_whose_units_are_read_as_often_is_no_flood() -> None:
    plant = Plant()
    spread(plant, 60, 18, 150, modbus.read(3, 0, 2))
    assert not of(plant.findings(), "flood.messages")
