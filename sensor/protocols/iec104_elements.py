"""Information objects of IEC 60870-5-101 and -104 in words: values, quality, commands, qualifiers, times.

Source: IEC 60870-5-101:2003, 7.2.6 (information elements) and 7.3 (ASDUs). Readable code, no compiled part.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from sensor.protocols import iec104_tables as t

Fields = dict[str, Any]

_ADDRESS = 3
_SINGLE_POINTS, _DOUBLE_POINTS, _STEPS = (1, 2, 30), (3, 4, 31), (5, 6, 32)
_BITSTRINGS, _NORMALISED, _SCALED, _FLOATS = (7, 8, 33), (9, 10, 21, 34), (11, 12, 35), (13, 14, 36)
_TOTALS = (15, 16, 37)
_SINGLE_COMMANDS, _DOUBLE_COMMANDS, _STEP_COMMANDS = (45, 58), (46, 59), (47, 60)
_NORMALISED_SET, _SCALED_SET, _FLOAT_SET, _BITSTRING_SET = (48, 61), (49, 62), (50, 63), (51, 64)
_SHORT_TIMES = (2, 4, 6, 8, 10, 12, 14, 16, 17, 18, 19)  # CP24Time2a: minutes and milliseconds, at the end
_TIMES = (*range(30, 41), *range(58, 65), 103, 107, 126)  # CP56Time2a at the end


def describe(asdu: bytes) -> Fields:
    """Every field of one ASDU, as far as its octets go."""
    if len(asdu) < 6:
        return {}
    kind = asdu[0]
    known = t.TYPES.get(kind)
    cause = asdu[2] & 0x3F
    private = "private" if cause in t.PRIVATE_CAUSES else "undefined"
    out: Fields = {
        "iec104.type": kind,
        "iec104.type_name": known.name if known else "private" if kind in t.PRIVATE_TYPES else "undefined",
        "iec104.object_count": asdu[1] & 0x7F,
        "iec104.sequence": asdu[1] >> 7 == 1,
        "iec104.cause_code": cause,
        "iec104.cause": t.CAUSES.get(cause, private),
        "iec104.negative": asdu[2] & 0x40 != 0,
        "iec104.test": asdu[2] & 0x80 != 0,
        "iec104.originator": asdu[3],
        "iec104.common_address": asdu[4] | asdu[5] << 8,
    }
    if not known or known.size == t.VARIABLE:
        out["iec104.addresses"] = [int.from_bytes(asdu[6:9], "little")] if len(asdu) >= 9 else []
        out["iec104.data"] = asdu[9:].hex() or None
        return out
    addresses: list[int] = []
    values: list[str] = []
    qualities: list[str] = []
    for address, elements in _objects(asdu, known.size):
        addresses.append(address)
        value, quality = _value(kind, elements)
        values += [value] if value is not None else []
        qualities += [quality] if quality is not None else []
        if len(addresses) == 1:
            out |= _first(kind, elements)
    return out | {"iec104.addresses": addresses, "iec104.values": values, "iec104.qualities": qualities}


def _objects(asdu: bytes, size: int) -> list[tuple[int, bytes]]:
    """(address, information elements) of each whole object."""
    found = []
    at = 6
    base = int.from_bytes(asdu[at : at + _ADDRESS], "little")
    sequence = asdu[1] >> 7 == 1
    if sequence:
        at += _ADDRESS
    for number in range(asdu[1] & 0x7F):
        address = base + number
        if not sequence:
            address = int.from_bytes(asdu[at : at + _ADDRESS], "little")
            at += _ADDRESS
        if at + size > len(asdu):
            break
        found.append((address, asdu[at : at + size]))
        at += size
    return found


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _float(data: bytes) -> str:
    (value,) = struct.unpack("<f", data)
    return f"{value:.7g}" if math.isfinite(value) else str(value)


def _normalised(data: bytes) -> str:
    return f"{_signed(data) / 32768:.6g}"


def _quality(octet: int, bits: int = 0xF1) -> str:
    """Names of the quality bits that are set, "good" where none is."""
    return "+".join(name for bit, name in t.QUALITIES.items() if octet & bits & bit) or "good"


def _value(kind: int, raw: bytes) -> tuple[str | None, str | None]:
    """(value, quality) of one object, None where its type has none."""
    if kind in _SINGLE_POINTS:
        return t.SINGLE[raw[0] & 1], _quality(raw[0], 0xF0)
    if kind in _DOUBLE_POINTS:
        return t.DOUBLE[raw[0] & 3], _quality(raw[0], 0xF0)
    if kind in _STEPS:
        position = ((raw[0] & 0x7F) ^ 0x40) - 0x40
        return f"{position}{' moving' if raw[0] & 0x80 else ''}", _quality(raw[1])
    if kind in _BITSTRINGS:
        return f"0x{int.from_bytes(raw[:4], 'little'):08x}", _quality(raw[4])
    if kind in _NORMALISED:
        return _normalised(raw[:2]), None if kind == 21 else _quality(raw[2])
    if kind in _SCALED:
        return str(_signed(raw[:2])), _quality(raw[2])
    if kind in _FLOATS:
        return _float(raw[:4]), _quality(raw[4])
    if kind in _TOTALS:
        marks = ((0x20, "carry"), (0x40, "adjusted"), (0x80, "invalid"))
        return str(_signed(raw[:4])), "+".join(name for bit, name in marks if raw[4] & bit) or "good"
    if kind in (17, 38):  # event of protection equipment: state, then its duration
        return t.DOUBLE[raw[0] & 3], _quality(raw[0], 0xF0)
    if kind in (18, 19, 39, 40):  # start events or output circuits, as bits
        return f"0x{raw[0]:02x}", _quality(raw[1], 0xF0)
    if kind == 20:  # 16 states and which of them have changed
        return f"0x{int.from_bytes(raw[:2], 'little'):04x}", _quality(raw[4])
    return _commanded(kind, raw), None


def _commanded(kind: int, raw: bytes) -> str | None:
    """The state or number that a command or a parameter carries."""
    if kind in _SINGLE_COMMANDS:
        return t.SINGLE[raw[0] & 1]
    if kind in _DOUBLE_COMMANDS:
        return ("not_permitted", "off", "on", "not_permitted")[raw[0] & 3]
    if kind in _STEP_COMMANDS:
        return t.STEPS[raw[0] & 3]
    if kind in (*_NORMALISED_SET, 110):
        return _normalised(raw[:2])
    if kind in (*_SCALED_SET, 111):
        return str(_signed(raw[:2]))
    if kind in (*_FLOAT_SET, 112):
        return _float(raw[:4])
    if kind in _BITSTRING_SET:
        return f"0x{int.from_bytes(raw[:4], 'little'):08x}"
    return None


def _first(kind: int, raw: bytes) -> Fields:
    """What only the first object's elements say: command, qualifier, time, file."""
    out: Fields = {}
    if kind in _TIMES:
        out |= _time(raw[-7:])
    elif kind in _SHORT_TIMES:
        milliseconds, minute = int.from_bytes(raw[-3:-1], "little"), raw[-1] & 0x3F
        out["iec104.time"] = f"{minute:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    place = 0 if kind in (*_SINGLE_COMMANDS, *_DOUBLE_COMMANDS, *_STEP_COMMANDS) else -1
    if kind in (*_NORMALISED_SET, *_SCALED_SET):
        place = 2
    elif kind in _FLOAT_SET:
        place = 4
    if place >= 0:
        octet = raw[place]
        out["iec104.select"] = octet & 0x80 != 0
        qualifier = octet >> 2 & 0x1F if place == 0 else octet & 0x7F
        out["iec104.qualifier_code"] = qualifier
        if place == 0:
            out["iec104.qualifier"] = t.COMMAND_QUALIFIERS.get(qualifier, "undefined")
    elif kind in (100, 101, 105, 70, 113, 110, 111, 112):
        out |= _qualifier(kind, raw[-1] if kind in (110, 111, 112) else raw[0])
    elif kind in range(120, 128):
        out |= _file(kind, raw)
    return out


def _qualifier(kind: int, octet: int) -> Fields:
    code, name = octet, "undefined"
    if kind == 100:
        if octet == 20:
            name = "station"
        elif 21 <= octet <= 36:
            name = f"group_{octet - 20}"
    elif kind == 101:
        code = octet & 0x3F
        name = "general" if code == 5 else f"group_{code}" if 1 <= code <= 4 else "undefined"
        return {
            "iec104.qualifier_code": code,
            "iec104.qualifier": name,
            "iec104.freeze": t.FREEZES[octet >> 6],
        }
    elif kind == 105:
        name = t.RESET_QUALIFIERS.get(octet, name)
    elif kind == 70:
        code = octet & 0x7F
        name = t.INITIALISATION_CAUSES.get(code, name)
    elif kind == 113:
        name = t.PARAMETER_ACTIVATIONS.get(octet, name)
    else:
        code = octet & 0x3F
        name = t.PARAMETER_KINDS.get(code, name)
    return {"iec104.qualifier_code": code, "iec104.qualifier": name}


def _file(kind: int, raw: bytes) -> Fields:
    """Files (7.3.6): their name is a number."""
    out: Fields = {"iec104.file.name": int.from_bytes(raw[:2], "little")}
    if kind in (120, 126):
        out["iec104.file.length"] = int.from_bytes(raw[2:5], "little")
    if kind in (121, 122, 123, 124):
        out["iec104.file.section"] = raw[2]
    if kind == 122:
        out["iec104.file.operation"] = t.FILE_CALLS.get(raw[3] & 0x0F, "undefined" if raw[3] & 0x0F else "default")
    if kind == 124:
        out["iec104.file.operation"] = t.FILE_ACKNOWLEDGEMENTS.get(raw[3] & 0x0F, "undefined")
    return out


def _time(raw: bytes) -> Fields:
    """CP56Time2a (7.2.6.18): the station's own clock, mostly local time, so that no zone is claimed."""
    milliseconds = int.from_bytes(raw[:2], "little")
    minute, hour, day, month, year = raw[2] & 0x3F, raw[3] & 0x1F, raw[4] & 0x1F, raw[5] & 0x0F, raw[6] & 0x7F
    clock = f"{hour:02d}:{minute:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    return {
        "iec104.time": f"{2000 + year:04d}-{month:02d}-{day:02d}T{clock}",
        "iec104.time_invalid": raw[2] & 0x80 != 0,
    }
