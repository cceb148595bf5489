"""BACnet parameters, readable: tags out of octets, values in words. Source: ANSI/ASHRAE 135-2020, clause 20.2."""

from __future__ import annotations

import struct
from typing import NamedTuple

from sensor.protocols import bacnet_tables as t
from sensor.text import wire_text

MAX_DEPTH = 8  # lists in lists
MAX_SHOWN = 64  # members of a list that are told
MAX_OCTETS = 4096  # of parameters that are looked at; an APDU has 1,476 at most
MAX_DATA = 256  # octets of undecoded data that are shown


class Tag(NamedTuple):
    """One parameter. context: its number, None of application data, whose type is `kind`; members: of a list."""

    context: int | None
    kind: int
    data: bytes
    members: tuple[Tag, ...] | None

    @property
    def number(self) -> int:
        """The data as an unsigned number."""
        return int.from_bytes(self.data, "big")


def parse(data: bytes) -> list[Tag]:
    """The parameters in `data`, as far as they are whole (20.2.1)."""
    return _members(data[:MAX_OCTETS], 0, None, 0)[0]


def _members(data: bytes, at: int, closing: int | None, depth: int) -> tuple[list[Tag], int]:
    found: list[Tag] = []
    while at < len(data):
        octet = data[at]
        number, low = octet >> 4, octet & 7
        at += 1
        if number == 15:
            if at >= len(data):
                break
            number = data[at]
            at += 1
        if octet & 8 and low == 7:
            if number == closing:
                break
            continue
        if octet & 8 and low == 6:
            if depth >= MAX_DEPTH:
                return found, len(data)
            members, at = _members(data, at, number, depth + 1)
            found.append(Tag(number, -1, b"", tuple(members)))
            continue
        if not octet & 8 and number == 1:
            found.append(Tag(None, 1, bytes([low]), None))
            continue
        length = low
        if low == 5:
            length = data[at] if at < len(data) else 0
            at += 1
            if length in (254, 255):
                size = 2 if length == 254 else 4
                length = int.from_bytes(data[at : at + size], "big")
                at += size
        if at + length > len(data):
            return found, len(data)
        context = number if octet & 8 else None
        found.append(Tag(context, -1 if octet & 8 else number, data[at : at + length], None))
        at += length
    return found, at


def pick(tags: list[Tag] | tuple[Tag, ...], context: int) -> Tag | None:
    return next((tag for tag in tags if tag.context == context), None)


def value(tag: Tag) -> str:
    """A value in words (20.2.2 to 20.2.14)."""
    if tag.members is not None or tag.context is not None:
        return tag.data.hex() if tag.members is None else "{" + ", ".join(map(value, tag.members[:MAX_SHOWN])) + "}"
    if tag.kind == 0:
        return "null"
    if tag.kind == 1:
        return str(bool(tag.data[0])).lower()
    if tag.kind in (2, 9):
        return str(tag.number)
    if tag.kind == 3:
        return str(int.from_bytes(tag.data, "big", signed=True))
    if tag.kind == 4 and len(tag.data) == 4:
        return repr(round(struct.unpack(">f", tag.data)[0], 6))
    if tag.kind == 5 and len(tag.data) == 8:
        return repr(round(struct.unpack(">d", tag.data)[0], 6))
    if tag.kind == 7:
        return text(tag.data)
    if tag.kind == 10 and len(tag.data) == 4:
        return _date(tag.data)
    if tag.kind == 11 and len(tag.data) == 4:
        return _time(tag.data)
    if tag.kind == 12 and len(tag.data) == 4:
        return t.object_name(tag.number)
    return tag.data[:MAX_DATA].hex()


def text(data: bytes) -> str:
    """CharacterString: the octet of the character set, then the text; 4 is UCS-2, the others are shown as UTF-8."""
    if data[:1] == b"\4":
        return wire_text(data[1:].decode("utf-16-be", "replace").encode())
    return wire_text(data[1:])


def _date(data: bytes) -> str:
    year, month, day, _ = ("*" if octet == 0xFF else octet for octet in data)
    return f"{year + 1900 if isinstance(year, int) else year}-{month}-{day}"


def _time(data: bytes) -> str:
    return ":".join("*" if octet == 0xFF else f"{octet:02d}" for octet in data[:3])
