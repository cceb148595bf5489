"""Modbus RTU in TCP or UDP: serial frames, as gateways without MBAP and serial device servers pass them on.

Source: MODBUS over Serial Line Specification and Implementation Guide V1.02 (SL), 2.5.1: unit address, PDU, CRC-16. On
a serial line silence ends a frame; in a stream only the function tells how long it is, and it tells another length for
requests than for responses: the length at which the CRC is right is the one. A function that does not tell its length
is taken at the shortest length with a right CRC. Bytes without a right CRC are no frame: devices ignore them.

There is no transaction: the next response of a unit answers its last request (SL 2.1: one at a time). Unit 0 is a
broadcast and nobody answers. Units above 247 are reserved, but 255 is used.

Not decoded: Modbus ASCII (SL 2.5.2), which hardly anybody carries over TCP.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import Anomaly, Kind
from sensor.protocols.modbus_explain import explain_pdu
from sensor.protocols.modbus_kernel import BROADCAST, BROADCASTS
from sensor.protocols.modbus_kernel import probe as mbap_probe
from sensor.protocols.modbus_pdu import read_pdu
from sensor.protocols.modbus_shape import (
    OPAQUE,
    WAIT,
    request_allowed,
    request_length,
    response_allowed,
    response_length,
)

SHORTEST, LONGEST = 4, 256  # bytes of a frame (SL 2.5.1.1)
FRAME_OVERHEAD = 3  # the unit before the PDU, the CRC behind it
CRC_BYTES = 2
MAX_UNIT, DEVICE_ITSELF = 247, 255

LENGTH, CHECKSUM, ILLEGAL = int(Anomaly.LENGTH), int(Anomaly.CHECKSUM), int(Anomaly.ILLEGAL)
REQUEST = int(Kind.REQUEST)


def _crc_table() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Octet table of CRC-16/MODBUS: x^16+x^15+x^2+1, least significant bit first (SL 6.2)."""
    table = np.zeros(256, np.int64)
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table[octet] = crc
    return table


CRC_TABLE = _crc_table()


@njit(cache=True, nogil=True, boundscheck=True)
def crc16(buf, at, end):
    """CRC-16/MODBUS of buf[at:end]; the wire carries it low octet first."""
    value = np.int64(0xFFFF)
    for i in range(at, end):
        value = (value >> 8) ^ CRC_TABLE[(value ^ np.int64(buf[i])) & 0xFF]
    return value


@njit(cache=True, nogil=True, boundscheck=True)
def _sealed(buf, at, size):
    """Whether a right CRC ends the frame of `size` bytes at `at`."""
    return crc16(buf, at, at + size - CRC_BYTES) == u16le(buf, at + size - CRC_BYTES)


@njit(cache=True, nogil=True, boundscheck=True)
def _told(buf, at, end):
    """By the function's own lengths: the frame's length, 0 where more bytes are needed, OPAQUE, or -2: no frame."""
    if end - at < 2:
        return np.int64(WAIT)
    first, second = request_length(buf, at + 1, end), response_length(buf, at + 1, end)
    if first == OPAQUE and second == OPAQUE:
        return np.int64(OPAQUE)
    waits = False
    for length in (min(first, second), max(first, second)):
        size = length + FRAME_OVERHEAD
        if (length == WAIT and end - at < LONGEST) or (length > 0 and at + size > end and size <= LONGEST):
            waits = True
        elif length > 0 and size <= LONGEST and _sealed(buf, at, size):
            return size
    return np.int64(WAIT if waits else -2)


@njit(cache=True, nogil=True, boundscheck=True)
def _searched(buf, at, end):
    """Of a function that tells no length: the shortest length with a right CRC; 0: wait for more, -2: no frame."""
    value = np.int64(0xFFFF)
    for i in range(at, min(end, at + LONGEST) - CRC_BYTES):
        value = (value >> 8) ^ CRC_TABLE[(value ^ np.int64(buf[i])) & 0xFF]
        if i >= at + 1 and value == u16le(buf, i + 1):
            return np.int64(i + 1 + CRC_BYTES - at)
    return np.int64(WAIT if end - at < LONGEST else -2)


@njit(cache=True, nogil=True, boundscheck=True)
def _proof(buf, at, end):
    """Length of a whole frame at `at` that is all that the standard allows; 0 where there is none."""
    size = _told(buf, at, end)
    if size <= SHORTEST:
        return np.int64(0)
    last = at + size - CRC_BYTES
    return size if request_allowed(buf, at + 1, last) or response_allowed(buf, at + 1, last) else np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the RTU frame that begins at buf[at]; 0: needs more bytes to tell; -1: none begins (then `sync`).

    What only might go on is given up as soon as a sound frame stands behind its beginning, as a device does after the
    silence before that frame: nobody can hide a command behind a beginning.
    """
    size = _told(buf, at, end)
    if size == OPAQUE:
        size = _searched(buf, at, end)
    if size == WAIT:
        for i in range(at + 1, end - SHORTEST):
            if _proof(buf, i, end) > 0:
                return np.int64(-1)
    return max(size, np.int64(-1))


@njit(cache=True, nogil=True, boundscheck=True)
def sync(buf, at, end):
    """After garbage: where a frame of a known function begins at or after `at`, or could begin; or `end`.

    A whole frame counts for more than the beginning of one, wherever it stands: nearly any byte could begin one.
    """
    beginning = end
    for i in range(at, end):
        size = _told(buf, i, end)
        if size > 0:
            return i
        if size == WAIT and beginning == end and end - i < LONGEST:
            beginning = i
    return beginning


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """Whether a whole frame begins at `at` that is all that the standard allows, followed by nothing or by another.

    The CRC leaves one chance in 65,536 to random bytes; length, unit, function and limits must be right as well. PDUs
    that are a function code and nothing else prove too little.
    """
    size = frame(buf, at, end)
    if size <= SHORTEST or size > end - at or (buf[at] > MAX_UNIT and buf[at] != DEVICE_ITSELF):
        return False
    stop = at + size
    if stop < end and frame(buf, stop, end) <= 0:
        return False
    last = stop - CRC_BYTES
    return bool(request_allowed(buf, at + 1, last) or response_allowed(buf, at + 1, last))


@njit(cache=True, nogil=True, boundscheck=True)
def instead_of_mbap(buf, at, end):
    """Whether serial frames stand where an MBAP header was expected: a read from address 0 looks like a header."""
    return bool(probe(buf, at, end) and not mbap_probe(buf, at, end))


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, kind, seed, pdu):
    """Fill one PDU record from the whole frame buf[at:end]; kind as for MBAP (modbus_kernel.py)."""
    pdu.kind = kind
    if end - at < SHORTEST:
        pdu.anomalies |= LENGTH
        return
    pdu.station = buf[at]
    if not _sealed(buf, at, end - at):
        pdu.anomalies |= CHECKSUM
    read_pdu(buf, at + 1, end - CRC_BYTES, kind, seed, pdu)
    if pdu.station == BROADCAST and kind == REQUEST:
        pdu.expects = 0
        if not BROADCASTS[pdu.function]:
            pdu.anomalies |= ILLEGAL


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of one RTU frame, named as in sensor/schema.py; see modbus.explain. Never raises."""
    fields: dict[str, Any] = {"modbus.framing": "rtu"}
    if len(pdu) < SHORTEST:
        return fields | {"anomalies": ["length"]}
    fields["modbus.unit_id"] = pdu[0]
    asked = request[1:-CRC_BYTES] if request is not None and len(request) >= SHORTEST else None
    return explain_pdu(fields, pdu[1:-CRC_BYTES], kind, asked)
