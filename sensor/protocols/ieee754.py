"""Floating-point numbers of the wire as whole ones, in compiled code: columns hold integers."""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode.pdu import NO_VALUE

NOTHING = int(NO_VALUE)
LIMIT = 9.0e18  # below the largest int64


@njit(cache=True, nogil=True, boundscheck=True)
def rounded(bits, octets):
    """An IEEE 754 number of 4 or 8 octets, rounded; NO_VALUE where it is not finite or does not fit."""
    exponent_bits, fraction_bits = (8, 23) if octets == 4 else (11, 52)
    exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return NOTHING
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent > 0:
        fraction |= 1 << fraction_bits
    shift = max(exponent, 1) - (1 << (exponent_bits - 1)) + 1 - fraction_bits
    value = np.rint(np.float64(fraction) * 2.0 ** np.float64(shift))
    if value >= LIMIT:
        return NOTHING
    negative = (bits >> (exponent_bits + fraction_bits)) & 1
    return -np.int64(value) if negative else np.int64(value)
