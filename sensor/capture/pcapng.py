"""pcapng files: the compiled walk over their blocks.

Source: "PCAP Now Generic (pcapng) Capture File Format" (draft-ietf-opsawg-pcapng), section 4: Section Header, Interface
Description, Enhanced Packet, Simple Packet and the obsolete Packet Block. Every other block is skipped by its length.
Each section has its own byte order and its own interfaces; each interface its own link type and time resolution.

A Simple Packet Block carries no time: it takes the time of the frame before it, so that time does not jump to 1970.
A packet on an interface that was not described is kept with link type -1 and microseconds, and counted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensor.capture.pcap import (
    BLOCK_LENGTH,
    BYTE_ORDER,
    FULL,
    MAX_FRAME_BYTES,
    MORE,
    OVERSIZE,
    Bytes,
    Columns,
    Int,
    u32,
    wire_length,
)
from sensor.compiled import njit

SECTION_HEADER = 0x0A0D0D0A  # reads the same in both byte orders
INTERFACE_DESCRIPTION = 1
PACKET_OBSOLETE = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
OPTION_TSRESOL = 9
OPTION_TSOFFSET = 14
UNKNOWN_LINK = -1

# A block must fit into one window. Real ones are far shorter; tshark draws the same line.
MAX_BLOCK_BYTES = 16 * 1024 * 1024
# 21 bytes of memory for each; a file with more has been made to exhaust somebody. Later ones count as not described.
MAX_INTERFACES = 65_536

# The walk's memory from one window to the next, an int64 array.
_BIG, _INTERFACES, _LAST_NS, _STRANGE, _STATE_LENGTH = 0, 1, 2, 3, 4

_LATEST_SECOND = np.int64(9_223_372_035)  # of int64 nanoseconds since 1970


def is_pcapng(start: bytes) -> bool:
    """Whether a file that begins with these bytes (at least four) says that it is pcapng."""
    return start[:4] == b"\n\r\r\n"


def has_byte_order(start: bytes) -> bool:
    """Whether the section header that begins here (12 bytes or more) tells its byte order."""
    return start[8:12] in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")


@njit(cache=True, nogil=True, boundscheck=True)
def _u16(buf: Bytes, at: Int, big_endian: bool) -> Int:
    if big_endian:
        return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])
    return (np.int64(buf[at + 1]) << 8) | np.int64(buf[at])


@njit(cache=True, nogil=True, boundscheck=True)
def _power_of_ten(exponent: Int) -> Int:
    power = np.uint64(1)
    for _ in range(exponent):
        power = power * np.uint64(10)
    return power


@njit(cache=True, nogil=True, boundscheck=True)
def time_ns(high: Int, low: Int, resolution: Int, offset_s: Int) -> Int:
    """Nanoseconds since 1970 of a 64-bit time stamp, rounded down; times outside int64 give the nearest inside.

    high, low: its halves, int64. resolution: the byte of if_tsresol: n for units of 10^-n s, 0x80 | n for 2^-n s.
    offset_s: if_tsoffset. All steps are exact in 64 bits: 10^19 is the largest power of ten that fits, and a fraction
    of 34 bits times 10^9 still does.
    """
    ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
    exponent = resolution & 0x7F
    seconds = np.uint64(0)
    rest_ns = np.uint64(0)
    if resolution & 0x80:
        fraction = ticks
        if exponent < 64:
            seconds = ticks >> np.uint64(exponent)
            fraction = ticks & ((np.uint64(1) << np.uint64(exponent)) - np.uint64(1))
        kept = exponent
        if exponent > 34:
            shift = exponent - 34
            fraction = fraction >> np.uint64(shift) if shift < 64 else np.uint64(0)
            kept = 34
        rest_ns = (fraction * np.uint64(1_000_000_000)) >> np.uint64(kept)
    elif exponent <= 19:
        unit = _power_of_ten(exponent)
        seconds = ticks // unit
        rest_ns = ticks % unit
        rest_ns = rest_ns * _power_of_ten(9 - exponent) if exponent <= 9 else rest_ns // _power_of_ten(exponent - 9)
    elif exponent - 9 <= 19:
        rest_ns = ticks // _power_of_ten(exponent - 9)  # below one second in any unit this fine
    whole = np.int64(min(seconds, np.uint64(_LATEST_SECOND)))
    offset_s = min(max(np.int64(offset_s), -_LATEST_SECOND), _LATEST_SECOND)
    whole = min(max(whole + offset_s, -_LATEST_SECOND), _LATEST_SECOND)
    return whole * np.int64(1_000_000_000) + np.int64(rest_ns)


@njit(cache=True, nogil=True, boundscheck=True)
def _describe_interface(
    buf: Bytes,
    at: Int,
    end: Int,
    state: npt.NDArray[np.int64],
    links: npt.NDArray[np.int32],
    snaps: npt.NDArray[np.int64],
    resolutions: Bytes,
    offsets: npt.NDArray[np.int64],
) -> None:
    """Note the interface whose block is buf[at:end] (with both lengths)."""
    big = state[_BIG] != 0
    i = state[_INTERFACES]
    if end - at < 20 or i >= MAX_INTERFACES:
        return
    links[i] = _u16(buf, at + 8, big)
    snaps[i] = u32(buf, at + 12, big)
    resolutions[i] = 6
    offsets[i] = 0
    option = at + 16
    while option + 4 <= end - 4:
        code = _u16(buf, option, big)
        length = _u16(buf, option + 2, big)
        if code == 0 or option + 4 + length > end - 4:
            break
        if code == OPTION_TSRESOL and length >= 1:
            resolutions[i] = buf[option + 4]
        elif code == OPTION_TSOFFSET and length >= 8:
            first = u32(buf, option + 4, big)
            second = u32(buf, option + 8, big)
            high = first if big else second
            if high >= 0x80000000:
                high -= np.int64(0x100000000)
            offsets[i] = (high << 32) | (second if big else first)
        option += 4 + ((length + 3) & ~3)
    state[_INTERFACES] = i + 1


@njit(cache=True, nogil=True, boundscheck=True)
def index_pcapng(
    buf: Bytes,
    at: Int,
    state: npt.NDArray[np.int64],
    links: npt.NDArray[np.int32],
    snaps: npt.NDArray[np.int64],
    resolutions: Bytes,
    offsets: npt.NDArray[np.int64],
    ts_ns: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    wire: npt.NDArray[np.int32],
    link: npt.NDArray[np.int32],
) -> tuple[Int, int, int]:
    """Index the packet blocks from buf[at] on into the columns of a FrameBatch.

    Returns (next, frames, status): where the first block that was not taken begins, how many frames were indexed, and
    MORE, FULL, OVERSIZE, BLOCK_LENGTH (a block length that cannot be) or BYTE_ORDER (a section that tells none).
    """
    frames = 0
    end = len(buf)
    while True:
        if frames == len(ts_ns):
            return at, frames, FULL
        if at + 12 > end:
            return at, frames, MORE
        big = state[_BIG] != 0
        kind = u32(buf, at, big)
        if kind == SECTION_HEADER:
            big = u32(buf, at + 8, True) == BYTE_ORDER_MAGIC
            if not big and u32(buf, at + 8, False) != BYTE_ORDER_MAGIC:
                return at, frames, BYTE_ORDER
        length = u32(buf, at + 4, big)
        whole = (length + 3) & ~3  # some writers forget the padding in the length, but write it
        if length < 12 or length > MAX_BLOCK_BYTES:
            return at, frames, BLOCK_LENGTH
        if at + whole > end:
            return at, frames, MORE
        if u32(buf, at + whole - 4, big) != length:
            return at, frames, BLOCK_LENGTH
        after = at + whole
        if kind == SECTION_HEADER:
            state[_BIG] = 1 if big else 0
            state[_INTERFACES] = 0
        elif kind == INTERFACE_DESCRIPTION:
            _describe_interface(buf, at, after, state, links, snaps, resolutions, offsets)
        elif kind in (ENHANCED_PACKET, PACKET_OBSOLETE, SIMPLE_PACKET):
            simple = kind == SIMPLE_PACKET
            header = 12 if simple else 28
            if length < header + 4:
                return at, frames, BLOCK_LENGTH
            interface = np.int64(0)
            if kind == ENHANCED_PACKET:
                interface = u32(buf, at + 8, big)
            elif kind == PACKET_OBSOLETE:
                interface = _u16(buf, at + 8, big)
            known = interface < state[_INTERFACES]
            resolution = np.int64(6)
            offset_s = np.int64(0)
            if known:
                resolution = np.int64(resolutions[interface])
                offset_s = offsets[interface]
            else:
                state[_STRANGE] += 1
            if simple:
                claimed = u32(buf, at + 8, big)
                size = min(claimed, length - 16)
                if known and snaps[0] > 0:
                    size = min(size, snaps[0])
            else:
                size = u32(buf, at + 20, big)
                claimed = u32(buf, at + 24, big)
                state[_LAST_NS] = time_ns(u32(buf, at + 12, big), u32(buf, at + 16, big), resolution, offset_s)
            if size > MAX_FRAME_BYTES:
                return at, frames, OVERSIZE
            if header + size + 4 > whole:
                return at, frames, BLOCK_LENGTH
            ts_ns[frames] = state[_LAST_NS]
            offset[frames] = at + header
            captured[frames] = size
            wire[frames] = wire_length(claimed, size)
            link[frames] = links[interface] if known else UNKNOWN_LINK
            frames += 1
        at = after


class PcapngIndex:
    """The packets of one pcapng file, indexed window by window."""

    def __init__(self) -> None:
        self.start = 0
        self._state = np.zeros(_STATE_LENGTH, dtype=np.int64)
        self._links = np.zeros(MAX_INTERFACES, dtype=np.int32)
        self._snaps = np.zeros(MAX_INTERFACES, dtype=np.int64)
        self._resolutions = np.zeros(MAX_INTERFACES, dtype=np.uint8)
        self._offsets = np.zeros(MAX_INTERFACES, dtype=np.int64)

    @property
    def strange_interfaces(self) -> int:
        """Packets so far on interfaces that their section does not describe."""
        return int(self._state[_STRANGE])

    def index(self, window: npt.NDArray[np.uint8], at: int, room: Columns) -> tuple[int, int, int]:
        """Index blocks of `window` from `at`: (next, frames, status) as index_pcapng gives them."""
        after, frames, status = index_pcapng(
            window, at, self._state, self._links, self._snaps, self._resolutions, self._offsets, *room
        )
        return int(after), int(frames), int(status)
