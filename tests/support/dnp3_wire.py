"""DNP3 octets for tests, put together independently of the code under test."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np


def crc(octets: bytes) -> bytes:
    """CRC-16/DNP bit by bit, as the wire carries it."""
    value = 0
    for octet in octets:
        value ^= octet
        for _ in range(8):
            value = (value >> 1) ^ 0xA6BC if value & 1 else value >> 1
    return struct.pack("<H", value ^ 0xFFFF)


def link_frame(user_data: bytes = b"", source: int = 1, destination: int = 1024, control: int = 0xC4) -> bytes:
    """A whole link frame; 0xC4: from a master, unconfirmed user data."""
    header = b"\x05\x64" + struct.pack("<BBHH", 5 + len(user_data), control, destination, source)
    blocks = [user_data[i : i + 16] for i in range(0, len(user_data), 16)]
    return header + crc(header) + b"".join(block + crc(block) for block in blocks)


def octets(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A writable array of its own, so that a read beyond it has nothing to find."""
    return np.frombuffer(bytearray(data), np.uint8)


def hexed(*lines: str) -> bytes:
    """Octets from hexadecimal lines; what follows `#` on a line says what they are."""
    return bytes.fromhex("".join(line.split("#")[0] for line in lines))
