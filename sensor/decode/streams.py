"""TCP streams as an adversary may have written them: in order, split, repeated, out of order, overlapping, with gaps.

In-order data is read where the frame lies. The beginning of an incomplete message is held (slots.py); a segment that
comes too early is parked (parks.py); a gap that the receiver has acknowledged, or that stays open too long, is given up
and marked on the next PDU. What is sent again is compared with what came first (history.py), and read as well where it
differs (readings.py). Nothing is dropped on a bad checksum. RST and FIN do not end a stream, and a SYN does not end the
one it falls into, for they are easily forged: the stream goes on wherever data follows.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import INTEGER, SMALL, Rows, address_of, for_the_compiler, njit
from sensor.decode import history, parks, readings
from sensor.decode.apart import caller
from sensor.decode.link import ACK, SYN
from sensor.decode.messages import IN_ASSEMBLED, drain, take
from sensor.decode.octets import copy
from sensor.decode.parks import WRAP, distance
from sensor.decode.readings import GAP
from sensor.decode.slots import LIMIT, drop_aside, drop_assemblies, drop_hold, hold, turn_aside
from sensor.decode.state import MESSAGE, OCTET, PACKET, STATE
from sensor.decode.stream_tables import (
    FRESH,
    FRESH_WINDOW,
    GAP_PATIENCE,
    GIVEN_UP,
    NOWHERE,
    PARKED_BYTES,
    PARKS_EACH,
    PLACE,
    RESYNC_BEHIND,
    RESYNC_DISTANCE,
)

NOTHING = np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def _contiguous(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside, missing):
    """Read bytes that follow what was read so far; `missing` more were on the wire and are not in the capture.

    inside: see `drain`.
    """
    side.next_seq = (side.next_seq + end - at) & (WRAP - 1)
    history.remember(s, side, buf, at, end, side.hold < 0 and side.assembly < 0)
    if side.hold >= 0:
        # The held beginning and these bytes are joined in the batch's buffer, where the PDUs stay readable.
        begin, held = s.used[0].assembled, np.int64(side.hold_bytes)
        copy(s.holds[side.hold], NOTHING, out, begin, held)
        copy(buf, at, out, begin + held, end - at)
        stop = begin + held + end - at
        s.used[0].assembled = stop
        origin = max(frame, side.hold_frame)
        drop_hold(s, side)
        side.split = 1
        rest = drain(s, messages, out, side, conversation, forward, ts_ns, origin, out, begin, stop, IN_ASSEMBLED)
        if rest < stop and not missing:
            hold(s, side, origin, out, rest, stop)
    else:
        side.split = 0
        rest = drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside)
        if rest < end and not missing:
            hold(s, side, frame, buf, rest, end)
    if side.reading >= 0:
        readings.follow(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end)
    if missing:
        _lose(s, side, conversation, missing)


@njit(cache=True, nogil=True, boundscheck=True)
def _lose(s, side, conversation, size):
    """Go on behind `size` bytes that will not come."""
    s.counters[0].gaps += 1
    s.counters[0].gap_bytes += size
    s.conversations[conversation].lost += size
    side.gap = 1
    side.hole = side.next_seq
    side.hole_bytes = size
    _break(s, side)
    side.next_seq = (side.next_seq + size) & (WRAP - 1)


@njit(cache=True, nogil=True, boundscheck=True)
def _break(s, side):
    """What comes does not follow what was read."""
    drop_hold(s, side)
    drop_assemblies(s, side)
    readings.close(s, side)
    history.forget(s, side)


@njit(cache=True, nogil=True, boundscheck=True)
def forget(s, side):
    """Drop everything that a direction keeps."""
    _break(s, side)
    parks.clear(s, side)
    drop_aside(s, side)


@njit(cache=True, nogil=True, boundscheck=True)
def _release(s, messages, out, side, conversation, forward):
    """Read parked segments as long as they follow, and then those that contradict them."""
    while side.park_head >= 0:
        slot = side.park_head
        p = s.parks[slot]
        skip = -distance(p.seq, side.next_seq)
        if skip < 0:
            return
        missing = np.int64(p.missing)
        if missing and p.next >= 0:  # what the capture lacks may have been sent again
            missing = min(missing, distance(s.parks[p.next].seq, p.seq) - p.bytes)
        ts_ns, frame, size = p.ts_ns, p.frame, p.bytes - skip
        if size > 0:
            # Parked bytes are reused, so they are read from the batch's own buffer.
            begin = s.used[0].assembled
            copy(s.park_bytes[slot], skip, out, begin, size)
            s.used[0].assembled = begin + size
        parks.unpark(s, side)
        if size > 0:
            _contiguous(
                s, messages, out, side, conversation, forward, ts_ns, frame, out, begin, begin + size, IN_ASSEMBLED,
                missing,
            )  # fmt: skip
        elif missing + size > 0:
            _lose(s, side, conversation, missing + size)
        _contest(s, messages, out, side, conversation, forward)


@njit(cache=True, nogil=True, boundscheck=True)
def _contest(s, messages, out, side, conversation, forward):
    """Read parked segments that contradict what has been read by now."""
    while side.rival_head >= 0:
        before, slot = parks.ripe_rival(s, side)
        if slot < 0:
            return
        p = s.parks[slot]
        readings.contradict(
            s, messages, out, side, conversation, forward, p.ts_ns, p.frame, s.park_bytes[slot], NOTHING, p.seq,
            np.int64(p.bytes),
        )  # fmt: skip
        readings.beside(
            s, messages, out, side, conversation, forward, p.ts_ns, p.frame, s.park_bytes[slot], NOTHING,
            np.int64(p.bytes),
        )  # fmt: skip
        parks.unrival(s, side, before, slot)


@njit(cache=True, nogil=True, boundscheck=True)
def _give_up(s, messages, out, side, conversation, forward):
    """The bytes before the first parked segment will not come: go on after them."""
    missing = distance(s.parks[side.park_head].seq, side.next_seq)
    if missing > 0:
        _lose(s, side, conversation, missing)
    _release(s, messages, out, side, conversation, forward)


@njit(cache=True, nogil=True, boundscheck=True)
def _make_room(s, messages, out):
    """Where places for parked segments run out, give up the oldest gaps: who never closes one cannot starve others."""
    for _ in range(GIVEN_UP):
        if s.used[0].free_parks >= 2 * PARKS_EACH or s.park_ages[0].oldest < 0:
            return
        row = s.parks[s.park_ages[0].oldest].owner
        side = s.sides[row]
        s.counters[0].parks_refused += 1
        side.marks |= LIMIT
        if side.park_head >= 0:
            _give_up(s, messages, out, side, np.int64(row >> 1), np.int64(1 - (row & 1)))


@njit(cache=True, nogil=True, boundscheck=True)
def _turn(s, messages, out, side, conversation, forward, seq):
    """Go on at `seq`, and keep the place where the stream was: it may go on there."""
    while side.park_head >= 0:
        _give_up(s, messages, out, side, conversation, forward)
    readings.close(s, side)
    history.forget(s, side)
    if side.aside == NOWHERE or seq != side.aside_seq:
        drop_aside(s, side)
    turn_aside(s, side)
    side.aside = PLACE
    side.aside_seq = side.next_seq
    side.next_seq = seq


@njit(cache=True, nogil=True, boundscheck=True)
def _synchronise(s, side, seq):
    """A SYN: data may follow at `seq`."""
    if not side.seen:
        side.seen = 1
        side.next_seq = seq
    elif side.next_seq != seq and not (side.aside and side.aside_seq == seq):
        drop_aside(s, side)
        side.aside = FRESH
        side.aside_seq = seq


@njit(cache=True, nogil=True, boundscheck=True)
def _find_place(s, messages, out, side, conversation, forward, seq):
    """Where data at `seq` neither follows nor is near, the stream may have been begun anew, or forged for a while."""
    ahead = distance(seq, side.next_seq)
    if side.aside != NOWHERE:
        fresh = distance(seq, side.aside_seq)
        if fresh == 0 or (side.aside == FRESH and 0 < fresh < FRESH_WINDOW and fresh < abs(ahead)):
            _turn(s, messages, out, side, conversation, forward, np.int64(side.aside_seq))
            return
    if ahead > RESYNC_DISTANCE or ahead < -RESYNC_BEHIND:
        _turn(s, messages, out, side, conversation, forward, seq)
        side.gap = 1


@njit(cache=True, nogil=True, boundscheck=True)
def _again(s, messages, out, side, conversation, forward, ts_ns, frame, seq, buf, at, size):
    """Look at `size` bytes that were sent before; whether they contradict what was sent then."""
    found = history.compare(s, side, seq, buf, at, size)
    if found == history.DIFFERENT:
        readings.contradict(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, seq, size)
    elif found == history.UNKNOWN:
        into = distance(seq, side.hole)
        if into >= 0 and into + size <= side.hole_bytes:
            side.hole_bytes -= into + size
            side.hole = (seq + size) & (WRAP - 1)
            readings.alone(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, size, GAP)
        else:
            s.counters[0].overlaps_unchecked += 1
            side.marks |= LIMIT
    return found == history.DIFFERENT


@njit(cache=True, nogil=True, boundscheck=True)
def _insert(s, messages, out, side, conversation, forward, ts_ns, frame, seq, buf, at, end, missing):
    """Park what is new of a segment; one that contradicts what came before it is read after that."""
    new = np.int64(max(-distance(seq, side.next_seq), 0))
    contradicts = new > 0 and history.compare(s, side, seq, buf, at, new) == history.DIFFERENT
    if parks.park(s, side, (seq + new) & (WRAP - 1), ts_ns, frame, buf, at + new, end, missing):
        contradicts = True
    if contradicts:
        parks.park_rival(s, side, seq, ts_ns, frame, buf, at, end)


@njit(cache=True, nogil=True, boundscheck=True)
def _segment(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
    """Take one TCP segment of a conversation; inside: see `drain`."""
    side = s.sides[2 * conversation + (0 if forward else 1)]
    other = s.sides[2 * conversation + (1 if forward else 0)]
    seq, at, end, missing = packet.seq, packet.at, packet.end, packet.missing
    if packet.control & SYN:
        seq = (seq + 1) & (WRAP - 1)
        _synchronise(s, side, seq)
    if packet.control & ACK and other.park_head >= 0 and distance(packet.ack, s.parks[other.park_head].seq) > 0:
        # The receiver has what the capture lacks. A few more frames of patience, for captures are reordered too.
        other.patience += 1
        if other.patience > GAP_PATIENCE:
            _give_up(s, messages, out, other, conversation, 1 - forward)
    if end - at + missing == 0:
        return
    s.counters[0].segments += 1
    if not side.seen:
        side.seen = 1
        side.next_seq = seq
        side.hole = (seq - RESYNC_BEHIND) & (WRAP - 1)  # whatever came before the capture
        side.hole_bytes = RESYNC_BEHIND
    if seq != side.next_seq:
        _find_place(s, messages, out, side, conversation, forward, seq)
        if s.used[0].free_parks < 2 * PARKS_EACH:
            _make_room(s, messages, out)
    ahead = distance(seq, side.next_seq)
    if ahead > 0 or (side.parked and parks.overlaps_parked(s, side, seq, end - at)):
        if ahead > 0:
            s.counters[0].out_of_order += 1
        _insert(s, messages, out, side, conversation, forward, ts_ns, frame, seq, buf, at, end, missing)
        _release(s, messages, out, side, conversation, forward)
        while side.parked >= PARKS_EACH or side.parked_bytes >= PARKED_BYTES:
            _give_up(s, messages, out, side, conversation, forward)
        return
    begin, contradicts = at, False
    if ahead < 0:
        s.counters[0].retransmitted += 1
        size = end - at
        old = min(-ahead, size)
        if size + missing > 1 or ahead < -1:  # else a keep-alive: an octet of no meaning (RFC 9293, 3.8.4)
            contradicts = _again(s, messages, out, side, conversation, forward, ts_ns, frame, seq, buf, at, old)
        if old == size:
            if contradicts:
                readings.beside(s, messages, out, side, conversation, forward, ts_ns, frame, buf, begin, size)
            if size + missing + ahead > 0:
                _lose(s, side, conversation, size + missing + ahead)
            return
        at += old
    _contiguous(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside, missing)
    if contradicts:
        readings.beside(s, messages, out, side, conversation, forward, ts_ns, frame, buf, begin, end - begin)
    if side.parked:
        _release(s, messages, out, side, conversation, forward)


@njit(cache=True, nogil=True, boundscheck=True)
def _irregular(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
    _segment(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside)
    return NOTHING


SEGMENT = (
    STATE, Rows(MESSAGE), Rows(OCTET), INTEGER, INTEGER, INTEGER, INTEGER, Rows(OCTET), PACKET, SMALL,
)  # fmt: skip


def irregular(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
    """See _segment, which compiled code calls by its address: apart.py says why."""
    return _irregular(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside)


@for_the_compiler
def _irregular_by_address():
    from numba.extending import overload

    call = caller(INTEGER, SEGMENT)

    @overload(irregular, inline="always")
    def _compiled_form(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
        def compiled(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
            return call(s.used[0].irregular, s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside)

        return compiled


def irregular_address() -> int:
    """For `used.irregular` of a state."""
    return address_of(_irregular, SEGMENT)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def segment(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
    """Take one TCP segment of a conversation; inside: see `drain`.

    Nearly all come in order into a stream that waits for nothing: they are read here, the others in _segment.
    """
    side = s.sides[2 * conversation + (0 if forward else 1)]
    other = s.sides[2 * conversation + (1 if forward else 0)]
    if (
        packet.control & SYN
        or not side.seen
        or packet.seq != side.next_seq
        or packet.missing
        or side.hold >= 0
        or side.parked
        or side.reading >= 0
        or other.park_head >= 0
    ):
        irregular(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside)
        return
    at, end = packet.at, packet.end
    if end == at:
        return
    s.counters[0].segments += 1
    side.next_seq = (side.next_seq + end - at) & (WRAP - 1)
    history.remember(s, side, buf, at, end, side.assembly < 0)
    side.split = 0
    rest = take(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside)
    if rest < end:
        hold(s, side, frame, buf, rest, end)


@njit(cache=True, nogil=True, boundscheck=True)
def flush(s, messages, out, conversation, forward):
    """At the end of a capture: read what is still parked behind a gap, one give-up for each call; False when done."""
    side = s.sides[2 * conversation + (0 if forward else 1)]
    if side.park_head < 0:
        return False
    _give_up(s, messages, out, side, conversation, forward)
    return True
