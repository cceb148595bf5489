"""Station scans: distinct units and link addresses that are not there."""

from __future__ import annotations

import pytest
from support.findings import DNP3, Plant, of, the

from detectors.attacks import station_scan
from pcaps.messages import dnp3, iec104, modbus

SCANNER, GATEWAY = "10.1.0.66", "10.1.0.20"
NO_PATH = 0x0B


def asked(plant: Plant, unit: int, answer: bytes | None, n: int = 1) -> None:
    request = modbus.adu(n, unit, modbus.read(3, 0, 1))
    if answer is None:
        plant.asks(SCANNER, GATEWAY, request)
    else:
        plant.exchange(SCANNER, GATEWAY, request, modbus.adu(n, unit, answer))


def test_units_that_a_gateway_does_not_find_are_a_scan_even_one_an_hour() -> None:
    plant = Plant()
    for unit in range(1, station_scan.ENOUGH + 1):
        asked(plant, unit, modbus.exception(3, NO_PATH), n=unit)
        plant.wait(3600)
    found = the(plant.findings(size=1), "scan.stations")
    assert (found.source_ip, found.destination_ip, found.count) == (SCANNER, GATEWAY, 8)
    assert "(1, 2, 3, 4, 5, 6, 7, 8)" in found.explanation.en


def test_units_that_are_silent_are_a_scan_too() -> None:
    plant = Plant()
    for unit in range(1, station_scan.ENOUGH + 1):
        asked(plant, unit, None, n=unit)
    plant.wait(60)
    asked(plant, 100, modbus.registers(3, [1]), n=999)
    assert the(plant.findings(), "scan.stations").count == 8


def test_a_gateway_that_answers_for_thirty_units_is_no_scan() -> None:
    plant = Plant()
    for unit in range(1, 31):
        asked(plant, unit, modbus.registers(3, [unit]), n=unit)
    assert not of(plant.findings(), "scan.stations")


def test_absent_units_that_are_polled_all_the_time_are_no_scan() -> None:
    plant = Plant()
    for n in range(station_scan.ATTEMPTS + 1):
        for unit in range(1, 20):
            asked(plant, unit, modbus.exception(3, NO_PATH), n=100 * n + unit)
        plant.wait(1)
    assert not of(plant.findings(), "scan.stations")


def test_master_addresses_tried_on_one_outstation_are_a_scan() -> None:
    plant = Plant()
    for master in range(station_scan.ENOUGH):
        frame = dnp3.Station(master, 41, master=True).send(dnp3.request(0, dnp3.READ, dnp3.CLASS_0))
        plant.asks(SCANNER, GATEWAY, frame, DNP3)
    plant.wait(60)
    plant.asks(SCANNER, "10.1.0.21", dnp3.Station(1, 42, master=True).send(dnp3.request(0, dnp3.READ, b"")), DNP3)
    found = the(plant.findings(), "scan.stations")
    assert found.protocol == "dnp3"
    assert "0→41, 1→41" in found.explanation.en


def interrogated(plant: Plant, unknown: int) -> None:
    """A general interrogation of common addresses 1, 2, ...: the station answers as number 3 only."""
    master, station = iec104.connect()
    for address in range(1, unknown + 2):
        element = (0, b"\x14")
        ask = iec104.asdu(iec104.INTERROGATION, iec104.ACTIVATION, address, element)
        no = iec104.asdu(iec104.INTERROGATION, 46, address, element, negative=True)
        yes = iec104.asdu(iec104.INTERROGATION, iec104.CONFIRMATION, address, element)
        plant.exchange(SCANNER, GATEWAY, master.say(ask), station.say(yes if address == 3 else no), iec104.PORT)


@pytest.mark.parametrize(("unknown", "found"), [(station_scan.ENOUGH, 1), (station_scan.ENOUGH - 1, 0)])
def test_common_addresses_that_an_iec_104_station_does_not_know_are_a_scan(unknown: int, found: int) -> None:
    plant = Plant()
    interrogated(plant, unknown)
    assert len(of(plant.findings(), "scan.stations")) == found
