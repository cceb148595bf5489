"""Frames to capture files: classic pcap in its four forms, and pcapng with one interface for each mirror port.

Written here rather than by a library, so that the bytes depend on nothing but the frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pcaps.dialogue import Frame

ETHERNET = 1
SNAP_LENGTH = 262144


def pcap(frames: Iterable[Frame], *, big_endian: bool = False, nanoseconds: bool = False) -> bytes:
    """A classic capture (draft-ietf-opsawg-pcap)."""
    order = ">" if big_endian else "<"
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, SNAP_LENGTH, ETHERNET)]
    for frame in frames:
        seconds, rest = divmod(frame.ts_ns, 1_000_000_000)
        size = len(frame.data)
        out.append(struct.pack(order + "IIII", seconds, rest // unit, size, size) + frame.data)
    return b"".join(out)


def _block(kind: int, body: bytes) -> bytes:
    """A pcapng block: type, total length, body filled up to four octets, total length again."""
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def _interface(name: bytes, resolution: int) -> bytes:
    """Interface description: Ethernet, options if_name and if_tsresol (time in units of 10^-resolution s)."""
    options = struct.pack("<HH", 2, len(name)) + name + bytes(-len(name) % 4)
    options += struct.pack("<HHB3x", 9, 1, resolution) + struct.pack("<HH", 0, 0)
    return _block(1, struct.pack("<HHI", ETHERNET, 0, SNAP_LENGTH) + options)


def pcapng(frames: Iterable[Frame]) -> bytes:
    """A pcapng section (draft-ietf-opsawg-pcapng) with two interfaces; the second one counts nanoseconds."""
    out = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out += [_interface(b"mirror0", 6), _interface(b"mirror1", 9)]
    for frame in frames:
        time = frame.ts_ns if frame.mirror else frame.ts_ns // 1000
        size = len(frame.data)
        head = struct.pack("<IIIII", frame.mirror, time >> 32, time & 0xFFFFFFFF, size, size)
        out.append(_block(6, head + frame.data))
    return b"".join(out)
