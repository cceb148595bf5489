"""The tag file: CSV with a header line. Which point of which device means what, and within which limits it must stay.

    device,unit,point,type,scale,low,high,rate,name
    10.20.2.11,1,hr:100,float32,1,0,350,25,boiler temperature
    10.20.3.31,,DB5.DBD12,float32,,0,80,,press force
    10.20.4.41,4,ai:3,,,0,120,,feeder current

device: address. unit (or station): Modbus unit, DNP3 outstation, IEC 104 station; empty: any. point (or register):
`hr:100`, `ir:7`, `coil:3`, `di:0` of Modbus, counted from 0, a number alone being a holding register (a coil where the
type is bool); `DB5.DBD12`, `DB5.DBX0.3`, `MW20` of S7; `ai:3`, `ao:3`, `bi:3`, `bo:3`, `ctr:3` of DNP3; `ioa:600` of
IEC 104. type: uint16, int16, uint32, int32, float32, bool; `:cdab`, `:badc`, `:dcba` behind it give the order of octets
where it is not the standard's (`:abcd`). scale: what the number is multiplied by. low, high: limits; rate: most that it
may change in a second. Empty: none. A line that is wrong is reported and left out; the others hold.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from detectors.content import MAX_CONTENT_BYTES, ContentError
from sensor.decode.pdu import Protocol

MAX_TAGS = 65_536
MAX_NAME = 80
BITS = {"bool": 1, "uint8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32, "float32": 32}
ORDERS = ("abcd", "badc", "cdab", "dcba")
COLUMNS = ("device", "station", "point", "type", "scale", "low", "high", "rate", "name")
ALIASES = {"unit": "station", "register": "point", "address": "point", "tag": "name"}

_MODBUS = re.compile(r"(?:(hr|ir|coil|di):)?(\d{1,5})")
_S7 = re.compile(r"(?:DB(\d{1,5})\.DB|([MIQ]))([XBWD]?)(\d{1,5})(?:\.([0-7]))?")
_POINT = re.compile(r"(ai|ao|bi|bo|ctr|ioa):(\d{1,8})")
_S7_TYPES = {"X": "bool", "B": "uint8", "W": "uint16", "D": "uint32"}


@dataclass(frozen=True, slots=True)
class Tag:
    """One point. protocol: MODBUS, S7COMM, DNP3 or IEC104; space: hr, ir, coil, di; DB5, M, I, Q; ai, ...; ioa.

    at: number of the point in its space; of S7 the number of its first bit. bits: its size. low, high, rate: NaN for
    none.
    """

    device: str
    station: int | None
    protocol: Protocol
    space: str
    at: int
    type: str
    order: str
    scale: float
    low: float
    high: float
    rate: float
    name: str
    point: str

    @property
    def bits(self) -> int:
        """Size of its value."""
        return BITS[self.type]


def load_tags(path: Path) -> tuple[list[Tag], list[ContentError]]:
    """(tags, what is wrong with other lines) of a file; ContentError where it cannot be read at all."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContentError(path, 0, f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_CONTENT_BYTES:
        raise ContentError(path, 0, f"is larger than {MAX_CONTENT_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContentError(path, raw[: error.start].count(b"\n") + 1, "is not UTF-8 text") from error
    rows = csv.reader(text.splitlines())
    tags: list[Tag] = []
    errors: list[ContentError] = []
    try:
        header = [ALIASES.get(it.strip().lower(), it.strip().lower()) for it in next(rows, [])]
        _check_header(path, header)
        for row in rows:
            if not any(it.strip() for it in row) or row[0].lstrip().startswith("#"):
                continue
            if len(tags) >= MAX_TAGS:
                errors.append(ContentError(path, rows.line_num, f"more than {MAX_TAGS} tags: the rest is left out"))
                break
            try:
                if len(row) > len(header):
                    raise ValueError(f"has {len(row)} columns, the header has {len(header)}")
                cells = [it.strip() for it in row] + [""] * (len(header) - len(row))
                tags.append(_tag(dict(zip(header, cells, strict=True))))
            except ValueError as error:
                errors.append(ContentError(path, rows.line_num, f"{error}; this line is left out"))
    except csv.Error as error:
        raise ContentError(path, rows.line_num, f"is not CSV: {error}") from error
    return tags, errors


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            raise ContentError(path, 1, f"unknown column {name!r}, expected: {', '.join(COLUMNS)}")
    for name in ("device", "point"):
        if name not in header:
            raise ContentError(path, 1, f"the column {name!r} is missing; the first line names the columns")
    if len(set(header)) < len(header):
        raise ContentError(path, 1, "a column stands twice")


def _tag(row: Mapping[str, str]) -> Tag:
    """One line; ValueError says what is wrong and what was expected."""
    device = row["device"]
    try:
        device = str(ip_address(device))
    except ValueError:
        raise ValueError(f"device {device!r} is not an address") from None
    kind, _, order = row.get("type", "").lower().partition(":")
    kind = {"float": "float32", "real": "float32", "bit": "bool", "coil": "bool", "dint": "int32", "int": "int16"}.get(
        kind, kind
    )
    if kind and kind not in BITS:
        raise ValueError(f"type {kind!r} is none of: {', '.join(BITS)}")
    if order and order not in ORDERS:
        raise ValueError(f"order of octets {order!r} is none of: {', '.join(ORDERS)}")
    protocol, space, at, usual = _place(row["point"], kind)
    kind = kind or usual
    low, high, rate = (_number(row, name, math.nan) for name in ("low", "high", "rate"))
    if low > high:
        raise ValueError(f"low {low:g} is above high {high:g}")
    if rate <= 0:
        raise ValueError("rate must be above 0, in units for each second")
    scale = _number(row, "scale", 1.0)
    if scale == 0:
        raise ValueError("scale must not be 0")
    station = row.get("station", "")
    if station and not (station.isascii() and station.isdigit()):
        raise ValueError(f"unit {station!r} is not a number")
    if protocol == Protocol.MODBUS and (kind == "bool") != (space in ("coil", "di")):
        raise ValueError(f"{row['point']!r} cannot be of type {kind}")
    name = row.get("name", "")[:MAX_NAME] or row["point"]
    return Tag(device, int(station) if station else None, protocol, space, at, kind, order or "abcd", scale, low, high,
               rate, name, row["point"])  # fmt: skip


def _place(point: str, kind: str) -> tuple[Protocol, str, int, str]:
    """(protocol, space, number, usual type) of a point."""
    if match := _MODBUS.fullmatch(point):
        space = match[1] or ("coil" if kind == "bool" else "hr")
        if int(match[2]) > 0xFFFF:
            raise ValueError(f"point {point!r} is above 65535")
        return Protocol.MODBUS, space, int(match[2]), "bool" if space in ("coil", "di") else "uint16"
    if match := _S7.fullmatch(point.upper()):
        block, area, size, octet, bit = match.groups()
        size = size or ("X" if bit is not None else "B")
        if (size == "X") != (bit is not None):
            raise ValueError(f"point {point!r}: a bit is written DB5.DBX0.3 or M0.3, all else without a bit")
        usual = _S7_TYPES[size]
        if kind and BITS[kind] != BITS[usual]:
            raise ValueError(f"point {point!r} has {BITS[usual]} bits, {kind} has {BITS[kind]}")
        return Protocol.S7COMM, f"DB{int(block)}" if block else area, 8 * int(octet) + int(bit or 0), usual
    if match := _POINT.fullmatch(point.lower()):
        protocol = Protocol.IEC104 if match[1] == "ioa" else Protocol.DNP3
        return protocol, match[1], int(match[2]), "float32"
    raise ValueError(f"point {point!r} is none of: hr:100, coil:3, DB5.DBD12, MW20, ai:3, ioa:600")


def _number(row: Mapping[str, str], name: str, default: float) -> float:
    text = row.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} {text!r} is not a finite number")
    return value
