"""BACnet/IP: the BACnet virtual link layer (BVLL) over UDP, the network layer and the application services.

Source: ANSI/ASHRAE 135-2020, clauses 5 (application layer), 6 (network layer), 15 to 17 (services), 20 (encoding) and
annex J (BACnet/IP). `frame`, `probe` and `read` are compiled and stand in bacnet_kernel.py; `explain` gives the full
depth. A PDU is one BVLL message.

Not decoded: the secure BVLL, segments of an APDU after the first (they are named; the parameters of a segmented one are
not read), constructed values (given as hexadecimal) and what vendors transfer. Passwords are not shown.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import bacnet_services as services
from sensor.protocols import bacnet_tables as t
from sensor.protocols.bacnet_kernel import frame, probe, read
from sensor.protocols.bacnet_tags import MAX_SHOWN, parse
from sensor.records import as_octets

__all__ = ["explain", "frame", "probe", "read"]


Fields = dict[str, Any]

_CLEARED = np.zeros(1, dtype=PDU)
clear(_CLEARED[0])
_CARRIERS = (t.FORWARDED, t.DISTRIBUTE_BROADCAST, t.ORIGINAL_UNICAST, t.ORIGINAL_BROADCAST)


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> Fields:
    """Every field of one message, named as in sensor/schema.py. Never raises.

    kind: of no matter, the message says it. request: the message that a response answers, where it is known.
    """
    fields: Fields = {}
    verb = Verb.UNKNOWN
    if len(pdu) >= 4:
        function = pdu[1]
        fields["bacnet.bvlc_function"] = function
        fields["bacnet.bvlc_function_name"], verb = t.BVLL.get(function, ("undefined", Verb.UNKNOWN))
        if function in _CARRIERS:
            verb = _explain_npdu(fields, pdu, request)
        else:
            _explain_bvll(fields, function, pdu[4:])
            if function == t.RESULT and request is not None and len(request) >= 2:
                verb = t.BVLL.get(request[1], ("", verb))[1]
    fields["event.action"] = verb.value
    anomalies = _anomalies(pdu)
    if anomalies:
        fields["anomalies"] = anomalies
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != ""}


def _anomalies(pdu: bytes) -> list[str]:
    record = _CLEARED[0].copy()
    buffer = as_octets(pdu)
    read(buffer, 0, len(buffer), np.uint64(0), record)
    return [str(anomaly.name).lower() for anomaly in Anomaly(int(record["anomalies"]))]


def _explain_bvll(fields: Fields, function: int, body: bytes) -> None:
    if function == t.RESULT and len(body) >= 2:
        code = int.from_bytes(body[:2], "big")
        fields["bacnet.bvlc_result"], fields["bacnet.bvlc_result_name"] = code, t.BVLL_RESULTS.get(code, "undefined")
    elif function == t.REGISTER_FOREIGN_DEVICE and len(body) >= 2:
        fields["bacnet.time_to_live"] = int.from_bytes(body[:2], "big")
    elif function in (t.WRITE_BDT, t.READ_BDT_ACK, t.READ_FDT_ACK):
        fields["bacnet.table"] = [_endpoint(body[at : at + 6]) for at in range(0, len(body) - 9, 10)][:MAX_SHOWN]
    elif function == t.DELETE_FDT_ENTRY and len(body) >= 6:
        fields["bacnet.table"] = [_endpoint(body[:6])]


def _endpoint(data: bytes) -> str:
    """A BACnet/IP address: IPv4 and port."""
    return f"{IPv4Address(data[:4])}:{int.from_bytes(data[4:6], 'big')}"


def _npdu(pdu: bytes) -> tuple[Fields, bytes, bool] | None:
    """(fields, what follows, whether that is a network message) of the NPDU in a message; None where none is whole."""
    fields: Fields = {}
    at = 4
    if pdu[1] == t.FORWARDED:
        if len(pdu) < 10:
            return None
        fields["bacnet.forwarded_from"] = _endpoint(pdu[4:10])
        at = 10
    if len(pdu) < at + 3 or pdu[at] != 1:
        return None
    control = pdu[at + 1]
    at += 2
    fields["bacnet.priority"] = t.PRIORITIES[control & 3]
    for flag, name in ((0x20, "destination"), (0x08, "source")):
        if control & flag:
            if len(pdu) < at + 3:
                return None
            length = pdu[at + 2]
            fields[f"bacnet.{name}.network"] = int.from_bytes(pdu[at : at + 2], "big")
            fields[f"bacnet.{name}.address"] = pdu[at + 3 : at + 3 + length].hex()
            at += 3 + length
    if control & 0x20:
        at += 1
    return (fields, pdu[at:], bool(control & 0x80)) if at < len(pdu) else None


def _explain_npdu(fields: Fields, pdu: bytes, request: bytes | None) -> Verb:
    found = _npdu(pdu)
    if found is None:
        return Verb.UNKNOWN
    more, body, network = found
    fields |= more
    if network:
        return _explain_network(fields, body)
    asked = None
    if request is not None and len(request) >= 4 and request[1] in _CARRIERS:
        other = _npdu(request)
        asked = None if other is None or other[2] else other[1]
    return _explain_apdu(fields, body, asked)


def _explain_network(fields: Fields, body: bytes) -> Verb:
    message = body[0]
    vendor = ("vendor-specific", Verb.UNKNOWN) if message >= 0x80 else ("undefined", Verb.UNKNOWN)
    fields["bacnet.network_message"] = message
    fields["bacnet.network_message_name"], verb = t.NETWORK_MESSAGES.get(message, vendor)
    if message in (0x00, 0x01, 0x04, 0x05, 0x13):
        numbers = body[1 : 1 + 2 * MAX_SHOWN]
        fields["bacnet.networks"] = [int.from_bytes(numbers[i : i + 2], "big") for i in range(0, len(numbers) - 1, 2)]
    elif message in (0x02, 0x08, 0x09):
        fields["bacnet.networks"] = [int.from_bytes(body[1:3], "big")]
    elif message == 0x03 and len(body) >= 4:
        fields["bacnet.reject_reason"] = body[1]
        fields["bacnet.networks"] = [int.from_bytes(body[2:4], "big")]
    return verb


def _explain_apdu(fields: Fields, body: bytes, asked: bytes | None) -> Verb:
    kind, flags = body[0] >> 4, body[0] & 15
    fields["bacnet.apdu_type"], fields["bacnet.apdu_type_name"] = kind, t.nth(t.APDU_TYPES, kind)
    if kind == t.UNCONFIRMED_REQUEST:
        return _explain_unconfirmed(fields, body)
    if kind == t.CONFIRMED_REQUEST:
        return _explain_confirmed(fields, body, flags)
    if kind > t.ABORT or len(body) < 3:
        return Verb.UNKNOWN
    fields["bacnet.invoke_id"] = body[1]
    return _explain_answer(fields, body, kind, flags, asked)


def _asked(asked: bytes | None) -> tuple[Fields, Verb]:
    """Service, object and verb of the request that is answered."""
    fields: Fields = {}
    if asked is None or asked[0] >> 4 != t.CONFIRMED_REQUEST:
        return fields, Verb.UNKNOWN
    verb = _explain_confirmed(fields, asked, asked[0] & 15)
    return {name: fields[name] for name in services.REPEATED if name in fields}, verb


def _explain_answer(fields: Fields, body: bytes, kind: int, flags: int, asked: bytes | None) -> Verb:
    repeated, verb = _asked(asked)
    fields |= repeated
    if kind == t.COMPLEX_ACK:
        at = 2
        if flags & 8:
            _segment(fields, body[2:], more=bool(flags & 4))
            at = 4
        if at < len(body):
            verb = _service(fields, body[at], confirmed=True)
            if not flags & 8 and body[at] in services.ACKS:
                services.ACKS[body[at]](fields, parse(body[at + 1 :]))
        return _asked(asked)[1] if repeated else verb
    if kind in (t.SIMPLE_ACK, t.ERROR):
        own = _service(fields, body[2], confirmed=True)
        verb = verb if repeated else own
    if kind == t.ERROR:
        tags = parse(body[3:])
        if tags and tags[0].members is not None:
            tags = list(tags[0].members)
        if len(tags) >= 2:
            group, code = tags[0].number, tags[1].number
            fields["bacnet.error_class"], fields["bacnet.error_class_name"] = group, t.nth(t.ERROR_CLASSES, group)
            fields["bacnet.error_code"] = code
            fields["bacnet.error_code_name"] = t.ERROR_CODES.get(code, "undefined")
    elif kind == t.REJECT:
        fields["bacnet.reject_reason"] = body[2]
        fields["bacnet.reject_reason_name"] = t.nth(t.REJECT_REASONS, body[2])
    elif kind == t.ABORT:
        fields["bacnet.abort_reason"] = body[2]
        fields["bacnet.abort_reason_name"] = t.nth(t.ABORT_REASONS, body[2])
    elif kind == t.SEGMENT_ACK:
        fields["bacnet.segment"] = body[2]
        verb = verb if repeated else Verb.SESSION
    return verb


def _segment(fields: Fields, data: bytes, *, more: bool) -> None:
    """Sequence number and window of a segment."""
    fields["bacnet.segmented"], fields["bacnet.more_follows"] = True, more
    if len(data) >= 2:
        fields["bacnet.segment"], fields["bacnet.window"] = data[0], data[1]


def _service(fields: Fields, code: int, *, confirmed: bool) -> Verb:
    fields["bacnet.service"] = code
    known = t.CONFIRMED if confirmed else t.UNCONFIRMED
    fields["bacnet.service_name"], verb = known.get(code, ("undefined", Verb.UNKNOWN))
    return verb


def _explain_confirmed(fields: Fields, body: bytes, flags: int) -> Verb:
    at = 5 if flags & 8 else 3
    if len(body) > 2:
        fields["bacnet.invoke_id"] = body[2]
    if flags & 8:
        _segment(fields, body[3:], more=bool(flags & 4))
    if len(body) <= at:
        return Verb.UNKNOWN
    verb = _service(fields, body[at], confirmed=True)
    if flags & 8 or body[at] not in services.REQUESTS:
        return verb
    return services.REQUESTS[body[at]](fields, parse(body[at + 1 :])) or verb


def _explain_unconfirmed(fields: Fields, body: bytes) -> Verb:
    if len(body) < 2:
        return Verb.UNKNOWN
    verb = _service(fields, body[1], confirmed=False)
    if body[1] in services.UNCONFIRMED:
        services.UNCONFIRMED[body[1]](fields, parse(body[2:]))
    return verb
