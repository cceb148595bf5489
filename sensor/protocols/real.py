"""IEEE 754 numbers in compiled code, which has columns of integers: the nearest integer of a binary32 or binary64."""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.pdu import NO_VALUE

NOTHING = int(NO_VALUE)
FRACTION_BITS, BIAS = 23, 127
LARGEST_EXPONENT = 62  # 2**63 does not fit into int64


@njit(cache=True, nogil=True, boundscheck=True)
def nearest(bits):
    """The binary32 whose 32 bits are given, as the nearest int64 (ties to even); NO_VALUE where it has none."""
    bits = np.int64(bits)
    exponent = ((bits >> FRACTION_BITS) & 0xFF) - BIAS
    if exponent > LARGEST_EXPONENT:  # infinity and what is not a number, too
        return np.int64(NOTHING)
    if exponent < -1:
        return np.int64(0)
    fraction = (bits & ((1 << FRACTION_BITS) - 1)) | (1 << FRACTION_BITS)
    if exponent >= FRACTION_BITS:
        value = fraction << (exponent - FRACTION_BITS)
    else:
        cut = FRACTION_BITS - exponent
        value = fraction >> cut
        rest, half = fraction & ((1 << cut) - 1), 1 << (cut - 1)
        if rest > half or (rest == half and value & 1):
            value += 1
    return -value if bits >> 31 & 1 else value


@njit(cache=True, nogil=True, boundscheck=True)
def rounded(bits, octets):
    """The number of 4 or 8 octets whose bits are given, as the nearest int64; NO_VALUE where it has none."""
    bits = np.int64(bits)
    if octets == 4:
        return nearest(bits)
    exponent = ((bits >> 52) & 0x7FF) - 1023
    if exponent > LARGEST_EXPONENT:
        return np.int64(NOTHING)
    if exponent < -1:
        return np.int64(0)
    fraction = (bits & ((np.int64(1) << 52) - 1)) | (np.int64(1) << 52)
    value = np.int64(np.rint(np.float64(fraction) * 2.0 ** np.float64(exponent - 52)))
    return -value if bits >> 63 & 1 else value
