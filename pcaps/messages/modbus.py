"""Modbus/TCP messages (Modbus Application Protocol 1.1b3; Messaging on TCP/IP 1.0b). All numbers are big-endian."""

from __future__ import annotations

import struct
from collections.abc import Sequence

PORT = 502


def adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header (transaction, protocol 0, length, unit) and PDU."""
    return struct.pack(">HHHB", transaction & 0xFFFF, 0, len(pdu) + 1, unit) + pdu


def read(function: int, address: int, quantity: int) -> bytes:
    """Request of FC 1 to 4."""
    return struct.pack(">BHH", function, address, quantity)


def registers(function: int, values: Sequence[int]) -> bytes:
    """Response of FC 3 and 4."""
    return struct.pack(f">BB{len(values)}H", function, 2 * len(values), *values)


def bits(function: int, values: Sequence[bool]) -> bytes:
    """Response of FC 1 and 2: eight to the octet, first in the lowest bit."""
    packed = sum(1 << index for index, value in enumerate(values) if value)
    size = (len(values) + 7) // 8
    return struct.pack(">BB", function, size) + packed.to_bytes(size, "little")


def write_coil(address: int, on: bool) -> bytes:
    """FC 5, request and response."""
    return struct.pack(">BHH", 5, address, 0xFF00 if on else 0)


def write_register(address: int, value: int) -> bytes:
    """FC 6, request and response."""
    return struct.pack(">BHH", 6, address, value)


def write_registers(address: int, values: Sequence[int]) -> bytes:
    """FC 16, request."""
    return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)


def wrote_registers(address: int, quantity: int) -> bytes:
    """FC 16, response."""
    return struct.pack(">BHH", 16, address, quantity)


def exception(function: int, code: int) -> bytes:
    """Exception response: the function code with the top bit set."""
    return bytes([function | 0x80, code])


def diagnostics(subfunction: int, data: int = 0) -> bytes:
    """FC 8, request and response. 1: restart communications option, 4: force listen only mode."""
    return struct.pack(">BHH", 8, subfunction, data)


def umas(session: int, code: int, data: bytes = b"") -> bytes:
    """FC 90, Schneider's UMAS: session key, code, data."""
    return bytes([90, session, code]) + data
