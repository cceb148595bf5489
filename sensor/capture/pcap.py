"""Classic pcap files: the file header, and the compiled index of its records.

Source: "PCAP Capture File Format" (draft-ietf-opsawg-pcap), sections 4 (file header) and 5 (packet record). Read are
both byte orders, micro- and nanosecond files, and the "modified" format of Alexey Kuznetsov's libpcap patches, whose
record headers are 8 bytes longer. The file header's snapshot length is not believed: some writers put 0 there, others
write longer frames than they promised.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.compiled import njit
from sensor.decode.load import u32be, u32le

HEADER_BYTES = 24
MODIFIED_EXTRA_BYTES = 8  # interface index, protocol, packet type, padding

# No link layer that carries industrial traffic has longer frames (jumbo frames: 9,216 bytes; offloaded segments:
# 64 KiB), and tshark draws the same line. A longer record is damage or malice; nothing after it can be found.
MAX_FRAME_BYTES = 256 * 1024

SPARE = 4  # sets of columns kept for use again: one is being filled, one waits, one or two are worked on

Bytes = npt.NDArray[np.uint8]
Int = Any  # int or np.int64: compiled code makes no difference between them

# How an index pass ended. MORE: the record at the returned position is not whole in this buffer.
MORE, FULL, OVERSIZE, BLOCK_LENGTH, BYTE_ORDER = 0, 1, 2, 3, 4

# magic as read in the file's own byte order: (nanoseconds in one unit of the fraction, extra bytes in a record header)
_MAGIC = {0xA1B2C3D4: (1000, 0), 0xA1B23C4D: (1, 0), 0xA1B2CD34: (1000, MODIFIED_EXTRA_BYTES)}


class PcapHeader(NamedTuple):
    """What the file header says about every record.

    big_endian: byte order of all numbers; fraction_ns: unit of the fraction of a second; record_bytes: length of a
    record header (16 or 24); link: LINKTYPE_ value; major, minor: version, 2.4 for two decades now.
    """

    big_endian: bool
    fraction_ns: int
    record_bytes: int
    link: int
    major: int
    minor: int


def is_pcap(start: bytes) -> bool:
    """Whether a file that begins with these bytes (at least four) says that it is classic pcap."""
    return int.from_bytes(start[:4], "big") in _MAGIC or int.from_bytes(start[:4], "little") in _MAGIC


def parse_header(start: bytes) -> PcapHeader:
    """The file header; `start` holds HEADER_BYTES bytes or more, and `is_pcap(start)` is true."""
    big = int.from_bytes(start[:4], "big") in _MAGIC
    order = "big" if big else "little"
    fraction_ns, extra = _MAGIC[int.from_bytes(start[:4], order)]  # type: ignore[arg-type]
    words = [int.from_bytes(start[i : i + 2], order) for i in range(4, HEADER_BYTES, 2)]  # type: ignore[arg-type]
    # The link type is the low half of the last word; its high half tells of a frame check sequence behind each frame.
    link = words[9] if big else words[8]
    return PcapHeader(big, fraction_ns, 16 + extra, link, words[0], words[1])


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def u32(buf: Bytes, at: Int, big_endian: bool) -> Int:
    """32-bit number at `at` in the given byte order, as int64."""
    return u32be(buf, at) if big_endian else u32le(buf, at)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def wire_length(claimed: Int, captured: Int) -> Int:
    """A frame's length on the wire: never less than what is there, and within int32 whatever the file claims."""
    return min(max(claimed, captured), np.int64(0x7FFFFFFF))


@njit(cache=True, nogil=True, boundscheck=True)
def index_pcap(
    buf: Bytes,
    at: Int,
    big_endian: bool,
    fraction_ns: int,
    record_bytes: int,
    link: int,
    ts_ns: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    wire: npt.NDArray[np.int32],
    links: npt.NDArray[np.int32],
) -> tuple[Int, int, int]:
    """Index the records from buf[at] on into the columns of a FrameBatch.

    Returns (next, frames, status): where the first record that was not indexed begins, how many were indexed (at most
    the columns' length), and MORE, FULL or OVERSIZE.
    """
    frames = 0
    end = len(buf)
    while True:
        if frames == len(ts_ns):
            return at, frames, FULL
        if at + record_bytes > end:
            return at, frames, MORE
        length = u32(buf, at + 8, big_endian)
        if length > MAX_FRAME_BYTES:
            return at, frames, OVERSIZE
        if at + record_bytes + length > end:
            return at, frames, MORE
        seconds = u32(buf, at, big_endian)
        ts_ns[frames] = seconds * np.int64(1_000_000_000) + u32(buf, at + 4, big_endian) * np.int64(fraction_ns)
        offset[frames] = at + record_bytes
        captured[frames] = length
        wire[frames] = wire_length(u32(buf, at + 12, big_endian), length)
        links[frames] = link
        frames += 1
        at += record_bytes + length


class Columns(NamedTuple):
    """Room for the columns of one FrameBatch; see sensor/capture/frames.py."""

    ts_ns: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    captured: npt.NDArray[np.int32]
    wire: npt.NDArray[np.int32]
    link: npt.NDArray[np.int32]

    def pick(self, rows: slice | npt.NDArray[np.int64]) -> Columns:
        """These rows, in this order."""
        return Columns(self.ts_ns[rows], self.offset[rows], self.captured[rows], self.wire[rows], self.link[rows])


def empty_columns(rows: int) -> Columns:
    """Columns with room for `rows` frames."""
    return Columns(
        ts_ns=np.empty(rows, dtype=np.int64),
        offset=np.empty(rows, dtype=np.int64),
        captured=np.empty(rows, dtype=np.int32),
        wire=np.empty(rows, dtype=np.int32),
        link=np.empty(rows, dtype=np.int32),
    )


class Spare:
    """Columns that are used again once nobody holds a batch made of them: new memory costs more than to fill it."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._known: list[Columns] = []

    def take(self) -> Columns:
        """Columns that nobody else holds."""
        for columns in self._known:
            # The columns themselves, the loop and the call hold a reference each; batches hold more.
            if all(sys.getrefcount(column) == 3 for column in columns):
                return columns
        self._known = [*self._known[1 - SPARE :], empty_columns(self._rows)]
        return self._known[-1]


class PcapIndex:
    """The records of one classic pcap file, indexed window by window."""

    def __init__(self, header: PcapHeader) -> None:
        self.header = header
        self.start = HEADER_BYTES
        self.strange_interfaces = 0  # classic pcap has no interfaces that could be strange

    def index(self, window: npt.NDArray[np.uint8], at: int, room: Columns) -> tuple[int, int, int]:
        """Index records of `window` from `at`: (next, frames, status) as index_pcap gives them."""
        header = self.header
        after, frames, status = index_pcap(
            window, at, header.big_endian, header.fraction_ns, header.record_bytes, header.link, *room
        )
        return int(after), int(frames), int(status)
