"""Many TCP conversations as one FrameBatch, built with numpy: each a variant of how the same bytes may travel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.decode.decoder import Decoder

HEADERS = 14 + 20 + 20
CLIENTS_A_HOST = 40_000
FIRST_PORT = 20_001
SYN, ACK, PSH, URG = 0x02, 0x10, 0x08, 0x20
CLIENT_START, SERVER_START = 1_000, 900_000  # sequence numbers of the first octets

# Columns that say what a PDU is; the others say how it travelled.
CONTENT = (
    "forward", "protocol", "kind", "outcome", "station", "function", "subfunction", "transaction", "object", "quantity",
    "value", "status", "pdu_length",
)  # fmt: skip


class Segment(NamedTuple):
    """What one frame carries: octets of one of the streams, numbered as in `seq` (None: where they belong)."""

    stream: int
    begin: int = 0
    end: int = 0
    forward: bool = True
    seq: int | None = None
    flags: int = ACK | PSH
    ack: int = 0  # octets of the other direction


class Variants:
    """Collects conversations; `streams` are the byte strings from which their segments are cut."""

    def __init__(self, port: int, streams: Sequence[bytes]) -> None:
        self._port = port
        self._streams = streams
        self._rows: list[tuple[int, int, int, int, bool, int, int, int]] = []
        self.count = 0

    def add(self, segments: Iterable[Segment], start: int = CLIENT_START, *, syn: bool = True) -> int:
        """One more conversation, with SYN and SYN-ACK before it; `start` is the client's first sequence number.

        Returns its number.
        """
        variant = self.count
        self.count += 1
        if syn:
            self._rows.append((variant, 0, 0, 0, True, start - 1, SYN, 0))
            self._rows.append((variant, 0, 0, 0, False, SERVER_START - 1, SYN | ACK, start))
        self.go_on(variant, segments, start)
        return variant

    def go_on(self, variant: int, segments: Iterable[Segment], start: int = CLIENT_START) -> None:
        """Further segments of a conversation."""
        starts = {True: start, False: SERVER_START}
        for stream, begin, end, forward, seq, flags, ack in segments:
            at = starts[forward] + (begin if seq is None else seq)
            self._rows.append((variant, stream, begin, end, forward, at, flags, starts[not forward] + ack))

    def batch(self) -> FrameBatch:
        """All frames, conversation after conversation, a microsecond apart."""
        table = np.array(self._rows, np.int64).reshape(-1, 8)
        variant, stream, begin, end, forward, seq, flags, ack = table.T
        count = len(table)
        size = end - begin
        offset = np.concatenate([[0], np.cumsum(HEADERS + size)])
        head = np.zeros((count, HEADERS), np.uint8)
        client = 0x0A000100 + variant // CLIENTS_A_HOST
        port = FIRST_PORT + variant % CLIENTS_A_HOST

        def put(at: int, values: npt.ArrayLike, width: int) -> None:
            numbers = np.broadcast_to(np.asarray(values, np.int64), count)
            for octet in range(width):
                head[:, at + octet] = numbers >> 8 * (width - 1 - octet) & 0xFF

        put(12, 0x0800, 2)
        put(14, 0x4500, 2)
        put(16, HEADERS - 14 + size, 2)
        put(22, 64 << 8 | 6, 2)
        put(26, np.where(forward, client, 0x0A000002), 4)
        put(30, np.where(forward, 0x0A000002, client), 4)
        put(34, np.where(forward, port, self._port), 2)
        put(36, np.where(forward, self._port, port), 2)
        put(38, seq & 0xFFFFFFFF, 4)
        put(42, ack & 0xFFFFFFFF, 4)
        put(46, 0x5000 | flags, 2)
        put(52, np.where(flags & URG, np.maximum(size, 1), 0), 2)
        data = np.zeros(offset[-1] or 1, np.uint8)
        data[(offset[:-1, None] + np.arange(HEADERS)).ravel()] = head.ravel()
        octets = np.frombuffer(b"".join(self._streams), np.uint8)
        base = np.concatenate([[0], np.cumsum([len(s) for s in self._streams])])[stream] + begin
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        data[np.repeat(offset[:-1] + HEADERS, size) + within] = octets[np.repeat(base, size) + within]
        lengths = (HEADERS + size).astype(np.int32)
        times = 1_700_000_000 * 10**9 + np.arange(count, dtype=np.int64) * 1000
        return FrameBatch(data, times, offset[:-1].copy(), lengths, lengths, np.ones(count, np.int32), 1)


class Decoded(NamedTuple):
    """Events of all conversations in their order; within one the client's, then the server's, each as they came."""

    variant: npt.NDArray[np.int64]  # (n,)
    content: npt.NDArray[np.int64]  # (n, columns of CONTENT and a hash of the PDU's octets)
    anomalies: npt.NDArray[np.int64]  # (n,)
    counters: dict[str, int]


def decode(variants: Variants) -> Decoded:
    """Decode all conversations with a new decoder."""
    return decode_with(Decoder(seed=7), variants)


def decode_with(decoder: Decoder, variants: Variants) -> Decoded:
    """Decode all conversations; a decoder that was used before goes on with what it knows."""
    variant, content, anomalies = [], [], []
    for events in decoder.decode([variants.batch()]):
        c = events.columns
        octets = [hash(events.pdu(row)) for row in range(events.size)]
        columns = [np.asarray(getattr(c, name), np.int64) for name in CONTENT]
        content.append(np.stack([*columns, np.array(octets, np.int64)], axis=1))
        talks = decoder.view.conversations[c.conversation]
        hosts = np.maximum(talks["a_lo"], talks["b_lo"]).astype(np.int64) - 0x0A000100
        ports = np.where(talks["a_lo"] > talks["b_lo"], talks["a_port"], talks["b_port"])
        variant.append(hosts * CLIENTS_A_HOST + ports - FIRST_PORT)
        anomalies.append(np.asarray(c.anomalies, np.int64))
    which = np.concatenate(variant)
    what = np.concatenate(content)
    order = np.lexsort((1 - what[:, CONTENT.index("forward")], which))
    return Decoded(which[order], what[order], np.concatenate(anomalies)[order], decoder.counters())
