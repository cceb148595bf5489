"""From a captured frame to its transport payload, whatever lies around it.

Sources: IEEE 802.3, 802.1Q and 802.2; LINKTYPE_ values of the pcap file format; tunnels.py and ip.py name theirs. The
usual frame (Ethernet, tags, IP, TCP or UDP) goes straight through `parse`; everything else goes round in `peel`, one
header each time.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode import tunnels
from sensor.decode.ip import AUTHENTICATION, V4, V6, extension, ipv4, ipv6, transport
from sensor.decode.load import u16be, u32be
from sensor.decode.packet import (
    BRIDGED,
    ETHERNET_FRAME,
    ETHERNET_PAYLOAD,
    GOOSE_TYPE,
    IP_PACKET,
    IP_PAYLOAD,
    IPV4,
    IPV6,
    LABEL,
    LLC,
    MAX_HEADERS,
    MORE,
    MPLS,
    MPLS_UPSTREAM,
    PPP,
    Tunnel,
    onward,
)
from sensor.decode.packet import FRAGMENT as FRAGMENT
from sensor.decode.packet import GOOSE as GOOSE
from sensor.decode.packet import MALFORMED as MALFORMED
from sensor.decode.packet import NOT_IP as NOT_IP
from sensor.decode.packet import OK as OK
from sensor.decode.packet import OTHER as OTHER
from sensor.decode.packet import TCP as TCP
from sensor.decode.packet import TOO_DEEP as TOO_DEEP
from sensor.decode.packet import UDP as UDP

ETHERNET, NULL, RAW, LOOP, LINUX_SLL, IPV4_RAW, IPV6_RAW, LINUX_SLL2 = 1, 0, 101, 108, 113, 228, 229, 276
RAW_BSD, RAW_OPENBSD = 12, 14  # DLT_RAW as some systems write it
PPP_LINK, PPP_HDLC, PPP_ETHERNET, CISCO_HDLC = 9, 50, 51, 104
SLL_LLC = 4  # Linux cooked: the protocol field's value for 802.2 frames

SYN, ACK = 0x02, 0x10
MAC48 = 48  # `family` where the addresses are those of Ethernet
PPPOE_SESSION, BACKBONE, METADATA = 0x8864, 0x88E7, 0x8909
MAX_LENGTH = 1500  # 802.3: up to here the field is a length
SNAP = 0xAA
IP_IN_IP, IPV6_IN_IP, GRE, MPLS_IN_IP = 4, 41, 47, 137
CHAIN = (0, 43, 44, 60, 135, 139, 140)  # IPv6 extension headers of the common form, and the fragment header
AS_IPIP = int(Tunnel.IPIP)

# Numpy scalars, for arguments: numba compiles a function anew for each Python constant that it is called with.
FRAME, TYPED, PACKET, STACK = (
    np.uint8(ETHERNET_FRAME),
    np.uint8(ETHERNET_PAYLOAD),
    np.uint8(IP_PACKET),
    np.uint8(LABEL),
)
PPP_FRAME, LLC_FRAME, NONE = np.uint8(PPP), np.uint8(LLC), np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def parse(buf, at, captured, wire, linktype, packet):
    """Fill a PACKET record from the frame buf[at:at + captured]; `wire` is its length on the wire.

    Returns OK with a transport payload, GOOSE with one of Ethernet, FRAGMENT with a piece of an IP datagram
    (fragments.py), or why there is nothing to look at. Whatever it returns, `vlan`, `ethernet`, `ethertype` and
    `network` say how far it came.
    """
    end = at + captured
    stop = at + wire if wire > captured else end
    packet.vlan = -1
    packet.ethernet = -1
    packet.network = -1
    packet.ethertype = 0
    packet.segment = -1
    packet.tunnel = 0
    packet.headers = 0
    packet.marks = 0
    if linktype != ETHERNET:
        verdict = _other_link(buf, at, end, stop, linktype, packet)
        return peel(buf, packet) if verdict == MORE else verdict
    if captured < 14:
        return MALFORMED
    packet.ethernet = at
    kind = u16be(buf, at + 12)
    at += 14
    for _ in range(MAX_HEADERS):
        if kind not in tunnels.TAGS:
            break
        if at + 4 > end:
            return MALFORMED
        packet.vlan = u16be(buf, at) & 0x0FFF
        packet.headers += 1
        kind = u16be(buf, at + 2)
        at += 4
    packet.ethertype = kind
    if kind == IPV4:
        verdict = ipv4(buf, at, end, stop, packet)
    elif kind == IPV6:
        verdict = ipv6(buf, at, end, stop, packet)
    else:
        verdict = onward(packet, at, end, stop, TYPED, kind)
    if verdict == OK and packet.transport == UDP and packet.dst_port in tunnels.PORTS:
        verdict = tunnels.datagram(buf, packet)
    return peel(buf, packet) if verdict == MORE else verdict


@njit(cache=True, nogil=True, boundscheck=True)
def peel(buf, packet):
    """Take headers off buf[packet.at:packet.end] until a payload stands there, or a reason to stop. See `parse`."""
    while packet.headers < MAX_HEADERS:
        packet.headers += 1
        at, end, stop, layer, kind = packet.at, packet.end, packet.stop, packet.layer, np.int64(packet.kind)
        if layer == IP_PAYLOAD:
            verdict = _ip_payload(buf, at, end, stop, kind, packet)
        elif layer == ETHERNET_FRAME:
            verdict = _frame(buf, at, end, stop, packet)
        elif layer == ETHERNET_PAYLOAD:
            verdict = _typed(buf, at, end, stop, kind, packet)
        elif layer == IP_PACKET:
            verdict = _ip_packet(buf, at, end, stop, packet)
        elif layer == LABEL:
            verdict = tunnels.mpls(buf, at, end, stop, packet)
        elif layer == PPP:
            verdict = tunnels.ppp(buf, at, end, stop, packet)
        else:
            verdict = _llc(buf, at, end, stop, packet)
        if verdict == OK and packet.transport == UDP and packet.dst_port in tunnels.PORTS:
            verdict = tunnels.datagram(buf, packet)
        if verdict != MORE:
            return verdict
    return TOO_DEEP


@njit(cache=True, nogil=True, boundscheck=True)
def _other_link(buf, at, end, stop, linktype, packet):
    """Link layers other than Ethernet."""
    packet.src_lo = packet.dst_lo = 0
    if linktype == LINUX_SLL:
        if at + 16 > end:
            return MALFORMED
        packet.src_lo = _mac(buf, at + 6)  # the receiver's address is not kept
        kind = u16be(buf, at + 14)
        return onward(packet, at + 16, end, stop, LLC_FRAME if kind == SLL_LLC else TYPED, kind)
    if linktype == LINUX_SLL2:
        if at + 20 > end:
            return MALFORMED
        packet.src_lo = _mac(buf, at + 12)
        kind = u16be(buf, at)
        return onward(packet, at + 20, end, stop, LLC_FRAME if kind == SLL_LLC else TYPED, kind)
    if linktype == PPP_ETHERNET:
        return onward(packet, at, end, stop, TYPED, np.int64(PPPOE_SESSION))
    if linktype in (PPP_LINK, PPP_HDLC):
        return onward(packet, at, end, stop, PPP_FRAME, NONE)
    if linktype == CISCO_HDLC:  # address, control, EtherType
        if at + 4 > end:
            return MALFORMED
        return onward(packet, at + 4, end, stop, TYPED, u16be(buf, at + 2))
    if linktype == IPV4_RAW:
        return onward(packet, at, end, stop, TYPED, np.int64(IPV4))
    if linktype == IPV6_RAW:
        return onward(packet, at, end, stop, TYPED, np.int64(IPV6))
    if linktype in (NULL, LOOP):
        # The address family's number and its byte order differ between systems; the IP version says the same.
        at += 4
    elif linktype != RAW and linktype != RAW_BSD and linktype != RAW_OPENBSD:
        return NOT_IP
    return onward(packet, at, end, stop, PACKET, NONE)


@njit(cache=True, nogil=True, boundscheck=True)
def _mac(buf, at):
    """An Ethernet address as a number."""
    return u16be(buf, at) << 32 | u32be(buf, at + 2)


@njit(cache=True, nogil=True, boundscheck=True)
def _frame(buf, at, end, stop, packet):
    """The header of an Ethernet frame that a tunnel carries."""
    if at + 14 > end:
        return MALFORMED
    packet.ethernet = at
    return onward(packet, at + 14, end, stop, TYPED, u16be(buf, at + 12))


@njit(cache=True, nogil=True, boundscheck=True)
def _typed(buf, at, end, stop, kind, packet):
    """What an EtherType, or the 802.3 length in its place, says."""
    packet.ethertype = kind
    if kind == IPV4:
        return ipv4(buf, at, end, stop, packet)
    if kind == IPV6:
        return ipv6(buf, at, end, stop, packet)
    shim = np.int64(tunnels.SHIMS[kind])
    if shim:
        if at + shim + 2 > end:
            return MALFORMED
        if kind in tunnels.TAGS:
            packet.vlan = u16be(buf, at) & 0x0FFF
        return onward(packet, at + shim + 2, end, stop, TYPED, u16be(buf, at + shim))
    if kind == GOOSE_TYPE:
        return _goose(buf, at, end, stop, packet)
    if kind in (MPLS, MPLS_UPSTREAM):
        return tunnels.mpls(buf, at, end, stop, packet)
    if kind == PPPOE_SESSION:
        return tunnels.pppoe(buf, at, end, stop, packet)
    if kind == BRIDGED:
        return onward(packet, at, end, stop, FRAME, NONE)
    if kind == BACKBONE:
        return tunnels.backbone(buf, at, end, stop, packet)
    if kind == METADATA:  # Cisco: version, length of the options in units of four octets, options, EtherType
        if at + 2 > end:
            return MALFORMED
        behind = at + 2 + np.int64(buf[at + 1]) * 4
        if behind + 2 > end:
            return MALFORMED
        return onward(packet, behind + 2, end, stop, TYPED, u16be(buf, behind))
    if kind <= MAX_LENGTH and packet.ethernet >= 0:
        return onward(packet, at, end, min(stop, at + kind), LLC_FRAME, NONE)
    return NOT_IP


@njit(cache=True, nogil=True, boundscheck=True)
def _llc(buf, at, end, stop, packet):
    """802.2: SNAP with an EtherType behind it."""
    if at + 8 > end:
        return NOT_IP
    organisation = u16be(buf, at + 3) << 8 | np.int64(buf[at + 5])
    # 00-00-F8 is that of 802.1H, for EtherTypes that must not be translated
    if buf[at] != SNAP or buf[at + 1] != SNAP or buf[at + 2] != 3 or organisation not in (0, 0xF8):
        return NOT_IP
    return onward(packet, at + 8, end, stop, TYPED, u16be(buf, at + 6))


@njit(cache=True, nogil=True, boundscheck=True)
def _goose(buf, at, end, stop, packet):
    """IEC 61850-8-1: straight on Ethernet, from one address to a group."""
    packet.family = MAC48
    packet.src_hi = packet.dst_hi = 0
    if packet.ethernet >= 0:
        packet.dst_lo = _mac(buf, packet.ethernet)
        packet.src_lo = _mac(buf, packet.ethernet + 6)
    packet.transport = packet.control = 0
    packet.src_port = packet.dst_port = 0
    packet.at, packet.end, packet.stop = at, end, stop
    packet.missing = stop - end
    return GOOSE


@njit(cache=True, nogil=True, boundscheck=True)
def _ip_packet(buf, at, end, stop, packet):
    """IP of the version that its first octet says."""
    if at >= end:
        return NOT_IP
    version = buf[at] >> 4
    if version == V4:
        return ipv4(buf, at, end, stop, packet)
    if version == V6:
        return ipv6(buf, at, end, stop, packet)
    return NOT_IP


@njit(cache=True, nogil=True, boundscheck=True)
def _ip_payload(buf, at, end, stop, protocol, packet):
    """What an IP protocol number says."""
    if protocol in (TCP, UDP):
        return transport(buf, at, end, stop, protocol, packet)
    if protocol == AUTHENTICATION or (packet.family == V6 and protocol in CHAIN):
        return extension(buf, at, end, stop, protocol, packet)
    if protocol == GRE:
        return tunnels.gre(buf, at, end, stop, packet)
    if protocol == MPLS_IN_IP:
        return onward(packet, at, end, stop, STACK, NONE)
    if protocol in (IP_IN_IP, IPV6_IN_IP):
        packet.tunnel = AS_IPIP
        packet.vlan = -1
        return onward(packet, at, end, stop, TYPED, np.int64(IPV4 if protocol == IP_IN_IP else IPV6))
    packet.transport = protocol
    return OTHER
