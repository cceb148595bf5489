"""Packets of the file protocols picked out of a batch of frames: by ports, with numpy, no object for the others.

Looks into Ethernet (with up to two VLAN tags) and raw IP, IPv4 and IPv6 without extension headers and fragments. What
travels in tunnels is not carved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.slow.octets import ip

ETHERNET, RAW = 1, 101  # LINKTYPE_ values
TCP, UDP = 6, 17
_VLAN = (0x8100, 0x88A8)
_LEAST = 42  # octets that an Ethernet frame with IPv4 and UDP has at least


class Packet(NamedTuple):
    """One TCP segment or UDP datagram. seq, flags: of TCP, otherwise 0. lost: octets that the capture did not keep."""

    ts_ns: int
    frame: int
    transport: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    seq: int
    flags: int
    payload: bytes
    lost: int


def rows_with_ports(frames: FrameBatch, ports: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Frames of which one transport port is wanted. ports: (65536,)."""
    rows = np.flatnonzero((frames.captured >= _LEAST) & ((frames.link == ETHERNET) | (frames.link == RAW)))
    data = frames.data
    at = frames.offset[rows] + np.where(frames.link[rows] == ETHERNET, 14, 0)
    end = frames.offset[rows] + frames.captured[rows]
    plain = frames.link[rows] == ETHERNET
    kind = np.where(plain, _u16(data, at - 2), 0x0800)
    for _ in range(2):
        tagged = plain & np.isin(kind, _VLAN)
        if not tagged.any():
            break
        at = at + np.where(tagged, 4, 0)
        kind = np.where(tagged, _u16(data, at - 2), kind)
    first = data[np.minimum(at, len(data) - 1)]
    four = ((kind == 0x0800) & (first >> 4 == 4)) & (at + 20 <= end)
    six = ((kind == 0x86DD) | ~plain) & (first >> 4 == 6) & (at + 40 <= end)
    transport = np.where(four, _u8(data, at + 9), np.where(six, _u8(data, at + 6), 0))
    whole = np.where(four, _u16(data, at + 6) & 0x3FFF, 0) == 0
    behind = at + np.where(four, (first.astype(np.int64) & 15) * 4, 40)
    source, destination = _u16(data, behind), _u16(data, behind + 2)
    wanted = (four | six) & whole & ((transport == TCP) | (transport == UDP)) & (behind + 8 <= end)
    found: npt.NDArray[np.int64] = rows[wanted & (ports[source] | ports[destination])]
    return found


def _u8(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    got: npt.NDArray[np.int64] = data[np.minimum(at, len(data) - 1)].astype(np.int64)
    return got


def _u16(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    at = np.clip(at, 0, len(data) - 2)
    got: npt.NDArray[np.int64] = (data[at].astype(np.int64) << 8) | data[at + 1]
    return got


def packets(frames: FrameBatch, rows: npt.NDArray[np.int64]) -> Iterator[Packet]:
    """The packets of these rows, as `rows_with_ports` found them."""
    for row in rows.tolist():
        begin = int(frames.offset[row])
        raw = frames.data[begin : begin + int(frames.captured[row])].tobytes()
        at = 0
        if int(frames.link[row]) == ETHERNET:
            at = 14
            while int.from_bytes(raw[at - 2 : at], "big") in _VLAN and at <= 18:
                at += 4
        made = _packet(raw, at, int(frames.wire[row]) - len(raw), int(frames.ts_ns[row]), frames.first + row)
        if made is not None:
            yield made


def _packet(raw: bytes, at: int, cut: int, ts_ns: int, frame: int) -> Packet | None:
    if raw[at] >> 4 == 4:
        head, ends = (raw[at] & 15) * 4, (raw[at + 12 : at + 16], raw[at + 16 : at + 20])
        length, transport = int.from_bytes(raw[at + 2 : at + 4], "big"), raw[at + 9]
        if length == 0:  # cut up by the network card of who captured
            length = len(raw) - at
    else:
        head, ends = 40, (raw[at + 8 : at + 24], raw[at + 24 : at + 40])
        length, transport = 40 + int.from_bytes(raw[at + 4 : at + 6], "big"), raw[at + 6]
    behind, end = at + head, at + length
    if head < 20 or end < behind + 8:
        return None
    ports = int.from_bytes(raw[behind : behind + 2], "big"), int.from_bytes(raw[behind + 2 : behind + 4], "big")
    seq = flags = 0
    begin = behind + 8
    if transport == TCP:
        if len(raw) < behind + 20:
            return None
        seq, flags = int.from_bytes(raw[behind + 4 : behind + 8], "big"), raw[behind + 13]
        begin = behind + (raw[behind + 12] >> 4) * 4
    lost = min(max(end - max(begin, len(raw)), 0), max(cut, 0))
    return Packet(
        ts_ns, frame, transport, ip(ends[0]), ports[0], ip(ends[1]), ports[1], seq, flags,
        raw[begin : min(end, len(raw))], lost,
    )  # fmt: skip
