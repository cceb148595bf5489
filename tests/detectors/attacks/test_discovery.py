"""Searches by broadcast, and PROFINET stations that are set."""

from __future__ import annotations

import struct

import pytest
from support.findings import Plant, of, the

from detectors.attacks.discovery import LEARN_NS
from detectors.finding import Severity
from pcaps.messages import modbus

ENGINEER, STATION, ALL = "02:00:00:00:00:20", "02:00:00:00:00:31", "01:0e:cf:00:00:00"
HMI, PLC, STRANGER, EVERYBODY = "10.1.0.5", "10.1.0.20", "10.1.0.66", "10.1.0.255"
LIST_IDENTITY = struct.pack("<HHII8sI", 99, 0, 0, 0, bytes(8), 0)
NAME, IP, FACTORY, SIGNAL = (2, 2), (1, 2), (5, 5), (5, 3)


def dcp(source: str, target: str, service: int, *blocks: tuple[tuple[int, int], bytes]) -> bytes:
    """A DCP request on Ethernet: identify (5) or set (4)."""
    body = b""
    for pair, value in blocks:
        value = (b"\0\0" if service == 4 else b"") + value
        body += bytes(pair) + struct.pack(">H", len(value)) + value + bytes(len(value) % 2)
    frame_id = 0xFEFE if service == 5 else 0xFEFD
    head = struct.pack(">HHBBIHH", 0x8892, frame_id, service, 0, 7, 1, len(body))
    return (bytes.fromhex((target + source).replace(":", "")) + head + body).ljust(60, b"\0")


def who_is() -> bytes:
    npdu = bytes.fromhex("0100") + bytes.fromhex("1008")
    return struct.pack(">BBH", 0x81, 0x0B, 4 + len(npdu)) + npdu


def watched(plant: Plant, seconds: float) -> None:
    """Ordinary polling for so long."""
    for n in range(int(seconds) // 10):
        plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [7])))
        plant.wait(10)


def searches(plant: Plant, how: str) -> str:
    """One search; who is named for it."""
    if how == "profinet_dcp":
        plant.sends(dcp(ENGINEER, ALL, 5, ((255, 255), b"")))
        return ENGINEER
    payload, port = (who_is(), 47808) if how == "bacnet" else (LIST_IDENTITY, 44818)
    plant.datagram(STRANGER, EVERYBODY, payload, port)
    return STRANGER


@pytest.mark.parametrize("size", [None, 7])
@pytest.mark.parametrize("how", ["profinet_dcp", "bacnet", "enip"])
def test_a_host_that_begins_to_search_after_ten_minutes_is_told(how: str, size: int | None) -> None:
    plant = Plant()
    watched(plant, LEARN_NS // 10**9 + 10)
    who = searches(plant, how)
    watched(plant, 20)
    found = the(plant.findings(size), "search.new")
    assert (found.source_ip, found.severity, found.techniques) == (who, Severity.LOW, ("T0846",))
    assert f"by {how} messages to everybody" in found.explanation.en


@pytest.mark.parametrize("how", ["profinet_dcp", "bacnet", "enip"])
def test_who_searches_from_the_beginning_or_in_a_short_capture_is_not_told(how: str) -> None:
    plant = Plant()
    watched(plant, 30)
    searches(plant, how)
    watched(plant, LEARN_NS // 10**9 + 10)
    searches(plant, how)
    assert not of(plant.findings(), "search.new")


def test_an_identity_asked_of_one_device_is_no_search() -> None:
    plant = Plant()
    watched(plant, LEARN_NS // 10**9 + 10)
    plant.datagram(STRANGER, PLC, LIST_IDENTITY, 44818)
    assert not of(plant.findings(), "search.new")


@pytest.mark.parametrize(
    ("block", "value", "severity", "techniques", "words"),
    [
        (NAME, b"press-2", Severity.MEDIUM, ("T0836",), "station name, new value press-2"),
        (
            IP,
            bytes([10, 1, 0, 99, 255, 255, 255, 0, 0, 0, 0, 0]),
            Severity.LOW,
            ("T0836",),
            "IP address, new value 10.1",
        ),
        (FACTORY, b"", Severity.HIGH, ("T0809", "T0816"), "reset to factory settings;"),
    ],
)
def test_what_is_set_at_a_station_is_told_by_its_weight(
    block: tuple[int, int], value: bytes, severity: Severity, techniques: tuple[str, ...], words: str
) -> None:
    plant = Plant()
    watched(plant, 10)
    plant.sends(dcp(ENGINEER, STATION, 4, (block, value)))
    found = the(plant.findings(), "profinet.set")
    assert (found.source_ip, found.destination_ip) == (ENGINEER, STATION)
    assert (found.severity, found.techniques) == (severity, techniques)
    assert words in found.explanation.en


def test_a_lamp_that_shall_flash_is_not_told() -> None:
    plant = Plant()
    plant.sends(dcp(ENGINEER, STATION, 4, (SIGNAL, b"\1\0")))
    assert not of(plant.findings(), "profinet.set")
