"""Modbus PDUs, compiled: fills the narrow row from function code and data, whatever frames them (MBAP, RTU).

Sources: see modbus.py. How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- expects: 0 for "force listen only" (8/4), which is never answered; for writes to unit 0 see the framings.
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

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import Anomaly, Kind, mix
from sensor.protocols import modbus_tables as t
from sensor.protocols.modbus_parts import (
    address_range,
    device_objects,
    diagnostic,
    encapsulated,
    exactly,
    file_contents,
    file_records,
    single_write,
    values,
)

REQUEST = int(Kind.REQUEST)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)

# Plain integers and arrays: compiled code reads no dictionary of a module.
_KNOWN = np.zeros(128, dtype=np.bool_)
_KNOWN[list(t.FUNCTIONS)] = True
_KNOWN_UMAS = np.zeros(256, dtype=np.bool_)
_KNOWN_UMAS[list(t.UMAS_NAMES)] = True
_KNOWN_EXCEPTION = np.zeros(256, dtype=np.bool_)
_KNOWN_EXCEPTION[list(t.EXCEPTIONS)] = True
_MAX_QUANTITY = np.zeros(128, dtype=np.int64)
_MAX_QUANTITY[list(t.MAX_QUANTITY)] = list(t.MAX_QUANTITY.values())
READ_DISCRETE_INPUTS, READ_INPUT_REGISTERS = t.READ_DISCRETE_INPUTS, t.READ_INPUT_REGISTERS
WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER = t.WRITE_SINGLE_COIL, t.WRITE_SINGLE_REGISTER
READ_EXCEPTION_STATUS, DIAGNOSTICS = t.READ_EXCEPTION_STATUS, t.DIAGNOSTICS
GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG = t.GET_COMM_EVENT_COUNTER, t.GET_COMM_EVENT_LOG
WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS = t.WRITE_MULTIPLE_COILS, t.WRITE_MULTIPLE_REGISTERS
REPORT_SERVER_ID, READ_FILE_RECORD, WRITE_FILE_RECORD = t.REPORT_SERVER_ID, t.READ_FILE_RECORD, t.WRITE_FILE_RECORD
MASK_WRITE_REGISTER, READ_WRITE_REGISTERS = t.MASK_WRITE_REGISTER, t.READ_WRITE_REGISTERS
READ_FIFO_QUEUE, ENCAPSULATED_INTERFACE, UMAS = t.READ_FIFO_QUEUE, t.ENCAPSULATED_INTERFACE, t.UMAS
FORCE_LISTEN_ONLY = t.DIAGNOSTIC_FORCE_LISTEN_ONLY
DEVICE_IDENTIFICATION = t.DEVICE_IDENTIFICATION
UMAS_OK, UMAS_ERROR = t.UMAS_OK, t.UMAS_ERROR
MAX_QUANTITY_WRITTEN, MAX_FIFO_COUNT = t.MAX_QUANTITY_WRITTEN, t.MAX_FIFO_COUNT


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def read_pdu(buf, at, end, kind, seed, pdu):
    """Fill kind, expects and what the PDU buf[at:end] says: a function code and its data, at least one byte.

    kind: REQUEST when it goes to the server, RESPONSE when it comes from there: Modbus itself does not tell.
    """
    code = np.int64(buf[at])
    function = code & 0x7F
    pdu.kind = kind
    pdu.function = function
    if not _KNOWN[function]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if function == 0:
        pdu.anomalies |= ILLEGAL
    if code & 0x80:
        _exception(buf, at + 1, end, kind, pdu)
    elif kind == REQUEST:
        pdu.expects = 1
        if 0 < function <= READ_INPUT_REGISTERS:  # nearly all: not worth a call
            if exactly(at + 1, end, 4, pdu):
                address_range(buf, at + 1, _MAX_QUANTITY[function], pdu)
        else:
            _request(buf, at + 1, end, function, seed, pdu)
    elif 0 < function <= READ_INPUT_REGISTERS:
        values(buf, at + 1, end, function <= READ_DISCRETE_INPUTS, pdu)
    else:
        _response(buf, at + 1, end, function, pdu)


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
def _request(buf, at, end, function, seed, pdu):
    size = end - at
    if function in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER):
        single_write(buf, at, end, function, pdu)
    elif function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        if size < 5:
            pdu.anomalies |= LENGTH
            if size >= 4:
                address_range(buf, at, _MAX_QUANTITY[function], pdu)
            return
        address_range(buf, at, _MAX_QUANTITY[function], pdu)
        coils = function == WRITE_MULTIPLE_COILS
        wanted = (pdu.quantity + 7) >> 3 if coils else 2 * pdu.quantity
        if buf[at + 4] != wanted or size != 5 + wanted:
            pdu.anomalies |= LENGTH
        if coils and size >= 6:
            pdu.value = buf[at + 5] & 1
        elif size >= 7:
            pdu.value = u16be(buf, at + 5)
    elif function == MASK_WRITE_REGISTER:
        if exactly(at, end, 6, pdu):
            pdu.object = u16be(buf, at)
            pdu.quantity = 1
    elif function == READ_WRITE_REGISTERS:
        if size < 9:
            pdu.anomalies |= LENGTH
            return
        address_range(buf, at, _MAX_QUANTITY[function], pdu)
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
        if exactly(at, end, 2, pdu):
            pdu.object = u16be(buf, at)
    elif function in (READ_FILE_RECORD, WRITE_FILE_RECORD):
        file_records(buf, at, end, function == WRITE_FILE_RECORD, seed, pdu)
    elif function == DIAGNOSTICS:
        diagnostic(buf, at, end, pdu)
        if pdu.subfunction == FORCE_LISTEN_ONLY:
            pdu.expects = 0
    elif function in (READ_EXCEPTION_STATUS, GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        exactly(at, end, 0, pdu)
    elif function == ENCAPSULATED_INTERFACE:
        encapsulated(buf, at, end, pdu)
        if pdu.subfunction == DEVICE_IDENTIFICATION and exactly(at, end, 3, pdu):
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
    if function == READ_WRITE_REGISTERS:
        values(buf, at, end, False, pdu)
    elif function in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER):
        single_write(buf, at, end, function, pdu)
    elif function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        if exactly(at, end, 4, pdu):
            address_range(buf, at, _MAX_QUANTITY[function], pdu)
    elif function == MASK_WRITE_REGISTER:
        if exactly(at, end, 6, pdu):
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
        file_contents(buf, at, end, pdu)
    elif function == WRITE_FILE_RECORD:
        file_records(buf, at, end, True, 0, pdu)
    elif function == DIAGNOSTICS:
        diagnostic(buf, at, end, pdu)
    elif function == READ_EXCEPTION_STATUS:
        if exactly(at, end, 1, pdu):
            pdu.value = buf[at]
    elif function == GET_COMM_EVENT_COUNTER:
        if exactly(at, end, 4, pdu):
            pdu.value = u16be(buf, at + 2)
    elif function in (GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        least = 6 if function == GET_COMM_EVENT_LOG else 0
        if size < 1 or buf[at] < least or buf[at] != size - 1:
            pdu.anomalies |= LENGTH
    elif function == ENCAPSULATED_INTERFACE:
        encapsulated(buf, at, end, pdu)
        if pdu.subfunction == DEVICE_IDENTIFICATION:
            device_objects(buf, at, end, pdu)
    elif function == UMAS:
        if size < 2:
            pdu.anomalies |= LENGTH
        elif buf[at + 1] == UMAS_ERROR:
            pdu.refused = 1
            pdu.status = UMAS_ERROR << 8 | (np.int64(buf[at + 2]) if size >= 3 else 0)
        elif buf[at + 1] != UMAS_OK:
            pdu.anomalies |= ILLEGAL
