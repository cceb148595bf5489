"""Segments that came before their predecessors, kept until those come.

Each direction has two lists. `park_head`: what came first, cut so that nothing overlaps, by sequence number.
`rival_head`: whole segments that contradict some of that, in order of arrival; they are read as the second reading
once all that they overlap has been read (streams.py).
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.octets import copy, same
from sensor.decode.slots import LIMIT, join, leave
from sensor.decode.stream_tables import PARK_BYTES, RIVALS_EACH

WRAP = 1 << 32
NOTHING = np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def distance(seq, reference):
    """How far `seq` lies after `reference` in sequence space, -2^31 to 2^31 - 1 (RFC 9293, 3.4)."""
    return ((seq - reference + (WRAP >> 1)) & (WRAP - 1)) - (WRAP >> 1)


@njit(cache=True, nogil=True, boundscheck=True)
def _take(s, side, seq, ts_ns, frame, buf, at, size, missing):
    """A slot with these bytes, -1 when there is none."""
    u = s.used[0]
    if u.free_parks == 0 or size > PARK_BYTES:
        s.counters[0].parks_refused += 1
        side.marks |= LIMIT
        return np.int32(-1)
    u.free_parks -= 1
    slot = np.int32(s.park_stack[u.free_parks])
    p = s.parks[slot]
    p.owner = side.row
    p.seq = seq
    p.bytes = size
    p.missing = missing
    p.frame = frame
    p.ts_ns = ts_ns
    copy(buf, at, s.park_bytes[slot], NOTHING, size)
    join(s.parks, s.park_ages[0], slot)
    if side.parked == 0:
        side.patience = 0
    side.parked += 1
    side.parked_bytes += size
    return slot


@njit(cache=True, nogil=True, boundscheck=True)
def _give(s, side, slot):
    u = s.used[0]
    leave(s.parks, s.park_ages[0], slot)
    s.park_stack[u.free_parks] = slot
    u.free_parks += 1
    side.parked -= 1
    side.parked_bytes -= s.parks[slot].bytes


@njit(cache=True, nogil=True, boundscheck=True)
def unpark(s, side):
    """Free the first parked segment."""
    slot = np.int32(side.park_head)
    side.park_head = s.parks[slot].next
    _give(s, side, slot)


@njit(cache=True, nogil=True, boundscheck=True)
def unrival(s, side, before, slot):
    """Free a rival; `before` is the one before it in the list, -1 when it is the first."""
    if before < 0:
        side.rival_head = s.parks[slot].next
    else:
        s.parks[before].next = s.parks[slot].next
    _give(s, side, slot)


@njit(cache=True, nogil=True, boundscheck=True)
def clear(s, side):
    """Free all that a direction has parked, unread."""
    while side.park_head >= 0:
        unpark(s, side)
    while side.rival_head >= 0:
        unrival(s, side, np.int32(-1), np.int32(side.rival_head))


@njit(cache=True, nogil=True, boundscheck=True)
def overlaps_parked(s, side, seq, size):
    """Whether a parked segment overlaps the `size` bytes from `seq` on."""
    slot = side.park_head
    while slot >= 0:
        p = s.parks[slot]
        if distance(p.seq, seq) >= size:
            return False
        if distance(seq, p.seq) < p.bytes:
            return True
        slot = p.next
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def park(s, side, seq, ts_ns, frame, buf, at, end, missing):
    """Keep what of a segment nothing else covers; returns whether it contradicts what covers the rest.

    missing: bytes behind `end` that were on the wire and are not in the capture.
    """
    before = np.int32(-1)
    after = np.int32(side.park_head)
    contradicts = False
    while True:
        while after >= 0 and distance(s.parks[after].seq + s.parks[after].bytes, seq) <= 0:
            before = after
            after = np.int32(s.parks[after].next)
        size = end - at
        lead = size if after < 0 else min(size, max(distance(s.parks[after].seq, seq), 0))
        if lead > 0 or (missing > 0 and at == end):
            tail = missing if lead == size else NOTHING
            slot = _take(s, side, seq, ts_ns, frame, buf, at, lead, tail)
            if slot >= 0:
                s.parks[slot].next = after
                if before < 0:
                    side.park_head = slot
                else:
                    s.parks[before].next = slot
                before = slot
        at += lead
        seq = (seq + lead) & (WRAP - 1)
        if at >= end:
            return contradicts
        p = s.parks[after]
        skip = distance(seq, p.seq)
        common = min(p.bytes - skip, end - at)
        if not same(s.park_bytes[after], skip, buf, at, common):
            contradicts = True
        at += common
        seq = (seq + common) & (WRAP - 1)
        if at >= end:
            return contradicts


@njit(cache=True, nogil=True, boundscheck=True)
def park_rival(s, side, seq, ts_ns, frame, buf, at, end):
    """Keep a whole segment that contradicts what came first."""
    count, last = 0, np.int32(-1)
    slot = np.int32(side.rival_head)
    while slot >= 0:
        count += 1
        last = slot
        slot = np.int32(s.parks[slot].next)
    if count >= RIVALS_EACH:
        s.counters[0].parks_refused += 1
        side.marks |= LIMIT
        return
    slot = _take(s, side, seq, ts_ns, frame, buf, at, end - at, NOTHING)
    if slot < 0:
        return
    s.parks[slot].next = -1
    if last < 0:
        side.rival_head = slot
    else:
        s.parks[last].next = slot


@njit(cache=True, nogil=True, boundscheck=True)
def ripe_rival(s, side):
    """(the one before, slot) of the first rival whose bytes have all been read, -1 when there is none.

    A rival waits for those that came before it and overlap it, so that the last to come has the last word.
    """
    before, slot = np.int32(-1), np.int32(side.rival_head)
    while slot >= 0:
        p = s.parks[slot]
        if distance(p.seq + p.bytes, side.next_seq) <= 0:
            earlier = np.int32(side.rival_head)
            while earlier != slot:
                e = s.parks[earlier]
                if distance(e.seq, p.seq + p.bytes) < 0 and distance(p.seq, e.seq + e.bytes) < 0:
                    break
                earlier = np.int32(e.next)
            if earlier == slot:
                return before, slot
        before = slot
        slot = np.int32(p.next)
    return np.int32(-1), np.int32(-1)
