"""EtherNet/IP, compiled: `frame` and `probe` find encapsulated messages, `read` fills the narrow row of each.

Source: The CIP Networks Library, Volume 2, chapter 2 (encapsulation: header of 24 octets, little-endian; common packet
format). How the PDU record is filled (what CIP adds: cip_kernel.py):

- function: the encapsulation command; of implicit I/O, which has no header, IMPLICIT_IO. subfunction: the CIP service.
- transaction: of SendUnitData the sequence count of the connected message, otherwise the sender context; the latter is
  marked in bit 62, so that the two are not confused.
- kind: the header does not tell. CIP says it in its service; a session handle or contents appear in replies first.
- expects: 0 for the List commands, which may be broadcast: their replies come from other addresses than were asked, and
  are marked `continues` to say that no request need be there.
- object of implicit I/O: the connection id. status of a refused command: 0x2000000 | encapsulation status.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import Anomaly, Kind
from sensor.protocols import cip_kernel
from sensor.protocols.little_endian import u32le, unsigned

HEADER_BYTES = 24
NOP, LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES = 0x00, 0x04, 0x63, 0x64
REGISTER_SESSION, UNREGISTER_SESSION, SEND_RR_DATA, SEND_UNIT_DATA, START_DTLS = 0x65, 0x66, 0x6F, 0x70, 0xC8
IMPLICIT_IO = 0x10000  # beyond the 16 bits of a command
NULL_ADDRESS, IDENTITY_ITEM, SERVICES_ITEM = 0x0000, 0x000C, 0x0100
CONNECTED_ADDRESS, CONNECTED_DATA, UNCONNECTED_DATA, SEQUENCED_ADDRESS = 0x00A1, 0x00B1, 0x00B2, 0x8002
MAX_ITEMS = 16  # of one packet; requests have two to four
ENCAPSULATION_STATUS = 0x2000000

REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, ILLEGAL = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL)

_COMMANDS = np.zeros(256, dtype=np.bool_)
_COMMANDS[[NOP, LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES, REGISTER_SESSION, UNREGISTER_SESSION]] = True
_COMMANDS[[SEND_RR_DATA, SEND_UNIT_DATA, START_DTLS]] = True
_COMMANDS[[0x72, 0x73]] = True  # of older editions: indicate status, cancel
_STATUS = np.zeros(256, dtype=np.bool_)
_STATUS[[0x00, 0x01, 0x02, 0x03, 0x64, 0x65, 0x69, 0x6A]] = True


@njit(cache=True, nogil=True, boundscheck=True)
def _io_length(buf, at, end):
    """Length of implicit I/O at `at`: two items, a sequenced address of 8 octets and data; 0, -1 as in `frame`."""
    have = end - at
    for k in range(min(have, 6)):
        expected = 2 if k == 0 or k == 2 else 0x80 if k == 3 else 8 if k == 4 else 0
        if buf[at + k] != expected:
            return -1
    if have < 18:
        return 0
    if u16le(buf, at + 14) != CONNECTED_DATA:
        return -1
    return 18 + u16le(buf, at + 16)


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the message that begins at buf[at], even beyond `end`; 0: needs more bytes to tell; -1: none begins."""
    have = end - at
    if have < 1:
        return 0
    if buf[at] == 2:  # no command
        return _io_length(buf, at, end)
    if not _COMMANDS[buf[at]]:
        return -1
    if have < 2:
        return 0
    if buf[at + 1] != 0:
        return -1
    if have < 4:
        return 0
    if have >= 12 and (buf[at + 9] | buf[at + 10] | buf[at + 11]):  # a status of which only the low octet is defined
        return -1
    if have < HEADER_BYTES:
        return 0
    return HEADER_BYTES + u16le(buf, at + 2)


@njit(cache=True, nogil=True, boundscheck=True)
def _items_fill(buf, at, end):
    """Whether buf[at:end] is a list of one to MAX_ITEMS items of known types that ends exactly there."""
    if end - at < 2:
        return False
    count = u16le(buf, at)
    if count < 1 or count > MAX_ITEMS:
        return False
    at += 2
    for _ in range(count):
        if at + 4 > end:
            return False
        kind = u16le(buf, at)
        if kind not in (NULL_ADDRESS, IDENTITY_ITEM, 0x86, 0x87, 0x88, CONNECTED_ADDRESS, CONNECTED_DATA,
                        UNCONNECTED_DATA, SERVICES_ITEM, 0x8000, 0x8001, SEQUENCED_ADDRESS, 0x8003):  # fmt: skip
            return False
        at += 4 + u16le(buf, at + 2)
    return at == end


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """True where the bytes begin EtherNet/IP so plainly that the port does not matter."""
    have = end - at
    if have >= 20 and buf[at] == 2:
        size = _io_length(buf, at, end)
        return size > 18 and size == have
    if have < HEADER_BYTES or not _COMMANDS[buf[at]] or buf[at + 1] != 0:
        return False
    command = np.int64(buf[at])
    length = u16le(buf, at + 2)
    session, status, options = u32le(buf, at + 4), u32le(buf, at + 8), u32le(buf, at + 20)
    if options != 0 or status > 0xFF or not _STATUS[status]:
        return False
    body = at + HEADER_BYTES
    if command == REGISTER_SESSION:
        return length == 4 and have >= HEADER_BYTES + 4 and buf[body] == 1 and u32le(buf, body) == 1
    if command in (LIST_IDENTITY, LIST_SERVICES):
        if length == 0:
            return have == HEADER_BYTES and session == 0 and status == 0
        if status != 0 or body + length > end or length < 6:
            return False
        wanted = IDENTITY_ITEM if command == LIST_IDENTITY else SERVICES_ITEM
        return u16le(buf, body + 2) == wanted and _items_fill(buf, body, body + length)
    if command in (SEND_RR_DATA, SEND_UNIT_DATA):
        if session == 0 or length < 16 or body + 16 > end or u32le(buf, body) != 0:
            return False
        stop = body + length
        if stop <= end:
            return _items_fill(buf, body + 6, stop)
        data_at = body + 12 if command == SEND_RR_DATA else body + 16  # cut: the first two items begin the usual way
        if data_at + 4 > end or u16le(buf, body + 6) > 4:
            return False
        if command == SEND_RR_DATA:
            return u32le(buf, body + 8) == 0 and u16le(buf, data_at) == UNCONNECTED_DATA
        return u32le(buf, body + 8) == 0x400A1 and u16le(buf, data_at) == CONNECTED_DATA
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def _implicit_io(buf, at, end, pdu):
    pdu.kind = UNSOLICITED
    pdu.function = IMPLICIT_IO
    if end - at < 18:
        pdu.anomalies |= LENGTH
        return
    pdu.object = u32le(buf, at + 6)
    if 18 + u16le(buf, at + 16) != end - at:
        pdu.anomalies |= LENGTH


@njit(cache=True, nogil=True, boundscheck=True)
def _packet(buf, at, end, seed, pdu):
    """The common packet of SendRRData and SendUnitData behind interface handle and timeout, and the CIP in it."""
    if end - at < 8:
        pdu.anomalies |= LENGTH
        return
    count = u16le(buf, at + 6)
    item = at + 8
    for _ in range(min(count, MAX_ITEMS)):
        if item + 4 > end:
            pdu.anomalies |= LENGTH
            return
        kind, begin = u16le(buf, item), item + 4
        stop = begin + u16le(buf, item + 2)
        if stop > end:
            pdu.anomalies |= LENGTH
            stop = end
        if kind == CONNECTED_DATA:
            if begin + 2 > stop:
                pdu.anomalies |= LENGTH
                return
            pdu.transaction = u16le(buf, begin)
            cip_kernel.read(buf, begin + 2, stop, seed, pdu)
        elif kind == UNCONNECTED_DATA:
            cip_kernel.read(buf, begin, stop, seed, pdu)
        item = stop
    if count > MAX_ITEMS:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill one PDU record from the whole message buf[at:end]."""
    if end - at >= 4 and buf[at] == 2 and u16le(buf, at + 2) == SEQUENCED_ADDRESS:
        _implicit_io(buf, at, end, pdu)
        return
    pdu.kind = REQUEST
    if end - at < HEADER_BYTES:
        pdu.anomalies |= LENGTH
        return
    command, length = u16le(buf, at), u16le(buf, at + 2)
    session, status = u32le(buf, at + 4), u32le(buf, at + 8)
    pdu.function = command
    pdu.transaction = (unsigned(buf, at + 12, 8) & 0x3FFFFFFFFFFFFFFF) | (np.int64(1) << 62)
    if HEADER_BYTES + length != end - at:
        pdu.anomalies |= LENGTH
    if u32le(buf, at + 20) != 0:  # options: the receiver shall discard such a message
        pdu.anomalies |= ILLEGAL
    body = at + HEADER_BYTES
    if command in (SEND_RR_DATA, SEND_UNIT_DATA):
        if status == 0:
            _packet(buf, body, end, seed, pdu)
        else:
            pdu.kind = RESPONSE
    elif command == REGISTER_SESSION:
        pdu.expects = 1
        if session != 0 or status != 0:
            pdu.kind = RESPONSE
    elif command in (LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES):
        if length > 0 or status != 0:
            pdu.kind = RESPONSE
            pdu.continues = 1
    elif status != 0:
        pdu.kind = RESPONSE
        pdu.continues = 1
    if status != 0:
        pdu.refused = 1
        pdu.status = ENCAPSULATION_STATUS | (status & 0xFFFFFF)
    if pdu.kind == RESPONSE:
        pdu.expects = 0
