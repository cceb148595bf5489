"""Messages of slow protocols made byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

PLC_MAC, HOST_MAC, ALL = "00:1b:1b:01:02:03", "02:00:5e:00:53:09", "ff:ff:ff:ff:ff:ff"


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def framed(payload: bytes, ethertype: int, src: str = PLC_MAC, dst: str = ALL, tags: Sequence[int] = ()) -> bytes:
    """In Ethernet II, with 802.1Q tags."""
    stack = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in tags)
    return octets(dst) + octets(src) + stack + struct.pack("!H", ethertype) + payload


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str], **frame: object) -> bytes:
    """sender and target: (hardware address, IPv4 address). The frame is padded to the least that Ethernet allows."""
    ends = b"".join(octets(mac) + ip_address(ip).packed for mac, ip in (sender, target))
    payload = bytes.fromhex("0001080006040000")[:6] + struct.pack("!H", operation) + ends
    return framed(payload + bytes(18), 0x0806, **{"src": sender[0], **frame})


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!H", kind << 9 | len(value)) + value


def lldp(
    *, name: str = "sw-1", description: str = "SCALANCE X208, V5.2", mac: str = PLC_MAC, port: str = "P3"
) -> bytes:
    body = tlv(1, b"\x04" + octets(mac)) + tlv(2, b"\x07" + port.encode()) + tlv(3, struct.pack("!H", 120))
    body += tlv(5, name.encode()) + tlv(6, description.encode()) + tlv(7, struct.pack("!HH", 0x14, 0x04))
    body += tlv(8, bytes([5, 1]) + ip_address("10.1.0.2").packed + bytes([2, 0, 0, 0, 1, 0])) + tlv(0, b"")
    return framed(body, 0x88CC, mac, "01:80:c2:00:00:0e")


def dcp_block(option: int, suboption: int, value: bytes, info: int | None = 0) -> bytes:
    value = (b"" if info is None else struct.pack("!H", info)) + value
    return struct.pack("!BBH", option, suboption, len(value)) + value + bytes(len(value) % 2)


def dcp(frame_id: int, service: int, kind: int, blocks: bytes, *, mac: str = PLC_MAC, dst: str = HOST_MAC) -> bytes:
    head = struct.pack("!HBBIHH", frame_id, service, kind, 0x1234, 0, len(blocks))
    return framed(head + blocks + bytes(max(0, 46 - len(head) - len(blocks))), 0x8892, mac, dst)


def identified(name: str = "plc-1", ip: str = "10.1.0.20", mac: str = PLC_MAC) -> bytes:
    """A station answers who it is."""
    address = ip_address(ip).packed + bytes([255, 255, 255, 0]) + ip_address("10.1.0.1").packed
    blocks = dcp_block(2, 2, name.encode()) + dcp_block(2, 1, b"S7-1200") + dcp_block(2, 3, b"\x00\x2a\x01\x0d")
    blocks += dcp_block(2, 4, b"\x02\x00") + dcp_block(1, 2, address, 1)
    return dcp(0xFEFF, 5, 1, blocks, mac=mac)


def dhcp(kind: int, options: bytes, mac: str = HOST_MAC, assigned: str = "0.0.0.0") -> bytes:
    """The payload of UDP."""
    head = bytes([1, 1, 6, 0]) + bytes.fromhex("3903f326") + bytes(8) + ip_address(assigned).packed + bytes(8)
    return (
        head + octets(mac) + bytes(10 + 64 + 128) + bytes.fromhex("63825363") + bytes([53, 1, kind]) + options + b"\xff"
    )


def option(kind: int, value: bytes) -> bytes:
    return bytes([kind, len(value)]) + value


def name(*labels: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def netbios_name(text: str, suffix: int) -> bytes:
    plain = text.ljust(15).encode() + bytes([suffix])
    coded = b"".join(bytes([0x41 + (octet >> 4), 0x41 + (octet & 15)]) for octet in plain)
    return bytes([32]) + coded + b"\0"


def dns(
    questions: Sequence[tuple[bytes, int]], answers: Sequence[tuple[bytes, int, bytes]] = (), flags: int = 0
) -> bytes:
    body = struct.pack("!HHHHHH", 7, flags, len(questions), len(answers), 0, 0)
    body += b"".join(owner + struct.pack("!HH", kind, 1) for owner, kind in questions)
    return body + b"".join(
        owner + struct.pack("!HHIH", kind, 1, 120, len(value)) + value for owner, kind, value in answers
    )


def cdp(device: str = "sw-core", platform: str = "cisco WS-C2960", port: str = "Gi0/1") -> bytes:
    def element(kind: int, value: bytes) -> bytes:
        return struct.pack("!HH", kind, 4 + len(value)) + value

    addresses = struct.pack("!I", 1) + bytes([1, 1, 0xCC]) + struct.pack("!H", 4) + ip_address("10.1.0.3").packed
    body = bytes.fromhex("aaaa0300000c2000") + bytes([2, 180, 0, 0]) + element(1, device.encode())
    body += element(2, addresses) + element(3, port.encode()) + element(4, struct.pack("!I", 0x28))
    body += element(5, b"IOS 15.2") + element(6, platform.encode())
    return octets("01:00:0c:cc:cc:cc") + octets(PLC_MAC) + struct.pack("!H", len(body)) + body


def bpdu(root: str = PLC_MAC, bridge: str = PLC_MAC, *, change: bool = False) -> bytes:
    body = bytes.fromhex("424203") + bytes([0, 0, 2, 2, int(change)]) + struct.pack("!H", 32768) + octets(root)
    body += struct.pack("!IH", 4, 32768) + octets(bridge) + struct.pack("!H", 0x8001) + bytes(8)
    return octets("01:80:c2:00:00:00") + octets(bridge) + struct.pack("!H", len(body)) + body + bytes(8)
