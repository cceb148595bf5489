"""Something else on an industrial port."""

from __future__ import annotations

from support.findings import Plant, of, the

from detectors.finding import Severity
from pcaps.messages import modbus

HMI, PLC = "10.1.0.5", "10.1.0.20"
TLS = bytes.fromhex("16030100ba010000b60303") + bytes(range(64, 240))


def test_tls_on_port_502_is_named_once() -> None:
    plant = Plant()
    for _ in range(5):
        plant.exchange(HMI, PLC, TLS, TLS)
        plant.wait(1)
    plant.asks("10.1.0.6", "10.1.0.21", modbus.adu(1, 1, modbus.read(3, 0, 1)))
    found = the(plant.findings(), "port.other-protocol")
    assert (found.source_ip, found.destination_ip, found.destination_port) == (HMI, PLC, 502)
    assert found.severity is Severity.INFORMATIONAL
    assert "not modbus" in found.explanation.en
    assert found.count == 1


def test_nothing_but_garbage_is_found_too() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n")
    assert the(plant.findings(), "port.other-protocol").protocol == "modbus"


def test_garbage_between_good_messages_is_another_matter() -> None:
    plant = Plant()
    for n in range(4):
        plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n])))
    plant.asks(HMI, PLC, TLS)
    findings = plant.findings()
    assert the(findings, "port.garbage").protocol == "modbus"
    assert not of(findings, "port.other-protocol")


def test_good_traffic_gives_nothing() -> None:
    plant = Plant()
    for n in range(4):
        plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n])))
    assert plant.findings() == []
