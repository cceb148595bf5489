"""ARP messages (RFC 826), from the Ethernet header on."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

REQUEST, REPLY = 1, 2
ALL, NOBODY = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def message(operation: int, sender: tuple[str, str], target: tuple[str, str]) -> bytes:
    """sender and target: (hardware address, IPv4 address). A request goes to all."""
    ends = b"".join(_octets(mac) + IPv4Address(ip).packed for mac, ip in (sender, target))
    to = ALL if operation == REQUEST else target[0]
    return _octets(to) + _octets(sender[0]) + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation) + ends
