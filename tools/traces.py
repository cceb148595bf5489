"""Writes traces to measure with, by numpy in seconds; what they say stands in `traffic.py`.

A trace is a beat of frames that repeats. What each frame says is laid down once as bytes; times, addresses, sequence
numbers and checksums are filled in by columns, for a few thousand beats at a time. The same call gives the same file,
octet for octet, and every frame is right: lengths, checksums (RFC 1071), TCP sequence numbers from the handshake on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

START_NS = 1_772_409_600_000_000_000
SPACING_NS = 50_000  # between two frames: 20,000 frames a second
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)  # microseconds, Ethernet
CHUNK_BYTES = 4 << 20  # filled in at a time: stays in the cache
SMALLEST_FRAME = 60  # Ethernet pads up to that
SYN, PSH, ACK = 0x02, 0x08, 0x10
TCP, UDP = 6, 17

# A frame in the file, field by field: pcap record header, Ethernet II, IPv4 without options.
HEAD: list[tuple[Any, ...]] = [
    ("seconds", "<u4"), ("microseconds", "<u4"), ("captured", "<u4"), ("wire", "<u4"),
    ("to", "u1", (6,)), ("by", "u1", (6,)), ("ethertype", ">u2"),
    ("version", ">u2"), ("total", ">u2"), ("identification", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
    ("protocol", "u1"), ("header_checksum", ">u2"), ("source", ">u4"), ("destination", ">u4"),
    ("source_port", ">u2"), ("destination_port", ">u2"),
]  # fmt: skip
TRANSPORT: dict[int, list[tuple[Any, ...]]] = {
    TCP: [("seq", ">u4"), ("ack", ">u4"), ("flags", ">u2"), ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2")],
    UDP: [("length", ">u2"), ("checksum", ">u2")],
}
RECORD, ETHERNET, IPV4 = 16, 14, 20  # header lengths
TRANSPORT_HEADER = {TCP: 20, UDP: 8}


@dataclass(frozen=True, eq=False)
class Message:
    """What one end says in one frame.

    payloads: (variants, octets), taken in turn. stamp: where a 16-bit number stands that counts the turns, -1 for none.
    counted: it is one message of the exchange's protocol.
    """

    forward: bool  # from the client
    payloads: Bytes
    stamp: int = -1
    flags: int = PSH | ACK
    counted: bool = True

    @property
    def size(self) -> int:
        """Octets of the payload."""
        return self.payloads.shape[1]

    @property
    def advance(self) -> int:
        """How far it moves the sender's sequence number: a SYN counts as one octet."""
        return self.size + bool(self.flags & SYN)


@dataclass(frozen=True, eq=False)
class Exchange:
    """Frames that two ends exchange in every beat, on one connection after the other."""

    port: int
    messages: Sequence[Message]
    connections: int
    clients: int  # hosts among which the connections are spread
    opening: Sequence[Message] = ()  # once for each connection, after the handshake
    transport: int = TCP
    protocol: str = ""  # as sensor/decode names it, where it is industrial
    net: int = 20  # second octet of the addresses


@dataclass(frozen=True, eq=False)
class Trace:
    """A beat: the exchanges whose frames follow each other."""

    name: str
    exchanges: Sequence[Exchange]


@dataclass
class Made:
    """What a trace holds: frames, and messages of each industrial protocol."""

    path: Path
    packets: int = 0
    size: int = 0
    messages: dict[str, int] = field(default_factory=dict)


class _Frame(NamedTuple):
    """One frame of a beat; `sent`: what (client, server) have said on the connection before it in this beat."""

    exchange: Exchange
    message: Message
    sent: tuple[int, int]


def text(payload: bytes) -> Bytes:
    """A payload that never changes."""
    return np.frombuffer(payload, np.uint8).reshape(1, -1)


def _frames(exchange: Exchange, messages: Sequence[Message]) -> list[_Frame]:
    frames, sent = [], [0, 0]
    for message in messages:
        frames.append(_Frame(exchange, message, (sent[0], sent[1])))
        sent[0 if message.forward else 1] += message.advance
    return frames


def _advances(messages: Sequence[Message]) -> tuple[int, int]:
    """Octets that (client, server) send in all."""
    return (
        sum(it.advance for it in messages if it.forward),
        sum(it.advance for it in messages if not it.forward),
    )


def _opening(exchange: Exchange) -> list[Message]:
    """Handshake and first messages; nothing on UDP."""
    if exchange.transport != TCP:
        return []
    empty = text(b"")
    return [
        Message(True, empty, flags=SYN),
        Message(False, empty, flags=SYN | ACK),
        Message(True, empty, flags=ACK),
        *exchange.opening,
    ]


def _layout(frames: Sequence[_Frame]) -> np.dtype[Any]:
    """A beat as a record of records, packed as it stands in the file."""
    fields = []
    for number, (exchange, message, _) in enumerate(frames):
        size = ETHERNET + IPV4 + TRANSPORT_HEADER[exchange.transport] + message.size
        body = [("payload", "u1", (message.size,)), ("padding", "u1", (max(SMALLEST_FRAME - size, 0),))]
        fields.append((f"f{number}", np.dtype(HEAD + TRANSPORT[exchange.transport] + body)))
    return np.dtype(fields)


def _halves(number: npt.ArrayLike) -> Numbers:
    """Both 16-bit words of a 32-bit number, added."""
    wide = np.asarray(number, np.int64)
    return (wide >> 16) + (wide & 0xFFFF)


def _folded(total: Numbers) -> Numbers:
    """The Internet checksum of words that add up to `total`."""
    for _ in range(3):
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def _sums(payloads: Bytes) -> Numbers:
    """Sum of the 16-bit words of each payload; a last odd octet is the high one of a word."""
    weights = np.where(np.arange(payloads.shape[1]) % 2 == 0, 256, 1)
    return (payloads * weights).sum(axis=1, dtype=np.int64)


def _fill(rows: Any, frame: _Frame, beat: Numbers, at_ns: Numbers, begun: bool) -> None:
    """Fill one frame of many beats in; `begun`: the connections have said their opening messages before."""
    exchange, message, sent = frame
    connection, turn = beat % exchange.connections, beat // exchange.connections
    size, header = message.size, TRANSPORT_HEADER[exchange.transport]
    rows["seconds"], rows["microseconds"] = at_ns // 10**9, at_ns % 10**9 // 1000
    rows["captured"] = rows["wire"] = max(ETHERNET + IPV4 + header + size, SMALLEST_FRAME)
    ends = (2, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 2)
    rows["by"], rows["to"] = ends if message.forward else ends[::-1]
    rows["ethertype"], rows["version"], rows["fragment"], rows["ttl"] = 0x0800, 0x4500, 0x4000, 64
    rows["protocol"], rows["total"], rows["identification"] = exchange.transport, IPV4 + header + size, turn & 0xFFFF
    client = (10 << 24 | exchange.net << 16 | 1 << 8) + connection % exchange.clients
    server = (10 << 24 | exchange.net << 16 | 16 << 8) + connection // exchange.clients
    port = 49152 + connection % 16384
    if message.forward:
        rows["source"], rows["destination"] = client, server
        rows["source_port"], rows["destination_port"] = port, exchange.port
    else:
        rows["source"], rows["destination"] = server, client
        rows["source_port"], rows["destination_port"] = exchange.port, port
    addresses = _halves(client) + _halves(server)
    fixed = 0x4500 + 0x4000 + (64 << 8 | exchange.transport) + IPV4 + header + size
    rows["header_checksum"] = _folded(addresses + fixed + (turn & 0xFFFF))

    variant = turn % len(message.payloads)
    rows["payload"] = message.payloads[variant]
    total = addresses + exchange.transport + header + size + port + exchange.port + _sums(message.payloads)[variant]
    if message.stamp >= 0:
        high, low = turn >> 8 & 0xFF, turn & 0xFF
        rows["payload"][:, message.stamp], rows["payload"][:, message.stamp + 1] = high, low
        total = total + ((high << 8 | low) if message.stamp % 2 == 0 else (low << 8 | high))
    if exchange.transport == UDP:
        rows["length"] = header + size
        rows["checksum"] = _folded(total + header + size)
        return
    said = _advances(_opening(exchange)) if begun else (0, 0)
    each = _advances(exchange.messages)
    client_at = (1000 + 7919 * connection + said[0] + turn * each[0] + sent[0]) & 0xFFFFFFFF
    server_at = (500_000_000 + 104_729 * connection + said[1] + turn * each[1] + sent[1]) & 0xFFFFFFFF
    seq, ack = (client_at, server_at) if message.forward else (server_at, client_at)
    if not message.flags & ACK:
        ack = np.zeros_like(ack)
    rows["seq"], rows["ack"], rows["flags"], rows["window"] = seq, ack, 0x5000 | message.flags, 64240
    rows["checksum"] = _folded(total + _halves(seq) + _halves(ack) + (0x5000 | message.flags) + 64240)


class _Writer:
    """Writes beats, counts what it wrote, stops at the frame that was asked for."""

    def __init__(self, file: BinaryIO, made: Made, packets: int) -> None:
        self._file, self._made, self._packets = file, made, packets

    def beats(self, frames: Sequence[_Frame], count: int, *, begun: bool) -> None:
        """Write `count` beats, or as many as there are frames left to write."""
        if not frames:
            return
        layout = _layout(frames)
        step = max(CHUNK_BYTES // layout.itemsize, 1)
        for first in range(0, count, step):
            left = self._packets - self._made.packets
            beats = min(step, count - first, -(-left // len(frames)))
            if beats <= 0:
                return
            rows = np.zeros(beats, layout)
            index = np.arange(first, first + beats, dtype=np.int64)
            number = self._made.packets + np.arange(beats, dtype=np.int64) * len(frames)
            for place, frame in enumerate(frames):
                _fill(rows[f"f{place}"], frame, index, START_NS + (number + place) * SPACING_NS, begun)
            whole = min(beats, left // len(frames))
            self._file.write(rows[:whole].tobytes())
            self._count(frames, whole)
            if whole < beats:  # a part of the last beat
                part = frames[: left - whole * len(frames)]
                self._file.write(rows[whole:].tobytes()[: _layout(part).itemsize])
                self._count(part, 1)

    def _count(self, frames: Sequence[_Frame], beats: int) -> None:
        self._made.packets += beats * len(frames)
        for exchange, message, _ in frames:
            if exchange.protocol and message.size and message.counted:
                messages = self._made.messages
                messages[exchange.protocol] = messages.get(exchange.protocol, 0) + beats


def write(trace: Trace, packets: int, path: Path) -> Made:
    """Write the first `packets` frames of a trace as a pcap file."""
    made = Made(path)
    with open(path, "wb") as file:
        file.write(PCAP_HEADER)
        writer = _Writer(file, made, packets)
        for exchange in trace.exchanges:
            writer.beats(_frames(exchange, _opening(exchange)), exchange.connections, begun=False)
        beat = [frame for exchange in trace.exchanges for frame in _frames(exchange, exchange.messages)]
        writer.beats(beat, -(-packets // len(beat)), begun=True)
        made.size = file.tell()
    return made
