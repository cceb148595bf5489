"""Compiled walking of S7comm variables: the specifications of a request and the data items of what it carries."""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import NO_VALUE, Anomaly
from sensor.protocols import s7comm_tables as t

LENGTH, ILLEGAL = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL)

# Area of a symbolic address as S7ANY area; 0: none.
SYMBOLIC_AREA = np.zeros(256, dtype=np.int64)
SYMBOLIC_AREA[list(t.SYMBOLIC_AREAS)] = list(t.SYMBOLIC_AREAS.values())

# Plain integers: compiled code freezes what a module holds, not what a class or another module does.
SPECIFICATION, S7ANY, DB_READ, SYMBOLIC_1200, DRIVE_ES = (
    t.SPECIFICATION,
    t.S7ANY,
    t.DB_READ,
    t.SYMBOLIC_1200,
    t.DRIVE_ES,
)
NCK, NCK_INCH, SYMBOLIC_DB, DATA_BLOCK, ITEM_OK = t.NCK, t.NCK_INCH, t.SYMBOLIC_DB, t.DATA_BLOCK, t.ITEM_OK
DATA_BIT, DATA_BYTE, DATA_INTEGER = t.DATA_BIT, t.DATA_BYTE, t.DATA_INTEGER
DATA_NCK_1, DATA_NCK_2 = t.DATA_NCK_1, t.DATA_NCK_2


@njit(cache=True, nogil=True, boundscheck=True)
def _u24be(buf, at):
    return (u16be(buf, at) << 8) | np.int64(buf[at + 2])


@njit(cache=True, nogil=True, boundscheck=True)
def _u32be(buf, at):
    return (u16be(buf, at) << 16) | u16be(buf, at + 2)


@njit(cache=True, nogil=True, boundscheck=True)
def packed_object(buf, at, end):
    """The variable specification in buf[at:end] packed into one number, -1 where it is too short for its syntax.

    NCK: module, column, line beside the area and unit; DriveES: parameter number and index; both and every unknown
    syntax under (0x100 | syntax) << 48. A symbolic address gives its area or DB; which symbol it means is in `detail`.
    """
    if end - at < 3:
        return np.int64(-1)
    syntax, size = np.int64(buf[at + 2]), end - at
    if syntax == S7ANY and size >= 12:
        return (np.int64(buf[at + 8]) << 48) | (u16be(buf, at + 6) << 32) | _u24be(buf, at + 9)
    if syntax == DB_READ and size >= 9:
        return (np.int64(DATA_BLOCK) << 48) | (u16be(buf, at + 5) << 32) | (u16be(buf, at + 7) << 3)
    if syntax == SYMBOLIC_1200 and size >= 8:
        if u16be(buf, at + 4) == SYMBOLIC_DB:
            return (np.int64(DATA_BLOCK) << 48) | (u16be(buf, at + 6) << 32)
        return SYMBOLIC_AREA[buf[at + 7]] << 48
    if NCK <= syntax <= NCK_INCH and size >= 10:
        place = (np.int64(buf[at + 3]) << 40) | (np.int64(buf[at + 8]) << 32)
        return ((0x100 | syntax) << 48) | place | (u16be(buf, at + 4) << 16) | u16be(buf, at + 6)
    if syntax == DRIVE_ES and size >= 12:
        return ((0x100 | syntax) << 48) | (u16be(buf, at + 8) << 16) | u16be(buf, at + 10)
    return (0x100 | syntax) << 48


@njit(cache=True, nogil=True, boundscheck=True)
def specifications(buf, at, end, count, pdu):
    """Walk `count` variable specifications, fill object and quantity, give where they end.

    An odd specification is followed by a fill octet, unless it is the last. Every step consumes or ends the walk.
    """
    pdu.quantity = count
    if count == 0:
        pdu.anomalies |= ILLEGAL
    for i in range(count):
        if end - at < 3:
            pdu.anomalies |= LENGTH
            return end
        if buf[at] != SPECIFICATION:
            pdu.anomalies |= ILLEGAL
        size = 2 + np.int64(buf[at + 1])
        if size > end - at:
            pdu.anomalies |= LENGTH
            size = end - at
        if i == 0:
            pdu.object = packed_object(buf, at, at + size)
        at += size
        if size % 2 and i < count - 1:
            at += 1
    return min(at, end)


@njit(cache=True, nogil=True, boundscheck=True)
def _number(buf, at, octets):
    """One, two or four octets as an unsigned number; NO_VALUE for any other count."""
    if octets == 1:
        return np.int64(buf[at])
    if octets == 2:
        return u16be(buf, at)
    if octets == 4:
        return _u32be(buf, at)
    return np.int64(NO_VALUE)


@njit(cache=True, nogil=True, boundscheck=True)
def octets_of(size, length):
    """Octets that a data item of this transport size and length occupies, without its fill octet."""
    if size in (DATA_BIT, DATA_BYTE, DATA_INTEGER):
        return (length + 7) >> 3
    return length


@njit(cache=True, nogil=True, boundscheck=True)
def data_items(buf, at, end, count, answers, fill_last, pdu):
    """Walk `count` data items: return code, transport size, length, octets, fill octet after an odd one.

    answers: 1 where the return code says whether octets follow. fill_last: 1 where the last has its fill octet too.
    Fills value. Gives (return code of the first item or -1, items that succeeded).
    """
    first, good = np.int64(-1), 0
    for i in range(count):
        if end - at < 4:
            pdu.anomalies |= LENGTH
            return first, good
        code, size = np.int64(buf[at]), np.int64(buf[at + 1])
        octets = octets_of(size, u16be(buf, at + 2))
        if i == 0:
            first = code
            if size in (DATA_NCK_1, DATA_NCK_2):  # variable specifications follow, no items
                return first, count
        at += 4
        if answers and code != ITEM_OK:
            continue
        good += 1
        if octets > end - at:
            pdu.anomalies |= LENGTH
            return first, good
        if i == 0:
            pdu.value = _number(buf, at, octets)
        at += octets
        if octets % 2 and (fill_last or i < count - 1):
            at += 1
    if good == count and end - at > 1:  # one octet of fill after the last is usual and harmless
        pdu.anomalies |= LENGTH
    return first, good
