"""PROFINET DCP: stations are found, named and given addresses. IEC 61158-6-10, 4.3 (Discovery and Configuration).

A response gives each block with two octets of block information ahead of its value, as do hello messages; a set request
has a qualifier in their place.
"""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import MAX_ELEMENTS, ip, number, text

SERVICES = {3: "get", 4: "set", 5: "identify", 6: "hello"}
HEAD = 12  # frame id, service, type, transaction, delay or reserved, length
ROLES = ("device", "controller", "multidevice", "supervisor")
FACTORY_RESET, RESET_MODES = (5, 5), (5, 6)
CONTROLS = {1: "start_transaction", 2: "end_transaction", 3: "signal", 4: "response", 5: "factory_reset",
            6: "reset_to_factory"}  # fmt: skip
NAMES = {
    (1, 1): "ip_mac", (1, 2): "ip", (2, 1): "type_of_station", (2, 2): "name_of_station", (2, 3): "device_id",
    (2, 4): "role", (2, 5): "options", (2, 6): "alias", (2, 8): "oem_device_id", (3, 12): "hostname",
}  # fmt: skip
TEXTS = {(2, 1): "dcp.type_of_station", (2, 2): "dcp.name_of_station", (2, 6): "dcp.alias", (3, 12): "dcp.hostname"}


def read(data: bytes) -> dict[str, Any]:
    """Fields of one message."""
    if len(data) < HEAD:
        return {"anomalies": ["truncated"]}
    service, kind = data[2], data[3]
    response = bool(kind & 1)
    fields: dict[str, Any] = {
        "dcp.service": service,
        "dcp.service_name": SERVICES.get(service, "unknown"),
        "dcp.response": response,
        "dcp.transaction_id": number(data[4:8]),
    }
    if response:
        fields["dcp.success"] = kind >> 1 == 0
    body = data[HEAD : HEAD + number(data[10:12])]
    if service == 3 and not response:  # pairs of option and suboption that are asked for
        asked = [(body[at], body[at + 1]) for at in range(0, min(len(body), 2 * MAX_ELEMENTS) - 1, 2)]
        return fields | {"dcp.blocks": [_name(*pair) for pair in asked]} if asked else fields
    ahead = 2 if response or service in (4, 6) else 0  # block information, or the qualifier of a set request
    blocks: list[str] = []
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at + 4 > len(body):
            break
        pair, length = (body[at], body[at + 1]), number(body[at + 2 : at + 4])
        value = body[at + 4 : at + 4 + length]
        at += 4 + length + (length & 1)  # to an even octet
        blocks.append(_name(*pair))
        if len(value) < length:
            fields["anomalies"] = ["truncated"]
            break
        _block(pair, value[ahead:], fields)
    if blocks:
        fields["dcp.blocks"] = blocks
    return fields


def _name(option: int, suboption: int) -> str:
    """What a block is, by name where the standard has one."""
    if option == 5:
        return CONTROLS.get(suboption, f"5/{suboption}")
    if option == 255:
        return "all"
    return NAMES.get((option, suboption), f"{option}/{suboption}")


def _block(pair: tuple[int, int], value: bytes, fields: dict[str, Any]) -> None:
    if pair in TEXTS:
        fields[TEXTS[pair]] = text(value)
    elif pair == (1, 2) and len(value) >= 12:
        fields["dcp.ip"], fields["dcp.netmask"], fields["dcp.gateway"] = (
            ip(value[at : at + 4]) for at in range(0, 12, 4)
        )
    elif pair == (2, 3) and len(value) >= 4:
        fields["dcp.vendor_id"], fields["dcp.device_id"] = number(value[:2]), number(value[2:4])
    elif pair == (2, 4) and value:
        fields["dcp.roles"] = [name for bit, name in enumerate(ROLES) if value[0] >> bit & 1]
