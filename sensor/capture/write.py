"""Write small classic pcap files: the frames behind a finding, for people to open in their own tools.

Source: "PCAP Capture File Format" (draft-ietf-opsawg-pcap), sections 4 and 5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from sensor.capture.frames import FrameBatch
from sensor.capture.pcap import MAX_FRAME_BYTES

_MICROSECONDS = 0xA1B2C3D4
_NANOSECONDS = 0xA1B23C4D
_LAST_SECOND = 0xFFFFFFFF  # what 32 bits can say: February 2106


class Frame(NamedTuple):
    """One frame to write: capture time in ns since 1970 UTC, its bytes, and its length on the wire."""

    ts_ns: int
    data: bytes
    wire: int


def frame_of(batch: FrameBatch, number: int) -> Frame:
    """Frame `number` (from 1 in its capture) of the batch that holds it, copied; IndexError where it does not."""
    row = number - batch.first
    if not 0 <= row < batch.size:
        raise IndexError(
            f"frame {number} is not in the batch of frames {batch.first} to {batch.first + batch.size - 1}"
        )
    at = int(batch.offset[row])
    data = batch.data[at : at + int(batch.captured[row])].tobytes()
    return Frame(int(batch.ts_ns[row]), data, int(batch.wire[row]))


def small_pcap(link: int, frames: Iterable[tuple[int, bytes, int]]) -> bytes:
    """A pcap file of frames (ts_ns, bytes, wire length) that share one link type, in the order given.

    Times are written in nanoseconds when one of them needs it, otherwise in microseconds, which more tools read. Times
    outside 1970 to 2106 give the nearest that the format can say.
    """
    records = list(frames)
    nanoseconds = any(ts_ns % 1000 for ts_ns, _, _ in records)
    unit_ns = 1 if nanoseconds else 1000
    magic = _NANOSECONDS if nanoseconds else _MICROSECONDS
    parts = [struct.pack("<IHHiIII", magic, 2, 4, 0, 0, MAX_FRAME_BYTES, link)]
    for ts_ns, data, wire in records:
        seconds, rest_ns = divmod(max(ts_ns, 0), 1_000_000_000)
        if seconds > _LAST_SECOND:
            seconds, rest_ns = _LAST_SECOND, 999_999_999
        parts.append(struct.pack("<IIII", seconds, rest_ns // unit_ns, len(data), max(wire, len(data))))
        parts.append(data)
    return b"".join(parts)
