"""The compiled walk over blocks of a packet ring (TPACKET_V3), and copying frames from one buffer to another.

Source: Linux, include/uapi/linux/if_packet.h: struct tpacket_block_desc (48 bytes), struct tpacket3_hdr (48 bytes).
Numbers are in the machine's byte order, which is why the ring is seen through arrays of three widths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensor.capture.pcap import Bytes, Int, empty_columns
from sensor.compiled import njit
from sensor.decode.octets import copy

# Block descriptor: offsets in bytes.
BLOCK_STATUS = 8
BLOCK_FRAMES = 12
BLOCK_FIRST = 16  # offset of the first frame's header from the block's beginning
BLOCK_LENGTH = 20  # bytes in use
DESCRIPTOR_BYTES = 48

FRAME_HEADER_BYTES = 48
STATUS_VLAN_VALID = 1 << 4
STATUS_VLAN_TPID_VALID = 1 << 6
ADDRESSES_BYTES = 12  # of an Ethernet header: the VLAN tag follows them
TAG_BYTES = 4
TPID_8021Q = 0x8100
ETHERNET = 1  # LINKTYPE_

Words = npt.NDArray[np.uint32]
Halves = npt.NDArray[np.uint16]


@njit(cache=True, nogil=True, boundscheck=True)
def unpack_block(
    octets: Bytes,
    halves: Halves,
    words: Words,
    at: int,
    size: int,
    linktype: int,
    data: Bytes,
    filled: Int,
    rows: int,
    ts_ns: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    wire: npt.NDArray[np.int32],
    link: npt.NDArray[np.int32],
) -> tuple[Int, Int]:
    """Copy the frames of one block behind `filled` bytes of `data` and `rows` rows of the columns.

    octets, halves, words: the ring; at, size: where the block stands in it. A VLAN tag that the kernel took off is put
    back. Returns the new (filled, rows); less rows than the block claims where its chain of headers leaves it.
    """
    frames = np.int64(words[(at + BLOCK_FRAMES) >> 2])
    header = at + np.int64(words[(at + BLOCK_FIRST) >> 2])
    end = at + size
    for _ in range(frames):
        if header < at or header + FRAME_HEADER_BYTES > end or header & 7 or rows >= len(ts_ns):
            break
        word = header >> 2
        length = np.int64(words[word + 3])
        status = np.int64(words[word + 5])
        begin = header + np.int64(halves[(header >> 1) + 12])
        if begin + length > end or filled + length + TAG_BYTES > len(data):
            break
        offset[rows] = filled
        tag = np.int64(0)
        if status & STATUS_VLAN_VALID and linktype == ETHERNET and length >= ADDRESSES_BYTES:
            tag = np.int64(TAG_BYTES)
            tpid = np.int64(TPID_8021Q)
            if status & STATUS_VLAN_TPID_VALID:
                tpid = np.int64(halves[(header >> 1) + 18])
            tci = np.int64(words[word + 8])
            copy(octets, begin, data, filled, ADDRESSES_BYTES)
            data[filled + 12] = np.uint8(tpid >> 8)
            data[filled + 13] = np.uint8(tpid & 0xFF)
            data[filled + 14] = np.uint8((tci >> 8) & 0xFF)
            data[filled + 15] = np.uint8(tci & 0xFF)
            copy(octets, begin + ADDRESSES_BYTES, data, filled + 16, length - ADDRESSES_BYTES)
        else:
            copy(octets, begin, data, filled, length)
        ts_ns[rows] = np.int64(words[word + 1]) * np.int64(1_000_000_000) + np.int64(words[word + 2])
        captured[rows] = length + tag
        wire[rows] = max(np.int64(words[word + 4]), length) + tag
        link[rows] = linktype
        filled += length + tag
        rows += 1
        header += np.int64(words[word])  # 0 in the last one: the count of frames ends the walk before it is used
    return filled, rows


@njit(cache=True, nogil=True, boundscheck=True)
def copy_frames(
    source: Bytes,
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    data: Bytes,
    filled: Int,
    placed: npt.NDArray[np.int64],
) -> Int:
    """Copy frames behind `filled` bytes of `data`; `placed` takes their offsets there. Returns the new `filled`.

    The caller gives room: len(data) >= filled + sum(captured), len(placed) >= len(offset).
    """
    for row in range(len(offset)):
        begin = offset[row]
        length = np.int64(captured[row])
        copy(source, begin, data, filled, length)
        placed[row] = filled
        filled += length
    return filled


def compile_ahead() -> None:
    """Compile, or load, what is above: while a compiler runs, a ring that is open already would overflow."""
    nothing, columns = np.zeros(DESCRIPTOR_BYTES, np.uint8), empty_columns(0)
    unpack_block(
        nothing,
        nothing.view(np.uint16),
        nothing.view(np.uint32),
        0,
        DESCRIPTOR_BYTES,
        ETHERNET,
        nothing,
        0,
        0,
        *columns,
    )
    copy_frames(nothing, columns.offset, columns.captured, nothing, 0, columns.offset)
