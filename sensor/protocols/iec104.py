"""IEC 60870-5-104: telecontrol over TCP. One APDU (68 hex, length, four control octets, ASDU) is one PDU.

Sources: IEC 60870-5-104:2006 (APCI, 5.1 to 5.3), IEC 60870-5-101:2003 (ASDU); see iec104_tables.py. The field sizes are
those that 60870-5-104, 7.1 fixes: cause of transmission two octets, common address two, information object address
three. This file holds the compiled reading; `explain` stands here too, its information elements in iec104_elements.py.

Not decoded: what secure authentication (types 81 to 95) and private types carry, and segments of files. Send and
receive sequence numbers are shown, not followed.

How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- kind: activation and deactivation, reads and whatever else has a command's type are requests; confirmation,
  termination and the causes 44 to 47 are responses; all other monitored data is unsolicited, interrogated data too.
- expects: an answer is not missed to reads, which data of another type answers, to files, and to the common address
  65535, to which every station answers with its own.
- continues: terminations, which come after a confirmation, and answers to what may be broadcast.
- station: the common address. function: the type identification; of the U and S formats see iec104_tables.py.
- subfunction: cause | test bit << 7 | finer code << 8. The finer code is 1 for "select" of commands and set-points, the
  freeze of a counter interrogation, the qualifier of a reset, the call of a file.
- transaction: type << 24 | information object address, bit 32 set where something is deactivated.
- object, quantity: the first information object address, the number of objects.
- value: the first object's, floats and normalised values as the nearest integer and as raw 16 bits.
- status: of responses the cause, which says how they refuse: 44 to 47, or 7 to 10 with the negative bit.
- detail: of requests the originator, all addresses and qualifiers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import MAY_BE_ANSWERED, PDU, Anomaly, Kind, clear, hash_bytes, mix
from sensor.protocols import iec104_tables as t
from sensor.protocols.iec104_elements import describe
from sensor.protocols.little_endian import u32le
from sensor.protocols.real import nearest
from sensor.records import as_octets

START = 0x68
HEADER, ASDU_HEADER, ADDRESS = 6, 6, 3
MIN_LENGTH, MAX_LENGTH = 4, 253
BROADCAST = 0xFFFF

REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)
S_FORMAT, STARTDT, STOPDT, TESTFR = t.S_FORMAT, t.STARTDT, t.STOPDT, t.TESTFR
CONFIRMATIONS, UNKNOWN = (7, 9, 10), (44, 45, 46, 47)

# Octets of a set of information elements: NOT_DEFINED for types that the standard does not have.
NOT_DEFINED = -2
SIZE = np.full(256, NOT_DEFINED, np.int64)
SIZE[list(t.TYPES)] = [kind.size for kind in t.TYPES.values()]

# By type and cause: what the PDU is, and whether the pair is one that the standard has.
KIND = np.full((256, 64), UNSOLICITED, np.uint8)
LEGAL = np.zeros((256, 64), np.bool_)
LEGAL[:, list(t.CAUSES)] = True
LEGAL[:, list(t.PRIVATE_CAUSES)] = True
for _type in range(256):
    if _type in t.ASKED_WITH:
        KIND[_type] = REQUEST
        KIND[_type, list(t.REPORTED_WITH.get(_type, ()))] = UNSOLICITED
        LEGAL[_type, : min(t.PRIVATE_CAUSES)] = False
        LEGAL[_type, list(t.ASKED_WITH[_type])] = True
        LEGAL[_type, list(t.REPORTED_WITH.get(_type, ()))] = True
    elif _type not in t.TYPES:
        KIND[_type, [6, 8]] = REQUEST
    elif t.TYPES[_type].name.startswith("M_"):
        LEGAL[_type, 6:11] = False
    KIND[_type, [*CONFIRMATIONS, *UNKNOWN]] = RESPONSE
    LEGAL[_type, [*UNKNOWN]] = True
    if _type in t.ASKED_WITH and {6, 8} & set(t.ASKED_WITH[_type]):
        LEGAL[_type, [*CONFIRMATIONS]] = True

# Where the qualifier of a command stands among its information elements (-1: none), and its bits that are no value.
QUALIFIER_AT = np.full(256, -1, np.int64)
QUALIFIER_BITS = np.full(256, 0xFF, np.int64)
_PLACES: dict[int, tuple[int, ...]] = {
    0: (45, 46, 47, 58, 59, 60, 100, 101, 105, 113),
    2: (48, 49, 61, 62, 110, 111),
    4: (50, 63, 112),
}
for _at, _of in _PLACES.items():
    QUALIFIER_AT[list(_of)] = _at
QUALIFIER_BITS[[45, 46, 47, 58, 59, 60]] = 0xFC
SELECTS = np.zeros(256, np.bool_)
SELECTS[[45, 46, 47, 48, 49, 50, 58, 59, 60, 61, 62, 63]] = True
NAMES_FILE = np.zeros(256, np.bool_)
NAMES_FILE[120:128] = True
BROADCASTS = np.zeros(256, np.bool_)
BROADCASTS[[100, 101, 103, 105]] = True  # IEC 60870-5-101:2003, 7.2.4
COUNTERS, RESET, CALL_FILE, READ, DELAY = 101, 105, 122, 102, 106
SPONTANEOUS, DEACTIVATION, TERMINATION = 3, (8, 9), 10

# How the first value of a type is read.
_HOW: dict[int, tuple[int, ...]] = {
    1: (1, 2, 30, 45, 58),
    2: (3, 4, 17, 31, 38, 46, 47, 59, 60),
    3: (5, 6, 32),
    4: (7, 8, 33, 51, 64),
    5: (9, 10, 11, 12, 21, 34, 35, 48, 49, 61, 62, 110, 111),
    6: (13, 14, 36, 50, 63, 112),
    7: (15, 16, 37),
}
VALUE = np.zeros(256, np.uint8)
for _how, _of in _HOW.items():
    VALUE[list(_of)] = _how
BIT, PAIR, STEP, BITS32, SIGNED16, SINGLE = 1, 2, 3, 4, 5, 6  # 7: 32 bits with sign
VALUE_OCTETS = np.array([0, 1, 1, 1, 4, 2, 4, 4], np.int64)


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the APDU that begins at buf[at], even beyond `end`; 0: needs more bytes to tell; -1: none begins.

    Only the start octet and the shortest length are asked for: whatever else is wrong, a station would step over so
    many octets, and so must we.
    """
    if at >= end:
        return 0
    if buf[at] != START:
        return -1
    if end - at < 2:
        return 0
    length = np.int64(buf[at + 1])
    return 2 + length if length >= MIN_LENGTH else -1


@njit(cache=True, nogil=True, boundscheck=True)
def _sound(buf, at, end):
    """Whether the whole APDU buf[at:end] holds nothing but what the standard has; of S and U formats every bit."""
    first = np.int64(buf[at + 2])
    if first & 1:
        if end - at != HEADER:
            return False
        if first == 1:
            return buf[at + 3] == 0 and buf[at + 4] & 1 == 0
        activates = first in (0x07, 0x13, 0x43) or first in (0x0B, 0x23, 0x83)
        return activates and buf[at + 3] == 0 and buf[at + 4] == 0 and buf[at + 5] == 0
    if buf[at + 4] & 1 or end - at < HEADER + ASDU_HEADER + ADDRESS:
        return False
    kind, count = np.int64(buf[at + 6]), np.int64(buf[at + 7]) & 0x7F
    size = SIZE[kind]
    if size < 0 or count == 0 or not LEGAL[kind, np.int64(buf[at + 8]) & 0x3F]:
        return False
    if u16le(buf, at + 10) == 0:  # the common address 0 is not used
        return False
    wanted = ADDRESS + count * size if buf[at + 7] & 0x80 else count * (ADDRESS + size)
    return end - at == HEADER + ASDU_HEADER + wanted


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """True where a sound APDU begins, followed by nothing or by the start of another: the protocol on any port."""
    if end - at < HEADER or buf[at] != START:
        return False
    stop = at + 2 + np.int64(buf[at + 1])
    if stop < at + HEADER or stop > end or not _sound(buf, at, stop):
        return False
    return stop == end or buf[stop] == START


@njit(cache=True, nogil=True, boundscheck=True)
def _control(buf, at, pdu):
    """The U format: the activation's octet with bit 8 set is the function, of a confirmation the one it confirms."""
    octet = np.int64(buf[at + 2])
    pdu.kind = UNSOLICITED
    if octet in (0x07, 0x13, 0x43):
        pdu.kind = REQUEST
        pdu.expects = 1
        pdu.function = 0x100 | octet
    elif octet in (0x0B, 0x23, 0x83):
        pdu.kind = RESPONSE
        pdu.function = 0x103 | (octet >> 1 & 0x54)
    else:  # none of the functions, or several at once
        pdu.function = 0x100 | octet
        pdu.anomalies |= UNKNOWN_FUNCTION
    pdu.transaction = np.int64(pdu.function) << 24
    if buf[at + 3] or buf[at + 4] or buf[at + 5]:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def _address(buf, at):
    """Information object address, three octets."""
    return u16le(buf, at) | np.int64(buf[at + 2]) << 16


@njit(cache=True, nogil=True, boundscheck=True)
def _value(buf, at, end, how, pdu):
    """The value at `at`."""
    if at + VALUE_OCTETS[how] > end or how == 0:
        return
    octet = np.int64(buf[at])
    if how == BIT:
        pdu.value = octet & 1
    elif how == PAIR:
        pdu.value = octet & 3
    elif how == STEP:  # seven bits with sign; bit 7 says that it moves
        pdu.value = ((octet & 0x7F) ^ 0x40) - 0x40
    elif how == SIGNED16:
        pdu.value = (u16le(buf, at) ^ 0x8000) - 0x8000
    else:
        bits = u32le(buf, at)
        if how == SINGLE:
            pdu.value = nearest(bits)
        elif how == BITS32:
            pdu.value = bits
        else:
            pdu.value = (bits ^ 0x80000000) - 0x80000000


@njit(cache=True, nogil=True, boundscheck=True)
def _asked(buf, at, end, kind, size, step, seed, pdu):
    """Detail of a request whose first object address stands at `at`, objects `step` octets apart; its finer code."""
    h = mix(seed, np.uint64(buf[at - 3]))  # the originator
    place = QUALIFIER_AT[kind]
    first = True
    while at + ADDRESS + size <= end:  # at most 127 turns: an APDU is 255 octets long
        h = mix(h, np.uint64(_address(buf, at)))
        if place >= 0:
            qualifier = np.int64(buf[at + ADDRESS + place])
            h = mix(h, np.uint64(qualifier & QUALIFIER_BITS[kind]))
            if first:
                finer = np.int64(0)
                if SELECTS[kind]:
                    finer = qualifier >> 7
                elif kind == COUNTERS:
                    finer = qualifier >> 6
                elif kind == RESET:
                    finer = qualifier & 0x7F
                pdu.subfunction |= finer << 8
                first = False
        at += step
    pdu.detail = h


@njit(cache=True, nogil=True, boundscheck=True)
def _asdu(buf, at, end, seed, pdu):
    """The ASDU in buf[at:end]."""
    pdu.kind = UNSOLICITED
    if end - at < ASDU_HEADER:
        pdu.anomalies |= LENGTH
        if at < end:
            pdu.function = np.int64(buf[at])
        return
    kind, count = np.int64(buf[at]), np.int64(buf[at + 1]) & 0x7F
    cause = np.int64(buf[at + 2]) & 0x3F
    negative, test = np.int64(buf[at + 2]) >> 6 & 1, np.int64(buf[at + 2]) >> 7
    pdu.function = kind
    pdu.subfunction = cause | test << 7
    pdu.station = u16le(buf, at + 4)
    pdu.quantity = count
    pdu.kind = KIND[kind, cause]
    if not LEGAL[kind, cause] or count == 0:
        pdu.anomalies |= ILLEGAL
    size = SIZE[kind]
    if size == NOT_DEFINED:
        pdu.anomalies |= UNKNOWN_FUNCTION
    first = at + ASDU_HEADER
    sequence = buf[at + 1] & 0x80
    if size >= 0:
        wanted = ADDRESS + count * size if sequence else count * (ADDRESS + size)
        if first + wanted != end:
            pdu.anomalies |= LENGTH
    if first + ADDRESS > end:
        pdu.anomalies |= LENGTH
        return
    pdu.object = _address(buf, first)
    pdu.transaction = kind << 24 | pdu.object
    if cause in DEACTIVATION:
        pdu.transaction |= np.int64(1) << 32
    _value(buf, first + ADDRESS, end, VALUE[kind], pdu)
    if NAMES_FILE[kind] and first + ADDRESS + 2 <= end:
        pdu.detail = hash_bytes(seed, buf, first + ADDRESS, first + ADDRESS + 2)
    if pdu.kind == REQUEST:
        answered = kind != READ and not NAMES_FILE[kind] and not (kind == DELAY and cause == SPONTANEOUS)
        pdu.expects = 1 if answered and pdu.station != BROADCAST else MAY_BE_ANSWERED
        if not NAMES_FILE[kind] and size >= 0:
            _asked(buf, first, end, kind, size, ADDRESS + size if not sequence else np.int64(256), seed, pdu)
        elif kind == CALL_FILE and first + ADDRESS + 4 <= end:
            pdu.subfunction |= (np.int64(buf[first + ADDRESS + 3]) & 0x0F) << 8
    elif pdu.kind == RESPONSE:
        pdu.status = cause
        pdu.refused = 1 if negative or cause in UNKNOWN else 0
        if cause == TERMINATION or BROADCASTS[kind]:
            pdu.continues = 1


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the cleared record `pdu` from one APDU, buf[at:end], start octet first. Never raises, never allocates."""
    if end - at < HEADER:
        pdu.kind = UNSOLICITED
        pdu.anomalies |= LENGTH
        return
    length = np.int64(buf[at + 1])
    if 2 + length != end - at:
        pdu.anomalies |= LENGTH
    if length > MAX_LENGTH:
        pdu.anomalies |= ILLEGAL
    if buf[at + 2] & 1 == 0:
        if buf[at + 4] & 1:
            pdu.anomalies |= ILLEGAL
        _asdu(buf, at + HEADER, end, seed, pdu)
        return
    if length != MIN_LENGTH:
        pdu.anomalies |= LENGTH
    if buf[at + 2] & 3 == 3:
        _control(buf, at, pdu)
        return
    pdu.kind = UNSOLICITED
    pdu.function = S_FORMAT
    if buf[at + 2] != 1 or buf[at + 3] or buf[at + 4] & 1:
        pdu.anomalies |= ILLEGAL


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of one APDU; the keys are IEC104 in sensor/schema.py. Never raises.

    pdu: from the start octet. request: not needed, an answer repeats what it answers.
    """
    row = _row(pdu)
    out: dict[str, Any] = {}
    if len(pdu) >= HEADER:
        function = int(row.function)
        sent, received = pdu[2] | pdu[3] << 8, pdu[4] | pdu[5] << 8
        if not sent & 1:
            out["iec104.format"] = "i"
            out["iec104.send_sequence"], out["iec104.receive_sequence"] = sent >> 1, received >> 1
            out |= describe(pdu[HEADER:])
        elif sent & 3 == 1:
            out["iec104.format"] = "s"
            out["iec104.receive_sequence"] = received >> 1
        else:
            out["iec104.format"] = "u"
            out["iec104.control_code"] = pdu[2]
            out["iec104.control"] = t.CONTROL_NAMES.get(pdu[2], "undefined")
        out["event.action"] = t.verb(function, int(row.subfunction)).value
    found = Anomaly(int(row.anomalies))
    if found:
        out["anomalies"] = [str(flag.name).lower() for flag in Anomaly if flag in found]
    return {name: value for name, value in out.items() if value is not None and value != []}


def _row(pdu: bytes) -> Any:
    """The narrow row of one APDU, so that it and its explanation agree."""
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    read(as_octets(pdu), 0, len(pdu), np.uint64(0), row)
    return row
