"""Something else on an industrial port."""

from __future__ import annotations

from support.findings import Plant, of, the

from detectors.finding import Severity
from pcaps.messages import dnp3, modbus

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


def test_a_message_that_never_ends_is_told_once() -> None:
    plant = Plant()
    for n in range(60):  # transport segments of one DNP3 fragment: the first is marked, none is the last
        piece = bytes([(n & 0x3F) | (0x40 if n == 0 else 0)]) + bytes(249)
        plant.asks(HMI, PLC, dnp3.link_frame(0xC4, 4, 1, piece), 20000)
        plant.wait(0.5)
    found = the(plant.findings(size=10), "port.unfinished")
    assert (found.source_ip, found.destination_ip, found.protocol, found.count) == (HMI, PLC, "dnp3", 1)
    assert found.severity is Severity.LOW


def test_a_long_message_in_many_pieces_is_well() -> None:
    plant = Plant()
    request = modbus.adu(1, 1, modbus.write_registers(0, list(range(100))))
    for at in range(0, len(request), 8):
        plant.asks(HMI, PLC, request[at : at + 8])
    assert of(plant.findings(), "port.unfinished") == []
