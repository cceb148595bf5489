"""Frames as records of a classic pcap file, packed by compiled code: the bytes of a whole batch in one buffer.

Source: "PCAP Capture File Format" (draft-ietf-opsawg-pcap), sections 4 and 5; nanoseconds, little-endian.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from sensor.capture.pcap import MAX_FRAME_BYTES, Bytes, Int
from sensor.compiled import njit

RECORD_BYTES = 16
_NANOSECONDS = 0xA1B23C4D
_SECOND = 1_000_000_000


def file_header(link: int) -> bytes:
    """The header of a file of such records."""
    return struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, MAX_FRAME_BYTES, link)


@njit(cache=True, nogil=True, boundscheck=True)
def _u32le(out: Bytes, at: Int, value: Int) -> None:
    out[at] = np.uint8(value & 0xFF)
    out[at + 1] = np.uint8((value >> 8) & 0xFF)
    out[at + 2] = np.uint8((value >> 16) & 0xFF)
    out[at + 3] = np.uint8((value >> 24) & 0xFF)


@njit(cache=True, nogil=True, boundscheck=True)
def pack_records(
    data: Bytes,
    ts_ns: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    captured: npt.NDArray[np.int32],
    wire: npt.NDArray[np.int32],
    link: npt.NDArray[np.int32],
    begin: int,
    out: Bytes,
) -> tuple[Int, Int]:
    """Write records of the frames from row `begin` on, as many as `out` has room for and as share a link type.

    The columns are those of FrameBatch. Returns (the row to go on from, bytes written); no progress where one frame
    alone is longer than `out`. Times outside 1970 to 2106 give the nearest that the format can say.
    """
    filled = np.int64(0)
    row = np.int64(begin)
    while row < len(ts_ns) and link[row] == link[begin]:
        length = np.int64(captured[row])
        if filled + RECORD_BYTES + length > len(out):
            break
        time = min(max(ts_ns[row], np.int64(0)), np.int64(0xFFFFFFFF) * _SECOND)
        _u32le(out, filled, time // _SECOND)
        _u32le(out, filled + 4, time % _SECOND)
        _u32le(out, filled + 8, length)
        _u32le(out, filled + 12, np.int64(wire[row]))
        filled += RECORD_BYTES
        out[filled : filled + length] = data[offset[row] : offset[row] + length]
        filled += length
        row += 1
    return row, filled
