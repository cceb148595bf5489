"""The values that GOOSE messages publish, compared as octets: they stand last in the message (IEC 61850-8-1, annex A).

Where they stand is worked out once for each stream; messages are compared by columns, none is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.events import EventBatch

ETHERTYPE_HEADER = 8  # APPID, length, two reserved words
ALL_DATA = 0xAB
MAX_STREAMS = 4096  # whose values are remembered; more at one time are not compared
MAX_OCTETS = 1500
AT_ONCE = 1024  # messages compared in one step, which bounds the memory that it takes


class Tails:
    """The last values of each stream."""

    def __init__(self) -> None:
        self._last: dict[int, bytes] = {}  # behaviour -> values as octets

    def changed(self, batch: EventBatch, rows: npt.NDArray[np.int64], behaviour: int) -> npt.NDArray[np.bool_]:
        """Which messages of a stream (rows of `batch`, in order) publish other values than the one before; (n,)."""
        c = batch.columns
        found = np.zeros(len(rows), np.bool_)
        last = self._last.get(behaviour)
        size = len(last) if last is not None else values_size(batch.pdu(int(rows[0])))
        if not 0 < size <= MAX_OCTETS or (last is None and len(self._last) >= MAX_STREAMS):
            return found
        at, length = c.pdu_at[rows], c.pdu_length[rows]
        if (at < 0).any() or (length < size).any():  # in several frames, which GOOSE never is, or cut
            return found
        ends = at + length
        octets = np.arange(size)
        for begin in range(0, len(rows), AT_ONCE):
            tails = batch.frames[(ends[begin : begin + AT_ONCE] - size)[:, None] + octets]
            found[begin + 1 : begin + len(tails)] = (tails[1:] != tails[:-1]).any(axis=1)
            found[begin] = last is not None and tails[0].tobytes() != last
            last = tails[-1].tobytes()
            self._last[behaviour] = last
        return found


def values_size(pdu: bytes) -> int:
    """Octets of the element that holds the values, where it stands last in a message; 0 where it does not."""
    at, end = ETHERTYPE_HEADER, len(pdu)
    inside = _element(pdu, at, end)
    if inside is None:
        return 0
    at = inside[1]
    while at < end:
        element = _element(pdu, at, end)
        if element is None:
            return 0
        tag, _, stop = element
        if tag == ALL_DATA:
            return end - at if stop == end else 0
        at = stop
    return 0


def _element(pdu: bytes, at: int, end: int) -> tuple[int, int, int] | None:
    """(tag, where its content begins, where it ends) of a BER element with a one-octet tag; None where it is cut."""
    if at + 2 > end:
        return None
    size, begin = pdu[at + 1], at + 2
    if size & 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4 or begin + octets > end:
            return None
        size, begin = int.from_bytes(pdu[begin : begin + octets], "big"), begin + octets
    return (pdu[at], begin, begin + size) if begin + size <= end else None


def live_ms(fields: Mapping[str, Any]) -> int:
    """For how long messages of a stream are to be believed, ms; 0 where none says so."""
    value = fields.get("goose.time_allowed_to_live")
    return value if isinstance(value, int) and 0 < value < 1 << 32 else 0
