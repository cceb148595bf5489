"""Little-endian numbers of protocols that have them, in compiled code; 16 bits are read by sensor/decode/load.py."""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le


@njit(cache=True, nogil=True, boundscheck=True)
def u32le(buf, at):
    """Unsigned 32-bit number at `at`, as int64."""
    return u16le(buf, at) | (u16le(buf, at + 2) << 16)


@njit(cache=True, nogil=True, boundscheck=True)
def unsigned(buf, at, octets):
    """Number of 1 to 8 octets at `at`; of 8 the int64 of the same bits."""
    value = np.int64(0)
    for k in range(octets):
        value |= np.int64(buf[at + k]) << (8 * k)
    return value
