"""DNP3 fragments and link frames, compiled: `read` and `read_link` fill the narrow row of each.

Sources: see dnp3.py, which gives the full depth. What the narrow row means for DNP3 (the rest is as
sensor/decode/pdu.py says):

- station: asker << 16 | asked. The asker is the link source of a request and the link destination of a response.
- transaction: the application sequence number, 0 to 15. Unsolicited responses and their confirmations count on their
  own (4.2): they have 16 added, so that the two never meet.
- object, quantity, detail of a request: the first object header's group << 8 | variation; how many points all headers
  address together ("all points" counts as one); a hash over all headers, point indexes, control codes and file names,
  but not over times, counts and analog values, which change from one repetition to the next. An unsolicited response
  has the object of its first header; a solicited one inherits from its request.
- value: control code of the first control relay output block, the first analog output value, or the first value that
  a response reports (states as 0 and 1, double-bit ones as 0 to 3), rounded.
- status: the internal indications of a response, first octet high (IIN1 << 8 | IIN2), and from bit 16 on the status of
  the first control that did not succeed. A response refuses when it says that it does not know the function, the object
  or a parameter, or when any control that it echoes did not succeed.

A later fragment of a response (FIR 0) has the next sequence number, not that of its request (4.2): it `continues`.

Link frames without user data are PDUs of their own (9.2): function is LINK_REQUEST or LINK_ANSWER | link function. They
keep a link alive; a storm of resets interrupts one. An ACK also answers confirmed user data, so it need not have a
request of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u16le
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind, Protocol, hash_bytes, mix
from sensor.protocols import dnp3_link
from sensor.protocols.dnp3_link import BROADCASTS, HEADER_OCTETS, LINK_FUNCTION, PRM, Int, Octets, u8
from sensor.protocols.dnp3_objects import (
    ATTRIBUTES,
    FLOATING,
    MAX_VARIATION,
    NO_NUMBER,
    SIGNED,
    STATE,
    STATE_PAIR,
    VALUES,
)
from sensor.protocols.dnp3_walk import ALL_POINTS, ILLEGAL, LENGTH, PREFIX_OCTETS, header, number, object_bits

# Application control octet (4.2).
FIR, FIN, CON, UNS, SEQ = 0x80, 0x40, 0x20, 0x10, 0x0F

CONFIRM, READ, WRITE, LAST_REQUEST = 0, 1, 2, 33
RESPONSE, UNSOLICITED_RESPONSE, AUTHENTICATE_RESP = 129, 130, 131

IIN_REFUSED = 0x0007
IIN_RESERVED = 0x00C0
CONTROL_STATUS_SHIFT = 16  # in `status`, above the indications

LINK_REQUEST, LINK_ANSWER = 0x100, 0x180  # in `function`, with the link function of frames without user data
LINK_TRANSACTION = 0x20  # application sequence numbers end below

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
def _measured(buf: Octets, at: Int, end: Int, group: Int, variation: Int) -> Int:
    """The value of the object at `at`; NO_VALUE where it has none, or none that fits."""
    if variation > MAX_VARIATION:
        return NOTHING
    kind, octets = VALUES[group, variation, 0], np.int64(VALUES[group, variation, 2])
    here = at + np.int64(VALUES[group, variation, 1])
    if kind == NO_NUMBER or here + octets > end:
        return NOTHING
    if kind in (STATE, STATE_PAIR):
        flags = u8(buf, here)
        if object_bits(group, variation) < 8:  # packed
            return flags & (1 if kind == STATE else 3)
        return flags >> (7 if kind == STATE else 6)
    if kind == FLOATING:
        return _analog(buf, here, 3 if octets == 4 else 4)
    value = number(buf, here, octets)
    if kind == SIGNED:
        value -= (value >> (8 * octets - 1)) << (8 * octets)
    return value


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
        status = u8(buf, at + octets + size - 1) & 0x7F
        if pdu.kind == IS_RESPONSE and status != 0:
            pdu.refused = 1
            if pdu.status < 1 << CONTROL_STATUS_SHIFT:
                pdu.status |= status << CONTROL_STATUS_SHIFT
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
        elif pdu.kind != IS_REQUEST:
            if with_objects == 1 and pdu.value == NOTHING and prefix < 4:
                pdu.value = _measured(buf, objects + PREFIX_OCTETS[prefix], after, group, variation)
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


@njit(cache=True, nogil=True, boundscheck=True)
def read_link(buf: Octets, at: Int, end: Int, pdu: Any) -> None:
    """Fill a cleared PDU record from the link frame buf[at:end], which carries no user data."""
    pdu.protocol = DNP3
    if end - at < HEADER_OCTETS:
        pdu.anomalies |= LENGTH
        return
    source, destination = dnp3_link.source(buf, at), dnp3_link.destination(buf, at)
    octet = dnp3_link.control(buf, at)
    code = octet & LINK_FUNCTION
    pdu.transaction = LINK_TRANSACTION
    if octet & PRM:
        pdu.kind = IS_REQUEST
        pdu.station = source << 16 | destination
        pdu.function = LINK_REQUEST | code
        if code in (0, 2, 9):
            pdu.expects = 1 if destination < BROADCASTS[0] else 0
        elif code in (3, 4):  # user data, but none is there
            pdu.anomalies |= ILLEGAL
        else:
            pdu.anomalies |= UNKNOWN_FUNCTION
        return
    pdu.kind = IS_RESPONSE
    pdu.station = destination << 16 | source
    pdu.function = LINK_ANSWER | code
    pdu.continues = 1 if code in (0, 1) else 0
    pdu.status = 0
    if code in (1, 15):
        pdu.refused = 1
    elif code not in (0, 11):
        pdu.anomalies |= UNKNOWN_FUNCTION
