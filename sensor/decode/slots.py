"""Beginnings of messages, kept until the rest comes: of streams (holds) and of a protocol's own fragments (assemblies).

All directions share HOLDS slots. Whoever needs one when none is free takes the oldest, so that many who never finish
cannot starve one who does; the loser's next PDU says so.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.octets import copy
from sensor.decode.pdu import Anomaly
from sensor.decode.stream_tables import ASSEMBLIES_EACH, HOLD_BYTES

# Numpy scalars, not Python's: numba compiles a function anew for each Python constant that it is called with.
LIMIT = np.uint32(Anomaly.LIMIT)
HOLD, ASIDE, ASSEMBLY = np.uint8(1), np.uint8(2), np.uint8(3)  # roles of a slot
NONE = np.int32(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def new_side(side, row):
    """Begin a direction: row `row` of the table of sides, in which nothing was seen yet."""
    side.row = row
    side.seen = 0
    side.gap = 0
    side.searching = 0
    side.split = 0
    side.parked = 0
    side.marks = 0
    side.next_seq = 0
    side.hold = -1
    side.hold_bytes = 0
    side.assembly = -1
    side.reading = -1
    side.park_head = -1
    side.rival_head = -1
    side.parked_bytes = 0
    side.hole = 0
    side.hole_bytes = 0
    side.aside = 0
    side.aside_hold = -1
    side.aside_assembly = -1


@njit(cache=True, nogil=True, boundscheck=True)
def join(table, ages, slot):
    """Enter a slot of `table` into the list by age, as the newest."""
    row = table[slot]
    row.older = ages.newest
    row.newer = -1
    if ages.newest >= 0:
        table[ages.newest].newer = slot
    else:
        ages.oldest = slot
    ages.newest = slot


@njit(cache=True, nogil=True, boundscheck=True)
def leave(table, ages, slot):
    """Take a slot of `table` out of the list by age."""
    row = table[slot]
    if row.older >= 0:
        table[row.older].newer = row.newer
    else:
        ages.oldest = row.newer
    if row.newer >= 0:
        table[row.newer].older = row.older
    else:
        ages.newest = row.older


@njit(cache=True, nogil=True, boundscheck=True)
def take_slot(s, side, role):
    """A slot for the side, the oldest of another one where none is free."""
    u = s.used[0]
    if u.free_holds == 0:
        _evict(s, np.int32(s.hold_ages[0].oldest))
    u.free_holds -= 1
    slot = np.int32(s.hold_stack[u.free_holds])
    holder = s.holders[slot]
    holder.owner = side.row
    holder.role = role
    join(s.holders, s.hold_ages[0], slot)
    return slot


@njit(cache=True, nogil=True, boundscheck=True)
def give_slot(s, slot):
    """Put a slot back."""
    u = s.used[0]
    leave(s.holders, s.hold_ages[0], slot)
    s.hold_stack[u.free_holds] = slot
    u.free_holds += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _evict(s, slot):
    holder = s.holders[slot]
    owner = s.sides[holder.owner]
    if holder.role == ASSEMBLY:
        s.counters[0].assemblies_refused += 1
        owner.marks |= LIMIT
        drop_assembly(s, owner, slot)
        return
    s.counters[0].holds_refused += 1
    if holder.role == HOLD:
        owner.gap = 1
        owner.marks |= LIMIT
        drop_hold(s, owner)
    else:
        owner.aside_hold = -1
        owner.aside_bytes = 0
        give_slot(s, slot)


@njit(cache=True, nogil=True, boundscheck=True)
def hold(s, side, frame, buf, at, end):
    """Keep the beginning of an incomplete message."""
    size = end - at
    if size > HOLD_BYTES:
        s.counters[0].holds_refused += 1
        side.gap = 1
        side.marks |= LIMIT
        return
    side.hold = take_slot(s, side, HOLD)
    copy(buf, at, s.holds[side.hold], np.int64(0), size)
    side.hold_bytes = size
    side.hold_frame = frame


@njit(cache=True, nogil=True, boundscheck=True)
def drop_hold(s, side):
    """Forget the beginning of an incomplete message."""
    if side.hold >= 0:
        give_slot(s, np.int32(side.hold))
        side.hold = -1
    side.hold_bytes = 0


@njit(cache=True, nogil=True, boundscheck=True)
def find_assembly(s, side, key):
    """Slot of the fragments collected under `key`, -1 when there are none."""
    slot = np.int32(side.assembly)
    while slot >= 0 and s.holders[slot].key != key:
        slot = np.int32(s.holders[slot].next)
    return slot


@njit(cache=True, nogil=True, boundscheck=True)
def collect(s, side, slot, key, buf, at, end):
    """Append a fragment to the assembly in `slot`, a new one where that is -1; its slot, -1 when it cannot be kept."""
    size = end - at
    if slot < 0:
        count, last = 0, np.int32(side.assembly)
        while last >= 0 and s.holders[last].next >= 0:
            count += 1
            last = np.int32(s.holders[last].next)
        if count + 1 >= ASSEMBLIES_EACH:
            s.counters[0].assemblies_refused += 1
            side.marks |= LIMIT
            drop_assembly(s, side, last)
        slot = take_slot(s, side, ASSEMBLY)
        holder = s.holders[slot]
        holder.key = key
        holder.bytes = 0
        holder.marks = 0
        holder.next = side.assembly
        side.assembly = slot
    holder = s.holders[slot]
    if holder.bytes + size > HOLD_BYTES:
        s.counters[0].assemblies_refused += 1
        side.marks |= LIMIT
        drop_assembly(s, side, slot)
        return NONE
    copy(buf, at, s.holds[slot], np.int64(holder.bytes), size)
    holder.bytes += size
    return slot


@njit(cache=True, nogil=True, boundscheck=True)
def assembled(s, side, slot, out):
    """Move the collected fragments to the batch's own buffer; returns (begin, end) there."""
    begin = s.used[0].assembled
    size = np.int64(s.holders[slot].bytes)
    copy(s.holds[slot], np.int64(0), out, begin, size)
    s.used[0].assembled = begin + size
    side.marks |= s.holders[slot].marks
    drop_assembly(s, side, slot)
    return begin, begin + size


@njit(cache=True, nogil=True, boundscheck=True)
def drop_assembly(s, side, slot):
    """Forget the fragments in `slot`."""
    following = np.int32(s.holders[slot].next)
    if side.assembly == slot:
        side.assembly = following
    elif side.aside_assembly == slot:
        side.aside_assembly = following
    else:
        for head in (np.int32(side.assembly), np.int32(side.aside_assembly)):
            before = head
            while before >= 0 and s.holders[before].next != slot:
                before = np.int32(s.holders[before].next)
            if before >= 0:
                s.holders[before].next = following
    give_slot(s, slot)


@njit(cache=True, nogil=True, boundscheck=True)
def drop_assemblies(s, side):
    """Forget all fragments of a direction."""
    while side.assembly >= 0:
        drop_assembly(s, side, np.int32(side.assembly))


@njit(cache=True, nogil=True, boundscheck=True)
def turn_aside(s, side):
    """Exchange the beginnings that a direction keeps with those that it has put aside."""
    hold, size, frame, assembly = side.hold, side.hold_bytes, side.hold_frame, side.assembly
    side.hold, side.hold_bytes = side.aside_hold, side.aside_bytes
    side.hold_frame, side.assembly = side.aside_frame, side.aside_assembly
    side.aside_hold, side.aside_bytes, side.aside_frame, side.aside_assembly = hold, size, frame, assembly
    if side.hold >= 0:
        s.holders[side.hold].role = HOLD
    else:
        side.hold_bytes = 0
    if side.aside_hold >= 0:
        s.holders[side.aside_hold].role = ASIDE


@njit(cache=True, nogil=True, boundscheck=True)
def drop_aside(s, side):
    """Forget the beginnings that were put aside."""
    if side.aside_hold >= 0:
        give_slot(s, np.int32(side.aside_hold))
        side.aside_hold = -1
    side.aside_bytes = 0
    while side.aside_assembly >= 0:
        drop_assembly(s, side, np.int32(side.aside_assembly))
