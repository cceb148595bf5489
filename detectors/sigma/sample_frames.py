"""Samples of rules as frames: Ethernet, IP, TCP and UDP around their messages. Each sample has hosts of its own."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from detectors.sigma.envelopes import ENVELOPES, ETHERNET, UDP, Envelope, Said
from detectors.sigma.samples import STEP_NS, Sample
from sensor.capture.frames import FrameBatch

BEGINS_NS = 1_772_409_600 * 10**9  # 2026-03-02, a Monday, 08:00 in China


@dataclass
class _Talk:
    """What a connection between two hosts has come to."""

    sequence: dict[bool, int] = field(default_factory=lambda: {True: 1000, False: 9000})
    number: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # exchanges, by who asks
    said: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})


class _Wire:
    """Frames of many samples; sample k has the hosts 10.(k >> 8).(k & 255).1 and following."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []

    def add(self, number: int, sample: Sample) -> None:
        """Put the frames of a sample onto the wire."""
        envelope = ENVELOPES[sample.protocol]
        talks: dict[tuple[int, int], _Talk] = {}
        for step in sample.steps:
            place = (step.client, step.server)
            talk = talks.get(place)
            if talk is None:
                talk = talks[place] = _Talk()
                if envelope.transport not in (UDP, ETHERNET):
                    self._open(number, place, envelope.port, talk, step.at_ns)
            asker = step.by_client if step.asks else not step.by_client
            if step.asks:
                talk.number[asker] += 1
            exchange = max(talk.number[asker], 1)
            message = envelope.put(
                Said(
                    step.body, step.rest, step.asks, step.by_client, exchange,
                    talk.said[step.by_client], talk.said[not step.by_client], step.options,
                )
            )  # fmt: skip
            talk.said[step.by_client] += len(step.body) > 1
            self._send(number, place, envelope, talk, step.by_client, message, step.at_ns + STEP_NS)

    def _open(self, number: int, place: tuple[int, int], port: int, talk: _Talk, at_ns: int) -> None:
        for by_client, flags in ((True, 0x02), (False, 0x12), (True, 0x10)):
            self._segment(number, place, port, talk, by_client, b"", flags, at_ns)
            if flags & 0x02:
                talk.sequence[by_client] += 1

    def _send(
        self, number: int, place: tuple[int, int], envelope: Envelope, talk: _Talk, by_client: bool, message: bytes,
        at_ns: int,
    ) -> None:  # fmt: skip
        if envelope.transport == ETHERNET:
            head = _mac(number, place, not by_client) + _mac(number, place, by_client)
            self.frames.append((at_ns, head + envelope.port.to_bytes(2, "big") + message))
        elif envelope.transport == UDP:
            header = struct.pack(">HHHH", envelope.port, envelope.port, 8 + len(message), 0)
            self._packet(number, place, by_client, UDP, header + message, at_ns)
        else:
            self._segment(number, place, envelope.port, talk, by_client, message, 0x18, at_ns)
            talk.sequence[by_client] += len(message)

    def _segment(
        self, number: int, place: tuple[int, int], port: int, talk: _Talk, by_client: bool, data: bytes, flags: int,
        at_ns: int,
    ) -> None:  # fmt: skip
        own = 40_000 + place[0]
        ports = (own, port) if by_client else (port, own)
        acknowledged = talk.sequence[not by_client] if flags & 0x10 else 0
        header = struct.pack(">HHIIBBHHH", *ports, talk.sequence[by_client], acknowledged, 0x50, flags, 8192, 0, 0)
        self._packet(number, place, by_client, 6, header + data, at_ns)

    def _packet(
        self, number: int, place: tuple[int, int], by_client: bool, transport: int, data: bytes, at_ns: int
    ) -> None:
        source, target = _ip(number, place, by_client), _ip(number, place, not by_client)
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0x4000, 64, transport, 0) + source + target
        ends = _mac(number, place, not by_client) + _mac(number, place, by_client)
        self.frames.append((at_ns, ends + b"\x08\x00" + head + data))

    def batch(self) -> FrameBatch:
        """All frames in the order of time."""
        ordered = sorted(self.frames, key=lambda frame: frame[0])
        lengths = np.array([len(data) for _, data in ordered], np.int32)
        return FrameBatch(
            data=np.frombuffer(b"".join(data for _, data in ordered), np.uint8),
            ts_ns=np.array([BEGINS_NS + at for at, _ in ordered], np.int64),
            offset=np.cumsum(lengths, dtype=np.int64) - lengths,
            captured=lengths,
            wire=lengths,
            link=np.ones(len(ordered), np.int32),
            first=1,
        )


def _host(place: tuple[int, int], client: bool) -> int:
    return place[0] if client else 100 + place[1]


def _ip(number: int, place: tuple[int, int], client: bool) -> bytes:
    return bytes([10, number >> 8, number & 0xFF, _host(place, client)])


def _mac(number: int, place: tuple[int, int], client: bool) -> bytes:
    return bytes([2, 0, number >> 8, number & 0xFF, 0, _host(place, client)])


def frames(samples: Iterable[Sample]) -> FrameBatch:
    """The frames of samples that are written down, all at the same time, each between hosts of its own."""
    wire = _Wire()
    for number, sample in enumerate(samples):
        wire.add(number, sample)
    return wire.batch()


def number_of(address: str) -> int:
    """Which sample a host belongs to, by its address; -1 where it has none."""
    if address.count(".") == 3:
        _, high, low, _ = address.split(".")
        return int(high) << 8 | int(low)
    if address.count(":") == 5:
        parts = address.split(":")
        return int(parts[2], 16) << 8 | int(parts[3], 16)
    return -1
