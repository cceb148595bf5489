"""Function and point scans: distinct things that were refused, however slowly."""

from __future__ import annotations

import struct

import pytest
from support.findings import DNP3, S7, Plant, of, the

from detectors.attacks import function_scan, point_scan
from detectors.finding import Severity
from pcaps.messages import dnp3, iec104, modbus, s7comm

SCANNER, HMI, PLC = "10.1.0.66", "10.1.0.5", "10.1.0.20"


def refused(plant: Plant, source: str, n: int, function: int, code: int, address: int = 0) -> None:
    request = modbus.adu(n, 1, struct.pack(">BHH", function, address, 1))
    plant.exchange(source, PLC, request, modbus.adu(n, 1, modbus.exception(function, code)))


def test_three_codes_that_the_device_does_not_know_are_a_scan() -> None:
    plant = Plant()
    for n, function in enumerate((1, 2, 4)):
        refused(plant, SCANNER, n, function, code=1)
    found = the(plant.findings(), "scan.function")
    assert (found.source_ip, found.destination_ip, found.station, found.count) == (SCANNER, PLC, 1, 3)
    assert found.severity is Severity.MEDIUM
    assert "3 so far (1, 2, 4)" in found.explanation.en
    assert found.evidence.frames == (5, 7, 9)


def test_one_code_refused_a_hundred_times_is_no_scan() -> None:
    plant = Plant()
    for n in range(100):
        refused(plant, HMI, n, 1, code=1)
    assert not of(plant.findings(), "scan.function")


def test_a_scan_of_one_code_an_hour_is_still_a_scan() -> None:
    plant = Plant()
    for n, function in enumerate((1, 2, 4)):
        refused(plant, SCANNER, n, function, code=1)
        plant.wait(3600)
    assert the(plant.findings(size=1), "scan.function").count == 3


def test_codes_further_apart_than_the_window_are_no_scan() -> None:
    plant = Plant()
    for n, function in enumerate((1, 2, 4)):
        refused(plant, SCANNER, n, function, code=1)
        plant.wait(function_scan.WINDOW_NS / 1e9 * 0.6)
    assert not of(plant.findings(size=1), "scan.function")


def test_codes_that_no_standard_knows_are_a_scan_even_without_answers() -> None:
    plant = Plant()
    for n, function in enumerate((99, 100, 101)):
        plant.asks(SCANNER, PLC, modbus.adu(n, 1, bytes((function, 0, 0))))
    assert the(plant.findings(), "scan.function").source_ip == SCANNER


def test_two_askers_are_not_added_up() -> None:
    plant = Plant()
    for n, (source, function) in enumerate(((SCANNER, 1), (HMI, 2), (SCANNER, 3), (HMI, 4))):
        refused(plant, source, n, function, code=1)
    assert not of(plant.findings(), "scan.function")


def test_dnp3_functions_that_are_not_supported_are_a_scan() -> None:
    plant = Plant()
    master, outstation = dnp3.Station(1, 4, master=True), dnp3.Station(4, 1, master=False)
    for n, function in enumerate((19, 31, 22)):
        plant.exchange(SCANNER, PLC, master.send(dnp3.request(n, function)),
                       outstation.send(dnp3.response(n, iin=0x0001)), DNP3)  # fmt: skip
    assert the(plant.findings(), "scan.function").station == 4


def test_ten_addresses_that_do_not_exist_are_a_scan_and_nine_are_not() -> None:
    def scan(addresses: int) -> Plant:
        plant = Plant()
        for n in range(addresses):
            refused(plant, SCANNER, n, 3, code=2, address=100 + n)
        return plant

    assert not of(scan(point_scan.ENOUGH - 1).findings(), "scan.point")
    found = the(scan(point_scan.ENOUGH).findings(), "scan.point")
    assert (found.count, found.techniques) == (point_scan.ENOUGH, ("T0861",))
    assert "100, 101" in found.explanation.en


def test_a_wrong_point_list_polled_for_ever_is_no_scan() -> None:
    plant = Plant()
    for n in range(500):
        refused(plant, HMI, n % 60000, 3, code=2, address=n % 5)
    assert not of(plant.findings(), "scan.point")


def test_other_refusals_are_no_scan() -> None:
    plant = Plant()
    for n in range(30):
        refused(plant, HMI, n, 3, code=6, address=n)
    assert not plant.findings()


def test_s7_items_that_do_not_exist_are_a_scan() -> None:
    plant = Plant()
    for n in range(12):
        request = s7comm.job(n, s7comm.read_var((0x84, 1000 + n, 0, 1)))
        plant.exchange(SCANNER, PLC, request, s7comm.ack_data(n, b"\x04\x01", b"\x0a\x00\x00\x00"), S7)
    found = the(plant.findings(), "scan.point")
    assert "DB1000" in found.explanation.en


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_scan_is_counted_the_same_however_it_is_batched(size: int) -> None:
    plant = Plant()
    for n in range(40):
        refused(plant, SCANNER, n, 3, code=2, address=n)
        plant.wait(1)
    found = the(plant.findings(size), "scan.point")
    assert found.count == 40
    assert found.evidence.frames[0] == 5
    assert "40 different" in found.explanation.en


def test_information_objects_that_an_iec_104_station_does_not_know_are_a_scan() -> None:
    plant = Plant()
    master, station = iec104.connect()
    for address in range(1, 15):
        ask = master.say(iec104.asdu(102, 5, 1, (address, b"")))
        answer = station.say(iec104.asdu(102, 47, 1, (address, b""), negative=True))
        plant.exchange(SCANNER, PLC, ask, answer, iec104.PORT)
    assert the(plant.findings(), "scan.point").techniques == ("T0861",)
