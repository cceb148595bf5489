"""BACnet parameters, compiled: tags one after the other, and what the services put into the narrow row.

Source: ANSI/ASHRAE 135-2020, clause 20.2 (encoding of tags) and 21 (parameters of the services).
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u32be
from sensor.decode.pdu import NO_VALUE, Anomaly, hash_bytes
from sensor.protocols import bacnet_tables as t
from sensor.protocols.real import rounded

NO_PROPERTY = 0x3FFFFF
LENGTH, ILLEGAL = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL)
NOTHING = int(NO_VALUE)
READ_PROPERTY_MULTIPLE, WRITE_PROPERTY_MULTIPLE = t.READ_PROPERTY_MULTIPLE, t.WRITE_PROPERTY_MULTIPLE

# Tables by service choice; unconfirmed services stand from OFFSET on. APPLICATION stands for an application tag.
OFFSET, APPLICATION = 64, 15
KNOWN = np.zeros(128, dtype=np.bool_)
KNOWN[list(t.CONFIRMED)] = True
KNOWN[[OFFSET + code for code in t.UNCONFIRMED]] = True
_OBJECT = np.full(128, -1, dtype=np.int64)  # tag of the object identifier
_PROPERTY = np.full(128, -1, dtype=np.int64)  # context tag of the property
_VALUE = np.full(128, -1, dtype=np.int64)  # context tag of the value or state
_HASHED = np.zeros(128, dtype=np.int64)  # bits of the tags that are part of the behaviour
for _service, _object, _property, _value, _hashed in (
    (t.ACKNOWLEDGE_ALARM, 1, -1, -1, (1,)),
    (t.CONFIRMED_COV, 2, -1, -1, (2,)),
    (t.CONFIRMED_EVENT, 2, -1, -1, (2,)),
    (t.SUBSCRIBE_COV, 1, -1, -1, (1, 2)),
    (t.SUBSCRIBE_COV_PROPERTY, 1, -1, -1, (1, 2, 4)),
    (t.ATOMIC_READ_FILE, APPLICATION, -1, -1, (APPLICATION,)),
    (t.ATOMIC_WRITE_FILE, APPLICATION, -1, -1, (APPLICATION,)),
    (t.ADD_LIST_ELEMENT, 0, 1, -1, (0, 1, 2)),
    (t.REMOVE_LIST_ELEMENT, 0, 1, -1, (0, 1, 2)),
    (t.CREATE_OBJECT, -1, -1, -1, (0,)),
    (t.DELETE_OBJECT, APPLICATION, -1, -1, (APPLICATION,)),
    (t.READ_PROPERTY, 0, 1, 3, (0, 1, 2)),
    (t.READ_PROPERTY_MULTIPLE, 0, -1, -1, (0, 1)),
    (t.WRITE_PROPERTY, 0, 1, 3, (0, 1, 2, 4)),
    (t.WRITE_PROPERTY_MULTIPLE, 0, -1, -1, (0, 1)),
    (t.DEVICE_COMMUNICATION_CONTROL, -1, -1, 1, (1,)),
    (t.PRIVATE_TRANSFER, -1, -1, -1, (0, 1)),
    (t.REINITIALIZE_DEVICE, -1, -1, 0, (0,)),
    (t.READ_RANGE, 0, 1, -1, (0, 1, 2)),
    (t.LIFE_SAFETY_OPERATION, 3, -1, 2, (2, 3)),
    (OFFSET + t.I_AM, APPLICATION, -1, -1, (APPLICATION,)),
    (OFFSET + t.I_HAVE, APPLICATION, -1, -1, (APPLICATION,)),
    (OFFSET + t.UNCONFIRMED_COV, 2, -1, -1, (2,)),
    (OFFSET + t.UNCONFIRMED_EVENT, 2, -1, -1, (2,)),
    (OFFSET + t.UNCONFIRMED_PRIVATE_TRANSFER, -1, -1, -1, (0, 1)),
    (OFFSET + t.WHO_HAS, 2, -1, -1, (0, 1, 2, 3)),
    (OFFSET + t.WHO_IS, -1, -1, -1, (0, 1)),
    (OFFSET + t.WRITE_GROUP, -1, -1, -1, (0, 1)),
):
    _OBJECT[_service], _PROPERTY[_service], _VALUE[_service] = _object, _property, _value
    _HASHED[_service] = sum(1 << tag for tag in _hashed)
I_AM, UNCONFIRMED_COV, UNCONFIRMED_EVENT = t.I_AM, t.UNCONFIRMED_COV, t.UNCONFIRMED_EVENT

# What stands at a tag: application data, context data, the opening and closing of a list, nothing
APPLICATION_TAG, CONTEXT_TAG, OPENING, CLOSING, NO_TAG = range(5)


@njit(cache=True, nogil=True, boundscheck=True)
def tag(buf, at, end):
    """(kind, number, contents, behind them) of the tag at `at` (20.2.1); NO_TAG where none is whole."""
    nothing = np.int64(NO_TAG)
    if at + 1 > end:
        return nothing, np.int64(-1), end, end
    octet = np.int64(buf[at])
    number, low = octet >> 4, octet & 7
    at += 1
    if number == 15:
        if at + 1 > end:
            return nothing, np.int64(-1), end, end
        number = np.int64(buf[at])
        at += 1
    if octet & 8:
        if low == 6 or low == 7:
            return np.int64(OPENING) if low == 6 else np.int64(CLOSING), number, at, at
    elif low > 5:
        return nothing, number, end, end
    elif number == 1:  # a Boolean has its value in the length
        return np.int64(APPLICATION_TAG), number, at, at
    length = low
    if low == 5:
        if at + 1 > end:
            return nothing, number, end, end
        length = np.int64(buf[at])
        at += 1
        if length == 254:
            if at + 2 > end:
                return nothing, number, end, end
            length = u16be(buf, at)
            at += 2
        elif length == 255:
            if at + 4 > end:
                return nothing, number, end, end
            length = u32be(buf, at)
            at += 4
    if at + length > end:
        return nothing, number, end, end
    return np.int64(CONTEXT_TAG) if octet & 8 else np.int64(APPLICATION_TAG), number, at, at + length


@njit(cache=True, nogil=True, boundscheck=True)
def unsigned(buf, at, end):
    """Big-endian number of up to 8 octets, -1 of more or none."""
    if end <= at or end - at > 8:
        return np.int64(-1)
    value = np.int64(0)
    for k in range(at, end):
        value = (value << 8) | np.int64(buf[k])
    return value


@njit(cache=True, nogil=True, boundscheck=True)
def _number(buf, head, number, at, end):
    """The number in application data: Boolean, unsigned, signed, real, double, enumerated; NO_VALUE of other types."""
    if number == 1:
        return np.int64(buf[head]) & 7
    size = end - at
    if size < 1 or size > 8:
        return NOTHING
    value = unsigned(buf, at, end)
    if number == 2 or number == 9:
        return value
    if number == 3:
        return value - (np.int64(1) << (8 * size)) if size < 8 and value >> (8 * size - 1) else value
    if (number == 4 and size == 4) or (number == 5 and size == 8):
        return rounded(value, size)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def parameters(buf, at, end, index, pdu):
    """Walk the parameters of a service: object, property, value, hash. index: into the tables by service.

    Values are left out of the hash: in a WritePropertyMultiple they stand in an opening tag 2 inside of the list.
    """
    depth, outer = 0, np.int64(-1)
    skipped = 0  # depth at which a value was opened, 0 outside of values
    mask, wanted = _HASHED[index], _OBJECT[index]
    identifier, prop, properties = np.int64(-1), np.int64(-1), 0
    device = np.int64(-1)
    while at < end:  # each turn takes an octet at least
        kind, number, begin, behind = tag(buf, at, end)
        if kind == NO_TAG:
            pdu.anomalies |= LENGTH
            return
        if kind == CLOSING:
            depth -= 1
            if depth < 0:
                pdu.anomalies |= ILLEGAL
                return
            if skipped > depth:
                skipped = 0
        if depth == 0 and kind != CLOSING:
            outer = np.int64(APPLICATION) if kind == APPLICATION_TAG else number
        if depth == 0 and kind in (APPLICATION_TAG, CONTEXT_TAG):
            contents = unsigned(buf, begin, behind)
            if outer == wanted and identifier < 0 and behind - begin == 4:
                identifier = contents
            elif kind == CONTEXT_TAG and number == _PROPERTY[index] and prop < 0:
                prop = contents
            elif kind == CONTEXT_TAG and number == _VALUE[index] and pdu.value == NOTHING:
                pdu.value = contents
            if kind == CONTEXT_TAG and number == 1 and behind - begin == 4:
                device = contents
        elif depth == 1 and kind == CONTEXT_TAG and number == 0 and outer == 1:
            properties += 1
            if prop < 0 and index in (READ_PROPERTY_MULTIPLE, WRITE_PROPERTY_MULTIPLE):
                prop = unsigned(buf, begin, behind)
        elif (
            kind == APPLICATION_TAG
            and pdu.value == NOTHING
            and ((depth == 1 and outer == _VALUE[index]) or (skipped and index == WRITE_PROPERTY_MULTIPLE))
        ):
            pdu.value = _number(buf, at, number, begin, behind)
        if kind == OPENING:
            depth += 1
            if depth == 2 and number == 2 and index == WRITE_PROPERTY_MULTIPLE and not skipped:
                skipped = depth
        if not skipped and 0 <= outer <= APPLICATION and (mask >> outer) & 1:
            pdu.detail = hash_bytes(pdu.detail, buf, at, behind)
        at = behind
    if depth:
        pdu.anomalies |= ILLEGAL
    if identifier >= 0:
        pdu.object = (identifier << 22) | (prop & NO_PROPERTY if prop >= 0 else NO_PROPERTY)
    if index in (READ_PROPERTY_MULTIPLE, WRITE_PROPERTY_MULTIPLE):
        pdu.quantity = properties
    if index == OFFSET + I_AM and identifier >= 0:
        pdu.station = identifier & 0x3FFFFF
    elif index in (OFFSET + UNCONFIRMED_COV, OFFSET + UNCONFIRMED_EVENT) and device >= 0:
        pdu.station = device & 0x3FFFFF
