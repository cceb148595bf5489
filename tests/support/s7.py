"""S7comm PDUs for tests: headers around parameters and data that are written out in hexadecimal."""

from __future__ import annotations

import struct


def job(parameters: str, data: str = "", reference: int = 0x0500) -> bytes:
    """A job (ROSCTR 1); spaces in the hexadecimal are allowed."""
    body, rest = bytes.fromhex(parameters), bytes.fromhex(data)
    return struct.pack(">BBHHHH", 0x32, 1, 0, reference, len(body), len(rest)) + body + rest


def ack_data(parameters: str, data: str = "", error: int = 0, reference: int = 0x0500) -> bytes:
    """An acknowledgement with data (ROSCTR 3); error: class << 8 | code."""
    body, rest = bytes.fromhex(parameters), bytes.fromhex(data)
    return struct.pack(">BBHHHHH", 0x32, 3, 0, reference, len(body), len(rest), error) + body + rest


def ack(error: int, reference: int = 0x0500) -> bytes:
    """A bare acknowledgement (ROSCTR 2)."""
    return struct.pack(">BBHHHHH", 0x32, 2, 0, reference, 0, 0, error)


def userdata(parameters: str, data: str = "", reference: int = 0x0500) -> bytes:
    """User data (ROSCTR 7) with parameters and data as they are."""
    body, rest = bytes.fromhex(parameters), bytes.fromhex(data)
    return struct.pack(">BBHHHH", 0x32, 7, 0, reference, len(body), len(rest)) + body + rest


def ask(group: int, code: int, payload: str | None = None, sequence: int = 0) -> bytes:
    """A user data request with the short syntax; payload None: the data say that there is none."""
    head = f"00 01 12 04 11 {0x40 | group:02X} {code:02X} {sequence:02X}"
    return userdata(head, data_head(payload))


def answer(
    group: int, code: int, payload: str | None = None, error: int = 0, unit: int = 0, more: int = 0, sequence: int = 1
) -> bytes:
    """A user data response with the extended syntax; unit and more: data unit reference, 1 if further units follow."""
    head = f"00 01 12 08 12 {0x80 | group:02X} {code:02X} {sequence:02X} {unit:02X} {more:02X} {error:04X}"
    return userdata(head, data_head(payload))


def indicate(group: int, code: int, payload: str | None = None) -> bytes:
    """A user data indication with the short syntax."""
    return userdata(f"00 01 12 04 11 {group:02X} {code:02X} 00", data_head(payload), reference=0)


def data_head(payload: str | None) -> str:
    """Return code, transport size and length before a payload."""
    if payload is None:
        return "0A 00 0000"
    return f"FF 09 {len(bytes.fromhex(payload)):04X} {payload}"
