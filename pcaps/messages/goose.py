"""GOOSE messages (IEC 61850-8-1:2011, annexes A and C), from the Ethernet header on."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

ETHERTYPE = 0x88B8
DESTINATION = bytes.fromhex("010ccd010001")


def _element(tag: int, data: bytes) -> bytes:
    size = bytes([len(data)]) if len(data) < 0x80 else b"\x82" + struct.pack(">H", len(data))
    return bytes([tag]) + size + data


def _number(tag: int, value: int) -> bytes:
    return _element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def publication(
    mac: str,
    *,
    state: int,
    sequence: int,
    values: tuple[bool, ...] = (False, False),
    appid: int = 0x3001,
    control_block: str = "BAY1PROT/LLN0$GO$gcbTrip",
    simulated: bool = False,
    at: datetime = datetime(2026, 3, 2, tzinfo=UTC),
) -> bytes:
    """One frame. state, sequence: stNum and sqNum; values: of the data set."""
    seconds = struct.pack(">I", int(at.timestamp())) + bytes([0, 0, 0, 0x0A])
    data = b"".join(_element(0x83, bytes([value])) for value in values)
    body = (
        _element(0x80, control_block.encode()) + _number(0x81, 2000) + _element(0x82, b"BAY1PROT/LLN0$dsTrip")
        + _element(0x83, b"trip") + _element(0x84, seconds) + _number(0x85, state) + _number(0x86, sequence)
        + _element(0x87, bytes([simulated])) + _number(0x88, 1) + _element(0x89, b"\0")
        + _number(0x8A, len(values)) + _element(0xAB, data)
    )  # fmt: skip
    pdu = _element(0x61, body)
    head = struct.pack(">HHHHH", ETHERTYPE, appid, 8 + len(pdu), 0x8000 if simulated else 0, 0)
    return DESTINATION + bytes.fromhex(mac.replace(":", "")) + head + pdu
