"""LLDP: a device says who it is and at which port. IEEE 802.1AB-2016, 8.5; PROFINET's own elements: IEC 61158-6-10."""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import MAX_ELEMENTS, ip, mac, number, text

CAPABILITIES = ("other", "repeater", "bridge", "wlan-access-point", "router", "telephone", "docsis", "station",
                "c-vlan", "s-vlan", "two-port-mac-relay")  # fmt: skip
TEXTS = {4: "lldp.port_description", 5: "lldp.system_name", 6: "lldp.system_description"}
MAC_SUBTYPES = {1: 4, 2: 3}  # element -> the subtype that is a hardware address
IP_SUBTYPES = {1: 5, 2: 4}
PROFINET, PROFINET_CHASSIS = bytes.fromhex("000ecf"), 5


def _identifier(kind: int, data: bytes) -> str:
    """Chassis or port, as its subtype says (8.5.2.2, 8.5.3.2)."""
    subtype, value = data[0], data[1:]
    if subtype == MAC_SUBTYPES[kind] and len(value) == 6:
        return mac(value)
    if subtype == IP_SUBTYPES[kind] and value[:1] in (b"\x01", b"\x02"):
        return ip(value[1:])
    return text(value)


def read(data: bytes) -> dict[str, Any]:
    """Fields of one message."""
    fields: dict[str, Any] = {}
    addresses: list[str] = []
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at + 2 > len(data):
            break
        head = number(data[at : at + 2])
        kind, length = head >> 9, head & 0x1FF
        value = data[at + 2 : at + 2 + length]
        at += 2 + length
        if len(value) < length:
            fields["anomalies"] = ["truncated"]
            break
        if kind == 0:
            break
        if kind in (1, 2) and length > 1:
            fields["lldp.chassis_id" if kind == 1 else "lldp.port_id"] = _identifier(kind, value)
        elif kind == 3 and length >= 2:
            fields["lldp.time_to_live"] = number(value[:2])
        elif kind in TEXTS and length:
            fields[TEXTS[kind]] = text(value)
        elif kind == 7 and length >= 4:
            enabled = number(value[2:4])
            fields["lldp.capabilities"] = [name for bit, name in enumerate(CAPABILITIES) if enabled >> bit & 1]
        elif kind == 8 and length > 2 and value[1] in (1, 2):
            if address := ip(value[2 : 1 + value[0]]):
                addresses.append(address)
        elif kind == 127 and value[:4] == PROFINET + bytes([PROFINET_CHASSIS]) and length == 10:
            fields["lldp.profinet_chassis_mac"] = mac(value[4:])
    if addresses:
        fields["lldp.management_addresses"] = addresses
    return fields
