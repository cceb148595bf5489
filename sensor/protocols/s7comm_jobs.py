"""Jobs and acknowledgements (ROSCTR 1 to 3) of S7comm at full depth."""

from __future__ import annotations

from typing import Any

from sensor.decode.pdu import ABSENT
from sensor.operations import Verb
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_blocks import describe_pi_service, describe_transfer_answer, describe_transfer_job
from sensor.protocols.s7comm_errors import ERROR_CLASSES, ERRORS
from sensor.protocols.s7comm_items import (
    Item,
    Octets,
    data_items,
    describe,
    describe_data,
    printable,
    return_name,
    specifications,
)

HEADER = 10  # octets before the parameters of a job


def describe_error(octets: Octets, out: dict[str, Any]) -> None:
    error_class, code = octets.number(), octets.number()
    out["s7comm.error_class"] = error_class
    out["s7comm.error_class_name"] = ERROR_CLASSES.get(error_class, "unknown")
    out["s7comm.error_code"] = code
    out["s7comm.error_number"] = error_class << 8 | code
    out["s7comm.error_name"] = ERRORS.get(error_class << 8 | code, "unknown")


def verb_of(request: bytes | None) -> Verb:
    """What the request of an acknowledgement asked for; an acknowledgement may not say it itself."""
    if request is None or len(request) <= HEADER or request[1] != t.JOB:
        return Verb.UNKNOWN
    verb = t.VERBS.get((request[HEADER], ABSENT), Verb.UNKNOWN)
    if request[HEADER] == t.PI_SERVICE:
        verb = describe_pi_service(Octets(request[HEADER + 1 :]), {})
    return verb


def describe_job(function: int, parameters: Octets, data: Octets, out: dict[str, Any]) -> Verb | None:
    """Parameters (after the function code) and data of a job. Gives a verb where the table's is too coarse."""
    if function in (t.READ_VARIABLE, t.WRITE_VARIABLE):
        count = parameters.number()
        out["s7comm.item_count"] = count
        items = specifications(parameters, count)
        describe(items, out)
        if function == t.WRITE_VARIABLE:
            describe_data(data_items(data, count, answers=False), items, out)
    elif function == t.SETUP_COMMUNICATION:
        _setup(parameters, out)
    elif t.REQUEST_DOWNLOAD <= function <= t.END_UPLOAD:
        describe_transfer_job(function, parameters, out)
    elif function == t.PI_SERVICE:
        return describe_pi_service(parameters, out)
    elif function == t.PLC_STOP:
        parameters.take(5)
        out["s7comm.service"] = printable(parameters.take(parameters.number()))
    return None


def describe_answer(
    function: int, parameters: Octets, data: Octets, request: bytes | None, out: dict[str, Any]
) -> None:
    """Parameters (after the function code) and data of an acknowledgement with data."""
    if function in (t.READ_VARIABLE, t.WRITE_VARIABLE):
        count = parameters.number()
        out["s7comm.item_count"] = count
        asked = _asked(function, request)
        if asked:
            describe(asked, out)
        if function == t.READ_VARIABLE:
            found = data_items(data, count, answers=True)
            describe_data(found, asked, out)
        else:
            codes = list(data.take(count))
            out["s7comm.return_codes"] = codes
            out["s7comm.return_names"] = [return_name(code) for code in codes]
    elif function == t.SETUP_COMMUNICATION:
        _setup(parameters, out)
    elif t.REQUEST_DOWNLOAD <= function <= t.END_UPLOAD:
        describe_transfer_answer(function, parameters, data, out)
    elif function == t.PI_SERVICE and parameters.left:
        out["s7comm.function_status"] = parameters.number()


def _setup(parameters: Octets, out: dict[str, Any]) -> None:
    if parameters.left:
        parameters.take(1)
        out["s7comm.max_amq_calling"] = parameters.number(2)
        out["s7comm.max_amq_called"] = parameters.number(2)
        out["s7comm.pdu_length"] = parameters.number(2)


def _asked(function: int, request: bytes | None) -> list[Item]:
    """The variables that the request of an acknowledged read or write named."""
    if request is None or len(request) < HEADER + 2 or request[1] != t.JOB or request[HEADER] != function:
        return []
    return specifications(
        Octets(request[HEADER + 2 : HEADER + int.from_bytes(request[6:8], "big")]), request[HEADER + 1]
    )
