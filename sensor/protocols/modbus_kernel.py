"""Modbus over TCP, compiled: `frame` finds ADUs in a stream, `read` fills the narrow row of each.

Sources: see modbus.py. How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- station: the unit id. expects: 0 for "force listen only" (8/4) and for writes to unit 0, which is a broadcast behind a
  gateway; reads cannot be broadcast (Serial Line guide V1.02, 2.1), so a read of unit 0 asks the device itself.
- function: without the 0x80 of exceptions. subfunction: of 8 the sub-function, of 43 the MEI type, of 90 the UMAS
  sub-code (requests only: UMAS answers do not repeat it).
- object, quantity: the address and the number of coils or registers; 23: of its read. File records (20, 21): `file
  number << 16 | record number` and length of the first. A mask write and single writes have quantity 1.
- value: the first bit or register that is read or written; of 7, 8 and 11 the status, the data word, the event count.
- status: the exception code; of a UMAS error 0xFD00 | its error code.
- detail: 23: its write range; 20, 21: all file records; 43/14: which identification and from which object.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode.load import u16be
from sensor.decode.pdu import Anomaly, Kind, mix
from sensor.protocols import modbus_tables as t

HEADER_BYTES = 7  # transaction, protocol id 0, length, unit
MIN_LENGTH = 2  # the length field counts the unit and at least a function code
MAX_LENGTH = 254  # MAP 4.1: a PDU has at most 253 bytes, which serial lines set
MAX_UMAS_LENGTH = 4096  # UMAS agrees on longer ones when it begins; controllers offer about 1 KiB
BROADCAST = 0

REQUEST = int(Kind.REQUEST)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)

# Plain integers and arrays: compiled code reads no dictionary of a module.
_KNOWN = np.zeros(128, dtype=np.bool_)
_KNOWN[list(t.FUNCTIONS)] = True
_KNOWN_DIAGNOSTIC = np.zeros(256, dtype=np.bool_)
_KNOWN_DIAGNOSTIC[list(t.DIAGNOSTIC_NAMES)] = True
_KNOWN_UMAS = np.zeros(256, dtype=np.bool_)
_KNOWN_UMAS[list(t.UMAS_NAMES)] = True
_KNOWN_EXCEPTION = np.zeros(256, dtype=np.bool_)
_KNOWN_EXCEPTION[list(t.EXCEPTIONS)] = True
_MAX_QUANTITY = np.zeros(128, dtype=np.int64)
_MAX_QUANTITY[list(t.MAX_QUANTITY)] = list(t.MAX_QUANTITY.values())
_BROADCASTS = np.zeros(128, dtype=np.bool_)
_BROADCASTS[[5, 6, 15, 16, 21, 22]] = True
READ_DISCRETE_INPUTS, READ_INPUT_REGISTERS = t.READ_DISCRETE_INPUTS, t.READ_INPUT_REGISTERS
WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER = t.WRITE_SINGLE_COIL, t.WRITE_SINGLE_REGISTER
READ_EXCEPTION_STATUS, DIAGNOSTICS = t.READ_EXCEPTION_STATUS, t.DIAGNOSTICS
GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG = t.GET_COMM_EVENT_COUNTER, t.GET_COMM_EVENT_LOG
WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS = t.WRITE_MULTIPLE_COILS, t.WRITE_MULTIPLE_REGISTERS
REPORT_SERVER_ID, READ_FILE_RECORD, WRITE_FILE_RECORD = t.REPORT_SERVER_ID, t.READ_FILE_RECORD, t.WRITE_FILE_RECORD
MASK_WRITE_REGISTER, READ_WRITE_REGISTERS = t.MASK_WRITE_REGISTER, t.READ_WRITE_REGISTERS
READ_FIFO_QUEUE, ENCAPSULATED_INTERFACE, UMAS = t.READ_FIFO_QUEUE, t.ENCAPSULATED_INTERFACE, t.UMAS
FORCE_LISTEN_ONLY, RETURN_QUERY_DATA, RESTART = t.DIAGNOSTIC_FORCE_LISTEN_ONLY, 0, t.DIAGNOSTIC_RESTART
CANOPEN, DEVICE_IDENTIFICATION = t.CANOPEN, t.DEVICE_IDENTIFICATION
UMAS_OK, UMAS_ERROR = t.UMAS_OK, t.UMAS_ERROR
MAX_QUANTITY_WRITTEN, MAX_FIFO_COUNT = t.MAX_QUANTITY_WRITTEN, t.MAX_FIFO_COUNT
FILE_REFERENCE_TYPE, MAX_FILE_RECORD = t.FILE_REFERENCE_TYPE, t.MAX_FILE_RECORD


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the ADU that begins at buf[at], even beyond `end`; 0: needs more bytes to tell; -1: none begins."""
    have = end - at
    if have >= 3 and buf[at + 2] != 0:
        return -1
    if have >= 4 and buf[at + 3] != 0:
        return -1
    if have >= 5 and buf[at + 4] > MAX_UMAS_LENGTH >> 8:
        return -1
    if have < 6:
        return 0
    length = u16be(buf, at + 4)
    if length < MIN_LENGTH or length > MAX_UMAS_LENGTH:
        return -1
    if length > MAX_LENGTH:
        if have < 8:
            return 0
        if buf[at + 7] & 0x7F != UMAS:
            return -1
    return 6 + length


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, kind, seed, pdu):
    """Fill one PDU record from the whole ADU buf[at:end].

    kind: REQUEST when it goes to the server, RESPONSE when it comes from there: Modbus itself does not tell.
    """
    pdu.kind = kind
    if end - at < HEADER_BYTES + 1:
        pdu.anomalies |= LENGTH
        return
    pdu.transaction = u16be(buf, at)
    pdu.station = buf[at + 6]
    code = np.int64(buf[at + 7])
    function = code & 0x7F
    pdu.function = function
    if u16be(buf, at + 4) + 6 != end - at:
        pdu.anomalies |= LENGTH
    if not _KNOWN[function]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if function == 0:
        pdu.anomalies |= ILLEGAL
    body = at + HEADER_BYTES + 1
    if code & 0x80:
        _exception(buf, body, end, kind, pdu)
    elif kind == REQUEST:
        pdu.expects = 1
        if pdu.station == BROADCAST and _BROADCASTS[function]:
            pdu.expects = 0
        _request(buf, body, end, function, seed, pdu)
    else:
        _response(buf, body, end, function, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _exception(buf, at, end, kind, pdu):
    if kind == REQUEST:  # a client has nothing to refuse
        pdu.anomalies |= ILLEGAL
        return
    pdu.refused = 1
    if end - at != 1:
        pdu.anomalies |= LENGTH
    if at < end:
        pdu.status = buf[at]
        if not _KNOWN_EXCEPTION[buf[at]]:
            pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _exactly(at, end, size, pdu):
    """Whether buf[at:end] has at least `size` bytes; any other number than `size` is an anomaly."""
    if end - at != size:
        pdu.anomalies |= LENGTH
    return end - at >= size


@njit(cache=True, nogil=True, boundscheck=True)
def _range(buf, at, most, pdu):
    """Address and quantity of a request."""
    pdu.object = u16be(buf, at)
    pdu.quantity = u16be(buf, at + 2)
    if pdu.quantity == 0 or pdu.quantity > most or pdu.object + pdu.quantity > 0x10000:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _coil(buf, at, pdu):
    """Value of a single coil: 0xFF00 or 0x0000 and nothing else (MAP 6.5)."""
    value = u16be(buf, at)
    pdu.value = 1 if value == 0xFF00 else value
    if value not in (0x0000, 0xFF00):
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _request(buf, at, end, function, seed, pdu):
    size = end - at
    if function <= READ_INPUT_REGISTERS:
        if function > 0 and _exactly(at, end, 4, pdu):
            _range(buf, at, _MAX_QUANTITY[function], pdu)
    elif function in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER):
        _single(buf, at, end, function, pdu)
    elif function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        if size < 5:
            pdu.anomalies |= LENGTH
            if size >= 4:
                _range(buf, at, _MAX_QUANTITY[function], pdu)
            return
        _range(buf, at, _MAX_QUANTITY[function], pdu)
        coils = function == WRITE_MULTIPLE_COILS
        wanted = (pdu.quantity + 7) >> 3 if coils else 2 * pdu.quantity
        if buf[at + 4] != wanted or size != 5 + wanted:
            pdu.anomalies |= LENGTH
        if coils and size >= 6:
            pdu.value = buf[at + 5] & 1
        elif size >= 7:
            pdu.value = u16be(buf, at + 5)
    elif function == MASK_WRITE_REGISTER:
        if _exactly(at, end, 6, pdu):
            pdu.object = u16be(buf, at)
            pdu.quantity = 1
    elif function == READ_WRITE_REGISTERS:
        if size < 9:
            pdu.anomalies |= LENGTH
            return
        _range(buf, at, _MAX_QUANTITY[function], pdu)
        address = u16be(buf, at + 4)
        quantity = u16be(buf, at + 6)
        pdu.detail = mix(mix(seed, np.uint64(address)), np.uint64(quantity))
        if quantity == 0 or quantity > MAX_QUANTITY_WRITTEN or address + quantity > 0x10000:
            pdu.anomalies |= ILLEGAL
        if buf[at + 8] != 2 * quantity or size != 9 + 2 * quantity:
            pdu.anomalies |= LENGTH
        if size >= 11:
            pdu.value = u16be(buf, at + 9)
    elif function == READ_FIFO_QUEUE:
        if _exactly(at, end, 2, pdu):
            pdu.object = u16be(buf, at)
    elif function in (READ_FILE_RECORD, WRITE_FILE_RECORD):
        _files(buf, at, end, function == WRITE_FILE_RECORD, seed, pdu)
    elif function == DIAGNOSTICS:
        _diagnostic(buf, at, end, pdu)
        if pdu.subfunction == FORCE_LISTEN_ONLY:
            pdu.expects = 0
    elif function in (READ_EXCEPTION_STATUS, GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        _exactly(at, end, 0, pdu)
    elif function == ENCAPSULATED_INTERFACE:
        _mei(buf, at, end, pdu)
        if pdu.subfunction == DEVICE_IDENTIFICATION and _exactly(at, end, 3, pdu):
            pdu.detail = mix(mix(seed, np.uint64(buf[at + 1])), np.uint64(buf[at + 2]))
            if buf[at + 1] < 1 or buf[at + 1] > 4:
                pdu.anomalies |= ILLEGAL
    elif function == UMAS:
        if size < 2:
            pdu.anomalies |= LENGTH
            return
        pdu.subfunction = buf[at + 1]
        if not _KNOWN_UMAS[buf[at + 1]]:
            pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def _response(buf, at, end, function, pdu):
    size = end - at
    if function <= READ_INPUT_REGISTERS or function == READ_WRITE_REGISTERS:
        if function > 0:
            _values(buf, at, end, 0 < function <= READ_DISCRETE_INPUTS, pdu)
    elif function in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER):
        _single(buf, at, end, function, pdu)
    elif function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        if _exactly(at, end, 4, pdu):
            _range(buf, at, _MAX_QUANTITY[function], pdu)
    elif function == MASK_WRITE_REGISTER:
        if _exactly(at, end, 6, pdu):
            pdu.object = u16be(buf, at)
            pdu.quantity = 1
    elif function == READ_FIFO_QUEUE:
        if size < 4:
            pdu.anomalies |= LENGTH
            return
        count = u16be(buf, at + 2)
        if count > MAX_FIFO_COUNT:
            pdu.anomalies |= ILLEGAL
        if u16be(buf, at) != size - 2 or count * 2 != size - 4:
            pdu.anomalies |= LENGTH
        if count > 0 and size >= 6:
            pdu.value = u16be(buf, at + 4)
    elif function == READ_FILE_RECORD:
        _file_contents(buf, at, end, pdu)
    elif function == WRITE_FILE_RECORD:
        _files(buf, at, end, True, 0, pdu)
    elif function == DIAGNOSTICS:
        _diagnostic(buf, at, end, pdu)
    elif function == READ_EXCEPTION_STATUS:
        if _exactly(at, end, 1, pdu):
            pdu.value = buf[at]
    elif function == GET_COMM_EVENT_COUNTER:
        if _exactly(at, end, 4, pdu):
            pdu.value = u16be(buf, at + 2)
    elif function in (GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        least = 6 if function == GET_COMM_EVENT_LOG else 0
        if size < 1 or buf[at] < least or buf[at] != size - 1:
            pdu.anomalies |= LENGTH
    elif function == ENCAPSULATED_INTERFACE:
        _mei(buf, at, end, pdu)
        if pdu.subfunction == DEVICE_IDENTIFICATION:
            _device_objects(buf, at, end, pdu)
    elif function == UMAS:
        if size < 2:
            pdu.anomalies |= LENGTH
        elif buf[at + 1] == UMAS_ERROR:
            pdu.refused = 1
            pdu.status = UMAS_ERROR << 8 | (np.int64(buf[at + 2]) if size >= 3 else 0)
        elif buf[at + 1] != UMAS_OK:
            pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _single(buf, at, end, function, pdu):
    """A single write, or its echo."""
    if not _exactly(at, end, 4, pdu):
        return
    pdu.object = u16be(buf, at)
    pdu.quantity = 1
    if function == WRITE_SINGLE_COIL:
        _coil(buf, at + 2, pdu)
    else:
        pdu.value = u16be(buf, at + 2)


@njit(cache=True, nogil=True, boundscheck=True)
def _values(buf, at, end, bits, pdu):
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
def _diagnostic(buf, at, end, pdu):
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
    if not _exactly(at, end, 4, pdu):
        return
    pdu.value = u16be(buf, at + 2)
    if sub == RESTART:
        if pdu.value not in (0x0000, 0xFF00):
            pdu.anomalies |= ILLEGAL
    elif pdu.kind == REQUEST and pdu.value != 0 and sub != 3:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _mei(buf, at, end, pdu):
    if at >= end:
        pdu.anomalies |= LENGTH
        return
    pdu.subfunction = buf[at]
    if pdu.subfunction not in (CANOPEN, DEVICE_IDENTIFICATION):
        pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def _files(buf, at, end, writes, seed, pdu):
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
def _file_contents(buf, at, end, pdu):
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
def _device_objects(buf, at, end, pdu):
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
