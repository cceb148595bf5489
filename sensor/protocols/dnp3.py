"""DNP3 application layer (IEEE 1815-2012, clause 4; object library: Annex A): one whole application fragment a PDU.

Link frames and transport segments are put together before (`dnp3_link.py`); the objects are data (`dnp3_objects.py`),
and their contents become readable in `dnp3_values.py`. What the narrow row means for DNP3:

- station: asker << 16 | asked. The asker is the link source of a request and the link destination of a response.
- transaction: the application sequence number, 0 to 15. Unsolicited responses and their confirmations count on their
  own (4.2): they have 16 added, so that the two never meet.
- object, quantity, detail of a request: the first object header's group << 8 | variation; how many points all headers
  address together ("all points" counts as one); a hash over all headers, point indexes, control codes and file names,
  but not over times, counts and analog values, which change from one repetition to the next. An unsolicited response
  has the object of its first header; a solicited one inherits from its request.
- value: control code of the first control relay output block, or the first analog output value, rounded.
- status: the internal indications of a response, first octet high (IIN1 << 8 | IIN2). A response refuses when it says
  that it does not know the function, the object or a parameter, or when any control that it echoes did not succeed.

A later fragment of a response (FIR 0) has the next sequence number, not that of its request (4.2): it `continues`.

Not decoded: data sets (groups 85 to 88), device profiles and private registration objects are delimited and given as
octets; secure authentication is shown, not verified.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sensor.decode.load import u16be, u16le
from sensor.decode.pdu import NO_VALUE, PDU, Anomaly, Kind, Protocol, clear, hash_bytes, mix
from sensor.operations import Verb
from sensor.protocols.dnp3_link import BROADCASTS, Int, Octets, u8
from sensor.protocols.dnp3_objects import ATTRIBUTES
from sensor.protocols.dnp3_points import Points, object_types
from sensor.protocols.dnp3_values import indications
from sensor.protocols.dnp3_walk import ALL_POINTS, ILLEGAL, LENGTH, PREFIX_OCTETS, header, number, object_bits

# Application control octet (4.2).
FIR, FIN, CON, UNS, SEQ = 0x80, 0x40, 0x20, 0x10, 0x0F

CONFIRM, READ, WRITE, LAST_REQUEST = 0, 1, 2, 33
RESPONSE, UNSOLICITED_RESPONSE, AUTHENTICATE_RESP = 129, 130, 131

FUNCTIONS: dict[int, tuple[str, Verb]] = {  # 4.2; each code has one verb, `action` refines it by the object
    0: ("confirm", Verb.REPORT),
    1: ("read", Verb.READ),
    2: ("write", Verb.WRITE),
    3: ("select", Verb.COMMAND),
    4: ("operate", Verb.COMMAND),
    5: ("direct_operate", Verb.COMMAND),
    6: ("direct_operate_nr", Verb.COMMAND),
    7: ("immed_freeze", Verb.WRITE),
    8: ("immed_freeze_nr", Verb.WRITE),
    9: ("freeze_clear", Verb.WRITE),
    10: ("freeze_clear_nr", Verb.WRITE),
    11: ("freeze_at_time", Verb.WRITE),
    12: ("freeze_at_time_nr", Verb.WRITE),
    13: ("cold_restart", Verb.RESTART),
    14: ("warm_restart", Verb.RESTART),
    15: ("initialize_data", Verb.CONFIGURE),
    16: ("initialize_appl", Verb.CONFIGURE),
    17: ("start_appl", Verb.START),
    18: ("stop_appl", Verb.STOP),
    19: ("save_config", Verb.CONFIGURE),
    20: ("enable_unsolicited", Verb.REPORT),
    21: ("disable_unsolicited", Verb.SILENCE),
    22: ("assign_class", Verb.CONFIGURE),
    23: ("delay_measure", Verb.DIAGNOSE),
    24: ("record_current_time", Verb.TIME_SET),
    25: ("open_file", Verb.FILE),
    26: ("close_file", Verb.FILE),
    27: ("delete_file", Verb.FILE),
    28: ("get_file_info", Verb.FILE),
    29: ("authenticate_file", Verb.AUTHENTICATE),
    30: ("abort_file", Verb.FILE),
    31: ("activate_config", Verb.CONFIGURE),
    32: ("authenticate_req", Verb.AUTHENTICATE),
    33: ("auth_req_no_ack", Verb.AUTHENTICATE),
    129: ("response", Verb.REPORT),
    130: ("unsolicited_response", Verb.REPORT),
    131: ("authenticate_resp", Verb.AUTHENTICATE),
}
VERBS: dict[int, Verb] = {code: verb for code, (_, verb) in FUNCTIONS.items()}

# A write or read of these groups is not just that; where several come together, the first here names it.
FINER_VERBS: dict[int, dict[int, Verb]] = {
    WRITE: {10: Verb.COMMAND, 50: Verb.TIME_SET, 34: Verb.CONFIGURE, 0: Verb.CONFIGURE, 70: Verb.FILE},
    READ: {70: Verb.FILE, 0: Verb.IDENTIFY},
}

IIN_REFUSED = 0x0007
IIN_RESERVED = 0x00C0

# ---- the compiled part ----

NO_ANSWER = np.zeros(256, np.uint8)  # functions that the standard leaves unanswered
NO_ANSWER[[0, 6, 8, 10, 12, 33]] = 1

UNKNOWN_FUNCTION = int(Anomaly.UNKNOWN_FUNCTION)
IS_REQUEST, IS_RESPONSE, IS_UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
DNP3 = int(Protocol.DNP3)
NOTHING = int(NO_VALUE)
INT64_LIMIT = float(1 << 63)
BINARY_OUTPUT, CONTROL, ANALOG_OUTPUT, FILE, INDICATIONS, APPLICATION = 10, 12, 41, 70, 80, 90
FILE_NAME_AT = 26  # octets before the name in a file command (g70v3)


@njit(cache=True, nogil=True, boundscheck=True)
def _analog(buf: Octets, at: Int, variation: Int) -> Int:
    """Value of an analog output object (g41) at `at`, rounded; NO_VALUE when it is not finite or does not fit."""
    if variation == 1:
        return number(buf, at, 4) - ((number(buf, at, 4) >> 31) << 32)
    if variation == 2:
        return number(buf, at, 2) - ((number(buf, at, 2) >> 15) << 16)
    exponent_bits, fraction_bits = (8, 23) if variation == 3 else (11, 52)  # IEEE 754 binary32, binary64
    bits = number(buf, at, 4 if variation == 3 else 8)
    exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return NOTHING
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent > 0:
        fraction |= 1 << fraction_bits
    shift = max(exponent, 1) - (1 << (exponent_bits - 1)) + 1 - fraction_bits
    value = np.rint(float(fraction) * 2.0**shift)
    if value >= INT64_LIMIT:
        return NOTHING
    negative = (bits >> (exponent_bits + fraction_bits)) & 1
    return -np.int64(value) if negative else np.int64(value)


@njit(cache=True, nogil=True, boundscheck=True)
def _controls(buf: Octets, at: Int, end: Int, prefix: Int, group: Int, variation: Int, h: Int, pdu: Any) -> Int:
    """Go through commands (g12, g41): hash indexes and control codes, keep the first value, note a refusal."""
    octets = PREFIX_OCTETS[prefix]
    size = object_bits(group, variation) // 8
    while at + octets + size <= end and size > 1:
        h = mix(h, number(buf, at, octets))
        if group == CONTROL:
            h = mix(h, u8(buf, at + octets))
        if pdu.value == NOTHING:
            pdu.value = u8(buf, at + octets) if group == CONTROL else _analog(buf, at + octets, variation)
        if pdu.kind == IS_RESPONSE and (buf[at + octets + size - 1] & 0x7F) != 0:
            pdu.refused = 1
        at += octets + size
    return h


@njit(cache=True, nogil=True, boundscheck=True)
def _detail(buf: Octets, at: Int, end: Int, prefix: Int, group: Int, variation: Int, h: Int, with_objects: Int) -> Int:
    """Hash what tells two requests with the same object headers apart: point indexes, output states, names."""
    octets = PREFIX_OCTETS[prefix]
    if group in (BINARY_OUTPUT, CONTROL, INDICATIONS, APPLICATION):
        return hash_bytes(h, buf, at, end)
    if 1 <= prefix <= 3:
        stride = octets
        if with_objects == 1:
            stride += max(0, object_bits(group, variation)) // 8
        while at + octets <= end and group != ATTRIBUTES:
            h = mix(h, number(buf, at, octets))
            at += stride
    elif group == FILE and variation in (3, 7, 8):
        name_at = at + octets + (FILE_NAME_AT if variation == 3 else 20 if variation == 7 else 0)
        if variation == 3 and name_at <= end:
            h = mix(h, u16le(buf, at + octets + 20))  # mode: read, write, append
        if name_at < end:
            h = hash_bytes(h, buf, name_at, end)
    return h


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf: Octets, at: Int, end: Int, source: Int, destination: Int, seed: Int, pdu: Any) -> None:
    """Fill a cleared PDU record from the application fragment buf[at:end], of 0 to 65,535 octets.

    source, destination: link addresses of the frames that carried it.
    """
    pdu.protocol = DNP3
    if end - at < 2:
        pdu.anomalies |= LENGTH
        if end > at:
            pdu.transaction = buf[at] & (UNS | SEQ)
        return
    control, function = u8(buf, at), u8(buf, at + 1)
    at += 2
    pdu.function = function
    pdu.transaction = control & (UNS | SEQ)
    if LAST_REQUEST < function < RESPONSE or function > AUTHENTICATE_RESP:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if function < RESPONSE:
        pdu.kind = IS_REQUEST
        pdu.station = source << 16 | destination
        if NO_ANSWER[function] == 0 and destination < BROADCASTS[0] and control & FIN:
            pdu.expects = 1
        if control & UNS and function != CONFIRM:
            pdu.anomalies |= ILLEGAL
    else:
        pdu.kind = IS_UNSOLICITED if function == UNSOLICITED_RESPONSE else IS_RESPONSE
        pdu.station = destination << 16 | source
        pdu.continues = 0 if control & FIR else 1
        if (control & UNS != 0) != (function == UNSOLICITED_RESPONSE):
            pdu.anomalies |= ILLEGAL
        if function > AUTHENTICATE_RESP:
            return  # nobody knows what follows
        if end - at < 2:
            pdu.anomalies |= LENGTH
            return
        pdu.status = u16be(buf, at)
        at += 2
        if pdu.status & IIN_RESERVED:
            pdu.anomalies |= ILLEGAL
        if pdu.status & IIN_REFUSED:
            pdu.refused = 1
    _read_objects(buf, at, end, function, seed, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _read_objects(buf: Octets, at: Int, end: Int, function: Int, seed: Int, pdu: Any) -> None:
    """Walk the object headers in buf[at:end] and fill in object, quantity, detail, value, refused and anomalies."""
    h = np.uint64(seed)
    points = np.int64(0)
    first = np.int64(-1)
    while at < end:
        anomalies, qualifier, start, count, objects, after, with_objects = header(buf, at, end, function)
        pdu.anomalies |= anomalies
        if end - at < 3:
            break
        group, variation, prefix = u8(buf, at), u8(buf, at + 1), (qualifier >> 4) & 7
        if first < 0:
            first = group << 8 | variation
        points += 1 if qualifier & 15 == ALL_POINTS else count
        h = mix(h, group << 16 | variation << 8 | qualifier)
        h = mix(h, start + 1)
        if prefix < 4:
            h = mix(h, count)
        if with_objects == 1 and prefix < 4 and (group == ANALOG_OUTPUT or (group == CONTROL and variation < 3)):
            h = _controls(buf, objects, after, prefix, group, variation, h, pdu)
        elif pdu.kind == IS_REQUEST:
            h = _detail(buf, objects, after, prefix, group, variation, h, with_objects)
        at = after
    if first < 0:
        return
    if pdu.kind == IS_REQUEST:
        pdu.object = first
        pdu.quantity = min(points, 0x7FFFFFFF)
        pdu.detail = h
    elif pdu.kind == IS_UNSOLICITED:
        pdu.object = first


# ---- full depth ----


def _octets(fragment: bytes) -> Octets:
    """A writable array, the type for which the kernel has compiled the walk already."""
    return np.frombuffer(bytearray(fragment), np.uint8)


def action(fragment: bytes) -> Verb:
    """The verb of a fragment: its function's, or a finer one where its objects say more."""
    if len(fragment) < 2:
        return Verb.UNKNOWN
    function = fragment[1]
    if function in FINER_VERBS:
        groups = {group for group, _ in object_types(_octets(fragment), 2, function)}
        for group, verb in FINER_VERBS[function].items():
            if group in groups:
                return verb
    return VERBS.get(function, Verb.UNKNOWN)


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of an application fragment, by the names of `sensor/schema.py`. Never raises.

    request: the fragment that a response answers, where known; `event.action` is then the request's.
    """
    octets = _octets(pdu)
    record = np.zeros(1, PDU)[0]
    clear(record)
    read(octets, 0, len(pdu), 0, 0, np.uint64(0), record)
    answers = kind == Kind.RESPONSE and request is not None
    fields: dict[str, Any] = {"event.action": str(action(request if answers and request is not None else pdu))}
    if pdu:
        control = pdu[0]
        fields["dnp3.sequence"] = control & SEQ
        for name, bit in (("fir", FIR), ("fin", FIN), ("con", CON), ("uns", UNS)):
            fields[f"dnp3.control.{name}"] = bool(control & bit)
    if len(pdu) >= 2:
        function = pdu[1]
        fields["dnp3.function_code"] = function
        fields["dnp3.function"] = FUNCTIONS[function][0] if function in FUNCTIONS else f"function_{function}"
        if record["status"] >= 0:
            status = int(record["status"])
            fields["dnp3.iin"] = status
            if status:
                fields["dnp3.iin_bits"] = indications(status)
        if function in FUNCTIONS and (function < RESPONSE or record["status"] >= 0):
            fields |= Points(octets, function).walk(2 if function < RESPONSE else 4)
    anomalies = Anomaly(int(record["anomalies"]))
    if anomalies:
        fields["anomalies"] = [str(bit.name).lower() for bit in anomalies]
    return fields
