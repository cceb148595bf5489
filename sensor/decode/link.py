"""From a captured frame to its transport payload: link layer, VLAN tags, IPv4 and IPv6, TCP and UDP headers.

Sources: IEEE 802.3 and 802.1Q, RFC 791, RFC 8200, RFC 9293, RFC 768; LINKTYPE_ values of the pcap file format.
Checksums are not judged: offloading makes them wrong on healthy hosts, and a passive observer that drops on them can be
evaded.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode.load import u16be, u32be, u64be

OK, NOT_IP, FRAGMENT, MALFORMED, OTHER = 0, 1, 2, 3, 4

ETHERNET, NULL, RAW, LOOP, LINUX_SLL, IPV4_RAW, IPV6_RAW, LINUX_SLL2 = 1, 0, 101, 108, 113, 228, 229, 276
RAW_BSD = 12  # DLT_RAW as some systems write it
MAX_TAGS = 8  # 802.1Q nests two; more is an evasion, and the rest is not looked at
MAX_EXTENSIONS = 16

TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10


@njit(cache=True, nogil=True, boundscheck=True)
def parse(buf, at, captured, wire, linktype, packet):
    """Fill a PACKET record from the frame buf[at:at + captured]; `wire` is its length on the wire.

    Returns OK, or why there is no transport payload to look at. Whatever it returns, `vlan`, `ethernet`, `ethertype`
    and `network` say how far it came.
    """
    end = at + captured
    packet.vlan = -1
    packet.ethernet = -1
    packet.network = -1
    packet.ethertype = 0
    ethertype = 0
    if linktype == ETHERNET:
        if captured < 14:
            return MALFORMED
        packet.ethernet = at
        ethertype = u16be(buf, at + 12)
        at += 14
    elif linktype == LINUX_SLL:
        if captured < 16:
            return MALFORMED
        ethertype = u16be(buf, at + 14)
        at += 16
    elif linktype == LINUX_SLL2:
        if captured < 20:
            return MALFORMED
        ethertype = u16be(buf, at)
        at += 20
    elif linktype in (RAW, RAW_BSD, IPV4_RAW, IPV6_RAW):
        pass
    elif linktype in (NULL, LOOP):
        at += 4  # the address family differs between systems; the IP version says the same
    else:
        return NOT_IP
    for _ in range(MAX_TAGS):
        if ethertype != 0x8100 and ethertype != 0x88A8 and ethertype != 0x9100:
            break
        if at + 4 > end:
            return MALFORMED
        packet.vlan = u16be(buf, at) & 0x0FFF
        ethertype = u16be(buf, at + 2)
        at += 4
    packet.ethertype = ethertype
    if at >= end:
        return MALFORMED if ethertype == 0x0800 or ethertype == 0x86DD else NOT_IP
    if ethertype != 0 and ethertype != 0x0800 and ethertype != 0x86DD:
        return NOT_IP
    version = buf[at] >> 4
    cut = wire - captured if wire > captured else 0
    if version == 4 and ethertype != 0x86DD:
        return _ipv4(buf, at, end, cut, packet)
    if version == 6 and ethertype != 0x0800:
        return _ipv6(buf, at, end, cut, packet)
    return NOT_IP if ethertype == 0 else MALFORMED


@njit(cache=True, nogil=True, boundscheck=True)
def _ipv4(buf, at, end, cut, packet):
    if at + 20 > end:
        return MALFORMED
    header = np.int64(buf[at] & 0x0F) * 4
    total = u16be(buf, at + 2)
    if header < 20 or at + header > end:
        return MALFORMED
    packet.network = at
    packet.family = 4
    packet.src_hi = 0
    packet.src_lo = u32be(buf, at + 12)
    packet.dst_hi = 0
    packet.dst_lo = u32be(buf, at + 16)
    if u16be(buf, at + 6) & 0x3FFF:  # more fragments, or an offset
        return FRAGMENT
    if total == 0:  # segmentation offload: the card fills the length in after the capture
        total = end - at + cut
    elif total < header:
        return MALFORMED
    return _transport(buf, at + header, at + total, end, np.int64(buf[at + 9]), packet)


@njit(cache=True, nogil=True, boundscheck=True)
def _ipv6(buf, at, end, cut, packet):
    if at + 40 > end:
        return MALFORMED
    length = u16be(buf, at + 4)
    following = np.int64(buf[at + 6])
    packet.network = at
    packet.family = 6
    packet.src_hi = u64be(buf, at + 8)
    packet.src_lo = u64be(buf, at + 16)
    packet.dst_hi = u64be(buf, at + 24)
    packet.dst_lo = u64be(buf, at + 32)
    stop = at + 40 + length if length else end + cut  # 0: jumbogram or segmentation offload
    at += 40
    for _ in range(MAX_EXTENSIONS):
        if following in (TCP, UDP):
            break
        if following == 44:  # fragment header
            if at + 8 > end:
                return MALFORMED
            if u16be(buf, at + 2) & 0xFFF9:  # offset, or more to come
                return FRAGMENT
            following = np.int64(buf[at])
            at += 8
        elif following == 0 or following == 43 or following == 60:  # hop-by-hop, routing, destination options
            if at + 2 > end:
                return MALFORMED
            following = np.int64(buf[at])
            at += 8 + np.int64(buf[at + 1]) * 8
        elif following == 51:  # authentication header
            if at + 2 > end:
                return MALFORMED
            following = np.int64(buf[at])
            at += 8 + np.int64(buf[at + 1]) * 4
        else:
            return OTHER
    return _transport(buf, at, stop, end, following, packet)


@njit(cache=True, nogil=True, boundscheck=True)
def _transport(buf, at, stop, end, protocol, packet):
    """TCP or UDP at `at`; the datagram ends at `stop` on the wire, the capture at `end`."""
    packet.transport = protocol
    if protocol == TCP:
        if at + 20 > end:
            return MALFORMED
        header = (np.int64(buf[at + 12]) >> 4) * 4
        if header < 20 or at + header > stop or at + header > end:
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
    if packet.end < packet.at:
        packet.end = packet.at
    packet.missing = max(stop - end, 0)
    return OK
