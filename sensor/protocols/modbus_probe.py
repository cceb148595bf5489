"""Modbus over TCP on any port: whether bytes are so surely an ADU that its port need not say so.

An MBAP header has little of its own: protocol id 0 and a length. So the ADU must be whole, its function known, and its
length exactly what the function's own counts say, as a request or as a response. Codes and limits: modbus_tables.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode.load import u16be
from sensor.protocols import modbus_tables as t
from sensor.protocols.modbus_kernel import HEADER_BYTES, frame

MAX_QUANTITY = np.zeros(128, dtype=np.int64)
MAX_QUANTITY[list(t.MAX_QUANTITY)] = list(t.MAX_QUANTITY.values())
KNOWN = np.zeros(256, dtype=np.bool_)
KNOWN[list(t.FUNCTIONS)] = True
KNOWN_EXCEPTION = np.zeros(256, dtype=np.bool_)
KNOWN_EXCEPTION[list(t.EXCEPTIONS)] = True
KNOWN_DIAGNOSTIC = np.zeros(256, dtype=np.bool_)
KNOWN_DIAGNOSTIC[list(t.DIAGNOSTIC_NAMES)] = True
KNOWN_UMAS = np.zeros(256, dtype=np.bool_)
KNOWN_UMAS[list(t.UMAS_NAMES)] = True
WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER = t.WRITE_SINGLE_COIL, t.WRITE_SINGLE_REGISTER
WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS = t.WRITE_MULTIPLE_COILS, t.WRITE_MULTIPLE_REGISTERS
READ_INPUT_REGISTERS, READ_DISCRETE_INPUTS = t.READ_INPUT_REGISTERS, t.READ_DISCRETE_INPUTS
MASK_WRITE_REGISTER, READ_WRITE_REGISTERS = t.MASK_WRITE_REGISTER, t.READ_WRITE_REGISTERS
DIAGNOSTICS, ENCAPSULATED_INTERFACE, UMAS = t.DIAGNOSTICS, t.ENCAPSULATED_INTERFACE, t.UMAS
DEVICE_IDENTIFICATION, UMAS_OK, UMAS_ERROR = t.DEVICE_IDENTIFICATION, t.UMAS_OK, t.UMAS_ERROR
COIL_ON, COIL_OFF = 0xFF00, 0x0000


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """Whether buf[at:end] begins with a whole ADU that nothing but Modbus would send."""
    size = frame(buf, at, end)
    if size <= HEADER_BYTES or size > end - at:
        return False
    if size < end - at and frame(buf, at + size, end) < 0:  # what follows must go on
        return False
    code = np.int64(buf[at + HEADER_BYTES])
    body = at + HEADER_BYTES + 1
    have = at + size - body
    if code & 0x80:
        return KNOWN[code & 0x7F] and have == 1 and KNOWN_EXCEPTION[buf[body]]
    return KNOWN[code] and _fits(buf, body, have, code)


@njit(cache=True, nogil=True, boundscheck=True)
def _fits(buf, at, have, function):
    """Whether `have` bytes at `at` are what the function carries, as a request or as a response."""
    if 0 < function <= READ_INPUT_REGISTERS:
        if have == 4 and 0 < u16be(buf, at + 2) <= MAX_QUANTITY[function]:
            return True
        return have >= 2 and buf[at] == have - 1 and (function <= READ_DISCRETE_INPUTS or have & 1 == 1)
    if function == WRITE_SINGLE_COIL:
        return have == 4 and (u16be(buf, at + 2) == COIL_ON or u16be(buf, at + 2) == COIL_OFF)
    if function == WRITE_SINGLE_REGISTER:
        return have == 4
    if function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        if have < 4:
            return False
        quantity = u16be(buf, at + 2)
        if quantity == 0 or quantity > MAX_QUANTITY[function]:
            return False
        wanted = (quantity + 7) >> 3 if function == WRITE_MULTIPLE_COILS else 2 * quantity
        return have == 4 or (have == 5 + wanted and buf[at + 4] == wanted)
    if function == MASK_WRITE_REGISTER:
        return have == 6
    if function == READ_WRITE_REGISTERS:
        if have >= 9 and buf[at + 8] == 2 * u16be(buf, at + 6) and have == 9 + buf[at + 8]:
            return True
        return have >= 3 and buf[at] == have - 1 and have & 1 == 1
    if function == DIAGNOSTICS:
        return have >= 4 and buf[at] == 0 and KNOWN_DIAGNOSTIC[buf[at + 1]]
    if function == ENCAPSULATED_INTERFACE:
        if have < 3 or buf[at] != DEVICE_IDENTIFICATION:
            return False
        return 1 <= buf[at + 1] <= 4 and (have == 3 or have >= 6)
    if function == UMAS:
        return have >= 2 and (KNOWN_UMAS[buf[at + 1]] or buf[at + 1] == UMAS_OK or buf[at + 1] == UMAS_ERROR)
    return False  # the rest says too little, and none of them opens a conversation
