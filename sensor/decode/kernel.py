"""The loop over frames: link, conversation, stream, messages. Everything below runs without a Python object.

This is the first of three passes over a batch: frames to messages here, messages to PDUs in read.py, PDUs to events in
exchange.py. Each pass compiles by itself, so that a protocol costs nothing where it is not spoken.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sensor.decode import flows, fragments, link, streams
from sensor.decode.borrow import borrow
from sensor.decode.messages import FOREIGN, IN_ASSEMBLED, IN_FRAMES, drain, publication
from sensor.decode.state import DATAGRAM_BYTES, READINGS_OF_FRAME, ROOM_ASSEMBLED, ROOM_MESSAGES


@njit(cache=True, nogil=True, boundscheck=True)
def walk(data, ts_ns, offset, captured, wire, linktype, first, begin, state, messages, out):
    """Decode frames from row `begin` on until all are done or `messages` or `out` lacks the room for one more frame.

    The arrays are those of FrameBatch; `first` is the number of its first frame. Returns the row to go on from.
    """
    data, messages, out = borrow(data), borrow(messages), borrow(out)
    s = state[0]
    used = s.used[0]
    counters = s.counters[0]
    packet = s.packet[0]
    for i in range(begin, len(ts_ns)):
        if used.ready and not _read_datagrams(s, messages, out):
            return i
        if not _has_room(used, messages, out):
            return i
        counters.frames += 1
        counters.bytes += captured[i]
        if captured[i] < wire[i]:
            counters.cut_frames += 1
        now = ts_ns[i]
        used.last_ns = max(used.last_ns, now)
        verdict = link.parse(data, offset[i], captured[i], wire[i], linktype[i], packet)
        if verdict == link.OK or verdict == link.GOOSE:
            _payload(s, messages, out, now, first + i, data, packet, IN_FRAMES)
        elif verdict == link.FRAGMENT:
            used.readings_left = READINGS_OF_FRAME
            fragments.add(s, data, packet, now, first + i)
        else:
            _count(counters, verdict)
    if used.ready:  # what lacks the room for it now is read in the next batch
        _read_datagrams(s, messages, out)
    return len(ts_ns)


@njit(cache=True, nogil=True, boundscheck=True)
def _has_room(used, messages, out):
    """Whether the messages of one more frame, and a datagram, fit into the batch."""
    return (
        used.messages <= len(messages) - ROOM_MESSAGES and used.assembled <= len(out) - ROOM_ASSEMBLED - DATAGRAM_BYTES
    )


@njit(cache=True, nogil=True, boundscheck=True)
def _count(counters, verdict):
    """Count a frame without a payload to read."""
    if verdict == link.NOT_IP:
        counters.not_ip += 1
    elif verdict == link.MALFORMED:
        counters.malformed += 1
    elif verdict == link.TOO_DEEP:
        counters.too_deep += 1
    else:
        counters.other += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _read_datagrams(s, messages, out):
    """Read the datagrams that fragments made whole; False when the batch lacks the room for the next one."""
    used = s.used[0]
    while used.ready:
        if not _has_room(used, messages, out):
            return False
        row = fragments.take(s, out)
        if row < 0:
            continue
        now, frame = s.ready[row].ts_ns, s.ready[row].frame
        packet = s.packet[0]
        verdict = link.peel(out, packet)
        if verdict == link.OK or verdict == link.GOOSE:
            _payload(s, messages, out, now, frame, out, packet, IN_ASSEMBLED)
        elif verdict == link.FRAGMENT:
            fragments.add(s, out, packet, now, frame)
        else:
            _count(s.counters[0], verdict)
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def _payload(s, messages, out, now, frame, buf, packet, inside):
    """Give a transport payload to its conversation; inside: see `drain`."""
    counters = s.counters[0]
    row = flows.conversation(s, packet, now, frame)
    if row < 0:
        counters.other += 1
        return
    c = s.conversations[row]
    c.last_ns = now
    if c.framing == FOREIGN:
        if not (packet.transport == link.TCP and packet.control & link.SYN) or packet.control & link.ACK:
            counters.foreign += 1
            return
        c.framing = c.promised  # the same ends open another connection
        c.tries = 0
    forward = 1 if flows.sent_by_a(c, packet) else 0
    if packet.end + packet.missing > packet.at:
        if forward:
            c.frames_a += 1
        else:
            c.frames_b += 1
    side = s.sides[2 * row + (0 if forward else 1)]
    side.marks |= packet.marks
    if packet.family == link.MAC48:
        if packet.end > packet.at:
            publication(s, messages, row, forward, now, frame, packet.at, packet.end, inside)
    elif packet.transport == link.TCP:
        streams.segment(s, messages, out, row, forward, now, frame, buf, packet, inside)
    elif packet.end > packet.at:
        counters.segments += 1
        side.split = 0
        drain(s, messages, out, side, row, forward, now, frame, buf, packet.at, packet.end, inside)


@njit(cache=True, nogil=True, boundscheck=True)
def flush(begin, state, messages, out):
    """At the end of a capture: read what waits behind gaps. Returns the conversation to go on from, -1 when done."""
    messages, out = borrow(messages), borrow(out)
    s = state[0]
    used = s.used[0]
    if used.ready and not _read_datagrams(s, messages, out):
        return np.int64(begin)
    if begin == 0:
        fragments.close(s)
    for row in range(begin, used.conversations):
        for forward in range(2):
            while True:
                if not _has_room(used, messages, out):
                    return row
                if not streams.flush(s, messages, out, row, forward):
                    break
    return np.int64(-1)
