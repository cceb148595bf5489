"""IP packets cut into fragments by hand."""

from __future__ import annotations

import itertools
import struct

from support.wire import ethernet

Piece = tuple[int, bytes, bool]  # where it belongs, its bytes, whether more follow


def cut(data: bytes, *edges: int) -> list[Piece]:
    """Fragments of `data`, cut at `edges`."""
    places = [0, *edges, len(data)]
    return [(a, data[a:b], b < len(data)) for a, b in itertools.pairwise(places)]


def fragmented(packet: bytes, *edges: int, ident: int = 77) -> list[bytes]:
    """Ethernet frames with the IPv4 or IPv6 packet, its payload cut at `edges`."""
    if packet[0] >> 4 == 4:
        head, payload = packet[:20], packet[20:]
        return [
            ethernet(
                head[:2] + struct.pack("!HHH", 20 + len(data), ident, more << 13 | to >> 3) + head[8:] + data, 0x0800
            )
            for to, data, more in cut(payload, *edges)
        ]
    head, payload = packet[:40], packet[40:]
    return [
        ethernet(
            head[:4] + struct.pack("!HBB", 8 + len(data), 44, 64) + head[8:]
            + struct.pack("!BBHI", head[6], 0, to | more, ident) + data,
            0x86DD,
        )
        for to, data, more in cut(payload, *edges)
    ]  # fmt: skip
