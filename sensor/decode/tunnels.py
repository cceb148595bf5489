"""Tunnels: what carries frames and packets inside of packets.

Sources: RFC 3032 (MPLS), RFC 4385 and 4448 (Ethernet pseudowires), RFC 2516 (PPPoE), RFC 1661 and 1662 (PPP), RFC 2784,
2890 and 1701 (GRE), RFC 7637 (NVGRE), draft-foschiano-erspan-03 (ERSPAN), RFC 7348 (VXLAN), RFC 8926 (GENEVE), IEEE
802.1ah (MAC in MAC). Arguments and answers are those of ip.py.

Tags of the network that carries a tunnel are forgotten with it (`vlan` = -1): both directions need not have the same.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.ip import consistent
from sensor.decode.load import u16be, u32be
from sensor.decode.packet import (
    BRIDGED,
    ETHERNET_FRAME,
    ETHERNET_PAYLOAD,
    GOOSE_TYPE,
    IP_PACKET,
    IPV4,
    IPV6,
    LABEL,
    MALFORMED,
    MAX_HEADERS,
    MORE,
    MPLS,
    MPLS_UPSTREAM,
    NOT_IP,
    OTHER,
    Tunnel,
    onward,
)
from sensor.decode.packet import OK as PAYLOAD  # of a UDP datagram that is no tunnel

FRAME, TYPED, PACKET, STACK = (
    np.uint8(ETHERNET_FRAME),
    np.uint8(ETHERNET_PAYLOAD),
    np.uint8(IP_PACKET),
    np.uint8(LABEL),
)
NONE, ANY_IP = np.int64(0), np.int64(0)

AS_MPLS, AS_PPPOE, AS_GRE = int(Tunnel.MPLS), int(Tunnel.PPPOE), int(Tunnel.GRE)
AS_NVGRE, AS_ERSPAN, AS_PBB = int(Tunnel.NVGRE), int(Tunnel.ERSPAN), int(Tunnel.PBB)
AS_VXLAN, AS_GENEVE = int(Tunnel.VXLAN), int(Tunnel.GENEVE)

GRE_CHECKSUM, GRE_ROUTING, GRE_KEY, GRE_SEQUENCE, GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007
ERSPAN_2, ERSPAN_3 = 0x88BE, 0x22EB  # GRE protocol types; the first is also type I's
TAG_STRIPPED = 2  # ERSPAN's "En": the frame had an 802.1Q tag, which stands in the ERSPAN header only
VXLAN_PORT, VXLAN_LINUX_PORT, GENEVE_PORT = 4789, 8472, 6081
PORTS = (VXLAN_PORT, VXLAN_LINUX_PORT, GENEVE_PORT)
VXLAN_I = 0x08  # the flag that says that there is a network identifier
GENEVE_CONTROL = 0x80

PPP_IPV4, PPP_IPV6, PPP_MPLS, PPP_MPLS_UPSTREAM = 0x0021, 0x0057, 0x0281, 0x0283

# EtherTypes of a header that ends in the EtherType of what follows, and how many bytes stand before that.
TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)  # 802.1Q, 802.1ad, and two that were used before it
SHIMS = np.zeros(1 << 16, np.uint8)
SHIMS[list(TAGS)] = 2
SHIMS[0x892F] = 4  # HSR, IEC 62439-3
SHIMS[0xF1C1] = 4  # redundancy tag, IEEE 802.1CB
SHIMS[0x8926] = 4  # Cisco VN-Tag
SHIMS[0x893F] = 6  # port extension tag, IEEE 802.1BR
# Other EtherTypes that show that bytes which may be anything are an Ethernet frame: ARP, LLDP, PROFINET, PTP, GOOSE, SV
KNOWN = (0x0806, 0x88CC, 0x8892, 0x88F7, GOOSE_TYPE, 0x88BA, MPLS, MPLS_UPSTREAM, 0x8863, 0x8864)


@njit(cache=True, nogil=True, boundscheck=True)
def consistent_frame(buf, at, end, stop):
    """Whether bytes that may be something else agree with being an Ethernet frame of a kind known here."""
    at += 12
    for _ in range(MAX_HEADERS):
        if at + 2 > end:
            return False
        kind = u16be(buf, at)
        at += 2
        if kind in (IPV4, IPV6):
            return consistent(buf, at, end, stop, kind)
        if kind in KNOWN:
            return True
        if not SHIMS[kind]:
            return False
        at += np.int64(SHIMS[kind])
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def mpls(buf, at, end, stop, packet):
    """One MPLS label; behind the last of the stack nothing says what follows, so its content must."""
    if at + 4 > end:
        return MALFORMED
    packet.tunnel = AS_MPLS
    last = buf[at + 2] & 1
    at += 4
    if not last:
        return onward(packet, at, end, stop, STACK, NONE)
    if at >= end:
        return MALFORMED
    if consistent(buf, at, end, stop, ANY_IP):
        return onward(packet, at, end, stop, PACKET, NONE)
    if consistent_frame(buf, at, end, stop):
        packet.vlan = -1
        return onward(packet, at, end, stop, FRAME, NONE)
    nibble = buf[at] >> 4
    if nibble == 0 and consistent_frame(buf, at + 4, end, stop):  # behind a pseudowire's control word
        packet.vlan = -1
        return onward(packet, at + 4, end, stop, FRAME, NONE)
    return MALFORMED if nibble == 4 or nibble == 6 else OTHER


@njit(cache=True, nogil=True, boundscheck=True)
def pppoe(buf, at, end, stop, packet):
    """A PPPoE session header and the PPP frame behind it."""
    if at + 6 > end or buf[at] != 0x11:
        return MALFORMED
    if buf[at + 1]:
        return NOT_IP  # discovery
    packet.tunnel = AS_PPPOE
    return ppp(buf, at + 6, end, at + 6 + u16be(buf, at + 4), packet)


@njit(cache=True, nogil=True, boundscheck=True)
def ppp(buf, at, end, stop, packet):
    """A PPP frame, with or without address and control octets, its protocol field in one octet or in two."""
    end = min(end, stop)
    if at + 2 <= end and buf[at] == 0xFF and buf[at + 1] == 0x03:
        at += 2
    if at + 2 > end:
        return MALFORMED
    protocol = np.int64(buf[at])
    at += 1
    if protocol & 1 == 0:  # the last octet of the field is odd
        protocol = protocol << 8 | np.int64(buf[at])
        at += 1
    if protocol == PPP_IPV4:
        return onward(packet, at, end, stop, TYPED, np.int64(IPV4))
    if protocol == PPP_IPV6:
        return onward(packet, at, end, stop, TYPED, np.int64(IPV6))
    if protocol in (PPP_MPLS, PPP_MPLS_UPSTREAM):
        return onward(packet, at, end, stop, STACK, NONE)
    return NOT_IP


@njit(cache=True, nogil=True, boundscheck=True)
def backbone(buf, at, end, stop, packet):
    """The service tag of MAC in MAC: flags, a 24-bit service identifier, the customer's frame."""
    if at + 4 > end:
        return MALFORMED
    packet.tunnel = AS_PBB
    packet.vlan = -1
    packet.segment = u32be(buf, at) & 0xFFFFFF
    return onward(packet, at + 4, end, stop, FRAME, NONE)


@njit(cache=True, nogil=True, boundscheck=True)
def gre(buf, at, end, stop, packet):
    """GRE with any of its optional fields."""
    if at + 4 > end:
        return MALFORMED
    flags, kind = u16be(buf, at), u16be(buf, at + 2)
    if flags & GRE_VERSION:
        return OTHER
    at += 4
    if flags & (GRE_CHECKSUM | GRE_ROUTING):
        at += 4
    key = np.int64(0)
    if flags & GRE_KEY:
        if at + 4 > end:
            return MALFORMED
        key = u32be(buf, at)
        at += 4
    if flags & GRE_SEQUENCE:
        at += 4
    if flags & GRE_ROUTING:
        at = _behind_routes(buf, at, end)
    if at < 0 or at > end:
        return MALFORMED
    packet.tunnel = AS_GRE
    packet.vlan = -1
    if kind == ERSPAN_2:
        if flags & GRE_SEQUENCE:
            return _erspan_2(buf, at, end, stop, packet)
        packet.tunnel = AS_ERSPAN
        return onward(packet, at, end, stop, FRAME, NONE)
    if kind == ERSPAN_3:
        return _erspan_3(buf, at, end, stop, packet)
    if kind == BRIDGED:
        if flags & GRE_KEY:
            packet.tunnel = AS_NVGRE
            packet.segment = key >> 8  # the low octet tells flows apart, not networks
        return onward(packet, at, end, stop, FRAME, NONE)
    return onward(packet, at, end, stop, TYPED, kind)


@njit(cache=True, nogil=True, boundscheck=True)
def _behind_routes(buf, at, end):
    """Where GRE's source routes end (RFC 1701: family, offset, length, route; a length of 0 is the last), -1 never."""
    for _ in range(MAX_HEADERS):
        if at + 4 > end:
            return np.int64(-1)
        size = np.int64(buf[at + 3])
        at += 4 + size
        if size == 0:
            return np.int64(at)
    return np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def _erspan_2(buf, at, end, stop, packet):
    """ERSPAN type II: 8 octets, version 1."""
    if at + 8 > end or buf[at] >> 4 != 1:
        return MALFORMED
    packet.tunnel = AS_ERSPAN
    if buf[at + 2] >> 3 & 3 == TAG_STRIPPED:
        packet.vlan = u16be(buf, at) & 0x0FFF
    return onward(packet, at + 8, end, stop, FRAME, NONE)


@njit(cache=True, nogil=True, boundscheck=True)
def _erspan_3(buf, at, end, stop, packet):
    """ERSPAN type III: 12 octets, version 2, and 8 more where its O bit says so."""
    if at + 12 > end or buf[at] >> 4 != 2:
        return MALFORMED
    packet.tunnel = AS_ERSPAN
    content = buf[at + 10] >> 2 & 0x1F
    at += 20 if buf[at + 11] & 1 else 12
    if at > end:
        return MALFORMED
    if content == 0:
        return onward(packet, at, end, stop, FRAME, NONE)
    if content == 2:
        return onward(packet, at, end, stop, PACKET, NONE)
    return OTHER


@njit(cache=True, nogil=True, boundscheck=True)
def datagram(buf, packet):
    """A UDP datagram to one of PORTS: a tunnel where its content agrees, otherwise PAYLOAD.

    Nobody keeps other programs from these ports, nor from the ports of industrial protocols.
    """
    at, end, stop, port = packet.at, packet.end, packet.stop, packet.dst_port
    if at + 8 > end:
        return PAYLOAD
    if port == GENEVE_PORT:
        kind = u16be(buf, at + 2)
        if buf[at] >> 6 or buf[at + 1] & GENEVE_CONTROL:
            return PAYLOAD
        inner = at + 8 + np.int64(buf[at] & 0x3F) * 4
        if kind == BRIDGED and consistent_frame(buf, inner, end, stop):
            onward(packet, inner, end, stop, FRAME, NONE)
        elif kind in (IPV4, IPV6) and consistent(buf, inner, end, stop, kind):
            onward(packet, inner, end, stop, TYPED, kind)
        else:
            return PAYLOAD
        packet.tunnel = AS_GENEVE
    else:
        if not buf[at] & VXLAN_I or not consistent_frame(buf, at + 8, end, stop):
            return PAYLOAD
        onward(packet, at + 8, end, stop, FRAME, NONE)
        packet.tunnel = AS_VXLAN
    packet.segment = u32be(buf, at + 4) >> 8
    packet.vlan = -1
    return MORE
