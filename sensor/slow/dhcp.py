"""DHCP: a host asks for an address and says its name and maker. RFC 2131 and 2132, option 81: RFC 4702; RFC 8415."""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import addresses, elements, ip, mac, number, text

COOKIE = bytes.fromhex("63825363")
OPTIONS_AT = 240
TYPES = ("", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform")
TYPES_V6 = ("", "solicit", "advertise", "request", "confirm", "renew", "rebind", "reply", "release", "decline",
            "reconfigure", "information-request", "relay-forward", "relay-reply")  # fmt: skip
CLIENT_ID, IA_NA, IA_ADDRESS, VENDOR_CLASS, CLIENT_NAME = 1, 3, 5, 16, 39  # options of DHCPv6


def read(data: bytes) -> dict[str, Any]:
    """Fields of one DHCP message of IPv4."""
    if len(data) < OPTIONS_AT or data[236:240] != COOKIE:
        return {"anomalies": ["truncated" if len(data) < OPTIONS_AT else "unknown"]}
    fields: dict[str, Any] = {"dhcp.transaction_id": number(data[4:8])}
    if data[1] == 1 and data[2] == 6:
        fields["dhcp.client_mac"] = mac(data[28:34])
    for name, at in (("dhcp.client_ip", 12), ("dhcp.assigned_ip", 16)):
        if any(data[at : at + 4]):
            fields[name] = ip(data[at : at + 4])
    at = OPTIONS_AT
    while at < len(data) and data[at] == 0:  # padding has no length
        at += 1
    for kind, value, whole in elements(data[at:], 1, end=255):
        if not whole:
            fields["anomalies"] = ["truncated"]
            break
        _option(kind, value, fields)
    return fields


def _option(kind: int, value: bytes, fields: dict[str, Any]) -> None:
    if kind == 12:
        fields["dhcp.hostname"] = text(value)
    elif kind == 60:
        fields["dhcp.vendor_class"] = text(value)
    elif kind == 81 and len(value) > 3:
        # bit 2 of the flags says that the name is coded as in DNS
        fields["dhcp.client_name"] = _domain_name(value[3:]) if value[0] & 4 else text(value[3:])
    elif kind == 53 and value:
        fields["dhcp.message_type"] = value[0]
        fields["dhcp.message_type_name"] = TYPES[value[0]] if 0 < value[0] < len(TYPES) else "unknown"
    elif kind == 50 and len(value) == 4:
        fields["dhcp.requested_ip"] = ip(value)
    elif kind == 54 and len(value) == 4:
        fields["dhcp.server"] = ip(value)
    elif kind == 3:
        fields["dhcp.routers"] = addresses(value)
    elif kind == 6:
        fields["dhcp.name_servers"] = addresses(value)


def _domain_name(data: bytes) -> str:
    """A name coded as labels, each with its length ahead."""
    labels: list[str] = []
    at = 0
    while at < len(data) and data[at] and len(labels) < 16:
        labels.append(text(data[at + 1 : at + 1 + data[at]]))
        at += 1 + data[at]
    return ".".join(labels)


def read_v6(data: bytes) -> dict[str, Any]:
    """Fields of one DHCP message of IPv6; what relays carry is not looked into."""
    if len(data) < 4:
        return {"anomalies": ["truncated"]}
    kind = data[0]
    fields: dict[str, Any] = {
        "dhcp.message_type": kind,
        "dhcp.message_type_name": TYPES_V6[kind] if 0 < kind < len(TYPES_V6) else "unknown",
    }
    if kind in (12, 13):
        return fields
    fields["dhcp.transaction_id"] = number(data[1:4])
    for code, value, whole in elements(data[4:], 2):
        if not whole:
            fields["anomalies"] = ["truncated"]
            break
        if code == CLIENT_ID:  # DUID-LLT and DUID-LL end in the hardware address (11.2, 11.4)
            address = {1: value[8:], 3: value[4:]}.get(number(value[:2]), b"")
            if len(address) == 6:
                fields["dhcp.client_mac"] = mac(address)
        elif code == CLIENT_NAME and len(value) > 1:
            fields["dhcp.client_name"] = _domain_name(value[1:])
        elif code == VENDOR_CLASS and len(value) > 6:
            fields["dhcp.vendor_class"] = text(value[6:])
        elif code == IA_NA:
            for inner, address, _ in elements(value[12:], 2):
                if inner == IA_ADDRESS and len(address) >= 16:
                    fields["dhcp.assigned_ip"] = ip(address[:16])
    return fields
