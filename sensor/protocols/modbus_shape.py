"""The shape of Modbus PDUs, compiled: how long each is by its own account, and whether it is what the standard allows.

A serial line's framing has no length, so RTU needs the first (modbus_rtu.py); recognising Modbus on any port needs both
(`probe` of either framing). Sections are those of the MODBUS Application Protocol Specification V1.1b3 (MAP).

A length is that of the whole PDU, function code included; WAIT where the bytes that tell it are not there yet; OPAQUE
where the function does not tell it (user-defined and unknown functions, "return query data", CANopen, UMAS).
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.protocols import modbus_tables as t

WAIT, OPAQUE = 0, -1

# What a table of lengths says besides a fixed length.
_OPAQUE, _COUNTED_1, _COUNTED_5, _COUNTED_9 = -1, -2, -3, -4  # a byte count at this offset of the PDU
_DIAGNOSTIC, _FIFO, _ENCAPSULATED = -5, -6, -7

_REQUESTS = np.full(128, _OPAQUE, dtype=np.int64)
_REQUESTS[[1, 2, 3, 4, 5, 6]] = 5
_REQUESTS[[7, 11, 12, 17]] = 1
_REQUESTS[[15, 16]] = _COUNTED_5
_REQUESTS[[20, 21]] = _COUNTED_1
_REQUESTS[[8, 22, 23, 24, 43]] = _DIAGNOSTIC, 7, _COUNTED_9, 3, _ENCAPSULATED
_RESPONSES = np.full(128, _OPAQUE, dtype=np.int64)
_RESPONSES[[1, 2, 3, 4, 12, 17, 20, 21, 23]] = _COUNTED_1
_RESPONSES[[5, 6, 11, 15, 16]] = 5
_RESPONSES[[7, 8, 22, 24, 43]] = 2, _DIAGNOSTIC, 7, _FIFO, _ENCAPSULATED

_KNOWN_EXCEPTION = np.zeros(256, dtype=np.bool_)
_KNOWN_EXCEPTION[list(t.EXCEPTIONS)] = True
_KNOWN_FUNCTION = np.zeros(128, dtype=np.bool_)
_KNOWN_FUNCTION[list(t.FUNCTIONS)] = True
_KNOWN_DIAGNOSTIC = np.zeros(256, dtype=np.bool_)
_KNOWN_DIAGNOSTIC[list(t.DIAGNOSTIC_NAMES)] = True
_KNOWN_UMAS = np.zeros(256, dtype=np.bool_)
_KNOWN_UMAS[list(t.UMAS_NAMES)] = True
_MAX_QUANTITY = np.zeros(128, dtype=np.int64)
_MAX_QUANTITY[list(t.MAX_QUANTITY)] = list(t.MAX_QUANTITY.values())
MAX_QUANTITY_WRITTEN, MAX_FIFO_COUNT = t.MAX_QUANTITY_WRITTEN, t.MAX_FIFO_COUNT
DEVICE_IDENTIFICATION = t.DEVICE_IDENTIFICATION
FILE_REFERENCE_TYPE, MAX_FILE_RECORD = t.FILE_REFERENCE_TYPE, t.MAX_FILE_RECORD
UMAS, UMAS_OK, UMAS_ERROR = t.UMAS, t.UMAS_OK, t.UMAS_ERROR


@njit(cache=True, nogil=True, boundscheck=True)
def _length(buf, at, end, rule, answers):
    """The length that one entry of a table means for the PDU at `at`."""
    have = end - at
    if rule > 0 or rule == _OPAQUE:
        return rule
    if rule == _COUNTED_1:
        return 2 + np.int64(buf[at + 1]) if have > 1 else np.int64(WAIT)
    if rule == _COUNTED_5:
        return 6 + np.int64(buf[at + 5]) if have > 5 else np.int64(WAIT)
    if rule == _COUNTED_9:
        return 10 + np.int64(buf[at + 9]) if have > 9 else np.int64(WAIT)
    if rule == _FIFO:
        return 3 + u16be(buf, at + 1) if have > 2 else np.int64(WAIT)
    if rule == _DIAGNOSTIC:
        if have < 3:
            return np.int64(WAIT)
        return np.int64(OPAQUE) if u16be(buf, at + 1) == 0 else np.int64(5)
    if have < 2:
        return np.int64(WAIT)
    if buf[at + 1] != DEVICE_IDENTIFICATION:
        return np.int64(OPAQUE)
    if not answers:
        return np.int64(4)
    if have < 7:
        return np.int64(WAIT)
    size = np.int64(7)  # then objects: id, length, text
    for _ in range(np.int64(buf[at + 6])):
        if have < size + 2:
            return np.int64(WAIT)
        size += 2 + np.int64(buf[at + size + 1])
    return size


@njit(cache=True, nogil=True, boundscheck=True)
def request_length(buf, at, end):
    """Length of the request that begins with the function code buf[at], even beyond `end`; WAIT or OPAQUE."""
    if buf[at] & 0x80:
        return np.int64(OPAQUE)
    return _length(buf, at, end, _REQUESTS[buf[at]], False)


@njit(cache=True, nogil=True, boundscheck=True)
def response_length(buf, at, end):
    """Length of the response that begins with the function code buf[at], even beyond `end`; WAIT or OPAQUE."""
    if buf[at] & 0x80:
        return np.int64(2)
    return _length(buf, at, end, _RESPONSES[buf[at]], True)


@njit(cache=True, nogil=True, boundscheck=True)
def _range_allowed(buf, at, most):
    """Whether address and quantity at `at` stay within what MAP 6 allows."""
    quantity = u16be(buf, at + 2)
    return 0 < quantity <= most and u16be(buf, at) + quantity <= 0x10000


@njit(cache=True, nogil=True, boundscheck=True)
def _diagnostic_allowed(buf, at, end):
    """A diagnostic of a known sub-function; "return query data" carries at least one word."""
    return end - at >= 5 and buf[at + 1] == 0 and _KNOWN_DIAGNOSTIC[buf[at + 2]]


@njit(cache=True, nogil=True, boundscheck=True)
def _files_allowed(buf, at, end, writes):
    """Sub-requests of file records (MAP 6.14, 6.15) that fill buf[at:end] exactly."""
    records = 0
    while end - at >= 7:
        if buf[at] != FILE_REFERENCE_TYPE or u16be(buf, at + 1) == 0 or u16be(buf, at + 3) > MAX_FILE_RECORD:
            return False
        at += 7 + (2 * u16be(buf, at + 5) if writes else 0)
        records += 1
    return records > 0 and at == end


@njit(cache=True, nogil=True, boundscheck=True)
def request_allowed(buf, at, end):
    """Whether buf[at:end] is a request just as the standard allows it: every length, limit and reserved value right."""
    function, size = np.int64(buf[at]), end - at
    if function > 127 or not _KNOWN_FUNCTION[function]:
        return False
    if function == UMAS:
        return size >= 3 and bool(_KNOWN_UMAS[buf[at + 2]])
    length = request_length(buf, at, end)
    if length != OPAQUE and length != size:
        return False
    if function <= 4:
        return _range_allowed(buf, at + 1, _MAX_QUANTITY[function])
    if function == 5:
        return buf[at + 4] == 0 and (buf[at + 3] == 0 or buf[at + 3] == 0xFF)
    if function == 8:
        return bool(_diagnostic_allowed(buf, at, end))
    if function == 15 or function == 16:
        quantity = u16be(buf, at + 3)
        wanted = (quantity + 7) >> 3 if function == 15 else 2 * quantity
        return _range_allowed(buf, at + 1, _MAX_QUANTITY[function]) and buf[at + 5] == wanted
    if function == 20 or function == 21:
        return bool(_files_allowed(buf, at + 2, end, function == 21))
    if function == 23:
        written = u16be(buf, at + 7)
        return (
            _range_allowed(buf, at + 1, _MAX_QUANTITY[function])
            and _range_allowed(buf, at + 5, MAX_QUANTITY_WRITTEN)
            and buf[at + 9] == 2 * written
        )
    if function == 43:
        return length == size and 1 <= buf[at + 2] <= 4
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def response_allowed(buf, at, end):
    """Whether buf[at:end] is a response just as the standard allows it."""
    code, size = np.int64(buf[at]), end - at
    function = code & 0x7F
    if not _KNOWN_FUNCTION[function]:
        return False
    if code & 0x80:
        return size == 2 and bool(_KNOWN_EXCEPTION[buf[at + 1]])
    if function == UMAS:
        return size >= 3 and (buf[at + 2] == UMAS_OK or buf[at + 2] == UMAS_ERROR)
    length = response_length(buf, at, end)
    if length != OPAQUE and length != size:
        return False
    if function <= 2:
        return 0 < buf[at + 1] <= 250
    if function <= 4 or function == 23:
        return 0 < buf[at + 1] <= 250 and buf[at + 1] & 1 == 0
    if function == 5:
        return buf[at + 4] == 0 and (buf[at + 3] == 0 or buf[at + 3] == 0xFF)
    if function == 8:
        return bool(_diagnostic_allowed(buf, at, end))
    if function == 11:
        return u16be(buf, at + 1) == 0 or u16be(buf, at + 1) == 0xFFFF
    if function == 12:
        return size >= 8 and (u16be(buf, at + 2) == 0 or u16be(buf, at + 2) == 0xFFFF)
    if function == 15 or function == 16:
        return bool(_range_allowed(buf, at + 1, _MAX_QUANTITY[function]))
    if function == 17:
        return size > 2
    if function == 20:
        return _contents_allowed(buf, at + 2, end)
    if function == 21:
        return bool(_files_allowed(buf, at + 2, end, True))
    if function == 24:
        return size >= 5 and u16be(buf, at + 3) <= MAX_FIFO_COUNT and 2 * u16be(buf, at + 3) == size - 5
    if function == 43:
        more = size >= 7 and (buf[at + 4] == 0 or buf[at + 4] == 0xFF)
        return length == size and more and 1 <= buf[at + 2] <= 4 and 1 <= buf[at + 3] & 0x7F <= 3
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def _contents_allowed(buf, at, end):
    """Contents of file records (MAP 6.14) that fill buf[at:end] exactly: length, reference type, registers."""
    records = 0
    while end - at >= 2:
        if buf[at + 1] != FILE_REFERENCE_TYPE or buf[at] & 1 == 0:
            return False
        at += 1 + np.int64(buf[at])
        records += 1
    return records > 0 and at == end
