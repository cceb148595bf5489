"""What a capture carries, without the decoder: payloads of frames and whole messages of TCP directions, for oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensor.capture.source import open_capture
from sensor.decode import link
from sensor.decode.state import PACKET


class Payload(NamedTuple):
    """Transport payload of one frame; `flow` names its direction: addresses and ports, sender first."""

    frame: int
    transport: int
    flow: tuple[int, int, int, int]
    seq: int
    data: bytes


def payloads(path: Path) -> Iterator[Payload]:
    """Every TCP or UDP payload that is not empty, in order of capture."""
    packet = np.zeros(1, PACKET)[0]
    for batch in open_capture(path):
        for i in range(batch.size):
            at, captured = int(batch.offset[i]), int(batch.captured[i])
            verdict = link.parse(batch.data, at, captured, int(batch.wire[i]), int(batch.link[i]), packet)
            if verdict == link.OK and packet.end > packet.at:
                flow = (int(packet.src_lo), int(packet.src_port), int(packet.dst_lo), int(packet.dst_port))
                data = batch.data[packet.at : packet.end].tobytes()
                yield Payload(batch.first + i, int(packet.transport), flow, int(packet.seq), data)


def ethernet(path: Path, ethertype: int) -> Iterator[tuple[int, bytes]]:
    """(frame, payload behind the EtherType, and behind VLAN tags) of every Ethernet frame of that type."""
    wanted, tags = ethertype.to_bytes(2, "big"), (b"\x81\x00", b"\x88\xa8")
    for batch in open_capture(path):
        for i in range(batch.size):
            at = int(batch.offset[i])
            frame = batch.data[at : at + int(batch.captured[i])].tobytes()
            behind = 12
            while frame[behind : behind + 2] in tags:
                behind += 4
            if frame[behind : behind + 2] == wanted:
                yield batch.first + i, frame[behind + 2 :]


def messages(
    path: Path, frame: Callable[..., int], port: int
) -> Iterator[tuple[int, tuple[int, int, int, int], bytes]]:
    """(frame that completes it, flow, message) of the TCP directions from or to `port`.

    What was sent twice counts once. A direction that cannot be framed any longer begins afresh with its next segment.
    """
    pending: dict[tuple[int, int, int, int], bytes] = {}
    following: dict[tuple[int, int, int, int], int] = {}
    for payload in payloads(path):
        if payload.transport != link.TCP or port not in (payload.flow[1], payload.flow[3]):
            continue
        expected = following.get(payload.flow, payload.seq)
        ahead = (payload.seq - expected + (1 << 31)) % (1 << 32) - (1 << 31)
        if ahead < 0:
            if -ahead >= len(payload.data):
                continue
            payload = payload._replace(data=payload.data[-ahead:], seq=expected)
        held = pending.pop(payload.flow, b"") if ahead <= 0 else b""
        following[payload.flow] = (payload.seq + len(payload.data)) % (1 << 32)
        data = held + payload.data
        buffer = np.frombuffer(data, np.uint8)
        at = 0
        while at < len(data):
            size = int(frame(buffer, at, len(data)))
            if size < 0:
                at = len(data)
            elif size == 0 or at + size > len(data):
                break
            else:
                yield payload.frame, payload.flow, data[at : at + size]
                at += size
        pending[payload.flow] = data[at:]
