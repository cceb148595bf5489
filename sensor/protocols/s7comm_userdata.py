"""User data (ROSCTR 7) of S7comm at full depth: one function for each group, chosen by the parameters."""

from __future__ import annotations

from typing import Any

from sensor.operations import Verb
from sensor.protocols import s7comm_events as events
from sensor.protocols import s7comm_szl as szl
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_blocks import describe_block_function
from sensor.protocols.s7comm_errors import ERRORS
from sensor.protocols.s7comm_items import (
    Item,
    Octets,
    data_items,
    describe,
    describe_data,
    printable,
    return_name,
    specification,
    specifications,
    status_item,
)


def describe_userdata(parameters: Octets, data: Octets, request: bytes | None, out: dict[str, Any]) -> Verb:
    """Fields of one user data PDU. request: the matched request's PDU, where known. Gives what the PDU does.

    parameters: head, count, 0x12, length, syntax, type and group, sub-function, sequence; then, with the extended
    syntax, data unit reference, 0 for the last data unit, error number.
    """
    head = parameters.number()
    parameters.take(2)
    length, syntax = parameters.number(), parameters.number()
    if syntax == t.R_ID and length == 6:
        return _usend(parameters, data, out)
    type_and_group, code, sequence = parameters.number(), parameters.number(), parameters.number()
    kind, group = type_and_group >> 6, type_and_group & 0x3F
    out["s7comm.userdata.type"] = t.USERDATA_TYPES.get(kind, "reserved")
    out["s7comm.userdata.group"] = group
    out["s7comm.userdata.group_name"] = t.GROUPS.get(group, "unknown")
    if group == t.MODE_TRANSITION and head == 1:  # the octet of the sub-function is the mode
        out["s7comm.mode"] = code
        out["s7comm.mode_name"] = t.MODES.get(code, "unknown")
        return Verb.REPORT
    known = 0 if group == t.PBC else code  # sources do not agree on what this octet says in group 6
    name, verb = t.SUBFUNCTIONS.get(group, {}).get(known, ("unknown", Verb.UNKNOWN))
    out["s7comm.userdata.subfunction"] = code
    out["s7comm.userdata.subfunction_name"] = name
    out["s7comm.userdata.sequence"] = sequence
    reference, more = 0, 0
    if parameters.left >= 4:
        reference, more, error = parameters.number(), parameters.number(), parameters.number(2)
        out["s7comm.userdata.data_unit_reference"] = reference
        out["s7comm.userdata.last_data_unit"] = more == 0
        if kind == t.ANSWER:
            out["s7comm.error_number"] = error
            out["s7comm.error_name"] = ERRORS.get(error, "unknown")
    if data.left >= 4:
        return_code, size, length = data.number(), data.number(), data.number(2)
        out["s7comm.userdata.return_code"] = return_code
        no_data = return_code == t.NO_OBJECT and length == 0
        out["s7comm.userdata.return_name"] = "no_data" if no_data else return_name(return_code)
        payload = Octets(data.take((length + 7) >> 3 if size in t.BIT_COUNTED else length))
        if _begins(kind, reference, more, request):
            _payload(group, code, kind, payload, request, out)
            if more:  # the message goes on: what is missing comes with the next data unit
                payload.short = False
            data.short |= payload.short
        else:
            out["s7comm.userdata.continues"] = True
    return verb


def _begins(kind: int, reference: int, more: int, request: bytes | None) -> bool:
    """Whether a PDU's payload begins a message; a later data unit has no head of its own.

    All data units of a message carry one reference, which is 0 where the first is the last. What lies between the first
    and the last shows only in the request, which has no payload when it asks for more.
    """
    if kind != t.ANSWER or reference == 0:
        return True
    if more == 0:
        return False
    return request is None or len(request) < 10 or int.from_bytes(request[8:10], "big") > 4


def _usend(parameters: Octets, data: Octets, out: dict[str, Any]) -> Verb:
    """USEND of a programmed block: R_ID in the parameters; return code, octet, count and data items in the data."""
    parameters.take(1)
    out["s7comm.r_id"] = f"0x{parameters.number(4):08X}"
    out["s7comm.userdata.type"] = t.USERDATA_TYPES[t.INDICATION]
    if data.left >= 4:
        data.take(2)
        count = data.number(2)
        out["s7comm.item_count"] = count
        describe_data(data_items(data, count, answers=False), [], out)
    return Verb.WRITE


def _payload(group: int, code: int, kind: int, octets: Octets, request: bytes | None, out: dict[str, Any]) -> None:
    """Read the payload of one group, behind the head of the data."""
    if group == t.PROGRAMMER:
        _programmer(code, kind, octets, out)
    elif group == t.CYCLIC:
        _cyclic(code, kind, octets, _subscribed(request) if kind == t.ANSWER else [], out)
    elif group == t.BLOCKS:
        describe_block_function(octets, code, kind, out)
    elif group == t.CPU:
        _cpu(code, kind, octets, out)
    elif group == t.PBC:
        _bsend(octets, out)
    elif group == t.TIME and octets.left >= 10:
        octets.take(2)  # reserved, century; CPUs fill the century wrongly
        if moment := events.clock(octets.take(8)):
            out["s7comm.time"] = moment
    elif group == t.NC:
        _nc(code, kind, octets, out)
    # Security carries passwords: nothing of it is read out. Data record routing is not understood.


def _cpu(code: int, kind: int, octets: Octets, out: dict[str, Any]) -> None:
    if not octets.left:
        return
    if code == t.READ_SZL:
        if kind == t.ASK:
            szl.describe_request(octets, out)
        else:
            szl.describe_response(octets, out)
    elif code == t.MESSAGE_SERVICE:
        events.describe_message_service(octets, kind, out)
    elif code == t.DIAGNOSTIC_MESSAGE:
        events.describe_diagnostic(octets, out)
    elif code == t.AR_SEND:
        out["s7comm.r_id"] = specification(octets).address
        out["s7comm.transferred_octets"] = octets.left
    elif code == t.ALARM_QUERY and kind == t.ANSWER:
        events.describe_alarm_query_answer(octets, out)
    elif code in t.SUBFUNCTIONS[t.CPU]:
        events.describe_alarm(octets, code, kind, out)


def _subscribed(request: bytes | None) -> list[Item]:
    """The variables that a cyclic request names, behind header, parameters, head of the data and four octets."""
    if request is None or len(request) < 10:
        return []
    payload = Octets(request[14 + int.from_bytes(request[6:8], "big") :])
    payload.take(1)
    count = payload.number()
    payload.take(2)
    return specifications(payload, count)


def _cyclic(code: int, kind: int, octets: Octets, subscribed: list[Item], out: dict[str, Any]) -> None:
    if code == t.UNSUBSCRIBE:
        if kind == t.ASK:
            out["s7comm.cyclic.function"] = octets.number()
            out["s7comm.cyclic.job"] = octets.number()
        return
    if code not in t.SUBFUNCTIONS[t.CYCLIC] or not octets.left:
        return
    octets.take(1)
    count = octets.number()
    out["s7comm.item_count"] = count
    if code == t.READ_RECORD:
        if kind == t.ASK:
            describe(specifications(octets, count), out)
        elif count:
            out["s7comm.return_codes"] = [octets.number()]
            out["s7comm.return_names"] = [return_name(out["s7comm.return_codes"][0])]
    elif kind == t.ASK:
        base, factor = octets.number(), octets.number()
        if base in t.TIME_BASES_MS:
            out["s7comm.cyclic.interval"] = t.TIME_BASES_MS[base] * factor
        describe(specifications(octets, count), out)
    else:
        describe_data(data_items(octets, count, answers=True), subscribed, out)


def _programmer(code: int, kind: int, octets: Octets, out: dict[str, Any]) -> None:
    """Sizes of parameters and of data, then both."""
    if not octets.left:
        return
    size, rest = octets.number(2), octets.number(2)
    parameters, data = Octets(octets.take(size)), Octets(octets.take(rest))
    if kind == t.ASK:
        _programmer_parameters(parameters, out)
    if t.DISABLE_JOB <= code <= t.REPLACE_JOB:
        _programmer_jobs(code, kind, data, out)
    elif code in (t.VARIABLE_STATUS, t.MODIFY_VARIABLE, t.FORCE) and data.left:
        count = data.number(2)
        out["s7comm.item_count"] = count
        if kind == t.ASK:
            items = []
            for _ in range(count):
                if data.left < 6:
                    data.short = True
                    break
                items.append(status_item(data))
            describe(items, out)
            if code != t.VARIABLE_STATUS:
                describe_data(data_items(data, count, answers=False, fill_last=True), items, out)
        elif code == t.VARIABLE_STATUS:
            describe_data(data_items(data, count, answers=True, fill_last=True), [], out)
        else:
            codes = list(data.take(count))
            out["s7comm.return_codes"] = codes
            out["s7comm.return_names"] = [return_name(c) for c in codes]
    octets.short |= data.short


def _programmer_parameters(octets: Octets, out: dict[str, Any]) -> None:
    """Ten words of which the last is the trigger point; block commands add type, number and address of a block."""
    if octets.left < 20:
        return
    octets.take(18)
    trigger = octets.number(2)
    out["s7comm.test.trigger_code"] = trigger
    out["s7comm.test.trigger"] = t.TRIGGER_POINTS.get(trigger, "unknown")
    if octets.left >= 6:
        kind, number = octets.number(2), octets.number(2)
        if kind in t.BLOCK_TYPES:
            out["s7comm.block"] = f"{t.BLOCK_TYPES[kind]}{number}"
            out["s7comm.block_type"] = t.BLOCK_TYPES[kind]
            out["s7comm.block_number"] = number
            out["s7comm.test.block_address"] = octets.number(2)


def _programmer_jobs(code: int, kind: int, octets: Octets, out: dict[str, Any]) -> None:
    """Jobs of the test functions: which function each runs, and its number."""
    read_list = 0x10
    if kind == t.ASK and code != read_list and octets.left:
        if code in (t.DELETE_JOB, t.REPLACE_JOB):
            octets.take(2)
        out["s7comm.test.jobs"] = [_job_name(octets)]
    elif kind != t.ASK and code == read_list:
        jobs = []
        while octets.left >= 4:
            jobs.append(_job_name(octets))
            octets.take(2)
        out["s7comm.test.jobs"] = jobs


def _job_name(octets: Octets) -> str:
    function, number = octets.number(), octets.number()
    name = t.SUBFUNCTIONS[t.PROGRAMMER].get(function, (f"0x{function:02X}", Verb.UNKNOWN))[0]
    return f"{name}/{number}"


def _bsend(octets: Octets, out: dict[str, Any]) -> None:
    if octets.left >= 8:
        octets.take(4)
        out["s7comm.r_id"] = f"0x{octets.number(4):08X}"
        out["s7comm.transferred_octets"] = max(octets.left - 2, 0)


def _nc(code: int, kind: int, octets: Octets, out: dict[str, Any]) -> None:
    """File transfer of a numerical control: only its requests carry the name alone."""
    if kind == t.ASK and code == t.NC_REQUEST_DOWNLOAD:
        out["s7comm.file"] = printable(octets.rest())
    elif kind == t.ASK and code == t.NC_START_UPLOAD:
        octets.take(2)
        out["s7comm.file"] = printable(octets.rest())
    else:
        out["s7comm.transferred_octets"] = octets.left
