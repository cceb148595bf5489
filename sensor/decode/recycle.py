"""Rows of conversations used again: a sensor that runs for years meets more of them than any table holds.

A row is free when its conversation has been silent for RECYCLE_AFTER_NS and nothing refers to it: no behaviour, no open
request, nothing that is parked. Conversations that carried no message (scans, floods) are given up sooner.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode import shortcut
from sensor.decode.state import PENDING
from sensor.decode.streams import forget

RECYCLE_AFTER_NS = 600 * 10**9
EMPTY_AFTER_NS = 60 * 10**9
RETRY_NS = 10 * 10**9  # looking costs a walk over all rows, so it is not done more often


def due(used: Any, rows: int) -> bool:
    """Whether so few of the `rows` of the table are left that some should be freed. used: (1,) USED."""
    return bool(used["conversations"][0] - used["free_count"][0] > rows - rows // 8)


@njit(cache=True, nogil=True, boundscheck=True)
def recycle(state, now_ns):
    """Free the rows that nobody needs any more; returns how many."""
    s = state[0]
    u = s.used[0]
    table, sides = s.conversations, s.sides
    for row in range(u.conversations):
        table[row].wanted = 0
    for k in range(s.settled[0].behaviours):
        if s.behaviours[k].conversation >= 0:
            table[s.behaviours[k].conversation].wanted = 1
    for k in range(PENDING):
        if s.waiting_tags[k]:
            table[s.waiting[k].conversation].wanted = 1
    freed = 0
    for row in range(u.conversations):
        c = table[row]
        if c.free or c.wanted or sides[2 * row].parked or sides[2 * row + 1].parked:
            continue
        if now_ns - c.last_ns > (RECYCLE_AFTER_NS if c.messages else EMPTY_AFTER_NS):
            forget(s, sides[2 * row])
            forget(s, sides[2 * row + 1])
            c.free = 1
            c.next_free = u.first_free
            u.first_free = row + 1
            freed += 1
    u.free_count += freed
    if freed:
        u.recycled += 1
        shortcut.forget(s)
        mask = u.conversation_mask
        slots = s.conversation_slots
        slots[: mask + 1] = 0
        for row in range(u.conversations):
            if not table[row].free:
                slot = np.int64(table[row].hash & np.uint64(mask))
                while slots[slot]:
                    slot = (slot + 1) & mask
                slots[slot] = row + 1
    return freed
