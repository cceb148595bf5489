"""EtherNet/IP, OPC UA and BACnet from frames to findings: who stopped, silenced or searched what."""

from __future__ import annotations

import struct

from support.findings import Plant, of, the
from support.wire import udp

from detectors.finding import Severity

ENGINEER, SCANNER, PLC, SERVER, CONTROLLER = "10.1.0.6", "10.1.0.66", "10.1.0.20", "10.1.0.30", "10.1.0.40"
ENIP, OPCUA, BACNET = 44818, 4840, 47808
TOKEN_AND_TIME = b"\0\0" + struct.pack("<q", 0x01DC_5BA0_0000_0000)


def unit_data(sequence: int, cip: bytes) -> bytes:
    """SendUnitData with one connected message."""
    items = struct.pack("<HHHIHHH", 2, 0xA1, 4, 77, 0xB1, 2 + len(cip), sequence) + cip
    body = struct.pack("<IH", 0, 0) + items
    return struct.pack("<HHIIQI", 0x70, len(body), 5, 0, 0, 0) + body


def packet(*requests: bytes) -> bytes:
    """Multiple Service Packet."""
    at = [2 + 2 * len(requests) + sum(map(len, requests[:k])) for k in range(len(requests))]
    return b"\x0a\x02\x20\x02\x24\x01" + struct.pack(f"<H{len(at)}H", len(at), *at) + b"".join(requests)


def opc(request_id: int, code: int, body: bytes, *, response: bool = False) -> bytes:
    """A message in the clear; `body` follows the header."""
    header = (
        TOKEN_AND_TIME[2:] + struct.pack("<II", 1, 0) + b"\0" + bytes(4) if response else TOKEN_AND_TIME + bytes(16)
    )
    message = struct.pack("<IIIIBBH", 9, 1, request_id, request_id, 1, 0, code) + header + b"\0\0\0" + body
    return b"MSGF" + struct.pack("<I", 8 + len(message)) + message


def bacnet(plant: Plant, asker: str, asked: str, request: bytes, response: bytes, *, behind: bytes = b"") -> None:
    """A confirmed request and its answer. behind: network, length and address of a device behind the asked router."""
    there = b"\x01\x20" + behind + b"\xff" if behind else b"\x01\x00"
    back = b"\x01\x08" + behind if behind else b"\x01\x00"
    for source, target, way, apdu in ((asker, asked, there, request), (asked, asker, back, response)):
        data = b"\x81\x0a" + struct.pack(">H", 4 + len(way) + len(apdu)) + way + apdu
        plant.sends(udp(data, src=source, dst=target, sport=BACNET, dport=BACNET))


def test_a_controller_is_stopped_on_its_own_or_inside_of_a_packet() -> None:
    stop = b"\x07\x02\x20\x8e\x24\x01"
    for request, answer in ((stop, b"\x87\0\0\0"), (packet(b"\x01\x02\x20\x01\x24\x01", stop), b"\x8a\0\0\0\0\0")):
        plant = Plant()
        plant.exchange(ENGINEER, PLC, unit_data(1, request), unit_data(1, answer), ENIP)
        found = the(plant.findings(), "operation.enip.stop")
        assert (found.severity, found.source_ip, found.destination_ip) == (Severity.CRITICAL, ENGINEER, PLC)
        assert "class 0x8E instance 1" in found.explanation.en
        assert "accepted" in found.explanation.en


def test_services_that_a_device_does_not_know_are_a_scan() -> None:
    plant = Plant()
    for n in range(4):
        request = bytes([0x50 + n]) + b"\x02\x20\x99\x24\x01"
        plant.exchange(SCANNER, PLC, unit_data(n, request), unit_data(n, bytes([0xD0 + n, 0, 8, 0])), ENIP)
    assert "0x50, 0x51, 0x52, 0x53" in the(plant.findings(), "scan.function").explanation.en


def test_objects_that_a_device_does_not_have_are_a_scan() -> None:
    plant = Plant()
    for n in range(12):
        request = b"\x0e\x03\x20\x04\x24" + bytes([n]) + b"\x30\x03"
        plant.exchange(SCANNER, PLC, unit_data(n, request), unit_data(n, b"\x8e\0\x16\0"), ENIP)
    assert "0x04/0/3" in the(plant.findings(), "scan.point").explanation.en


def test_a_refused_write_to_a_server_is_told_as_refused() -> None:
    plant = Plant()
    node = b"\x01\x02" + struct.pack("<H", 70) + struct.pack("<Ii", 13, -1) + b"\x01\x01\x01"
    plant.asks(ENGINEER, SERVER, opc(1, 673, struct.pack("<i", 1) + node), OPCUA)
    plant.answers(ENGINEER, SERVER, opc(1, 676, struct.pack("<iI", 1, 0x803B0000), response=True), OPCUA)
    found = the(plant.findings(), "operation.opcua.write")
    assert "ns=2;i=70" in found.explanation.en
    assert "refused" in found.explanation.en


def test_a_device_behind_a_router_is_silenced_and_named() -> None:
    plant = Plant()
    bacnet(plant, ENGINEER, CONTROLLER, b"\0\x05\x09\x11\x19\x01", b"\x20\x09\x11", behind=b"\x00\x0d\x01\x3d")
    found = the(plant.findings(), "operation.bacnet.silence")
    assert found.severity is Severity.CRITICAL
    assert "network 13 address 3D" in found.explanation.en
    assert "accepted" in found.explanation.en


def test_guessing_the_password_of_a_restart_is_worse_than_one_refusal() -> None:
    for guesses, severity in ((1, Severity.HIGH), (4, Severity.CRITICAL)):
        plant = Plant()
        for n in range(guesses):
            request = bytes([0, 5, n, 20]) + b"\x09\x00\x1d\x04\x00" + b"%03d" % n
            bacnet(plant, SCANNER, CONTROLLER, request, bytes([0x50, n, 20]) + b"\x91\x05\x91\x1a")
        found = the(plant.findings(), "operation.bacnet.restart")
        assert (found.severity, found.count) == (severity, guesses)


def test_reading_and_notifying_are_no_findings() -> None:
    plant = Plant()
    bacnet(plant, ENGINEER, CONTROLLER, b"\0\x05\x09\x0c\x0c\x00\x00\x00\x01\x19\x55", b"\x50\x09\x0c\x91\x02\x91\x20")
    tag = b"\x4c\x02\x91\x01T\x00\x01\x00"
    plant.exchange(ENGINEER, PLC, unit_data(1, tag), unit_data(1, b"\xcc\0\0\0\xc3\0\1\0"), ENIP)
    assert not of(plant.findings(), "operation.enip.write")
    assert not plant.findings()
