"""ARP: who has which address. RFC 826; RFC 5227 for probes and announcements."""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import ip, mac, number

OPERATIONS = {1: "request", 2: "reply", 3: "reverse_request", 4: "reverse_reply"}
ETHERNET_IPV4 = bytes.fromhex("0001 0800 06 04")


def read(data: bytes) -> dict[str, Any]:
    """Fields of one message."""
    if len(data) < 28:
        return {"anomalies": ["truncated"]}
    if data[:6] != ETHERNET_IPV4:
        return {"anomalies": ["unknown"]}
    operation = number(data[6:8])
    return {
        "arp.operation": operation,
        "arp.operation_name": OPERATIONS.get(operation, "unknown"),
        "arp.sender.mac": mac(data[8:14]),
        "arp.sender.ip": ip(data[14:18]),
        "arp.target.mac": mac(data[18:24]),
        "arp.target.ip": ip(data[24:28]),
    }
