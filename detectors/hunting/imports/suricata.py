"""Suricata's eve.json as events: modbus, dnp3 and alerts."""

from __future__ import annotations

from detectors.hunting.imports import modbus
from detectors.hunting.imports.record import Fields, Record, UnfitError, answer, as_number, present
from sensor.protocols import dnp3 as dnp3_tables

_PROTOCOLS = {"modbus": "modbus", "dnp3": "dnp3", "enip": "enip", "bacnet": "bacnet"}
_PORTS = {"modbus": 502, "dnp3": 20_000}
_STATUS = {12: "status_code", 41: "control_status"}  # of the points of a command, in answers
_IIN_REFUSED = frozenset({"no_func_code_support", "object_unknown", "parameter_error"})


def events(record: Record) -> list[Fields]:
    """The events of one record. UnfitError where there are none."""
    kind = record.needed("event_type")
    if kind not in ("modbus", "dnp3", "alert"):
        raise UnfitError(f"the event type {kind[:40]!r} is not imported")
    base: Fields = {
        "@timestamp": record.time_ns("timestamp"),
        "source.ip": record.address("src_ip"),
        "source.port": record.number("src_port", 65_535),
        "destination.ip": record.address("dest_ip"),
        "destination.port": record.number("dest_port", 65_535),
        "network.transport": (record.text("proto") or "tcp").lower(),
    }
    base = present(base)
    if kind == "alert":
        return [_alert(record, base)]
    inner = record.inner(kind)
    if inner is None:
        raise UnfitError(f"it has no object {kind!r}")
    if base.get("source.port") == _PORTS[kind] != base.get("destination.port"):
        base = answer(base)  # a flow picked up in its middle: who was seen first is not who asks
    return _modbus(inner, base) if kind == "modbus" else [_dnp3(inner, base)]


def _alert(record: Record, base: Fields) -> Fields:
    alert = record.inner("alert")
    if alert is None:
        raise UnfitError("it has no object 'alert'")
    number = alert.number("signature_id")
    protocol = _PROTOCOLS.get(record.text("app_proto") or "")
    text = f"{number}: {alert.needed('signature')}" if number is not None else alert.needed("signature")
    return present({**base, "network.protocol": protocol, "event.kind": "none", "archive.alert": text})


def _modbus(inner: Record, base: Fields) -> list[Fields]:
    """A transaction: what was asked and what was answered, either of which may be missing."""
    found = []
    for kind in ("request", "response"):
        side = inner.inner(kind)
        if side is None:
            continue
        raw = side.number("function_raw", 255)
        if raw is None:
            raise UnfitError("function_raw is missing")
        finer = side.inner("diagnostic") or side.inner("mei")
        wrong = side.inner("exception")
        read, write = side.inner("read"), side.inner("write")
        both = raw == 23
        place = read if both or read is not None else write
        asks = kind == "request"
        found.append(
            modbus.pdu(
                base, raw & 0x7F, kind=kind,
                subfunction=finer.number("raw", 65_535) if finer else None,
                exception=wrong.number("raw", 255) if wrong else None,
                transaction_id=side.number("transaction_id", 65_535), unit_id=side.number("unit_id", 255),
                address=place.number("address", 65_535) if place and not both else None,
                quantity=place.number("quantity", 65_535) if place and asks and not both else None,
                **(_both(read, write) if both and asks else {}),
            )
        )  # fmt: skip
    if not found:
        raise UnfitError("it has neither a request nor a response")
    return found


def _failed(given: Record, status: str) -> bool:
    """Whether a point of a command has a status other than success."""
    points = [it for it in given.members("points") if isinstance(it, dict)]
    return any(it.get(status) not in (None, 0) for it in points)


def _both(read: Record | None, write: Record | None) -> Fields:
    """The two places of function 23."""
    return {
        f"{way}.{name}": side.number(name, 65_535)
        for way, side in (("read", read), ("write", write))
        if side is not None
        for name in ("address", "quantity")
    }


def _dnp3(inner: Record, base: Fields) -> Fields:
    application = inner.inner("application")
    function = application.number("function_code", 255) if application else None
    if application is None or function is None:
        raise UnfitError("it has no application function")
    answers = inner.text("type") == "response" or function >= 129
    name, verb = dnp3_tables.FUNCTIONS.get(function, (None, None))
    control = application.inner("control")
    indications = inner.inner("iin")
    refused = indications is not None and any(it in _IIN_REFUSED for it in indications.members("indicators"))
    unasked = function == 130
    objects, groups = [], set()
    for it in application.members("objects"):
        if not isinstance(it, dict):
            raise UnfitError("an object is no object")
        group, variation = (as_number(part, it.get(part), 255) for part in ("group", "variation"))
        objects.append(f"g{group}v{variation}")
        groups.add(group)
        refused = refused or (group in _STATUS and _failed(Record(it), _STATUS[group]))
    finer = dnp3_tables.FINER_VERBS.get(function, {})
    verb = next((it for group, it in finer.items() if group in groups), verb)
    outcome = "unsolicited" if unasked else "refused" if refused else "answered"
    return present(
        {
            **(answer(base) if answers else base),
            "network.protocol": "dnp3",
            "event.kind": "unsolicited" if unasked else "response" if answers else "request",
            "event.outcome": outcome if answers else "asked",
            "event.action": verb.value if verb is not None and not answers else None,
            "dnp3.link.source": inner.number("src", 65_535),
            "dnp3.link.destination": inner.number("dst", 65_535),
            "dnp3.function_code": function,
            "dnp3.function": name,
            "dnp3.sequence": control.number("sequence", 15) if control else None,
            "dnp3.objects": objects or None,
        }
    )
