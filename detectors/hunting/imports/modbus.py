"""Modbus as other programs log it, in our fields: codes by their names, verbs by our tables."""

from __future__ import annotations

from detectors.hunting.imports.record import Fields, UnfitError, answer, present
from sensor.protocols import modbus_tables as t

# Zeek's own names, where they are not ours in capitals.
_ZEEK = {
    "REPORT_SLAVE_ID": t.REPORT_SERVER_ID, "ENCAP_INTERFACE_TRANSPORT": t.ENCAPSULATED_INTERFACE, "PROGRAM_484": 9,
    "POLL_484": 10, "PROGRAM_584_984": 13, "POLL_584_984": 14, "PROGRAM_584_984_2": 126,
}  # fmt: skip
_CODES = {name.upper(): code for code, (name, _) in t.FUNCTIONS.items()} | _ZEEK
_EXCEPTIONS = {name.upper(): code for code, name in t.EXCEPTIONS.items()} | {
    "SLAVE_DEVICE_FAILURE": 4, "SLAVE_DEVICE_BUSY": 6, "GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND": 11,
}  # fmt: skip
_SUBFUNCTIONS = {
    t.DIAGNOSTICS: {name: code for code, name in t.DIAGNOSTIC_NAMES.items()},
    t.ENCAPSULATED_INTERFACE: {name: code for code, name in t.MEI_NAMES.items()},
}


def code_of(name: str) -> tuple[int, bool]:
    """The function code of Zeek's name, and whether the name is that of an exception. UnfitError for no name."""
    refused = name.endswith("_EXCEPTION")
    bare = name.removesuffix("_EXCEPTION")
    if bare in _CODES:
        return _CODES[bare], refused
    number = bare.removeprefix("unknown-")
    if number != bare and number.isdecimal() and len(number) <= 3 and int(number) < 256:
        return int(number) & 0x7F, int(number) >= 0x80
    raise UnfitError("func is no function of Modbus")


def exception_of(name: str | None) -> int | None:
    """The exception code of Zeek's name."""
    if name is None:
        return None
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    raise UnfitError("the exception is none of Modbus")


def subfunction_of(function: int, name: str | None) -> int | None:
    """The finer code of ICSNPP's name; None where it is none of the standard's."""
    return _SUBFUNCTIONS.get(function, {}).get((name or "").lower().replace(" ", "_"))


def pdu(
    base: Fields,
    function: int,
    *,
    kind: str,
    subfunction: int | None = None,
    exception: int | None = None,
    **more: object,
) -> Fields:
    """One PDU. base: ends as of the request; kind: request or response. more: fields below `modbus.`."""
    names = t.SUBFUNCTION_NAMES.get(function, {})
    fields = base if kind == "request" else answer(base)
    outcome = "asked" if kind == "request" else "answered" if exception is None else "refused"
    return present(
        {
            **fields,
            "network.protocol": "modbus",
            "event.kind": kind,
            "event.outcome": outcome,
            "event.action": t.verb(function, subfunction).value,
            "modbus.function_code": function,
            "modbus.function": t.function_name(function),
            "modbus.subfunction_code": subfunction,
            "modbus.subfunction": names.get(subfunction) if subfunction is not None else None,
            "modbus.exception_code": exception,
            "modbus.exception": t.EXCEPTIONS.get(exception) if exception is not None else None,
            **{f"modbus.{name}": value for name, value in more.items()},
        }
    )
