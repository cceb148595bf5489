"""Protocols of single vendors, by port and first bytes."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from detectors.finding import Severity

PLC, LAPTOP, PUBLIC = "10.1.0.20", "10.1.0.66", "8.8.4.4"
PCOM = bytes.fromhex("1234 6500 0800") + b"/00ID\xed\r"


def said(source: str, payload: bytes, port: int, target: str = PLC) -> Plant:
    plant = Plant()
    plant.exchange(source, target, payload, b"\0" * 12, port)
    return plant


def test_a_public_address_that_speaks_pcom_is_high() -> None:
    found = the(said(PUBLIC, PCOM, 20256).findings(), "vendor.public")
    assert (found.source_ip, found.destination_ip, found.severity) == (PUBLIC, PLC, Severity.HIGH)
    assert found.techniques == ("T0883", "T0812")
    assert "spoke PCOM with port 20256" in found.explanation.en


@pytest.mark.parametrize(
    ("port", "payload", "name"),
    [
        (20256, PCOM, "PCOM"),
        (11740, bytes.fromhex("000117e8 14000000"), "CODESYS"),
        (1217, b"\xbb\xbb\x03\0\0\0", "CODESYS"),
        (9600, b"FINS" + bytes(12), "FINS"),
    ],
)
def test_who_speaks_a_vendors_protocol_inside_is_recorded(port: int, payload: bytes, name: str) -> None:
    found = the(said(LAPTOP, payload, port).findings(), "vendor.seen")
    assert found.severity is Severity.INFORMATIONAL
    assert f"spoke {name} with" in found.explanation.en


@pytest.mark.parametrize("port", [20256, 11740, 1217, 9600])
def test_another_protocol_on_such_a_port_is_not_taken_for_it(port: int) -> None:
    found = said(PUBLIC, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", port).findings()
    assert not of(found, "vendor.public") + of(found, "vendor.seen")


def test_a_search_for_safety_controllers_by_broadcast_is_named() -> None:
    plant = Plant()
    plant.datagram(LAPTOP, "10.1.0.255", bytes.fromhex("06000000000085"), 1502)
    found = the(plant.findings(), "vendor.discovery")
    assert (found.source_ip, found.severity, found.techniques) == (LAPTOP, Severity.MEDIUM, ("T0846", "T0888"))


def test_schneiders_own_broadcast_is_a_low_matter_but_asking_one_host_after_the_other_is_not() -> None:
    plant = Plant()
    plant.datagram(LAPTOP, "255.255.255.255", b"\1\2\3\4", 27127)
    assert the(plant.findings(), "vendor.discovery").severity is Severity.LOW
    for n in range(5):
        plant.datagram("10.1.0.67", f"10.1.0.{n + 10}", b"\1\2\3\4", 27127)
    (found,) = (it for it in of(plant.findings(), "vendor.discovery") if it.source_ip == "10.1.0.67")
    assert found.severity is Severity.MEDIUM
