"""How steadily a device was in exchange, and whether a partner of it has fallen silent: what novelty can rest on.

That a host was never seen with a device says little where the device itself was seen for a few minutes of an hour. So
the time that its conversations cover is measured; pauses between them count as covered where they are short, or where
the device is called in such a rhythm. Looks at the tables only when somebody new is to be judged.
"""

from __future__ import annotations

import numpy as np

from sensor.decode.pdu import Kind, Outcome
from sensor.view import View

STEADY = 0.5  # of the time, from which on a device counts as watched
LONG_NS = 600 * 10**9  # or so much of it in all
BRIDGED_NS = 120 * 10**9  # a pause between two conversations that needs no rhythm
RHYTHM_TALKS = 10  # conversations, from which on their pauses show a rhythm
RHYTHM_TIMES = 3  # times the usual pause
SILENT_NS = 10 * 10**9  # at least, before somebody counts as silent
SILENT_TIMES = 3  # periods that must be missed


def steadily_met(view: View, device: int, before_ns: int, partner: int = -1) -> bool:
    """Whether conversations with a device cover half of the time from the first of them to `before_ns`, or ten minutes.

    device, partner: rows of the host table; partner -1: with anybody. True where rows were used again for other
    conversations, for then the table does not hold them all.
    """
    if view.recycled:
        return True
    table = view.conversations
    a, b = table["a_host"], table["b_host"]
    mine = ((a == device) | (b == device)) & (table["messages"] > 0) & (table["first_ns"] < before_ns)
    if partner >= 0:
        mine &= (a == partner) | (b == partner)
    rows = np.flatnonzero(mine)
    if not len(rows):
        return False
    begins = table["first_ns"][rows].astype(np.int64)
    order = np.argsort(begins, kind="stable")
    begins = begins[order]
    ends = np.maximum.accumulate(np.minimum(table["last_ns"][rows].astype(np.int64)[order], before_ns))
    pauses = np.maximum(np.append(begins[1:], before_ns) - ends, 0)
    bridged = BRIDGED_NS
    if len(rows) >= RHYTHM_TALKS:
        bridged = max(bridged, RHYTHM_TIMES * int(np.median(pauses)))
    length = before_ns - int(begins[0])
    talked, missed = length - int(pauses.sum()), int(pauses[pauses > bridged].sum())
    return talked >= LONG_NS or missed <= (1 - STEADY) * length


def fell_silent(view: View, asker: int, device: int, since_ns: int, now_ns: int) -> bool:
    """Whether a host that asked a device regularly has not done so any more since `since_ns`."""
    table = view.behaviours.table
    rows = np.flatnonzero((view.behaviours.column("client") == asker) & (view.behaviours.column("server") == device))
    rows = rows[(table["kind"][rows] == Kind.REQUEST) & (table["outcome"][rows] == Outcome.ASKED)]
    if not len(rows):
        return False
    asked = table.take(rows)
    last_ns = int(asked["last_ns"].max())
    often = asked.compress(asked["count"] >= SILENT_TIMES)
    period_ns = float((often["gap_sum"] / (often["count"] - 1)).min()) if len(often) else 0.0
    return last_ns <= since_ns and now_ns - last_ns > max(SILENT_TIMES * period_ns, SILENT_NS)
