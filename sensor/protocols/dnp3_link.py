"""DNP3 data link frames and the transport function (IEEE 1815-2012, clauses 9 and 8).

A link frame is a header of ten octets (0x05 0x64, LENGTH, CONTROL, destination, source, CRC; addresses little-endian)
and up to 250 octets of user data in blocks of 16, each block followed by its own CRC. The first octet of the user data
is the transport header (FIN 0x80, FIR 0x40, sequence in six bits); the segments from FIR to FIN make up one application
fragment, which `dnp3.py` reads. All of this file is compiled; it serves TCP and UDP alike, for IEEE 1815 gives both the
same frames (clause 13).

Not decoded: what a link service means beyond its fields. Frames without user data (reset, link status, ACK, NACK) carry
no application fragment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.compiled import njit
from sensor.decode.load import u16le

START_0, START_1 = 0x05, 0x64
HEADER_OCTETS = 10
BLOCK_OCTETS = 16
CRC_OCTETS = 2
MIN_LENGTH = 5  # LENGTH counts CONTROL, destination and source, then the user data; not the CRCs (9.2)
MAX_FRAME_OCTETS = 292  # LENGTH 255: 10 + 250 octets of user data + 16 CRCs

# CONTROL (9.2). The fourth bit is FCV in frames of a primary station and DFC in those of a secondary.
DIR, PRM, FCB, FCV, LINK_FUNCTION = 0x80, 0x40, 0x20, 0x10, 0x0F

CONFIRMED_USER_DATA, UNCONFIRMED_USER_DATA = 3, 4  # the link functions that carry user data

# Transport header (8.2).
FIN, FIR, SEQUENCE = 0x80, 0x40, 0x3F

# What a transport segment does to the fragment that is being assembled (8.2).
BEGIN = 1  # FIR: a new fragment; an unfinished one before it is lost
APPEND = 2  # the next in sequence
DISCARD = 3  # neither begins a fragment nor continues the one that was begun

NO_FRAGMENT = np.int64(-1)  # instead of the link addresses of a fragment: the message is the link frame itself

BROADCASTS = (0xFFFD, 0xFFFE, 0xFFFF)  # the confirmation is none, mandatory, optional (9.2); nobody answers

PRIMARY_FUNCTIONS: dict[int, str] = {  # of a primary station (9.2)
    0: "RESET_LINK_STATES",
    2: "TEST_LINK_STATES",
    3: "CONFIRMED_USER_DATA",
    4: "UNCONFIRMED_USER_DATA",
    9: "REQUEST_LINK_STATUS",
}
SECONDARY_FUNCTIONS: dict[int, str] = {  # of a secondary station
    0: "ACK",
    1: "NACK",
    11: "LINK_STATUS",
    15: "NOT_SUPPORTED",
}


Octets = npt.NDArray[np.uint8]
Int = Any  # int64 where compiled, int or a numpy integer in the readable form


def _crc_table() -> npt.NDArray[np.int64]:
    """Octet table of CRC-16/DNP: x^16+x^13+x^12+x^11+x^10+x^8+x^6+x^5+x^2+1, least significant bit first (9.2)."""
    table = np.zeros(256, np.int64)
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA6BC if crc & 1 else crc >> 1
        table[octet] = crc
    return table


CRC_TABLE = _crc_table()


@njit(cache=True, nogil=True, boundscheck=True)
def u8(buf: Octets, at: Int) -> Int:
    """Octet at `at`, as int64: mixed with int64 numbers an unsigned octet would become a float."""
    return np.int64(buf[at])


@njit(cache=True, nogil=True, boundscheck=True)
def crc(buf: Octets, at: Int, end: Int) -> Int:
    """CRC-16/DNP of buf[at:end], complemented, as the wire carries it least significant octet first."""
    value = 0
    for i in range(at, end):
        value = (value >> 8) ^ CRC_TABLE[(value ^ u8(buf, i)) & 0xFF]
    return value ^ 0xFFFF


@njit(cache=True, nogil=True, boundscheck=True)
def frame_octets(length: Int) -> Int:
    """Octets of a whole link frame with the given LENGTH field (5 to 255), CRCs included."""
    data = length - MIN_LENGTH
    return HEADER_OCTETS + data + CRC_OCTETS * ((data + BLOCK_OCTETS - 1) // BLOCK_OCTETS)


@njit(cache=True, nogil=True, boundscheck=True)
def header_ok(buf: Octets, at: Int, end: Int) -> bool:
    """Whether a whole link header with a right CRC stands at `at`: proof enough of DNP3 on any port."""
    if end - at < HEADER_OCTETS or buf[at] != START_0 or buf[at + 1] != START_1 or buf[at + 2] < MIN_LENGTH:
        return False
    return bool(crc(buf, at, at + 8) == u16le(buf, at + 8))


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf: Octets, at: Int, end: Int) -> bool:
    """Whether DNP3 begins at `at`: a link header with its CRC and a link function that the standard defines (9.2)."""
    if not header_ok(buf, at, end):
        return False
    code = u8(buf, at + 3) & LINK_FUNCTION
    if buf[at + 3] & PRM:
        return bool(code in (0, 2, CONFIRMED_USER_DATA, UNCONFIRMED_USER_DATA, 9))
    return bool(code in (0, 1, 11, 15))


@njit(cache=True, nogil=True, boundscheck=True)
def _may_begin(buf: Octets, at: Int, end: Int) -> bool:
    """Whether a sound link header could begin at `at`, as far as the octets up to `end` tell."""
    if end - at >= HEADER_OCTETS:
        return bool(header_ok(buf, at, end))
    return bool(
        buf[at] == START_0 and (end - at < 2 or buf[at + 1] == START_1) and (end - at < 3 or buf[at + 2] >= MIN_LENGTH)
    )


@njit(cache=True, nogil=True, boundscheck=True)
def sync(buf: Octets, at: Int, end: Int) -> Int:
    """After lost bytes: offset of the next sound link header at or after `at`, or `end` when there is none.

    A candidate whose header is there in full must have a right CRC; a beginning at the very end (a trailing 0x05
    suffices) is kept, for the rest may follow.
    """
    for i in range(at, end):
        if _may_begin(buf, i, end):
            return i
    return end


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf: Octets, at: Int, end: Int) -> Int:
    """Octets of the whole link frame that begins at `at`, CRCs included: 10 to 292, known from the third octet on.

    The frame may reach beyond `end`. 0 when more octets are needed to tell, negative when no frame begins here (then
    `sync`). A wrong header CRC alone is no reason to refuse a frame. But the receiver drops it and looks for the next
    start, so somebody who wants to hide a frame could lay a broken header with a long LENGTH over it: if a sound header
    begins within the extent of a broken one, the broken one is not a frame.
    """
    n = end - at
    if n <= 0:
        return 0
    if buf[at] != START_0 or (n > 1 and buf[at + 1] != START_1) or (n > 2 and buf[at + 2] < MIN_LENGTH):
        return -1
    if n < 3:
        return 0
    octets = frame_octets(u8(buf, at + 2))
    if n < octets or header_ok(buf, at, end):
        return octets
    inner = sync(buf, at + 2, min(end, at + octets + HEADER_OCTETS - 1))  # a header that begins inside may end outside
    if inner >= at + octets:
        return octets
    return -1 if end - inner >= HEADER_OCTETS else 0


@njit(cache=True, nogil=True, boundscheck=True)
def control(buf: Octets, at: Int) -> Int:
    """CONTROL octet of the frame at `at`: DIR, PRM, FCB, FCV (or DFC) and the link function code."""
    return u8(buf, at + 3)


@njit(cache=True, nogil=True, boundscheck=True)
def destination(buf: Octets, at: Int) -> Int:
    """Link address to which the frame at `at` goes."""
    return u16le(buf, at + 4)


@njit(cache=True, nogil=True, boundscheck=True)
def source(buf: Octets, at: Int) -> Int:
    """Link address from which the frame at `at` comes."""
    return u16le(buf, at + 6)


@njit(cache=True, nogil=True, boundscheck=True)
def transport(buf: Octets, at: Int, end: Int) -> Int:
    """Transport header octet of the frame at `at`, or -1 when the frame carries no transport segment.

    Only user data frames of a primary station do (9.2); octets behind the header of any other, which the
    standard does not allow, reach no application.
    """
    control_octet = u8(buf, at + 3) if end - at > HEADER_OCTETS else 0
    user_data = control_octet & LINK_FUNCTION in (CONFIRMED_USER_DATA, UNCONFIRMED_USER_DATA)
    if not user_data or control_octet & PRM == 0 or buf[at + 2] <= MIN_LENGTH:
        return -1
    return u8(buf, at + HEADER_OCTETS)


@njit(cache=True, nogil=True, boundscheck=True)
def is_bare(buf: Octets, at: Int, end: Int) -> bool:
    """Whether buf[at:end] is one link frame without user data; a fragment that looks like one has function 100."""
    return bool(end - at >= HEADER_OCTETS and frame(buf, at, end) == end - at and transport(buf, at, end) < 0)


@njit(cache=True, nogil=True, boundscheck=True)
def step(octet: Int, begun: bool, expected: Int) -> Int:
    """What to do with the segment under the transport header `octet`: BEGIN, APPEND or DISCARD.

    begun: whether a fragment is being assembled from this source to this destination; expected: the sequence number
    that its next segment must have, (last + 1) & 63. After the segment, FIN in `octet` says that the fragment is whole.
    """
    if octet & FIR:
        return BEGIN
    if begun and (octet & SEQUENCE) == expected:
        return APPEND
    return DISCARD


@njit(cache=True, nogil=True, boundscheck=True)
def unpack(buf: Octets, at: Int, end: Int, out: Octets, out_at: Int) -> tuple[Int, bool]:
    """Copy the transport segment of the frame at `at` into `out` from `out_at` on: user data without CRCs and without
    the transport header.

    Returns (octets copied, whether the CRCs of the header and of every block were right). A wrong CRC stops nothing.
    Fewer octets than the frame declares are copied where buf[at:end] or `out` has no room for more; what is missing
    counts as a wrong CRC only where the frame itself is cut short.
    """
    good = header_ok(buf, at, end)
    copied = 0
    if end - at < HEADER_OCTETS:
        return copied, good
    left = u8(buf, at + 2) - MIN_LENGTH
    here = at + HEADER_OCTETS
    first = True
    while left > 0:
        size = min(left, BLOCK_OCTETS)
        present = min(size, end - here)
        begin = here + 1 if first else here
        room = len(out) - out_at - copied
        count = max(0, min(here + present - begin, room))
        for i in range(count):
            out[out_at + copied + i] = buf[begin + i]
        copied += count
        if end - here < size + CRC_OCTETS:
            return copied, False
        if crc(buf, here, here + size) != u16le(buf, here + size):
            good = False
        here += size + CRC_OCTETS
        left -= size
        first = False
    return copied, good
