"""ASN.1 Basic Encoding Rules (ITU-T X.690, clause 8): elements of identifier, length and contents, for MMS and GOOSE.

An identifier is one number here: the octet itself, where the tag number stands in it, otherwise `octet << 24 | number`.
Lengths are hostile: no element reaches beyond what holds it, every step moves on, and indefinite lengths are closed by
looking for their end once. The compiled half serves `read`, the readable half `explain`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sensor.compiled import njit
from sensor.decode.pdu import NO_VALUE
from sensor.records import as_octets

NOTHING = int(NO_VALUE)
CUT = -1  # as identifier: no whole header stands here
INDEFINITE = -1  # as size
MAX_LENGTH_OCTETS = 4
MAX_TAG_OCTETS = 3


@njit(cache=True, nogil=True, boundscheck=True)
def header(buf, at, end):
    """(identifier, where the contents begin, their size) of the element at `at`; identifier CUT where it is damaged."""
    if end - at < 2:
        return np.int64(CUT), end, np.int64(0)
    identifier = np.int64(buf[at])
    constructed = identifier & 0x20
    at += 1
    if identifier & 0x1F == 0x1F:
        number = np.int64(0)
        octets = np.int64(0)
        while True:
            if at >= end or octets == MAX_TAG_OCTETS:
                return np.int64(CUT), end, np.int64(0)
            octet = np.int64(buf[at])
            number = number << 7 | (octet & 0x7F)
            at += 1
            octets += 1
            if octet & 0x80 == 0:
                break
        identifier = identifier << 24 | number
        if at >= end:
            return np.int64(CUT), end, np.int64(0)
    size = np.int64(buf[at])
    at += 1
    if size == 0x80:
        if constructed == 0:
            return np.int64(CUT), end, np.int64(0)
        return identifier, at, np.int64(INDEFINITE)
    if size > 0x80:
        octets = size & 0x7F
        if octets > MAX_LENGTH_OCTETS or at + octets > end:
            return np.int64(CUT), end, np.int64(0)
        size = np.int64(0)
        for k in range(octets):
            size = size << 8 | np.int64(buf[at + k])
        at += octets
    return identifier, at, size


@njit(cache=True, nogil=True, boundscheck=True)
def _closing(buf, at, end):
    """Where the end-of-contents of the indefinite element whose contents begin at `at` stands; -1 where none does."""
    depth = np.int64(1)
    while at + 2 <= end:
        if buf[at] == 0 and buf[at + 1] == 0:
            depth -= 1
            if depth == 0:
                return at
            at += 2
            continue
        identifier, start, size = header(buf, at, end)
        if identifier == CUT:
            return np.int64(-1)
        if size == INDEFINITE:
            depth += 1
            at = start
        else:
            at = start + size
    return np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def element(buf, at, end):
    """(identifier, begin and end of the contents, where the next element begins) of the element at `at`.

    The contents never pass `end`. The next begins beyond `end` where the element is cut.
    """
    identifier, start, size = header(buf, at, end)
    if identifier == CUT:
        return identifier, end, end, end + 1
    if size == INDEFINITE:
        stop = _closing(buf, start, end)
        if stop < 0:
            return identifier, start, end, end + 1
        return identifier, start, stop, stop + 2
    if start + size > end:
        return identifier, start, end, end + 1
    return identifier, start, start + size, start + size


@njit(cache=True, nogil=True, boundscheck=True)
def child(buf, at, end, wanted):
    """(begin, end) of the contents of the first element with that identifier; (-1, -1) where buf[at:end] has none."""
    while at < end:
        identifier, start, stop, at = element(buf, at, end)
        if identifier == wanted:
            return start, stop
    return np.int64(-1), np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def number(buf, at, end):
    """Two's complement number of 1 to 8 octets in buf[at:end], as int64; NO_VALUE for any other size."""
    if end - at < 1 or end - at > 8:
        return np.int64(NOTHING)
    value = np.int64(buf[at])
    if value & 0x80:
        value -= 0x100
    for k in range(at + 1, end):
        value = value << 8 | np.int64(buf[k])
    return value


@njit(cache=True, nogil=True, boundscheck=True)
def count(buf, at, end):
    """How many elements stand in buf[at:end]; a cut one counts."""
    found = np.int64(0)
    while at < end:
        _, _, _, at = element(buf, at, end)
        found += 1
    return found


class Element(NamedTuple):
    """An element, readable: its identifier, as above, and its contents, cut where they claim too much."""

    identifier: int
    data: bytes

    @property
    def tag(self) -> int:
        """The tag number, without class and form."""
        return self.identifier & 0xFFFFFF if self.identifier > 0xFF else self.identifier & 0x1F

    @property
    def number(self) -> int | None:
        """The contents as a two's complement number, None where they are none."""
        return int.from_bytes(self.data, "big", signed=True) if 1 <= len(self.data) <= 9 else None


def elements(data: bytes) -> Iterator[Element]:
    """The elements in `data`, in order, up to the first that is damaged."""
    buffer = as_octets(data)
    at = 0
    while at < len(data):
        identifier, start, stop, at = element(buffer, at, len(data))
        if identifier == CUT:
            return
        yield Element(int(identifier), data[start:stop])


def find(data: bytes, *path: int) -> bytes | None:
    """Contents of the first element with each identifier of `path` in turn, None where one of them is missing."""
    for wanted in path:
        start, stop = child(as_octets(data), 0, len(data), np.int64(wanted))
        if start < 0:
            return None
        data = data[start:stop]
    return data
