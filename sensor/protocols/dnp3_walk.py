"""The walk over DNP3 object headers (IEEE 1815-2012, 4.2): compiled, shared by the narrow row and `explain`.

An object header is group, variation, a qualifier (prefix code in three bits, range specifier in four) and a range
field. Whether objects follow depends on the function; how long they are depends on the object library. Every step of
the walk moves on, and none goes beyond the fragment, whatever the counts claim.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.pdu import Anomaly
from sensor.protocols.dnp3_link import Int, Octets, u8
from sensor.protocols.dnp3_objects import ATTRIBUTES, BITS, MAX_VARIATION, UNKNOWN

RANGE_OCTETS = np.array([2, 4, 8, 2, 4, 8, 0, 1, 2, 4, -1, 1, -1, -1, -1, -1])  # by range specifier
PREFIX_OCTETS = np.array([0, 1, 2, 4, 1, 2, 4, -1])  # by prefix code: 1 to 3 an index, 4 to 6 a size
ALL_POINTS = 6  # range specifier

WITH_OBJECTS = np.zeros(256, np.uint8)  # functions whose object headers are followed by objects
WITH_OBJECTS[[2, 3, 4, 5, 6, 16, 17, 18, 25, 26, 27, 28, 29, 30, 31, 32, 33]] = 1
WITH_OBJECTS[129:] = 1
LENGTH, ILLEGAL = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL)


@njit(cache=True, nogil=True, boundscheck=True)
def number(buf: Octets, at: Int, octets: Int) -> Int:
    """Little-endian unsigned number of 0 to 8 octets at `at`."""
    value = np.int64(0)
    for i in range(octets):
        value |= u8(buf, at + i) << (8 * i)
    return value


@njit(cache=True, nogil=True, boundscheck=True)
def carries(function: Int, group: Int) -> bool:
    """Whether object headers of this group carry objects in fragments of this function, or only name points.

    Reads, freezes, class assignments and the like only name points. File and authentication objects come along in any
    function, and a freeze at a time carries that time.
    """
    return bool(WITH_OBJECTS[function] == 1 or group in (70, 120) or (group == 50 and function in (11, 12)))


@njit(cache=True, nogil=True, boundscheck=True)
def object_bits(group: Int, variation: Int) -> Int:
    """Bits of one object, or UNKNOWN or SIZE_PREFIXED. Device attributes are not asked for here."""
    if 110 <= group <= 113:
        return variation * 8
    if variation > MAX_VARIATION:
        return UNKNOWN
    return np.int64(BITS[group, variation])


@njit(cache=True, nogil=True, boundscheck=True)
def object_end(buf: Octets, at: Int, end: Int, group: Int, variation: Int, prefix: Int) -> Int:
    """Where the object whose prefix stands at `at` ends; beyond `end` when it is cut, and never at `at` itself.

    Not for packed objects without a prefix, objects without octets and objects of unknown size.
    """
    octets = PREFIX_OCTETS[prefix]
    if prefix >= 4:  # a size
        if at + octets > end:
            return end + 1
        return at + octets + number(buf, at, octets)
    if group == ATTRIBUTES:  # data type, length, value; type 255 is a list with 256 octets more
        if at + octets + 2 > end:
            return end + 1
        more = 256 if buf[at + octets] == 255 else 0
        return at + octets + 2 + u8(buf, at + octets + 1) + more
    return at + octets + (object_bits(group, variation) + 7) // 8


@njit(cache=True, nogil=True, boundscheck=True)
def header(buf: Octets, at: Int, end: Int, function: Int) -> tuple[Int, Int, Int, Int, Int, Int, Int]:
    """One object header at `at` and the extent of the objects behind it.

    Returns (anomaly bits, qualifier, first index, count, where the objects begin, where the next header begins,
    whether objects are carried: 1 or 0). The next header is always behind this one and never behind `end`; it is
    `end` when what follows cannot be delimited. The count is what the header claims, up to 2**32: go by the extent.
    """
    if end - at < 3:
        return LENGTH, -1, -1, 0, end, end, 0
    group, variation, qualifier = u8(buf, at), u8(buf, at + 1), u8(buf, at + 2)
    at += 3
    prefix, specifier = (qualifier >> 4) & 7, qualifier & 15
    octets = RANGE_OCTETS[specifier]
    if octets < 0 or PREFIX_OCTETS[prefix] < 0 or qualifier >= 128:
        return ILLEGAL, qualifier, -1, 0, end, end, 0
    if end - at < octets:
        return LENGTH, qualifier, -1, 0, end, end, 0
    first, count = np.int64(-1), np.int64(0)
    if specifier < ALL_POINTS:
        first = number(buf, at, octets // 2)
        count = number(buf, at + octets // 2, octets // 2) - first + 1
        if count <= 0:
            return ILLEGAL, qualifier, first, 0, end, end, 0
    elif specifier > ALL_POINTS:
        count = number(buf, at, octets)
    at += octets
    with_objects = 1 if count > 0 and (prefix >= 4 or carries(function, group)) else 0
    anomalies = 0
    if with_objects == 0:
        stop = at + count * PREFIX_OCTETS[prefix]
    elif prefix >= 4 or group == ATTRIBUTES:
        stop = at
        left = count
        while left > 0 and stop <= end:  # each turn moves on, so that a false count ends at `end`
            stop = object_end(buf, stop, end, group, variation, prefix)
            left -= 1
    else:
        bits = object_bits(group, variation)
        if bits < 0:
            return ILLEGAL, qualifier, first, count, at, end, 1
        if 0 < bits < 8 and prefix == 0:
            stop = at + (count * bits + 7) // 8
        else:
            if 0 < bits < 8:  # a packed format has no prefixes; an octet each is what devices make of it
                anomalies |= ILLEGAL
                bits = 8
            stop = at + count * (PREFIX_OCTETS[prefix] + bits // 8)
    if stop > end:
        return anomalies | LENGTH, qualifier, first, count, at, end, with_objects
    return anomalies, qualifier, first, count, at, stop, with_objects
