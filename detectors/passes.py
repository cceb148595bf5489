"""What detectors ask of every event, compiled: one pass over a batch, where columns of numpy would take a dozen.

Each takes columns of events (sensor/events.py). labels: a Labels' numbers by behaviour, inverted as it keeps them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensor.compiled import njit
from sensor.decode.borrow import borrow

Numbers = npt.NDArray[np.int64]
Labelled = npt.NDArray[np.int32]

ASK, ANSWER, REPORT = range(3)  # lanes of a pair: see rhythm.py
LANES = 3


@njit(cache=True, nogil=True, boundscheck=True)
def strangers(
    number: Numbers, conversation: npt.NDArray[np.int32], forward: npt.NDArray[np.uint8],
    data: npt.NDArray[np.uint8], offset: Numbers, first: int,
    known: Numbers, rows: Numbers, cards: Numbers,
) -> int:  # fmt: skip
    """Events whose frame comes from another Ethernet address than `known`, by 2 * conversation + direction.

    data, offset, first: of Ethernet frames with whole headers. Into `rows` and `cards` go the events and the addresses,
    the first octet lowest; returns how many.
    """
    data, known = borrow(data), borrow(known)
    found = 0
    for row in range(len(number)):
        index = number[row] - first
        if index < 0 or index >= len(offset):
            continue
        at = offset[index] + 6
        card = np.int64(0)
        for octet in range(6):
            card |= np.int64(data[at + octet]) << (8 * octet)
        if card != known[2 * np.int64(conversation[row]) + forward[row]]:
            rows[found], cards[found] = row, card
            found += 1
    return found


@njit(cache=True, nogil=True, boundscheck=True)
def undisturbed(
    behaviour: npt.NDArray[np.int32], ts_ns: Numbers, labels: Labelled, floor_ns: int,
    last: Numbers, judged: npt.NDArray[np.bool_], asked: Numbers, asked_then: Numbers, answered: npt.NDArray[np.bool_],
) -> bool:  # fmt: skip
    """Whether no lane was silent for `floor_ns` before or in a batch; then what is kept of lanes is brought up to date.

    last, judged: by lane; asked, asked_then: by pair, as in rhythm.py. answered: scratch, by pair.
    """
    behaviour, ts_ns, labels, last = borrow(behaviour), borrow(ts_ns), borrow(labels), borrow(last)
    begin = end = ts_ns[0]
    for row in range(len(ts_ns)):
        now = ts_ns[row]
        begin, end = min(begin, now), max(end, now)
        lane = ~labels[behaviour[row]]
        if lane >= 0 and last[lane] >= 0 and now - last[lane] > floor_ns:
            return False
    if end - begin > floor_ns:
        return False
    for row in range(len(ts_ns)):
        lane = ~labels[behaviour[row]]
        if lane < 0:
            continue
        last[lane] = max(last[lane], ts_ns[row])
        judged[lane] = False
        pair, way = lane // LANES, lane % LANES
        if way == ASK:
            asked[pair] += 1
        elif way == ANSWER:
            answered[pair] = True
    for pair in range(len(answered)):
        if answered[pair]:
            asked_then[pair] = asked[pair]
            answered[pair] = False
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def labelled(behaviour: npt.NDArray[np.int32], ts_ns: Numbers, labels: Labelled) -> tuple[int, np.int64, np.int64]:
    """(how many events have a label, time of the first and of the last of these)."""
    behaviour, ts_ns, labels = borrow(behaviour), borrow(ts_ns), borrow(labels)
    count, begin, end = 0, np.int64(0), np.int64(0)
    for row in range(len(ts_ns)):
        if labels[behaviour[row]] < 0:
            now = ts_ns[row]
            begin, end = (min(begin, now), max(end, now)) if count else (now, now)
            count += 1
    return count, begin, end


@njit(cache=True, nogil=True, boundscheck=True)
def tally(
    behaviour: npt.NDArray[np.int32], ts_ns: Numbers, labels: Labelled, begin_ns: int, unit_ns: int,
    width: int, cells: Numbers,
) -> None:  # fmt: skip
    """Count the events with a label into cells, `width` labels for each `unit_ns` from `begin_ns` on."""
    behaviour, ts_ns, labels = borrow(behaviour), borrow(ts_ns), borrow(labels)
    for row in range(len(ts_ns)):
        label = ~labels[behaviour[row]]
        if label >= 0:
            cells[(ts_ns[row] - begin_ns) // unit_ns * width + label] += 1
