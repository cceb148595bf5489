"""Headers around packets, made byte by byte: each function takes what is inside and gives what is outside."""

from __future__ import annotations

import struct

from support.wire import ethernet, ip

OUTER = ("192.0.2.1", "192.0.2.2")
OUTER6 = ("2001:db8:ffff::1", "2001:db8:ffff::2")
MACS = bytes.fromhex("00005e00530100005e005302")  # of frames inside, so that they differ from the outer ones


def frame(payload: bytes, ethertype: int) -> bytes:
    """An Ethernet frame to be carried."""
    return MACS + struct.pack("!H", ethertype) + payload


def over_ip(payload: bytes, protocol: int, ends: tuple[str, str] = OUTER) -> bytes:
    """In IP in Ethernet."""
    ethertype, packet = ip(payload, protocol, *ends)
    return ethernet(packet, ethertype)


def datagram(payload: bytes, port: int, ends: tuple[str, str] = OUTER) -> bytes:
    """In UDP to `port`, in IP in Ethernet."""
    return over_ip(struct.pack("!HHHH", 50001, port, 8 + len(payload), 0) + payload, 17, ends)


def label(number: int, *, last: bool) -> bytes:
    """One MPLS label with TTL 64."""
    return struct.pack("!I", number << 12 | last << 8 | 64)


def gre(
    payload: bytes, kind: int, *, checksum: bool = False, key: int | None = None, sequence: int | None = None
) -> bytes:
    """A GRE header (RFC 2784, 2890) and what it carries."""
    flags = (checksum << 15) | ((key is not None) << 13) | ((sequence is not None) << 12)
    head = struct.pack("!HH", flags, kind)
    if checksum:
        head += bytes(4)
    if key is not None:
        head += struct.pack("!I", key)
    if sequence is not None:
        head += struct.pack("!I", sequence)
    return head + payload


def erspan_1(inner: bytes) -> bytes:
    return gre(inner, 0x88BE)


def erspan_2(inner: bytes, *, vlan: int = 0, encapsulation: int = 0, session: int = 5) -> bytes:
    head = struct.pack("!HHI", 1 << 12 | vlan, encapsulation << 11 | session, 0)
    return gre(head + inner, 0x88BE, sequence=1)


def erspan_3(inner: bytes, *, content: int = 0, platform: bool = False) -> bytes:
    head = struct.pack("!HHIHH", 2 << 12, 5, 123456, 0, content << 10 | platform)
    return gre(head + (bytes(8) if platform else b"") + inner, 0x22EB, sequence=1)


def vxlan(inner: bytes, vni: int = 100, flags: int = 0x08) -> bytes:
    return struct.pack("!II", flags << 24, vni << 8) + inner


def geneve(inner: bytes, kind: int = 0x6558, vni: int = 100, options: bytes = b"") -> bytes:
    return struct.pack("!BBHI", len(options) // 4, 0, kind, vni << 8) + options + inner


def pppoe(packet: bytes, protocol: bytes = b"\x00\x21") -> bytes:
    return struct.pack("!BBHH", 0x11, 0, 7, len(protocol) + len(packet)) + protocol + packet


def snap(payload: bytes, ethertype: int, organisation: bytes = bytes(3)) -> bytes:
    """802.3 with 802.2 SNAP instead of Ethernet II."""
    body = b"\xaa\xaa\x03" + organisation + struct.pack("!H", ethertype) + payload
    return bytes(12) + struct.pack("!H", len(body)) + body
