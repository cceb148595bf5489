"""The parts of which Modbus requests and responses are made, compiled; modbus_pdu.py tells how the record is filled.

Each walks buf[at:end], never beyond, and notes in `pdu.anomalies` what the standard (MAP) does not allow.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import Anomaly, Kind, mix
from sensor.protocols import modbus_tables as t

REQUEST = int(Kind.REQUEST)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)

# Plain integers and arrays: compiled code reads no dictionary of a module.
_KNOWN_DIAGNOSTIC = np.zeros(256, dtype=np.bool_)
_KNOWN_DIAGNOSTIC[list(t.DIAGNOSTIC_NAMES)] = True
WRITE_SINGLE_COIL = t.WRITE_SINGLE_COIL
RETURN_QUERY_DATA, RESTART = 0, t.DIAGNOSTIC_RESTART
CANOPEN, DEVICE_IDENTIFICATION = t.CANOPEN, t.DEVICE_IDENTIFICATION
FILE_REFERENCE_TYPE, MAX_FILE_RECORD = t.FILE_REFERENCE_TYPE, t.MAX_FILE_RECORD


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def exactly(at, end, size, pdu):
    """Whether buf[at:end] has at least `size` bytes; any other number than `size` is an anomaly."""
    if end - at != size:
        pdu.anomalies |= LENGTH
    return end - at >= size


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def address_range(buf, at, most, pdu):
    """Address and quantity of a request."""
    pdu.object = u16be(buf, at)
    pdu.quantity = u16be(buf, at + 2)
    if pdu.quantity == 0 or pdu.quantity > most or pdu.object + pdu.quantity > 0x10000:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def coil(buf, at, pdu):
    """Value of a single coil: 0xFF00 or 0x0000 and nothing else (MAP 6.5)."""
    value = u16be(buf, at)
    pdu.value = 1 if value == 0xFF00 else value
    if value not in (0x0000, 0xFF00):
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def single_write(buf, at, end, function, pdu):
    """A single write, or its echo."""
    if not exactly(at, end, 4, pdu):
        return
    pdu.object = u16be(buf, at)
    pdu.quantity = 1
    if function == WRITE_SINGLE_COIL:
        coil(buf, at + 2, pdu)
    else:
        pdu.value = u16be(buf, at + 2)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def values(buf, at, end, bits, pdu):
    """A byte count and so many bytes of bits or registers."""
    size = end - at
    if size < 1 or buf[at] != size - 1:
        pdu.anomalies |= LENGTH
    if size < 1:
        return
    if buf[at] == 0:
        pdu.anomalies |= ILLEGAL
    if bits:
        if size >= 2:
            pdu.value = buf[at + 1] & 1
    else:
        if buf[at] & 1:
            pdu.anomalies |= LENGTH
        if size >= 3:
            pdu.value = u16be(buf, at + 1)


@njit(cache=True, nogil=True, boundscheck=True)
def diagnostic(buf, at, end, pdu):
    """A sub-function and data: any for "return query data", otherwise one word."""
    size = end - at
    if size < 2:
        pdu.anomalies |= LENGTH
        return
    sub = u16be(buf, at)
    pdu.subfunction = sub
    if sub > 255 or not _KNOWN_DIAGNOSTIC[sub]:
        pdu.anomalies |= UNKNOWN_FUNCTION
        return
    if sub == RETURN_QUERY_DATA:
        return
    if not exactly(at, end, 4, pdu):
        return
    pdu.value = u16be(buf, at + 2)
    if sub == RESTART:
        if pdu.value not in (0x0000, 0xFF00):
            pdu.anomalies |= ILLEGAL
    elif pdu.kind == REQUEST and pdu.value != 0 and sub != 3:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def encapsulated(buf, at, end, pdu):
    """The type of an encapsulated interface (MEI, MAP 6.19)."""
    if at >= end:
        pdu.anomalies |= LENGTH
        return
    pdu.subfunction = buf[at]
    if pdu.subfunction not in (CANOPEN, DEVICE_IDENTIFICATION):
        pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def file_records(buf, at, end, writes, seed, pdu):
    """The file records that a request names (MAP 6.14, 6.15); those of a write carry their registers."""
    if at >= end or buf[at] != end - at - 1:
        pdu.anomalies |= LENGTH
    at += 1
    h = np.uint64(seed)
    records = 0
    while at + 7 <= end:
        file = u16be(buf, at + 1)
        record = u16be(buf, at + 3)
        length = u16be(buf, at + 5)
        if buf[at] != FILE_REFERENCE_TYPE or file == 0 or record > MAX_FILE_RECORD or length == 0:
            pdu.anomalies |= ILLEGAL
        if records == 0:
            pdu.object = (file << 16) | record
            pdu.quantity = length
            if writes and at + 9 <= end:
                pdu.value = u16be(buf, at + 7)
        h = mix(mix(h, np.uint64((file << 16) | record)), np.uint64(length))
        records += 1
        at += 7 + (2 * length if writes else 0)
    if records == 0 and at == end:
        pdu.anomalies |= ILLEGAL  # asks for nothing: the byte count is at least 7
    elif at != end:
        pdu.anomalies |= LENGTH
    if pdu.kind == REQUEST and records > 0:
        pdu.detail = h


@njit(cache=True, nogil=True, boundscheck=True)
def file_contents(buf, at, end, pdu):
    """The registers of each file record that was asked for."""
    if at >= end or buf[at] != end - at - 1:
        pdu.anomalies |= LENGTH
    at += 1
    first = True
    while at + 2 <= end:
        length = np.int64(buf[at])
        if buf[at + 1] != FILE_REFERENCE_TYPE:
            pdu.anomalies |= ILLEGAL
        if length < 1 or length & 1 == 0 or at + 1 + length > end:
            pdu.anomalies |= LENGTH
            return
        if first and length >= 3:
            pdu.value = u16be(buf, at + 2)
        first = False
        at += 1 + length
    if at != end:
        pdu.anomalies |= LENGTH


@njit(cache=True, nogil=True, boundscheck=True)
def device_objects(buf, at, end, pdu):
    """The object list of a device identification: its counts and lengths must fill the PDU."""
    if end - at < 6:
        pdu.anomalies |= LENGTH
        return
    objects = np.int64(buf[at + 5])
    at += 6
    while objects > 0 and at + 2 <= end:
        at += 2 + np.int64(buf[at + 1])
        objects -= 1
    if objects > 0 or at != end:
        pdu.anomalies |= LENGTH
