"""Values of MMS (ISO 9506-2, production Data), which GOOSE carries too: as text, and the first of them as a number.

Sources: ISO 9506-2:2003, 14.4.2; IEC 61850-8-1:2011, 8.1 (UtcTime and its quality).
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u32be
from sensor.decode.pdu import NO_VALUE
from sensor.protocols.ber import Element, element, elements, number
from sensor.protocols.real import nearest
from sensor.text import wire_text

NOTHING = int(NO_VALUE)
ARRAY, STRUCTURE = 0xA1, 0xA2
BOOLEAN, BIT_STRING, INTEGER, UNSIGNED, FLOAT = 0x83, 0x84, 0x85, 0x86, 0x87
OCTET_STRING, VISIBLE_STRING, GENERALIZED_TIME, BINARY_TIME, BCD = 0x89, 0x8A, 0x8B, 0x8C, 0x8D
BOOLEAN_ARRAY, OBJECT_ID, MMS_STRING, UTC_TIME = 0x8E, 0x8F, 0x90, 0x91
MAX_DEPTH = 10  # of arrays and structures in each other: device models have four or five
MAX_VALUES = 256  # named in one list
MAX_TEXT = 1024  # characters of one value


@njit(cache=True, nogil=True, boundscheck=True)
def first_value(buf, at, end):
    """The first value in buf[at:end] as int64, inside of structures too; NO_VALUE where it is no number."""
    for _ in range(MAX_DEPTH):
        identifier, start, stop, _after = element(buf, at, end)
        size = stop - start
        if identifier in (ARRAY, STRUCTURE):
            at, end = start, stop
            continue
        if identifier == BOOLEAN and size == 1:
            return np.int64(1) if buf[start] else np.int64(0)
        if identifier in (INTEGER, UNSIGNED):
            return number(buf, start, stop)
        if identifier == FLOAT and size == 5 and buf[start] == 8:  # octet 0: how many bits the exponent has
            return nearest(u32be(buf, start + 1))
        if identifier == BIT_STRING and size == 2 and buf[start] < 8:
            return np.int64(buf[start + 1]) >> np.int64(buf[start])
        break
    return np.int64(NOTHING)


def texts(data: bytes) -> list[str]:
    """Each value in `data` as text; what follows MAX_VALUES is left out."""
    found: list[str] = []
    for each in elements(data):
        if len(found) == MAX_VALUES:
            break
        found.append(text(each))
    return found


def text(value: Element, depth: int = 0) -> str:
    """One value: numbers in decimal, structures in braces, arrays in brackets, what is not known in hexadecimal."""
    kind, data = value
    if kind in (ARRAY, STRUCTURE) and depth < MAX_DEPTH:
        inner: list[str] = []
        room = MAX_TEXT
        for each in elements(data):
            inner.append(text(each, depth + 1) if room > 0 else "…")
            room -= len(inner[-1])
            if room <= 0:
                break
        joined = ", ".join(inner)
        return f"{{{joined}}}" if kind == STRUCTURE else f"[{joined}]"
    if kind == BOOLEAN and len(data) == 1:
        return "true" if data[0] else "false"
    if kind in (INTEGER, UNSIGNED) and value.number is not None:
        return str(value.number)
    if kind == FLOAT and len(data) in (5, 9):
        return _real(data)
    if kind in (BIT_STRING, BOOLEAN_ARRAY) and data and data[0] < 8:
        bits = "".join(f"{octet:08b}" for octet in data[1:])
        return "0b" + bits[: max(len(bits) - data[0], 0)][:MAX_TEXT]
    if kind in (VISIBLE_STRING, MMS_STRING, GENERALIZED_TIME):
        return wire_text(data[:MAX_TEXT])
    if kind == UTC_TIME and len(data) == 8:
        return utc_time(data)
    if kind == BINARY_TIME and len(data) in (4, 6):
        return _binary_time(data)
    return "0x" + data[: MAX_TEXT // 2].hex()


def _real(data: bytes) -> str:
    (real,) = struct.unpack(">f" if len(data) == 5 else ">d", data[1:])
    return f"{real:.7g}" if math.isfinite(real) else str(real)


def utc_time(data: bytes) -> str:
    """UtcTime of eight octets: seconds since 1970, a fraction of 24 bits, quality; RFC 3339 with microseconds."""
    seconds, fraction = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:7], "big")
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction * 1_000_000 >> 24:06d}Z"


def _binary_time(data: bytes) -> str:
    """TimeOfDay: milliseconds since midnight and, with six octets, days since 1 January 1984."""
    milliseconds = int.from_bytes(data[:4], "big")
    clock = f"{milliseconds / 1000:.3f}"
    if len(data) == 4:
        return f"{clock} s"
    day = datetime.fromtimestamp(441_763_200 + int.from_bytes(data[4:6], "big") * 86_400, tz=UTC)
    seconds = milliseconds // 1000
    return f"{day:%Y-%m-%d}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds % 1000:03d}"
