"""What switches say to each other: CDP, spanning tree, link aggregation.

CDP is Cisco's own, known from its dissectors; IEEE 802.1Q-2018, 14 (spanning tree); IEEE 802.1AX-2014, 6.4.2.3 (LACP).
"""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import MAX_ELEMENTS, ip, mac, number, text

SPANNING_TREE = bytes.fromhex("424203")
SNAP_CDP = bytes.fromhex("aaaa0300000c2000")
CDP_TEXTS = {1: "cdp.device_id", 3: "cdp.port_id", 5: "cdp.software_version", 6: "cdp.platform"}
CDP_CAPABILITIES = ("router", "bridge", "source-route-bridge", "switch", "host", "igmp", "repeater", "telephone")
BPDU_TYPES = {0: "configuration", 2: "rapid", 0x80: "topology_change"}
LACP = 1  # subtype of the slow protocols of IEEE 802.3


def read_cdp(data: bytes) -> dict[str, Any]:
    """Fields of one CDP message, from its LLC header on."""
    fields: dict[str, Any] = {}
    at = len(SNAP_CDP) + 4  # version, time to live, checksum
    for _ in range(MAX_ELEMENTS):
        if at + 4 > len(data):
            break
        kind, length = number(data[at : at + 2]), number(data[at + 2 : at + 4])
        if length < 4 or at + length > len(data):
            fields["anomalies"] = ["truncated"]
            break
        value = data[at + 4 : at + length]
        at += length
        if kind in CDP_TEXTS:
            fields[CDP_TEXTS[kind]] = text(value)
        elif kind in (2, 22) and (found := _cdp_addresses(value)):
            fields["cdp.addresses"] = list(dict.fromkeys([*fields.get("cdp.addresses", []), *found]))
        elif kind == 4 and len(value) >= 4:
            bits = number(value[:4])
            fields["cdp.capabilities"] = [name for bit, name in enumerate(CDP_CAPABILITIES) if bits >> bit & 1]
    return fields


def _cdp_addresses(value: bytes) -> list[str]:
    """The addresses in a list of (protocol type, length, protocol, length, address)."""
    found: list[str] = []
    at = 4
    for _ in range(min(number(value[:4]), MAX_ELEMENTS)):
        if at + 2 > len(value):
            break
        at += 2 + value[at + 1]
        length = number(value[at : at + 2])
        if address := ip(value[at + 2 : at + 2 + length]):
            found.append(address)
        at += 2 + length
    return found


def read_spanning_tree(data: bytes) -> dict[str, Any]:
    """Fields of one BPDU, from its LLC header on."""
    bpdu = data[len(SPANNING_TREE) :]
    if len(bpdu) < 4 or number(bpdu[:2]):
        return {"anomalies": ["truncated" if len(bpdu) < 4 else "unknown"]}
    fields: dict[str, Any] = {"stp.version": bpdu[2], "stp.type": BPDU_TYPES.get(bpdu[3], "unknown")}
    if len(bpdu) >= 27:
        fields |= {
            "stp.root": f"{number(bpdu[5:7])}/{mac(bpdu[7:13])}",
            "stp.root_cost": number(bpdu[13:17]),
            "stp.bridge": f"{number(bpdu[17:19])}/{mac(bpdu[19:25])}",
            "stp.port": number(bpdu[25:27]),
            "stp.topology_change": bool(bpdu[4] & 1),
        }
    return fields


def read_lacp(data: bytes) -> dict[str, Any]:
    """Fields of one LACP message: the systems at both ends."""
    fields: dict[str, Any] = {}
    for name, at in (("actor", 2), ("partner", 22)):
        if len(data) >= at + 20:
            fields[f"lacp.{name}"] = mac(data[at + 4 : at + 10])
    return fields if fields else {"anomalies": ["truncated"]}
