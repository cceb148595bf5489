"""EtherNet/IP: the encapsulation that carries CIP over TCP and UDP, and implicit I/O over UDP.

Source: The CIP Networks Library, Volume 2, edition 1.4, chapter 2. `frame`, `probe` and `read` are compiled and stand
in enip_kernel.py; `explain` gives the full depth. A PDU is one encapsulated message from its command on, or one packet
of implicit I/O from its item count on.

Not decoded: the contents of implicit I/O, whose layout is agreed on elsewhere, and what DTLS protects.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import cip
from sensor.protocols import enip_kernel as k
from sensor.protocols.enip_kernel import HEADER_BYTES, frame, probe, read
from sensor.records import as_octets
from sensor.text import wire_text

__all__ = ["explain", "frame", "probe", "read"]

Fields = dict[str, Any]

COMMANDS: dict[int, tuple[str, Verb]] = {  # Volume 2, 2-3.2
    k.NOP: ("nop", Verb.SESSION),
    k.LIST_SERVICES: ("list_services", Verb.IDENTIFY),
    k.LIST_IDENTITY: ("list_identity", Verb.IDENTIFY),
    k.LIST_INTERFACES: ("list_interfaces", Verb.IDENTIFY),
    k.REGISTER_SESSION: ("register_session", Verb.SESSION),
    k.UNREGISTER_SESSION: ("unregister_session", Verb.SESSION),
    k.SEND_RR_DATA: ("send_rr_data", Verb.UNKNOWN),  # their verb is that of the CIP service in them
    k.SEND_UNIT_DATA: ("send_unit_data", Verb.UNKNOWN),
    0x72: ("indicate_status", Verb.REPORT),
    0x73: ("cancel", Verb.SESSION),
    k.START_DTLS: ("start_dtls", Verb.SESSION),
    k.IMPLICIT_IO: ("implicit_io", Verb.REPORT),
}
STATUS: dict[int, str] = {  # Volume 2, 2-3.4
    0x00: "success",
    0x01: "invalid_command",
    0x02: "no_memory",
    0x03: "incorrect_data",
    0x64: "invalid_session_handle",
    0x65: "invalid_length",
    0x69: "unsupported_protocol_revision",
    0x6A: "service_not_allowed_on_this_port",
}

_CLEARED = np.zeros(1, dtype=PDU)
clear(_CLEARED[0])


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> Fields:
    """Every field of one message, named as in sensor/schema.py. Never raises.

    kind: of no matter, the message says it. request: the message that a response answers, where it is known.
    """
    fields: Fields = {}
    if _implicit(pdu):
        verb = _explain_io(fields, pdu)
    elif len(pdu) >= HEADER_BYTES:
        verb = _explain_command(fields, pdu, request)
    else:
        verb = Verb.UNKNOWN
    fields["event.action"] = verb.value
    anomalies = _anomalies(pdu)
    if anomalies:
        fields["anomalies"] = anomalies
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _anomalies(pdu: bytes) -> list[str]:
    record = _CLEARED[0].copy()
    buffer = as_octets(pdu)
    read(buffer, 0, len(buffer), np.uint64(0), record)
    return [str(anomaly.name).lower() for anomaly in Anomaly(int(record["anomalies"]))]


def _implicit(pdu: bytes) -> bool:
    return pdu[:4] == b"\x02\x00\x02\x80"


def _explain_io(fields: Fields, pdu: bytes) -> Verb:
    fields["enip.command"] = k.IMPLICIT_IO
    fields["enip.command_name"], verb = COMMANDS[k.IMPLICIT_IO]
    if len(pdu) >= 18:
        fields["enip.connection_id"], fields["enip.io.sequence"] = struct.unpack_from("<II", pdu, 6)
        fields["enip.io.length"] = int.from_bytes(pdu[16:18], "little")
    return verb


def _explain_command(fields: Fields, pdu: bytes, request: bytes | None) -> Verb:
    command, length, session, status = struct.unpack_from("<HHII", pdu)
    fields["enip.command"], fields["enip.length"] = command, length
    fields["enip.command_name"], verb = COMMANDS.get(command, ("undefined", Verb.UNKNOWN))
    fields["enip.session"] = session
    fields["enip.sender_context"] = pdu[12:20].hex() if any(pdu[12:20]) else None
    if status:
        fields["enip.status"], fields["enip.status_name"] = status, STATUS.get(status, "undefined")
    body = pdu[HEADER_BYTES:]
    if command in (k.SEND_RR_DATA, k.SEND_UNIT_DATA):
        asked = None if request is None or _implicit(request) else _message(request[HEADER_BYTES:])[2]
        fields["enip.connection_id"], fields["enip.sequence"], message = _message(body)
        if message is not None:
            more, verb = cip.explain(message, asked)
            fields |= more
    elif command == k.LIST_IDENTITY:
        for kind, item in _items(body):
            if kind == k.IDENTITY_ITEM and len(item) >= 18:
                fields["enip.identity.address"] = str(IPv4Address(item[6:10]))
                rest = cip.identity(fields, item[18:])
                fields["enip.identity.state"] = rest[0] if rest else None
    elif command == k.LIST_SERVICES:
        names = [wire_text(item[4:20]) for kind, item in _items(body) if kind == k.SERVICES_ITEM and len(item) >= 4]
        fields["enip.services"] = names
    elif command == k.REGISTER_SESSION and len(body) >= 2:
        fields["enip.protocol_version"] = int.from_bytes(body[:2], "little")
    return verb


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """(type, contents) of the items of a common packet, as far as they are there."""
    found: list[tuple[int, bytes]] = []
    at = 2
    for _ in range(min(int.from_bytes(data[:2], "little"), k.MAX_ITEMS)):
        if at + 4 > len(data):
            break
        kind, size = struct.unpack_from("<HH", data, at)
        found.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def _message(body: bytes) -> tuple[int | None, int | None, bytes | None]:
    """(connection id, sequence count, CIP message) behind interface handle and timeout."""
    connection = sequence = message = None
    for kind, item in _items(body[6:]):
        if kind == k.CONNECTED_ADDRESS and len(item) >= 4:
            connection = int.from_bytes(item[:4], "little")
        elif kind == k.CONNECTED_DATA and len(item) >= 2:
            sequence, message = int.from_bytes(item[:2], "little"), item[2:]
        elif kind == k.UNCONNECTED_DATA:
            message = item
    return connection, sequence, message
