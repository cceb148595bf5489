"""The last bytes of each direction, to tell a retransmission from a second reading.

A direction has one slot, found by its row; where two share a slot the one that speaks has it.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.octets import copy, same
from sensor.decode.parks import WRAP, distance
from sensor.decode.stream_tables import HISTORIES, HISTORY_BYTES, STARTS

SAME, DIFFERENT, UNKNOWN = 0, 1, 2  # what `compare` finds
HALF = HISTORY_BYTES // 2
NOTHING = np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def remember(s, side, buf, at, end, clean):
    """Keep the bytes buf[at:end] that were read last, `next_seq` being behind them.

    clean: whether a message begins with them, as far as is known.
    """
    slot = np.int64(side.row) & (HISTORIES - 1)
    h = s.histories[slot]
    kept = s.history_bytes[slot]
    size = end - at
    if h.owner != side.row + 1:
        h.owner = side.row + 1
        h.bytes = 0
        h.known = 0
    if clean:
        h.starts[h.turn] = np.uint32((side.next_seq - size) & (WRAP - 1))
        h.turn = h.turn + 1 if h.turn + 1 < STARTS else 0
        h.known = min(h.known + 1, STARTS)
    have = np.int64(h.bytes)
    if have + size > HISTORY_BYTES:
        if size >= HALF:
            at, size, have = end - HALF, np.int64(HALF), NOTHING
        else:
            copy(kept, have + size - HALF - size, kept, NOTHING, np.int64(HALF))
            have = np.int64(HALF)
    copy(buf, at, kept, have, size)
    h.bytes = have + size


@njit(cache=True, nogil=True, boundscheck=True)
def forget(s, side):
    """What was read is not followed by what comes."""
    h = s.histories[np.int64(side.row) & (HISTORIES - 1)]
    if h.owner == side.row + 1:
        h.bytes = 0
        h.known = 0


@njit(cache=True, nogil=True, boundscheck=True)
def where(s, side, seq):
    """Offset of sequence number `seq` in the direction's slot; negative when it is not known any more."""
    h = s.histories[np.int64(side.row) & (HISTORIES - 1)]
    if h.owner != side.row + 1:
        return np.int64(-WRAP)
    return h.bytes - distance(side.next_seq, seq)


@njit(cache=True, nogil=True, boundscheck=True)
def start_before(s, side, seq):
    """Offset of the last place at or before `seq` where a message is known to begin, that of `seq` where none is."""
    h = s.histories[np.int64(side.row) & (HISTORIES - 1)]
    best = np.int64(-1)
    at = where(s, side, seq)
    for k in range(h.known):
        # Of fewer than STARTS the known ones are those before `turn`, in a circle.
        start = where(s, side, np.int64(h.starts[(h.turn + STARTS - 1 - k) % STARTS]))
        if best < start <= at:
            best = start
    return best if best >= 0 else at


@njit(cache=True, nogil=True, boundscheck=True)
def compare(s, side, seq, buf, at, size):
    """Whether buf[at:at + size] is what was read at sequence number `seq`, all of it before `next_seq`."""
    if side.reading >= 0:
        r = s.readings[side.reading]
        offset = distance(seq, r.start)
        if (
            offset >= 0
            and offset + size <= r.bytes
            and same(s.second_bytes[side.reading], offset, buf, at, np.int64(size))
        ):
            return SAME
    begin = where(s, side, seq)
    skip = -begin if begin < 0 else NOTHING
    if skip >= size:
        return UNKNOWN
    kept = s.history_bytes[np.int64(side.row) & (HISTORIES - 1)]
    if not same(kept, begin + skip, buf, at + skip, size - skip):
        return DIFFERENT
    return UNKNOWN if skip else SAME
