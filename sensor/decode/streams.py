"""TCP streams as an adversary may have written them: in order, split, repeated, out of order, with gaps.

In-order data is read where the frame lies. The beginning of an incomplete message is held; a segment that comes too
early is parked; a gap that the receiver has acknowledged, or that stays open too long, is given up and marked on the
next PDU. Nothing is dropped on a bad checksum; RST and FIN do not end a stream, for they are easily forged: a new SYN
begins one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode.link import ACK, SYN
from sensor.decode.messages import IN_ASSEMBLED, drain, drop_assembly, give_slot, take_slot
from sensor.decode.state import GAP_PATIENCE, HOLD_BYTES, PARK_BYTES, PARKS_EACH, RESYNC_DISTANCE

WRAP = 1 << 32


@njit(cache=True, nogil=True, boundscheck=True)
def distance(seq, reference):
    """How far `seq` lies after `reference` in sequence space, -2^31 to 2^31 - 1 (RFC 9293, 3.4)."""
    return ((seq - reference + (WRAP >> 1)) & (WRAP - 1)) - (WRAP >> 1)


@njit(cache=True, nogil=True, boundscheck=True)
def _forget(s, side):
    """Drop what a direction holds, parks and assembles."""
    if side.hold >= 0:
        give_slot(s, side.hold)
        side.hold = -1
    side.hold_bytes = 0
    drop_assembly(s, side)
    while side.park_head >= 0:
        _unpark(s, side)
    side.split = 0
    side.gap = 0


@njit(cache=True, nogil=True, boundscheck=True)
def _unpark(s, side):
    """Free the first parked segment."""
    slot = side.park_head
    side.park_head = s.parks[slot].next
    side.parked -= 1
    u = s.used[0]
    s.park_stack[u.free_parks] = slot
    u.free_parks += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _contiguous(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside, missing):
    """Read bytes that follow what was read so far; `missing` more were on the wire and are not in the capture.

    inside: see `drain`.
    """
    origin = frame
    if side.hold >= 0:
        # The held beginning and these bytes are joined in the batch's buffer, where the PDUs stay readable.
        begin = s.used[0].assembled
        kept = s.holds[side.hold]
        for k in range(side.hold_bytes):
            out[begin + k] = kept[k]
        middle = begin + side.hold_bytes
        for k in range(end - at):
            out[middle + k] = buf[at + k]
        stop = middle + end - at
        s.used[0].assembled = stop
        origin = max(frame, side.hold_frame)
        give_slot(s, side.hold)
        side.hold = -1
        side.hold_bytes = 0
        side.split = 1
        rest = drain(s, messages, out, side, conversation, forward, ts_ns, origin, out, begin, stop, IN_ASSEMBLED)
        if not missing:
            _hold(s, side, origin, out, rest, stop)
    else:
        side.split = 0
        rest = drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside)
        if not missing:
            _hold(s, side, frame, buf, rest, end)
    if missing:
        side.next_seq = (side.next_seq + missing) & (WRAP - 1)
        _lose(s, side, conversation, missing)


@njit(cache=True, nogil=True, boundscheck=True)
def _hold(s, side, frame, buf, at, end):
    """Keep the beginning of an incomplete message."""
    size = end - at
    if size == 0:
        return
    slot = take_slot(s) if size <= HOLD_BYTES else np.int32(-1)
    if slot < 0:
        s.counters[0].holds_refused += 1
        side.gap = 1
        return
    kept = s.holds[slot]
    for k in range(size):
        kept[k] = buf[at + k]
    side.hold = slot
    side.hold_bytes = size
    side.hold_frame = frame


@njit(cache=True, nogil=True, boundscheck=True)
def _lose(s, side, conversation, size):
    """Account for bytes that will not come."""
    s.counters[0].gaps += 1
    s.counters[0].gap_bytes += size
    s.conversations[conversation].lost += size
    side.gap = 1
    if side.hold >= 0:
        give_slot(s, side.hold)
        side.hold = -1
        side.hold_bytes = 0
    drop_assembly(s, side)


@njit(cache=True, nogil=True, boundscheck=True)
def _park(s, side, seq, ts_ns, frame, buf, at, end, missing):
    """Keep a segment that came before its predecessor, in order of sequence number."""
    before = np.int32(-1)
    after = side.park_head
    while after >= 0 and distance(s.parks[after].seq, seq) <= 0:
        if s.parks[after].seq == seq and s.parks[after].bytes >= end - at:
            s.counters[0].retransmitted += 1
            return
        before = after
        after = s.parks[after].next
    u = s.used[0]
    if u.free_parks == 0 or end - at > PARK_BYTES:
        s.counters[0].parks_refused += 1
        return
    u.free_parks -= 1
    slot = s.park_stack[u.free_parks]
    p = s.parks[slot]
    p.seq = seq
    p.bytes = end - at
    p.missing = missing
    p.frame = frame
    p.ts_ns = ts_ns
    kept = s.park_bytes[slot]
    for k in range(end - at):
        kept[k] = buf[at + k]
    p.next = after
    if before < 0:
        side.park_head = slot
    else:
        s.parks[before].next = slot
    if side.parked == 0:
        side.patience = 0
    side.parked += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _release(s, messages, out, side, conversation, forward):
    """Read parked segments as long as they follow."""
    while side.park_head >= 0:
        slot = side.park_head
        p = s.parks[slot]
        skip = -distance(p.seq, side.next_seq)
        if skip < 0:
            return
        if skip < p.bytes:
            side.next_seq = (side.next_seq + p.bytes - skip) & (WRAP - 1)
            kept = s.park_bytes[slot]
            # Parked bytes are reused, so they are read from the batch's own buffer.
            begin = s.used[0].assembled
            for k in range(p.bytes - skip):
                out[begin + k] = kept[skip + k]
            s.used[0].assembled = begin + p.bytes - skip
            stop = begin + p.bytes - skip
            _contiguous(
                s,
                messages,
                out,
                side,
                conversation,
                forward,
                p.ts_ns,
                p.frame,
                out,
                begin,
                stop,
                IN_ASSEMBLED,
                np.int64(p.missing),
            )
        elif p.missing and skip < p.bytes + p.missing:
            side.next_seq = (p.seq + p.bytes + p.missing) & (WRAP - 1)
            _lose(s, side, conversation, np.int64(p.bytes + p.missing - skip))
        _unpark(s, side)


@njit(cache=True, nogil=True, boundscheck=True)
def _give_up(s, messages, out, side, conversation, forward):
    """The bytes before the first parked segment will not come: go on after them."""
    p = s.parks[side.park_head]
    missing = distance(p.seq, side.next_seq)
    if missing > 0:
        _lose(s, side, conversation, missing)
        side.next_seq = p.seq
    _release(s, messages, out, side, conversation, forward)


@njit(cache=True, nogil=True, boundscheck=True)
def segment(s, messages, out, conversation, forward, ts_ns, frame, buf, packet, inside):
    """Take one TCP segment of a watched conversation; inside: see `drain`."""
    side = s.sides[2 * conversation + (0 if forward else 1)]
    other = s.sides[2 * conversation + (1 if forward else 0)]
    seq = packet.seq
    size = packet.end - packet.at
    if packet.control & SYN:
        seq = (seq + 1) & (WRAP - 1)
        if not side.seen or side.next_seq != seq:  # a repeated SYN changes nothing
            _forget(s, side)
            side.seen = 1
            side.next_seq = seq
    if packet.control & ACK and other.parked and distance(packet.ack, s.parks[other.park_head].seq) > 0:
        # The receiver has what the capture lacks. A few more frames of patience, for captures are reordered too.
        other.patience += 1
        if other.patience > GAP_PATIENCE:
            _give_up(s, messages, out, other, conversation, 1 - forward)
    if size + packet.missing == 0:
        return
    s.counters[0].segments += 1
    if not side.seen:
        side.seen = 1
        side.next_seq = seq
    ahead = distance(seq, side.next_seq)
    at = packet.at
    if ahead > RESYNC_DISTANCE or ahead < -RESYNC_DISTANCE:
        _forget(s, side)  # another connection between the same ends, whose SYN was not seen
        side.gap = 1
        side.next_seq = seq
        ahead = 0
    if ahead > 0:
        s.counters[0].out_of_order += 1
        _park(s, side, seq, ts_ns, frame, buf, at, packet.end, packet.missing)
        if side.parked >= PARKS_EACH:
            _give_up(s, messages, out, side, conversation, forward)
        return
    if ahead < 0:
        s.counters[0].retransmitted += 1
        if -ahead >= size:
            if -ahead < size + packet.missing:
                rest = size + packet.missing + ahead
                side.next_seq = (side.next_seq + rest) & (WRAP - 1)
                _lose(s, side, conversation, rest)
            return
        at -= ahead
    side.next_seq = (side.next_seq + packet.end - at) & (WRAP - 1)
    _contiguous(
        s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, packet.end, inside, packet.missing
    )
    if side.parked:
        _release(s, messages, out, side, conversation, forward)


@njit(cache=True, nogil=True, boundscheck=True)
def flush(s, messages, out, conversation, forward):
    """At the end of a capture: read what is still parked behind a gap, one give-up for each call; False when done."""
    side = s.sides[2 * conversation + (0 if forward else 1)]
    if side.park_head < 0:
        return False
    _give_up(s, messages, out, side, conversation, forward)
    return True
