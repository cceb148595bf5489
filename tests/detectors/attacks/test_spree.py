"""New hosts that command one device after the other, and controllers that program others."""

from __future__ import annotations

import pytest
from support.findings import S7, Plant, of, the

from detectors.attacks import spree
from detectors.finding import Severity
from pcaps.messages import modbus, s7comm

HMI, STRANGER = "10.1.0.5", "10.1.0.66"
PLCS = [f"10.1.2.{n}" for n in range(1, 6)]


def polled(plant: Plant, seconds: int) -> None:
    for n in range(seconds):
        for plc in PLCS:
            pdu = modbus.read(3, 0, 1)
            plant.exchange(HMI, plc, modbus.adu(n, 1, pdu), modbus.adu(n, 1, modbus.registers(3, [n])))
        plant.wait(1)


def writes(plant: Plant, host: str, plc: str) -> None:
    pdu = modbus.write_register(1, 12)
    plant.exchange(host, plc, modbus.adu(1, 1, pdu), modbus.adu(1, 1, pdu))
    plant.wait(5)


@pytest.mark.parametrize("size", [None, 5])
def test_a_new_host_that_writes_to_three_devices_is_named_once(size: int | None) -> None:
    plant = Plant()
    polled(plant, 90)
    for plc in PLCS[: spree.DEVICES]:
        writes(plant, STRANGER, plc)
    found = the(plant.findings(size), "writer.several")
    assert (found.source_ip, found.severity, found.count) == (STRANGER, Severity.HIGH, spree.DEVICES)
    assert "10.1.2.1, 10.1.2.2, 10.1.2.3" in found.explanation.en


def test_two_devices_are_left_to_the_detector_of_new_writers() -> None:
    plant = Plant()
    polled(plant, 90)
    for plc in PLCS[: spree.DEVICES - 1]:
        writes(plant, STRANGER, plc)
    assert not of(plant.findings(), "writer.several")


def test_a_station_that_was_there_all_the_time_may_write_to_all_devices() -> None:
    plant = Plant()
    polled(plant, 90)
    for plc in PLCS:
        writes(plant, HMI, plc)
    assert not of(plant.findings(), "writer.several")


def reads(plant: Plant, client: str, server: str, times: int) -> None:
    for n in range(1, times + 1):
        request = s7comm.job(n, s7comm.read_var((s7comm.DB, 1, 0, 2)))
        plant.exchange(client, server, request, s7comm.ack_data(n, b"\x04\x01", s7comm.read_var_data(b"\0\7")), S7)
        plant.wait(1)


def stops(plant: Plant, client: str, server: str) -> None:
    plant.exchange(client, server, s7comm.job(99, s7comm.PLC_STOP), s7comm.ack_data(99, b"\x29"), S7)


def test_a_controller_that_stops_another_is_critical() -> None:
    plant = Plant()
    reads(plant, HMI, PLCS[0], spree.SERVED)
    stops(plant, PLCS[0], PLCS[1])
    found = the(plant.findings(), "controller.programs")
    assert (found.source_ip, found.destination_ip, found.severity) == (PLCS[0], PLCS[1], Severity.CRITICAL)


def test_controllers_that_exchange_data_and_engineers_that_stop_them_are_ordinary() -> None:
    plant = Plant()
    reads(plant, HMI, PLCS[0], spree.SERVED)
    reads(plant, PLCS[0], PLCS[1], 20)
    stops(plant, HMI, PLCS[1])
    assert not of(plant.findings(), "controller.programs")
