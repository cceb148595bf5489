"""MMS (ISO 9506), with which clients read, operate and load substation devices (IEC 61850-8-1) and controllers.

A PDU is the user data of one TSDU behind TPKT and COTP (cotp.py): session (ISO 8327), presentation (ISO 8823), when an
association begins or ends ACSE (ISO 8650), then MMS. Stacks that leave out session and presentation are read too.
mms_layers.py and mms_kernel.py hold the compiled reading, `explain` gives the full depth; mms_tables.py names the
sources.

Not decoded: alternate access to parts of a variable, type descriptions, the contents of domains and files, journals and
event notifications beyond the names in them. Passwords of an association are seen, never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.protocols import mms_tables as t
from sensor.protocols.ber import Element, elements, find
from sensor.protocols.mms_data import VISIBLE_STRING, text, texts
from sensor.protocols.mms_kernel import is_mms, read
from sensor.protocols.mms_layers import inside, presented
from sensor.records import as_octets
from sensor.text import wire_text

__all__ = ["explain", "is_mms", "read"]

Fields = dict[str, Any]

MAX_NAMES = 256  # of one list
MAX_VISITED = 2048  # arguments that are looked at for names: a list of MAX_NAMES has a few elements for each
MAX_DEPTH = 4  # of arguments in each other in which names are looked for
_STRINGS = (0x1A, 0x19)  # VisibleString, GraphicString
_NAMED_BY_ITSELF = (27, 29, 36, 37, 39, 45)  # services whose argument is a name and nothing else
_FILES = (46, 72, 75, 76, 77)


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> Fields:
    """Every field of one PDU; the keys are MMS in sensor/schema.py. Never raises.

    pdu: the user data of the TSDU. request: that of the matched request, which names what a response answers.
    """
    row = _row(pdu)
    function, subfunction = int(row.function), int(row.subfunction)
    out: Fields = {}
    session, carried, body = _layers(pdu)
    if session:
        out["mms.session"] = t.SESSION.get(session, "unknown")
        _association(carried, out)
    if body is not None:
        _pdu(body, out, None if request is None else _layers(request)[2])
    if function == t.CONFIRMED and subfunction < 0 and request is not None:  # an error does not say of what
        asked = _row(request)
        subfunction = int(asked.subfunction)
        if subfunction >= 0:
            _name_service(subfunction & 0xFF, out)
    finer = subfunction >> 8
    if finer in t.FINER:
        out["mms.purpose"] = t.FINER[finer][0]
    if row.status >= t.NOT_ASSOCIATED:
        out["mms.association_result"] = int(row.status) & 0xFF
    out["event.action"] = t.verb(function, subfunction).value
    found = Anomaly(int(row.anomalies))
    if found:
        out["anomalies"] = [str(flag.name).lower() for flag in Anomaly if flag in found]
    return {name: value for name, value in out.items() if value is not None and value != []}


def _row(pdu: bytes) -> Any:
    """The narrow row of one PDU, so that it and its explanation agree."""
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    read(as_octets(pdu), 0, len(pdu), np.uint64(0), row)
    return row


def _layers(pdu: bytes) -> tuple[int, bytes, bytes | None]:
    """(session PDU, what presentation carries, MMS PDU or None)."""
    buffer = as_octets(pdu)
    session, start, stop = presented(buffer, 0, len(pdu))
    if start < 0:
        return int(session), b"", None
    _acse, begin, finish = inside(buffer, start, stop)
    return int(session), pdu[start:stop], pdu[begin:finish] if 0 <= begin < finish else None


def _association(carried: bytes, out: Fields) -> None:
    """What ACSE says: which PDU, and how a credential is given ([11], [12] of AARQ; [9], [10] of AARE), never which."""
    first = next(elements(carried), None)
    if first is None or first.identifier not in t.ACSE:
        return
    out["mms.acse"] = t.ACSE[first.identifier]
    tags = {each.identifier: each.data for each in elements(first.data)}
    mechanism = tags.get(0x8B if first.identifier == t.AARQ else 0x89)
    value = tags.get(0xAC if first.identifier == t.AARQ else 0xAA)
    if mechanism is not None or value is not None:
        out["mms.authentication"] = "password" if mechanism == t.PASSWORD_MECHANISM else "other"


def _pdu(body: bytes, out: Fields, asked: bytes | None) -> None:
    """One MMS PDU; `asked` is that of the matched request."""
    first = next(elements(body), None)
    if first is None:
        return
    code, data = first.tag, first.data
    out["mms.pdu_code"] = code
    out["mms.pdu"] = t.PDUS.get(code, "unknown")
    if code in (0, 1):
        _confirmed(data, out, None if code == 0 else asked)
    elif code in (2, 7):
        out["mms.invoke_id"] = _number(find(data, 0x80))
        _error(find(data, 0xA2 if code == 2 else 0xA1) or b"", out)
        if code == 2:
            out["mms.variables"] = _asked_variables(asked)
    elif code == 3:
        _unconfirmed(data, out)
    elif code == 4:
        for each in elements(data):
            if each.identifier == 0x80:
                out["mms.invoke_id"] = each.number
            else:
                out["mms.rejected"] = t.REJECTED.get(each.tag, "unknown")
                out["mms.reject_reason_code"] = each.number
    elif code in (5, 6):
        out["mms.invoke_id"] = Element(0x02, data).number
    elif code in (8, 9):
        out["mms.max_pdu_size"] = _number(find(data, 0x80))
    elif code in (10, 13):
        _error(data, out)


def _number(data: bytes | None) -> int | None:
    return None if data is None else Element(0x02, data).number


def _name_service(service: int, out: Fields) -> None:
    out["mms.service_code"] = service
    out["mms.service"] = t.SERVICES[service][0] if service in t.SERVICES else "unknown"


def _parts(data: bytes) -> tuple[int | None, Element | None]:
    """(invoke id, service) of a confirmed request or response."""
    parts = _first(data, 3)
    service = next((each for each in parts[1:] if each.identifier != 0x30), None)
    return (parts[0].number if parts else None), service


def _first(data: bytes, most: int) -> list[Element]:
    return [each for each, _ in zip(elements(data), range(most), strict=False)]


def _confirmed(data: bytes, out: Fields, asked: bytes | None) -> None:
    invoke, service = _parts(data)
    out["mms.invoke_id"] = invoke
    if service is None:
        return
    _name_service(service.tag, out)
    if out["mms.pdu_code"] == 0:
        _REQUESTS.get(service.tag, _request)(service, out)
    else:
        if service.tag in (t.READ, t.WRITE):
            out["mms.variables"] = _asked_variables(asked)
        _RESPONSES.get(service.tag, _response)(service, out)


def _error(data: bytes, out: Fields) -> None:
    """A ServiceError: class as tag, code as value."""
    of = next(elements(find(data, 0xA0) or b""), None)
    if of is not None:
        name, codes = t.ERROR_CLASSES.get(of.tag, ("unknown", {}))
        out["mms.error_class_code"], out["mms.error_class"] = of.tag, name
        out["mms.error_code"] = of.number
        out["mms.error"] = codes.get(of.number if of.number is not None else -1, "unknown")


def _object_name(each: Element) -> str | None:
    """`domain/item`, the name alone where it belongs to the whole device, `@name` where to the association."""
    if each.identifier == 0xA1:
        return "/".join(wire_text(part.data) for part in _first(each.data, 2))
    if each.identifier in (0x80, 0x82):
        return ("@" if each.identifier == 0x82 else "") + wire_text(each.data)
    return None


def _specified(each: Element, out: Fields) -> None:
    """A variableAccessSpecification: variables one by one, or the name of a list of them."""
    if each.identifier == 0xA0:
        out["mms.variables"] = _variables(each.data)
    elif each.identifier == 0xA1:
        named = next(elements(each.data), None)
        out["mms.variable_list"] = _object_name(named) if named else None


def _variables(data: bytes) -> list[str]:
    names: list[str] = []
    for variable in _first(data, MAX_NAMES):
        name = next(elements(find(variable.data, 0xA0) or b""), None)
        names.append((_object_name(name) if name else None) or "(by address)")
    return names


def _asked_variables(asked: bytes | None) -> list[str]:
    """The variables that the matched request names; its list by name where it has none."""
    if asked is None:
        return []
    fields: Fields = {"mms.pdu_code": 0}
    _confirmed(next(elements(asked), Element(0xA0, b"")).data, fields, None)
    named = fields.get("mms.variables") or [fields.get("mms.variable_list")]
    return [name for name in named if name]


def _strings(data: bytes) -> list[str]:
    """Names among arguments, wherever they stand, as far as MAX_VISITED elements go."""
    return [name for name in islice(_visited(data, 0), MAX_VISITED) if name is not None][:MAX_NAMES]


def _visited(data: bytes, depth: int) -> Iterator[str | None]:
    """Of each element the name that it is, None where it is none; those inside follow."""
    for each in elements(data):
        if each.identifier == 0xA1 and [part.identifier for part in _first(each.data, 2)] == [0x1A, 0x1A]:
            yield _object_name(each)
        elif each.identifier in _STRINGS or (each.identifier == 0x80 and len(each.data) > 1 and each.data.isascii()):
            yield wire_text(each.data)
        else:
            yield None
            if each.identifier & 0x20 and depth < MAX_DEPTH:
                yield from _visited(each.data, depth + 1)


def _request(service: Element, out: Fields) -> None:
    names = [wire_text(service.data)] if service.tag in _NAMED_BY_ITSELF else _strings(service.data)
    out["mms.file.names" if service.tag in _FILES else "mms.objects"] = names


def _read_request(service: Element, out: Fields) -> None:
    specification = next(elements(find(service.data, 0xA1) or b""), None)
    if specification:
        _specified(specification, out)


def _write_request(service: Element, out: Fields) -> None:
    parts = _first(service.data, 2)
    if parts:
        _specified(parts[0], out)
    if len(parts) > 1:
        out["mms.values"] = texts(parts[1].data)


def _name_list_request(service: Element, out: Fields) -> None:
    code = _number(find(service.data, 0xA0, 0x80))
    out["mms.object_class"] = None if code is None else t.OBJECT_CLASSES.get(code, "unknown")
    scope = next(elements(find(service.data, 0xA1) or b""), None)
    if scope is not None:
        out["mms.domain"] = wire_text(scope.data) if scope.identifier == 0x81 else None


def _results(data: bytes, out: Fields, *, values: bool) -> None:
    """Results of a read or write, in order: a failure is DataAccessError, [0]."""
    shown: list[str] = []
    errors: list[str] = []
    for each in _first(data, MAX_NAMES):
        if each.identifier == 0x80:
            code = each.number if each.number is not None else -1
            errors.append(t.DATA_ACCESS_ERRORS.get(code, "unknown"))
            shown.append(f"({errors[-1]})")
        else:
            shown.append(text(each))
    out["mms.access_errors"] = errors
    if values:
        out["mms.values"] = shown


def _response(service: Element, out: Fields) -> None:
    """A response of which no more is shown than the names in it."""
    out["mms.file.names" if service.tag in _FILES else "mms.objects"] = _strings(service.data)


def _read_response(service: Element, out: Fields) -> None:
    _results(find(service.data, 0xA1) or b"", out, values=True)


def _write_response(service: Element, out: Fields) -> None:
    _results(service.data, out, values=False)


def _name_list_response(service: Element, out: Fields) -> None:
    out["mms.objects"] = [wire_text(each.data) for each in _first(find(service.data, 0xA0) or b"", MAX_NAMES)]
    more = find(service.data, 0x81)
    out["mms.more_follows"] = more != b"\x00"  # true where it is left out


def _identify_response(service: Element, out: Fields) -> None:
    for each, name in zip(elements(service.data), ("mms.vendor", "mms.model", "mms.revision"), strict=False):
        out[name] = wire_text(each.data)


def _quiet(service: Element, out: Fields) -> None:
    """Nothing but the service is shown: handles and contents."""


_REQUESTS: dict[int, Callable[[Element, Fields], None]] = {
    **dict.fromkeys(t.WITH_HANDLE, _quiet),
    1: _name_list_request,
    t.READ: _read_request,
    t.WRITE: _write_request,
}
_RESPONSES: dict[int, Callable[[Element, Fields], None]] = {
    **dict.fromkeys((27, 30, 31, 73, 74), _quiet),
    1: _name_list_response,
    2: _identify_response,
    t.READ: _read_response,
    t.WRITE: _write_response,
}


def _unconfirmed(data: bytes, out: Fields) -> None:
    service = next(elements(data), None)
    if service is None:
        return
    out["mms.service_code"] = service.tag
    out["mms.service"] = t.UNCONFIRMED_SERVICES.get(service.tag, "unknown")
    if service.tag != t.INFORMATION_REPORT:
        out["mms.objects"] = _strings(service.data)
        return
    parts = _first(service.data, 2)
    if parts:
        _specified(parts[0], out)
    if len(parts) > 1:
        _results(parts[1].data, out, values=True)
        first = next(elements(parts[1].data), None)
        if first and first.identifier == VISIBLE_STRING:
            out["mms.report"] = wire_text(first.data)
