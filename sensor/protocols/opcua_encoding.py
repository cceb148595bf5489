"""OPC UA binary encoding, compiled: where a value ends, so that what stands behind it can be read.

Source: OPC 10000-6, chapter 5.2 (values), 10000-4, 7.33 and 7.34 (headers of requests and responses). Each `skip_...`
gives the position behind the value at `at`, or -1 where the value is not whole; -1 as a position stays -1.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import NO_VALUE
from sensor.protocols.little_endian import u32le, unsigned
from sensor.protocols.real import rounded

NOTHING = int(NO_VALUE)
MAX_STRINGS = 256  # of a table of diagnostics
NULL = 0x80000000  # lengths from here on are negative: there is no string, no list
_SCALAR_OCTETS = np.zeros(64, dtype=np.int64)  # built-in types of a fixed size (10000-6, table 1)
_SCALAR_OCTETS[1:12] = (1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
_SCALAR_OCTETS[[13, 14, 19]] = (8, 16, 4)
STRING, BYTE_STRING, XML = 12, 15, 16
SBYTE, INT16, INT32, FLOAT, DOUBLE, DATE_TIME = 2, 4, 6, 10, 11, 13
YEAR_1990, YEAR_2100 = 0x01B41E2A, 0x02404B42  # high halves of times in 100 ns since 1601


@njit(cache=True, nogil=True, boundscheck=True)
def skip_string(buf, at, end):
    """Behind a String or ByteString: a length, negative for null, and octets; -1 where it is not whole."""
    if at < 0 or at + 4 > end:
        return np.int64(-1)
    length = u32le(buf, at)
    if length >= NULL:
        length = 0
    at += 4 + length
    return np.int64(at) if at <= end else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def skip_node(buf, at, end):
    """Behind a NodeId or ExpandedNodeId; -1 where it is not whole."""
    if at < 0 or at + 2 > end:
        return np.int64(-1)
    mask = np.int64(buf[at])
    kind = mask & 0x3F
    if kind == 0:
        at += 2
    elif kind == 1:
        at += 4
    elif kind == 2:
        at += 7
    elif kind == 3 or kind == 5:
        at = skip_string(buf, at + 3, end)
    elif kind == 4:
        at += 19
    else:
        return np.int64(-1)
    if mask & 0x80:
        at = skip_string(buf, at, end)
    if mask & 0x40 and at >= 0:
        at += 4
    return np.int64(at) if at <= end else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def node(buf, at, end):
    """`namespace << 32 | number` of a numeric NodeId, -1 for any other."""
    if at < 0 or at + 2 > end:
        return np.int64(-1)
    kind = np.int64(buf[at]) & 0x3F
    if kind == 0:
        return np.int64(buf[at + 1])
    if kind == 1 and at + 4 <= end:
        return (np.int64(buf[at + 1]) << 32) | u16le(buf, at + 2)
    if kind == 2 and at + 7 <= end:
        return (u16le(buf, at + 1) << 32) | u32le(buf, at + 3)
    return np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def skip_extension(buf, at, end):
    """Behind an ExtensionObject."""
    at = skip_node(buf, at, end)
    if at < 0 or at + 1 > end:
        return np.int64(-1)
    encoding = buf[at]
    at += 1
    if encoding == 1 or encoding == 2:
        return skip_string(buf, at, end)
    return np.int64(at) if encoding == 0 else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def skip_variant(buf, at, end):
    """Behind a Variant of numbers, times or strings, single or in an array; -1 for any other."""
    if at < 0 or at + 1 > end:
        return np.int64(-1)
    mask = np.int64(buf[at])
    kind = mask & 0x3F
    at += 1
    count = np.int64(1)
    if mask & 0x80:
        if at + 4 > end:
            return np.int64(-1)
        count = np.int64(u32le(buf, at))
        at += 4
        if count >= NULL:
            count = np.int64(0)
    if kind == 0:
        pass
    elif _SCALAR_OCTETS[kind]:
        at += count * _SCALAR_OCTETS[kind]
    elif kind in (STRING, BYTE_STRING, XML):
        for _ in range(min(count, end)):  # each takes four octets at least, so that this ends with the message
            at = skip_string(buf, at, end)
            if at < 0:
                return np.int64(-1)
    else:
        return np.int64(-1)
    if mask & 0x40:
        if at + 4 > end:
            return np.int64(-1)
        at += 4 + 4 * u32le(buf, at)
    return np.int64(at) if at <= end else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def skip_data_value(buf, at, end):
    """Behind a DataValue: a mask, then value, status, source time and fraction, server time and fraction."""
    if at < 0 or at + 1 > end:
        return np.int64(-1)
    mask = np.int64(buf[at])
    at += 1
    if mask & 1:
        at = skip_variant(buf, at, end)
        if at < 0:
            return np.int64(-1)
    at += 4 * ((mask >> 1) & 1) + 8 * ((mask >> 2) & 1) + 2 * ((mask >> 4) & 1)
    at += 8 * ((mask >> 3) & 1) + 2 * ((mask >> 5) & 1)
    return np.int64(at) if at <= end else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def number(buf, at, end):
    """The number in a DataValue that begins with a single numeric Variant; NO_VALUE for any other."""
    if at < 0 or at + 2 > end or not buf[at] & 1:
        return NOTHING
    kind = np.int64(buf[at + 1])
    if kind < 1 or kind > DOUBLE:
        return NOTHING
    octets = _SCALAR_OCTETS[kind]
    if at + 2 + octets > end:
        return NOTHING
    bits = unsigned(buf, at + 2, octets)
    if kind in (FLOAT, DOUBLE):
        return rounded(bits, octets)
    if (kind in (SBYTE, INT16, INT32)) and bits >> (8 * octets - 1):
        return bits - (np.int64(1) << (8 * octets))
    return bits


@njit(cache=True, nogil=True, boundscheck=True)
def request_end(buf, at, end):
    """Behind a RequestHeader: session token, time, handle, diagnostics, audit id, timeout, addition."""
    at = skip_node(buf, at, end)
    if at < 0:
        return np.int64(-1)
    at = skip_string(buf, at + 16, end)
    if at < 0:
        return np.int64(-1)
    return skip_extension(buf, at + 4, end)


@njit(cache=True, nogil=True, boundscheck=True)
def response_end(buf, at, end):
    """Behind a ResponseHeader without diagnostics; -1 where it has some, too."""
    if at + 17 > end or buf[at + 16] != 0:
        return np.int64(-1)
    at += 17
    if at + 4 > end:
        return np.int64(-1)
    count = u32le(buf, at)
    if count >= NULL:
        count = 0
    at += 4
    for _ in range(min(count, MAX_STRINGS)):
        at = skip_string(buf, at, end)
        if at < 0:
            return np.int64(-1)
    return skip_extension(buf, at, end)


@njit(cache=True, nogil=True, boundscheck=True)
def plausible_time(buf, at, end):
    """Whether the time at `at` is none or lies in our days: what tells a header from encrypted octets."""
    if at < 0 or at + 8 > end:
        return False
    high = u32le(buf, at + 4)
    return YEAR_1990 < high < YEAR_2100 or (high == 0 and u32le(buf, at) == 0)
