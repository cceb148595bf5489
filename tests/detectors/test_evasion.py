"""Bytes that a sensor and a device may read differently."""

from __future__ import annotations

from support.findings import Plant, of, the
from support.fragments import fragmented
from support.wire import udp

from detectors.finding import Severity
from pcaps.messages import modbus

HMI, PLC = "10.1.0.5", "10.1.0.20"


def request(address: int) -> bytes:
    """A request as an IP packet."""
    return udp(modbus.adu(7, 1, modbus.read(3, address, 1)), src=HMI, dst=PLC, dport=502)[14:]


def test_both_readings_of_contradicting_fragments_are_one_finding_with_each_in_evidence() -> None:
    plant = Plant()
    (head, tail), (_, other) = fragmented(request(1), 8), fragmented(request(900), 8)
    for frame in (tail, other, head):
        plant.sends(frame)
    found = the(plant.findings(), "evasion.contradiction")
    assert (found.source_ip, found.destination_ip, found.protocol, found.count) == (HMI, PLC, "modbus", 2)
    assert found.severity is Severity.HIGH
    assert {pdu["modbus.address"] for pdu in found.evidence.pdus} == {1, 900}


def test_messages_in_fragments_are_one_finding_however_many_they_are() -> None:
    plant = Plant()
    for number in range(20):
        for frame in fragmented(request(1), 16, ident=number):
            plant.sends(frame)
        plant.wait(1)
    findings = plant.findings()
    found = the(findings, "evasion.fragments")
    assert (found.source_ip, found.destination_ip, found.count) == (HMI, PLC, 20)
    assert found.severity is Severity.LOW
    assert not of(findings, "evasion.contradiction")


def test_whole_packets_give_nothing() -> None:
    plant = Plant()
    plant.exchange(HMI, PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [1])))
    plant.datagram(HMI, PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), port=502)
    assert not [finding for finding in plant.findings() if finding.rule_id.startswith("evasion.")]
