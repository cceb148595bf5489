"""Zeek's logs, with those of CISA's ICSNPP parsers, as events: one file, one table of logs.

A line is one PDU, or a request with its answer. The logs of one capture say the same things more than once
(modbus.log and modbus_detailed.log): import one of them.
"""

from __future__ import annotations

from collections.abc import Callable

from detectors.hunting.imports import modbus
from detectors.hunting.imports.record import Fields, Record, UnfitError, answer, present
from sensor.decode.pdu import ABSENT
from sensor.operations import Verb
from sensor.protocols import dnp3 as dnp3_tables
from sensor.protocols import s7comm_tables
from sensor.protocols.dnp3_kernel import IIN_REFUSED
from sensor.protocols.s7comm_services import PI_SERVICES

_TRANSPORTS = ("tcp", "udp")
_SERVICES = {
    "modbus": "modbus", "dnp3_tcp": "dnp3", "dnp3_udp": "dnp3", "dnp3": "dnp3", "s7comm": "s7comm",
    "s7comm-plus": "s7comm_plus", "enip": "enip", "bacnet": "bacnet", "opcua-binary": "opcua", "iec104": "iec104",
}  # fmt: skip
_DNP3 = {name.upper(): code for code, (name, _) in dnp3_tables.FUNCTIONS.items()} | {"AUTHENTICATE_ERR": 33}


def events(kind: str, record: Record) -> list[Fields]:
    """The events of one record of the log `kind`. UnfitError where there are none."""
    log = _LOGS.get(kind)
    if log is None:
        raise UnfitError(f"the log {kind!r} is not imported")
    base: Fields = {
        "@timestamp": record.time_ns("ts"),
        "source.ip": record.address("id.orig_h"),
        "source.port": record.number("id.orig_p", 65_535),
        "destination.ip": record.address("id.resp_h"),
        "destination.port": record.number("id.resp_p", 65_535),
        "network.transport": None if kind.startswith("dnp3") or kind == "bacnet" else "tcp",  # those may use either
    }
    return log(record, present(base))


def _conn(record: Record, base: Fields) -> list[Fields]:
    transport = record.needed("proto")
    if transport not in _TRANSPORTS:
        raise UnfitError("proto is neither tcp nor udp")
    services = (record.text("service") or "").split(",")
    protocol = next((_SERVICES[it] for it in services if it in _SERVICES), None)
    return [present({**base, "network.transport": transport, "network.protocol": protocol, "event.kind": "none"})]


def _modbus(record: Record, base: Fields) -> list[Fields]:
    function, refused = modbus.code_of(record.needed("func"))
    exception = modbus.exception_of(record.text("exception"))
    more = {"transaction_id": record.number("tid", 65_535), "unit_id": record.number("unit", 255)}
    side = record.text("pdu_type")
    answers = side == "RESP" or (side is None and (refused or exception is not None))
    kind = "response" if answers else "request"
    return [modbus.pdu(base, function, kind=kind, exception=exception, **more)]


def _modbus_detailed(record: Record, base: Fields) -> list[Fields]:
    function, _ = modbus.code_of(record.needed("func"))
    ids = {"transaction_id": record.number("tid", 65_535), "unit_id": record.number("unit", 255)}
    exception = modbus.exception_of(record.text("exception_code"))
    asked = modbus.subfunction_of(function, record.text("request_subfunction_code") or record.text("mei_type"))
    address = record.number("address", 65_535)
    given = record.number("quantity", 65_535)
    multiple = function in (15, 16) or function <= 4
    quantity = given if multiple else None  # of a single write ICSNPP puts the value there
    request = modbus.pdu(
        base, function, kind="request", subfunction=asked, address=address, quantity=quantity,
        values=record.numbers("request_values", 65_535), **ids,
    )  # fmt: skip
    found = [request]
    if record.flag("matched") or exception is not None:
        echoed = {5, 6, 15, 16} & {function} and exception is None
        found.append(
            modbus.pdu(
                base, function, kind="response", exception=exception,
                subfunction=asked if function in (8, 43) and exception is None else None,
                address=address if echoed else None, quantity=quantity if echoed else None,
                values=record.numbers("response_values", 65_535),
                **ids, **{"request.address": address, "request.quantity": quantity},
            )
        )  # fmt: skip
    return found


def _dnp3_pdu(base: Fields, function: int, request: int | None, **more: object) -> Fields:
    """One application fragment. request: the function that an answer answers."""
    name, verb = dnp3_tables.FUNCTIONS[function]
    answers = function >= 129
    iin = more.get("iin")
    refused = isinstance(iin, int) and bool(iin & IIN_REFUSED)
    outcome = "unsolicited" if function == 130 else "refused" if refused else "answered"
    if answers and request is not None:
        verb = dnp3_tables.VERBS[request]
    return present(
        {
            **(answer(base) if answers else base),
            "network.protocol": "dnp3",
            "event.kind": "unsolicited" if function == 130 else "response" if answers else "request",
            "event.outcome": outcome if answers else "asked",
            "event.action": verb.value,
            "dnp3.function_code": function,
            "dnp3.function": name,
            **{f"dnp3.{key}": value for key, value in more.items()},
        }
    )


def _dnp3_code(name: str) -> int:
    code = _DNP3.get(name)
    if code is None:
        raise UnfitError("the function is none of DNP3")
    return code


def _dnp3(record: Record, base: Fields) -> list[Fields]:
    asked, replied = record.text("fc_request"), record.text("fc_reply")
    request = _dnp3_code(asked) if asked is not None else None
    found = [] if request is None else [_dnp3_pdu(base, request, None)]
    if replied is not None:
        found.append(_dnp3_pdu(base, _dnp3_code(replied), request, iin=record.number("iin", 65_535)))
    if not found:
        raise UnfitError("it has neither a request nor a reply")
    return found


def _dnp3_part(record: Record, base: Fields) -> list[Fields]:
    """A line for an object or a control block of a fragment: which function, from which side."""
    function = _dnp3_code(record.needed("function_code"))
    return [_dnp3_pdu(base, function, None)]


def _s7comm(record: Record, base: Fields) -> list[Fields]:
    role = record.number("rosctr_code", 255)
    if role not in s7comm_tables.ROSCTR:
        raise UnfitError("rosctr_code is none of S7comm")
    number = record.number("pdu_reference", 65_535)
    code = record.number("function_code", 255)
    sub = record.text("subfunction_code")
    error = record.number("error_code", 65_535)
    more: Fields = {
        "s7comm.rosctr": role,
        "s7comm.rosctr_name": s7comm_tables.ROSCTR[role],
        "s7comm.pdu_reference": None
        if number is None
        else number >> 8 | (number & 0xFF) << 8,  # ICSNPP reads it turned
    }
    if role == s7comm_tables.USERDATA:
        kind, verb = _s7_userdata(code or 0, sub, more)
        more["s7comm.error_number"] = error
    else:
        kind = "request" if role == s7comm_tables.JOB else "response"
        verb = _s7_job(code, sub, more)
        if kind == "response":
            more["s7comm.error_code"] = error
    outcome = {"request": "asked", "unsolicited": "unsolicited"}.get(kind, "refused" if error else "answered")
    sent = base if record.flag("is_orig") is not False else answer(base)
    return [
        present(
            {
                **sent, "network.protocol": "s7comm", "event.kind": kind, "event.outcome": outcome,
                "event.action": verb.value, **more,
            }
        )
    ]  # fmt: skip


def _s7_userdata(code: int, sub: str | None, more: Fields) -> tuple[str, Verb]:
    """User data: the type stands in the two high bits of ICSNPP's function code, the group below."""
    kind = {0: "unsolicited", 1: "request", 2: "response"}.get(code >> 6)
    if kind is None:
        raise UnfitError("the function code of user data has no type")
    group = code & 0x3F
    number = Record({"subfunction_code": sub}).number("subfunction_code", 255)
    codes = s7comm_tables.SUBFUNCTIONS.get(group, {})
    more |= {
        "s7comm.userdata.type": s7comm_tables.USERDATA_TYPES[code >> 6],
        "s7comm.userdata.group": group,
        "s7comm.userdata.group_name": s7comm_tables.GROUPS.get(group),
        "s7comm.userdata.subfunction": number,
        "s7comm.userdata.subfunction_name": codes[number][0] if number in codes else None,
    }
    return kind, codes[number][1] if number in codes else Verb.UNKNOWN


def _s7_job(code: int | None, sub: str | None, more: Fields) -> Verb:
    more["s7comm.function"] = code
    if code is None:
        return Verb.UNKNOWN
    name, _ = s7comm_tables.FUNCTIONS.get(code, (None, None))
    more["s7comm.function_name"] = name
    if code == s7comm_tables.PI_SERVICE and sub is not None:
        more["s7comm.service"] = sub
        service = PI_SERVICES.get(sub)
        if service is not None:
            more["s7comm.service_name"] = service.meaning
            return service.verb
    return s7comm_tables.VERBS.get((code, ABSENT), Verb.UNKNOWN)


def _talk(protocol: str | None) -> Callable[[Record, Fields], list[Fields]]:
    """A log of which only is taken who sent to whom, and in which protocol."""

    def events_of(record: Record, base: Fields) -> list[Fields]:
        sent = base if record.flag("is_orig") is not False else answer(base)
        return [present({**sent, "network.protocol": protocol, "event.kind": "none"})]

    return events_of


_LOGS: dict[str, Callable[[Record, Fields], list[Fields]]] = {
    "conn": _conn,
    "modbus": _modbus,
    "modbus_detailed": _modbus_detailed,
    "dnp3": _dnp3,
    "dnp3_objects": _dnp3_part,
    "dnp3_control": _dnp3_part,
    "s7comm": _s7comm,
    "cotp": _talk(None),
    "s7comm_plus": _talk("s7comm_plus"),
    "enip": _talk("enip"),
    "cip": _talk("enip"),
    "bacnet": _talk("bacnet"),
    "opcua_binary": _talk("opcua"),
}
