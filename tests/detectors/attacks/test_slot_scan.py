"""Racks and slots tried one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import S7, Plant, of, the
from support.wire import Talk

from detectors.attacks.slot_scan import ENOUGH, called_tsap, sender, shown
from pcaps.messages import modbus, s7comm

SCANNER, HMI, PLC = "10.1.0.66", "10.1.0.5", "10.1.0.31"


def calls(plant: Plant, tsaps: list[bytes], *, between: int = 0, client: str = SCANNER, pause: float = 1.0) -> None:
    """Connections, each with one request; only rack 0 slot 2 is granted. between: other frames before each request."""
    for number, tsap in enumerate(tsaps):
        talk = Talk(src=client, dst=PLC, dport=S7, sport=40000 + number)
        for packet in talk.handshake():
            plant.sends(packet)
        for n in range(between):
            plant.asks(HMI, "10.1.0.20", modbus.adu(n, 1, modbus.read(3, 0, 1)))
        plant.sends(talk.asks(s7comm.connect_request(remote_tsap=tsap)))
        if tsap == b"\x01\x02":
            plant.sends(talk.answers(s7comm.connect_confirm(remote_tsap=tsap)))
        plant.wait(pause)


def slots(count: int) -> list[bytes]:
    return [bytes([1, slot]) for slot in range(count)]


@pytest.mark.parametrize("size", [None, 1, 7])
def test_eight_slots_are_a_scan_whether_granted_or_not(size: int | None) -> None:
    plant = Plant()
    calls(plant, slots(12))
    found = the(plant.findings(size), "scan.slots")
    assert (found.source_ip, found.destination_ip, found.count) == (SCANNER, PLC, 12)
    assert found.techniques == ("T0888",)
    assert "under 12 different TSAPs" in found.explanation.en
    assert "PG 0/0, PG 0/1" in found.explanation.en
    assert len(found.evidence.frames) == 12


@pytest.mark.parametrize(
    "tsaps", [slots(ENOUGH - 1), [b"\x02\x02"] * 50], ids=["seven slots", "one slot again and again"]
)
def test_programming_software_and_an_impatient_station_are_no_scan(tsaps: list[bytes]) -> None:
    plant = Plant()
    calls(plant, tsaps)
    assert not of(plant.findings(), "scan.slots")


def test_slots_tried_by_several_hosts_or_over_hours_are_not_added_up() -> None:
    plant = Plant()
    for number in range(3):
        calls(plant, slots(4), client=f"10.1.0.{70 + number}")
    calls(plant, slots(ENOUGH), client="10.1.0.80", pause=900)
    assert not of(plant.findings(), "scan.slots")


@pytest.mark.parametrize("size", [None, 5])
def test_requests_among_other_traffic_are_found(size: int | None) -> None:
    plant = Plant()
    calls(plant, slots(9), between=30)
    assert the(plant.findings(size), "scan.slots").count == 9


def test_tsaps_are_shown_as_people_know_them() -> None:
    assert [shown(tsap) for tsap in (b"\x01\x02", b"\x02\x21", b"\x03\x00", b"\x10\x00", b"SIMATIC")] == [
        "PG 0/2", "OP 1/1", "S7 0/0", "0x1000", "0x53494D41544943",
    ]  # fmt: skip


@given(st.binary(max_size=60), st.integers(0, 80))
def test_hostile_octets_are_no_request(octets: bytes, payload: int) -> None:
    assert called_tsap(s7comm.connect_request(remote_tsap=b"\x01\x07")) == b"\x01\x07"
    for given_octets in (octets, b"\x03\x00\x00\x16\x11\xe0" + octets):
        tsap = called_tsap(given_octets)
        assert tsap is None or tsap in given_octets
    if payload <= len(octets):
        assert sender(octets, payload) is None or b"\x00\x66" in octets
