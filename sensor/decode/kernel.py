"""The loop over frames: link, conversation, stream, messages. Everything below runs without a Python object.

This is the first of three passes over a batch: frames to messages here, messages to PDUs in read.py, PDUs to events in
exchange.py. Each pass compiles by itself, so that a protocol costs nothing where it is not spoken.

Functions that every frame goes through, and that few places call, are marked `forceinline`: a call hands over each
array in seven words, at each level anew, which took longer than what the functions do.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode import flows, fragments, link, shortcut, streams
from sensor.decode.borrow import borrow
from sensor.decode.messages import FOREIGN, IN_ASSEMBLED, IN_FRAMES, drain, publication
from sensor.decode.state import DATAGRAM_BYTES, READINGS_OF_FRAME
from sensor.decode.stream_tables import ROOM_ASSEMBLED, ROOM_MESSAGES


@njit(cache=True, nogil=True, boundscheck=True)
def walk(data, ts_ns, offset, captured, wire, linktype, first, begin, state, messages, out):
    """Decode frames from row `begin` on until all are done or `messages` or `out` lacks the room for one more frame.

    The arrays are those of FrameBatch; `first` is the number of its first frame. Returns the row to go on from, -1 when
    all are done. A datagram that a frame's fragment made whole is read before the next frame.
    """
    data, messages, out = borrow(data), borrow(messages), borrow(out)
    s = state[0]
    used = s.used[0]
    counters = s.counters[0]
    packet = s.packet[0]
    room_messages = len(messages) - ROOM_MESSAGES
    room_assembled = len(out) - ROOM_ASSEMBLED - DATAGRAM_BYTES
    i = np.int64(begin)
    while i < len(ts_ns) or used.ready:
        if used.messages > room_messages or used.assembled > room_assembled:
            return i
        # One place for frames and datagrams: what follows is called once, so it is compiled into the loop, and fast.
        if used.ready:
            row = fragments.take(s, out)
            if row < 0:
                continue
            now, frame = s.ready[row].ts_ns, s.ready[row].frame
            buf, inside, met = out, IN_ASSEMBLED, shortcut.STRANGE
            verdict = link.peel(out, packet)
        else:
            counters.frames += 1
            counters.bytes += captured[i]
            if captured[i] < wire[i]:
                counters.cut_frames += 1
            now, frame = ts_ns[i], first + i
            used.last_ns = max(used.last_ns, now)
            used.readings_left = READINGS_OF_FRAME
            buf, inside = data, IN_FRAMES
            met = shortcut.find(s, data, offset[i], captured[i], linktype[i], packet)
            verdict = link.OK
            if met < 0:
                verdict = link.parse(data, offset[i], captured[i], wire[i], linktype[i], packet)
            i += 1
        if verdict == link.FRAGMENT:
            fragments.add(s, buf, packet, now, frame)
            continue
        if verdict != link.OK and verdict != link.GOOSE:
            if verdict == link.NOT_IP:
                counters.not_ip += 1
            elif verdict == link.MALFORMED:
                counters.malformed += 1
            elif verdict == link.TOO_DEEP:
                counters.too_deep += 1
            else:
                counters.other += 1
            continue
        if met >= 0:
            row, forward = np.int64(s.shortcuts[met].row - 1), np.int64(s.shortcuts[met].forward)
        else:
            row = flows.conversation(s, packet, now, frame)
            if row < 0:
                counters.other += 1
                continue
            forward = np.int64(1 if flows.sent_by_a(s.conversations[row], packet) else 0)
            if met < shortcut.STRANGE:
                shortcut.learn(s, -2 - met, data, offset[i - 1], row, forward)
        c = s.conversations[row]
        c.last_ns = now
        if c.framing == FOREIGN:
            if not (packet.transport == link.TCP and packet.control & link.SYN) or packet.control & link.ACK:
                counters.foreign += 1
                continue
            c.framing = c.promised  # the same ends open another connection
            c.tries = 0
        if packet.end + packet.missing > packet.at:
            if forward:
                c.frames_a += 1
            else:
                c.frames_b += 1
        side = s.sides[2 * row + (0 if forward else 1)]
        side.marks |= packet.marks
        if verdict == link.GOOSE:
            if packet.end > packet.at:
                publication(s, messages, row, forward, now, frame, packet.at, packet.end, inside)
        elif packet.transport == link.TCP:
            streams.segment(s, messages, out, row, forward, now, frame, buf, packet, inside)
        elif packet.end > packet.at:
            counters.segments += 1
            side.split = side.searching = 0  # a datagram begins with a message
            drain(s, messages, out, side, row, forward, now, frame, buf, packet.at, packet.end, inside)
    return np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def flush(begin, state, messages, out):
    """At the end of a capture: read what waits behind gaps. Returns the conversation to go on from, -1 when done."""
    messages, out = borrow(messages), borrow(out)
    s = state[0]
    used = s.used[0]
    if begin == 0:
        fragments.close(s)
    for row in range(begin, used.conversations):
        for forward in range(2):
            while True:
                if used.messages > len(messages) - ROOM_MESSAGES or used.assembled > len(out) - ROOM_ASSEMBLED:
                    return row
                if not streams.flush(s, messages, out, row, forward):
                    break
    return np.int64(-1)
