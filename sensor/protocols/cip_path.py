"""EPATH: where a CIP message goes. Source: The CIP Networks Library, Volume 1, appendix C-1 (padded paths).

A segment begins with an octet whose high three bits are its type: 0 port, 1 logical, 2 network, 3 symbolic, 4 data. The
last class, instance and attribute name the object; a port segment names a way (port 1 is the backplane, its link
address the slot).
"""

from __future__ import annotations

import struct

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.protocols.little_endian import u32le
from sensor.text import wire_text

PORT_SEGMENT, LOGICAL, NETWORK, SYMBOLIC, DATA = range(5)
CLASS, INSTANCE, MEMBER, CONNECTION_POINT, ATTRIBUTE, SPECIAL = range(6)
KEY_SEGMENT, ANSI_SYMBOL, SIMPLE_DATA = 0x34, 0x91, 0x80
_LOGICAL_NAMES = ("class", "instance", "member", "connection_point", "attribute")


@njit(cache=True, nogil=True, boundscheck=True)
def walk(buf, at, end):
    """The object that the path buf[at:end] names: (class, instance, attribute, symbolic, sound).

    Numbers are -1 where the path has none. symbolic: 1 when the path names a tag. sound: 0 when a segment is unknown
    or reaches beyond the path; what stood before it is kept.
    """
    class_id, instance, attribute, symbolic = np.int64(-1), np.int64(-1), np.int64(-1), 0
    while at < end:  # each turn takes two octets at least
        octet = np.int64(buf[at])
        kind = octet >> 5
        size = np.int64(2)
        if kind == LOGICAL:
            width, what = octet & 3, (octet >> 2) & 7
            if octet == KEY_SEGMENT:
                size = np.int64(10)
            elif width == 3 or what > ATTRIBUTE:
                return class_id, instance, attribute, symbolic, 0
            else:
                if width:
                    size = np.int64(4) if width == 1 else np.int64(6)
                if at + size > end:
                    return class_id, instance, attribute, symbolic, 0
                number = np.int64(buf[at + 1])
                if width == 1:
                    number = u16le(buf, at + 2)
                elif width == 2:
                    number = u32le(buf, at + 2)
                if what == CLASS:
                    class_id, instance, attribute = number, np.int64(-1), np.int64(-1)
                elif what in (INSTANCE, CONNECTION_POINT):
                    instance = number
                elif what == ATTRIBUTE:
                    attribute = number
        elif octet == ANSI_SYMBOL:
            if at + 2 > end:
                return class_id, instance, attribute, symbolic, 0
            size = 2 + ((np.int64(buf[at + 1]) + 1) & ~1)
            symbolic = 1
        elif octet == SIMPLE_DATA:
            if at + 2 > end:
                return class_id, instance, attribute, symbolic, 0
            size = 2 + 2 * np.int64(buf[at + 1])
        elif kind == SYMBOLIC and octet & 0x1F:
            size = 1 + (octet & 0x1F)
            size += size & 1
            symbolic = 1
        elif kind == NETWORK:
            if octet & 0x10:
                if at + 2 > end:
                    return class_id, instance, attribute, symbolic, 0
                size = 2 + 2 * np.int64(buf[at + 1])
        elif kind == PORT_SEGMENT:
            size, length = np.int64(1), np.int64(1)
            if octet & 0x10:
                if at + 2 > end:
                    return class_id, instance, attribute, symbolic, 0
                length = np.int64(buf[at + 1])
                size += 1
            if octet & 0x0F == 0x0F:
                size += 2
            size += length
            size += size & 1
        else:
            return class_id, instance, attribute, symbolic, 0
        at += size
    return class_id, instance, attribute, symbolic, 1 if at == end else 0


def segments(path: bytes) -> list[tuple[str, int | str]]:
    """The segments of a path as (what, number or text), as far as they can be delimited.

    what: class, instance, member, connection_point, attribute, tag, port, key, network, data.
    """
    found: list[tuple[str, int | str]] = []
    at = 0
    while at + 1 < len(path):
        octet = path[at]
        kind = octet >> 5
        if kind == LOGICAL and octet != KEY_SEGMENT:
            width, what = octet & 3, octet >> 2 & 7
            size = (2, 4, 6, 0)[width]
            if not size or what > ATTRIBUTE or at + size > len(path):
                break
            raw = path[at + 1 : at + 2] if width == 0 else path[at + 2 : at + size]
            found.append((_LOGICAL_NAMES[what], int.from_bytes(raw, "little")))
        elif octet == KEY_SEGMENT:
            size = 10
            key = path[at + 2 : at + 10]
            if len(key) == 8:
                vendor, device, product, major, minor = struct.unpack("<HHHBB", key)
                found.append(("key", f"{vendor}/{device}/{product}/{major & 0x7F}.{minor}"))
        elif octet == ANSI_SYMBOL:
            size = 2 + (path[at + 1] + 1 & ~1)
            found.append(("tag", wire_text(path[at + 2 : at + 2 + path[at + 1]])))
        elif octet == SIMPLE_DATA:
            size = 2 + 2 * path[at + 1]
            found.append(("data", path[at + 2 : at + size].hex()))
        elif kind == SYMBOLIC and octet & 0x1F:
            length = octet & 0x1F
            size = 1 + length + (1 + length & 1)
            found.append(("tag", wire_text(path[at + 1 : at + 1 + length])))
        elif kind == NETWORK:
            size = 2 + 2 * path[at + 1] if octet & 0x10 else 2
            found.append(("network", path[at : at + size].hex()))
        elif kind == PORT_SEGMENT:
            size, word = _port(path, at)
            found.append(("port", word))
        else:
            break
        at += size
    return found


def _port(path: bytes, at: int) -> tuple[int, str]:
    """(octets, port/link) of a port segment: 1/0 is slot 0 of the backplane, 2/10.1.2.3 an address behind port 2."""
    octet = path[at]
    size, length = 1, 1
    if octet & 0x10:
        length = path[at + 1]
        size += 1
    port = octet & 0x0F
    if port == 0x0F:
        port = int.from_bytes(path[at + size : at + size + 2], "little")
        size += 2
    link = path[at + size : at + size + length]
    text = wire_text(link) if octet & 0x10 else str(link[0]) if link else ""
    size += length
    return size + (size & 1), f"{port}/{text}"


def sentence(found: list[tuple[str, int | str]]) -> str:
    """A path in words: `Program:Main.Speed[3]`, `class 0x6B instance 12 attribute 1`, ways as `1/0`."""
    words: list[str] = []
    tag = ""
    for what, value in found:
        if what == "tag":
            tag += f".{value}" if tag else str(value)
        elif what == "member" and tag:
            tag += f"[{value}]"
        else:
            if tag:
                words.append(tag)
                tag = ""
            if what == "class" and isinstance(value, int):
                words.append(f"class 0x{value:02X}")
            else:
                words.append(str(value) if what == "port" else f"{what} {value}")
    if tag:
        words.append(tag)
    return " ".join(words)
