"""CIP messages, compiled: the part of the narrow row that EtherNet/IP takes from the message it carries.

Source: The CIP Networks Library, Volume 1, 2-4 (message router request and response); tags: 1756-PM020. How the PDU
record is filled:

- subfunction: the service, without the 0x80 of responses; of an Unconnected Send that of the message in it.
- object: class << 47 | instance << 15 | attribute, each cut to its bits; absent for tags.
- quantity: elements of a tag, attributes of a list, services of a packet. value: the first element that is written or
  read, where type or length say what it is.
- status: general status | first word of the extended status << 8; of PCCC 0x1000000 | its status.
- detail: route, path and, of a packet, services and paths of all that is in it; of attribute lists read, the list; of
  PCCC the command and address. Values that are written are no part of it.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind, hash_bytes, mix
from sensor.protocols import cip_path
from sensor.protocols import cip_tables as t
from sensor.protocols.little_endian import unsigned
from sensor.protocols.real import rounded

MAX_NESTED = 3  # Unconnected Sends in each other; one is usual, two cross two bridges
MAX_SERVICES = 256  # of a packet that are looked at; a packet of 4,000 octets holds some 200

REQUEST, RESPONSE = int(Kind.REQUEST), int(Kind.RESPONSE)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)
NOTHING = int(NO_VALUE)

_KNOWN = np.zeros(128, dtype=np.bool_)
_KNOWN[list(t.COMMON_SERVICES)] = True
_KNOWN[0x32:0x64] = True  # vendor and object specific
_OCTETS = np.zeros(256, dtype=np.int64)  # of elementary data types
_OCTETS[list(t.DATA_TYPES)] = [octets for _, octets in t.DATA_TYPES.values()]
_SIGNED = np.zeros(256, dtype=np.bool_)
_SIGNED[list(t.SIGNED)] = True
REAL, LREAL, STRUCTURE = t.REAL, t.LREAL, t.STRUCTURE
CONNECTION_MANAGER, SYMBOL, PCCC = t.CONNECTION_MANAGER, t.SYMBOL, t.PCCC
UNCONNECTED_SEND, MULTIPLE_SERVICE_PACKET = t.UNCONNECTED_SEND, t.MULTIPLE_SERVICE_PACKET
GET_ATTRIBUTE_LIST, SET_ATTRIBUTE_LIST = t.GET_ATTRIBUTE_LIST, t.SET_ATTRIBUTE_LIST
GET_ATTRIBUTE_SINGLE, SET_ATTRIBUTE_SINGLE = t.GET_ATTRIBUTE_SINGLE, t.SET_ATTRIBUTE_SINGLE
READ_TAG, WRITE_TAG, READ_FRAGMENTED, WRITE_FRAGMENTED = t.READ_TAG, t.WRITE_TAG, t.READ_FRAGMENTED, t.WRITE_FRAGMENTED
EXECUTE_PCCC, PARTIAL_TRANSFER = t.EXECUTE_PCCC, t.PARTIAL_TRANSFER
PCCC_REPLY, PCCC_STATUS = 0x40, 0x1000000


@njit(cache=True, nogil=True, boundscheck=True)
def _element(buf, at, end, data_type):
    """The first of the elements of an elementary type in buf[at:end]; NO_VALUE where they are none."""
    if data_type < 0 or data_type > 0xFF:
        return NOTHING
    octets = _OCTETS[data_type]
    if octets == 0 or at + octets > end or (end - at) % octets:
        return NOTHING
    bits = unsigned(buf, at, octets)
    if data_type in (REAL, LREAL):
        return rounded(bits, octets)
    if _SIGNED[data_type] and octets < 8 and bits >> (8 * octets - 1):
        return bits - (np.int64(1) << (8 * octets))
    return bits


@njit(cache=True, nogil=True, boundscheck=True)
def _packet(buf, at, end, h):
    """Hash of the services and paths in a Multiple Service Packet: count, offsets from the count on, messages."""
    count = u16le(buf, at)
    for k in range(min(count, MAX_SERVICES)):
        if at + 4 + 2 * k > end:
            break
        start = at + u16le(buf, at + 2 + 2 * k)
        if start + 2 > end:
            break
        stop = start + 2 + 2 * np.int64(buf[start + 1])
        h = mix(h, np.int64(buf[start]))
        h = hash_bytes(h, buf, start + 2, min(stop, end))
    return h


@njit(cache=True, nogil=True, boundscheck=True)
def _pccc(buf, at, end, seed, pdu):
    """PCCC behind its requester id; `at` is the id's length octet."""
    at += np.int64(buf[at])
    if at + 4 > end:
        pdu.anomalies |= LENGTH
        return
    pdu.detail = mix(pdu.detail, np.int64(buf[at]))
    if pdu.kind == RESPONSE:
        if buf[at + 1]:
            pdu.refused = 1
            pdu.status = PCCC_STATUS | np.int64(buf[at + 1])
        return
    function = np.int64(buf[at + 4]) if at + 4 < end else np.int64(-1)
    pdu.detail = mix(pdu.detail, function)
    if buf[at] == 0x0F and 0xA1 <= function <= 0xAB:  # size, file, type, element: the address
        pdu.detail = hash_bytes(pdu.detail, buf, min(at + 6, end), min(at + 9, end))
    elif function == 0x3A or function == 0x80:  # the mode
        pdu.detail = hash_bytes(pdu.detail, buf, min(at + 5, end), min(at + 6, end))


@njit(cache=True, nogil=True, boundscheck=True)
def _request_data(buf, at, end, service, class_id, tag, seed, pdu):
    """What a request carries behind its path."""
    have = end - at
    if service == MULTIPLE_SERVICE_PACKET and have >= 2:
        pdu.quantity = u16le(buf, at)
        pdu.detail = _packet(buf, at, end, pdu.detail)
    elif tag and service in (READ_TAG, READ_FRAGMENTED) and have >= 2:
        pdu.quantity = u16le(buf, at)
    elif tag and service in (WRITE_TAG, WRITE_FRAGMENTED) and have >= 4:
        data_type = u16le(buf, at)
        at += 4 if data_type == STRUCTURE else 2
        if at + 2 <= end:
            pdu.quantity = u16le(buf, at)
            if service == WRITE_TAG:
                pdu.value = _element(buf, at + 2, end, data_type)
    elif service == GET_ATTRIBUTE_LIST and have >= 2:
        pdu.quantity = u16le(buf, at)
        pdu.detail = hash_bytes(pdu.detail, buf, at, min(at + 2 + 2 * pdu.quantity, end))
    elif service == SET_ATTRIBUTE_LIST and have >= 4:
        pdu.quantity = u16le(buf, at)
        pdu.detail = mix(pdu.detail, u16le(buf, at + 2))
        if pdu.quantity == 1 and have - 4 in (1, 2, 4):
            pdu.value = unsigned(buf, at + 4, have - 4)
    elif service == SET_ATTRIBUTE_SINGLE and have in (1, 2, 4):
        pdu.value = unsigned(buf, at, have)
    elif class_id == PCCC and service == EXECUTE_PCCC and have > 0:
        _pccc(buf, at, end, seed, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _request(buf, at, end, seed, pdu):
    pdu.kind = REQUEST
    pdu.expects = 1
    pdu.detail = seed
    for _ in range(MAX_NESTED):
        service = np.int64(buf[at])
        pdu.subfunction = service
        if end - at < 2:
            pdu.anomalies |= LENGTH
            return
        path = at + 2
        data = path + 2 * np.int64(buf[at + 1])
        if data > end:
            pdu.anomalies |= LENGTH
            data = end
        class_id, instance, attribute, tag, sound = cip_path.walk(buf, path, data)
        if not sound:
            pdu.anomalies |= ILLEGAL
        if class_id >= 0:
            pdu.object = (
                ((class_id & 0xFFFF) << 47) | ((max(instance, 0) & 0xFFFFFFFF) << 15) | (max(attribute, 0) & 0x7FFF)
            )
        else:
            pdu.object = -1
        inner, stop = data + 4, end
        if service == UNCONNECTED_SEND and class_id == CONNECTION_MANAGER and inner < end:
            stop = inner + u16le(buf, data + 2)
        if inner >= stop or stop > end or service != UNCONNECTED_SEND or class_id != CONNECTION_MANAGER:
            break
        route = stop + ((stop - inner) & 1)  # the message is padded to a whole number of words
        if route + 2 <= end:
            pdu.detail = hash_bytes(pdu.detail, buf, route + 2, min(route + 2 + 2 * np.int64(buf[route]), end))
        at, end = inner, stop
    pdu.detail = hash_bytes(pdu.detail, buf, path, data)
    if service & 0x80:  # a response inside of a request
        pdu.anomalies |= ILLEGAL
    elif not _KNOWN[service]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    is_tag = tag or class_id == SYMBOL
    _request_data(buf, data, end, service, class_id, is_tag, seed, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _response(buf, at, end, seed, pdu):
    pdu.kind = RESPONSE
    service = np.int64(buf[at]) & 0x7F
    pdu.subfunction = service
    if not _KNOWN[service]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if end - at < 4:
        pdu.anomalies |= LENGTH
        return
    status, words = np.int64(buf[at + 2]), np.int64(buf[at + 3])
    data = at + 4 + 2 * words
    if data > end:
        pdu.anomalies |= LENGTH
        data = end
    pdu.status = status
    if words and at + 6 <= end:
        pdu.status |= u16le(buf, at + 4) << 8
    if status != 0 and status != PARTIAL_TRANSFER:
        pdu.refused = 1
        return
    have = end - data
    if service in (READ_TAG, READ_FRAGMENTED) and have > 2:
        pdu.value = _element(buf, data + 2, end, u16le(buf, data))
    elif service == GET_ATTRIBUTE_SINGLE and have in (1, 2, 4):
        pdu.value = unsigned(buf, data, have)
    elif service == EXECUTE_PCCC and have >= 11 and buf[data] == 7 and buf[data + 7] & PCCC_REPLY:
        _pccc(buf, data, end, seed, pdu)  # seven octets of requester id stand before PCCC alone


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the CIP part of a PDU record from the message router request or response buf[at:end]."""
    if at >= end:
        pdu.anomalies |= LENGTH
        return
    if buf[at] & 0x80:
        _response(buf, at, end, seed, pdu)
    else:
        _request(buf, at, end, seed, pdu)
