"""Modbus over TCP and UDP, compiled: `frame` finds ADUs by their MBAP header, `probe` recognises them on any port,
`read` fills the narrow row of each.

Sources: see modbus.py; what the PDU itself says is read in modbus_pdu.py. The header gives the PDU record its
transaction and its station, the unit id. Writes to unit 0 are a broadcast behind a gateway, and nobody answers; but a
device on TCP may itself be addressed as unit 0 and then answers (TCP guide 4.4.1.2): an answer is paired where it comes
and not missed where it does not. Reads cannot be broadcast (Serial Line guide V1.02, 2.1).
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u32be
from sensor.decode.pdu import MAY_BE_ANSWERED, Anomaly, Kind
from sensor.protocols import modbus_tables as t
from sensor.protocols.modbus_pdu import read_pdu
from sensor.protocols.modbus_shape import request_allowed, response_allowed

HEADER_BYTES = 7  # transaction, protocol id 0, length, unit
MIN_LENGTH = 2  # the length field counts the unit and at least a function code
MAX_LENGTH = 254  # MAP 4.1: a PDU has at most 253 bytes, which serial lines set
MAX_UMAS_LENGTH = 4096  # UMAS agrees on longer ones when it begins; controllers offer about 1 KiB
BROADCAST = 0

BROADCASTS = np.zeros(128, dtype=np.bool_)  # functions that make sense without an answer
BROADCASTS[[5, 6, 15, 16, 21, 22]] = True

_KNOWN = np.zeros(128, dtype=np.bool_)
_KNOWN[list(t.FUNCTIONS)] = True

REQUEST, LENGTH, UMAS = int(Kind.REQUEST), int(Anomaly.LENGTH), t.UMAS


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
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


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def alone(buf, at, end):
    """Whether buf[at:end] is one ADU and nothing else, told by one word: the protocol id and the length."""
    have = end - at
    return HEADER_BYTES < have <= 6 + MAX_LENGTH and u32be(buf, at + 2) == have - 6


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """Whether a whole ADU begins at `at` that is all that the standard allows, followed by nothing or by another.

    Proof of Modbus on any port: protocol id and length leave one chance in 2**32 to random bytes, and the function must
    account for every byte behind them. A function code and nothing else proves too little: a read of two registers in
    RTU can look like that.
    """
    size = frame(buf, at, end)
    if size <= HEADER_BYTES + 1 or size > end - at:
        return False
    stop = at + size
    if stop < end and frame(buf, stop, end) < 0:
        return False
    body = at + HEADER_BYTES
    return bool(request_allowed(buf, body, stop) or response_allowed(buf, body, stop))


@njit(cache=True, nogil=True, boundscheck=True)
def proof(buf, at, end):
    """1: an ADU begins at `at` beyond doubt, as is asked after garbage; 0: more bytes are needed; -1: none does.

    Its function is known, or nothing follows it.
    """
    size = frame(buf, at, end)
    if size < 0 or end - at <= HEADER_BYTES:
        return min(size, 0)
    return 1 if _KNOWN[buf[at + HEADER_BYTES] & 0x7F] or size == end - at else -1


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
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
    if u16be(buf, at + 4) + 6 != end - at:
        pdu.anomalies |= LENGTH
    read_pdu(buf, at + HEADER_BYTES, end, kind, seed, pdu)
    if pdu.station == BROADCAST and pdu.expects and BROADCASTS[pdu.function]:
        pdu.expects = MAY_BE_ANSWERED
