"""IPv4 and IPv6 headers, the chain of headers behind them, TCP and UDP.

Sources: RFC 791, RFC 8200, RFC 6946 (atomic fragments), RFC 4302 (authentication header), RFC 9293, RFC 768. Checksums
are not judged: offloading makes them wrong on healthy hosts, and a passive observer that drops on them can be evaded.
Every function looks at buf[at:end]; what was on the wire ends at `stop`. The answers are the verdicts of packet.py.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u32be, u64be
from sensor.decode.packet import (
    FRAGMENT,
    IP_PAYLOAD,
    IPV4,
    IPV6,
    MALFORMED,
    OK,
    OTHER,
    TCP,
    UDP,
    onward,
)

V4, V6 = 4, 6
FRAGMENT_HEADER, AUTHENTICATION, NO_NEXT_HEADER = 44, 51, 59
MORE_FRAGMENTS = 0x2000
LAYER = np.uint8(IP_PAYLOAD)


@njit(cache=True, nogil=True, boundscheck=True)
def ipv4(buf, at, end, stop, packet):
    """An IPv4 header and what it carries."""
    if at + 20 > end:
        return MALFORMED
    first = np.int64(buf[at])
    header = (first & 0x0F) * 4
    total = u16be(buf, at + 2)
    if first >> 4 != V4 or header < 20 or at + header > end:
        return MALFORMED
    packet.network = at
    packet.family = V4
    packet.src_hi = 0
    packet.src_lo = u32be(buf, at + 12)
    packet.dst_hi = 0
    packet.dst_lo = u32be(buf, at + 16)
    protocol = np.int64(buf[at + 9])
    pieces = u16be(buf, at + 6)
    if total >= header:
        stop = at + total
    elif total:
        return MALFORMED
    # 0: segmentation offload, the card fills the length in after the capture
    if pieces & 0x3FFF:  # more fragments, or an offset
        packet.datagram = u16be(buf, at + 4)
        packet.piece_at = (pieces & 0x1FFF) * 8
        packet.more = 1 if pieces & MORE_FRAGMENTS else 0
        onward(packet, at + header, end, stop, LAYER, protocol)
        return FRAGMENT
    if protocol in (TCP, UDP):
        return transport(buf, at + header, end, stop, protocol, packet)
    return onward(packet, at + header, end, stop, LAYER, protocol)


@njit(cache=True, nogil=True, boundscheck=True)
def ipv6(buf, at, end, stop, packet):
    """An IPv6 header and what it carries."""
    if at + 40 > end or buf[at] >> 4 != V6:
        return MALFORMED
    length = u16be(buf, at + 4)
    protocol = np.int64(buf[at + 6])
    packet.network = at
    packet.family = V6
    packet.src_hi = u64be(buf, at + 8)
    packet.src_lo = u64be(buf, at + 16)
    packet.dst_hi = u64be(buf, at + 24)
    packet.dst_lo = u64be(buf, at + 32)
    if length:  # 0: jumbogram or segmentation offload
        stop = at + 40 + length
    if protocol in (TCP, UDP):
        return transport(buf, at + 40, end, stop, protocol, packet)
    return onward(packet, at + 40, end, stop, LAYER, protocol)


@njit(cache=True, nogil=True, boundscheck=True)
def consistent(buf, at, end, stop, kind):
    """Whether bytes that may be something else agree with being an IP packet of EtherType `kind`, 0 for either."""
    if at >= end:
        return False
    version = buf[at] >> 4
    if version == V4 and kind != IPV6 and at + 20 <= end:
        header, total = np.int64(buf[at] & 0x0F) * 4, u16be(buf, at + 2)
        return header >= 20 and at + header <= end and (total == 0 or total >= header) and at + total <= stop
    if version == V6 and kind != IPV4 and at + 40 <= end:
        return at + 40 + u16be(buf, at + 4) <= stop
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def extension(buf, at, end, stop, protocol, packet):
    """A header of IPv6's chain, or the authentication header, which IPv4 may carry too."""
    if protocol == FRAGMENT_HEADER:
        if at + 8 > end:
            return MALFORMED
        following, pieces = np.int64(buf[at]), u16be(buf, at + 2)
        if pieces & 0xFFF9:
            packet.datagram = u32be(buf, at + 4)
            packet.piece_at = pieces & 0xFFF8
            packet.more = pieces & 1
            onward(packet, at + 8, end, stop, LAYER, following)
            return FRAGMENT
        return onward(packet, at + 8, end, stop, LAYER, following)  # whole in itself, whatever else arrives
    if at + 2 > end:
        return MALFORMED
    unit = 4 if protocol == AUTHENTICATION else 8
    behind = at + 8 + np.int64(buf[at + 1]) * unit
    if behind > end:
        return MALFORMED
    return onward(packet, behind, end, stop, LAYER, np.int64(buf[at]))


@njit(cache=True, nogil=True, boundscheck=True)
def transport(buf, at, end, stop, protocol, packet):
    """TCP or UDP at `at`: where its payload is, and how much of it the capture lacks."""
    packet.transport = protocol
    end = min(end, stop)
    if protocol == TCP:
        if at + 20 > end:
            return MALFORMED
        header = (np.int64(buf[at + 12]) >> 4) * 4
        if header < 20 or at + header > end:
            return MALFORMED
        packet.seq = u32be(buf, at + 4)
        packet.ack = u32be(buf, at + 8)
        packet.control = buf[at + 13]
    elif protocol == UDP:
        if at + 8 > end:
            return MALFORMED
        header = np.int64(8)
        length = u16be(buf, at + 4)
        if length >= 8 and at + length < stop:  # 0: longer than 65,535 or offloaded
            stop = at + length
        packet.control = 0
    else:
        return OTHER
    packet.src_port = u16be(buf, at)
    packet.dst_port = u16be(buf, at + 2)
    packet.at = at + header
    packet.end = min(stop, end)
    packet.stop = stop
    packet.missing = max(stop - end, 0)
    return OK
