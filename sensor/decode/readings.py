"""Second readings: the same place of a stream was sent twice with different bytes, and who can say which were taken?

The first reading is what the stream gave: the first bytes to come at each place. The second is made of the last. Both
are kept from a place where a message begins; what the second gives and the first does not is marked OVERLAP. As long as
the two end differently, with a message that the one awaits and the other does not, what follows is read twice.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode import history
from sensor.decode.messages import DNP3, IN_ASSEMBLED, MODBUS, TPKT, drain
from sensor.decode.octets import copy, same
from sensor.decode.parks import WRAP, distance
from sensor.decode.pdu import Anomaly, hash_bytes, mix
from sensor.decode.slots import LIMIT, drop_assemblies, new_side
from sensor.decode.stream_tables import HISTORIES, READING_BYTES, READINGS, ROOM_READING, SMALLEST
from sensor.protocols import cotp, dnp3_link, modbus

OVERLAP, GAP = np.uint32(Anomaly.OVERLAP), np.uint32(Anomaly.GAP)
NOTHING = np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def close(s, side):
    """End the second reading of a direction."""
    if side.reading < 0:
        return
    r = s.readings[side.reading]
    if r.open:
        s.counters[0].second_readings_refused += 1
        side.marks |= LIMIT
    if r.owed:
        side.marks |= OVERLAP
    r.owner = -1
    side.reading = -1


@njit(cache=True, nogil=True, boundscheck=True)
def _begin(s, side, seq):
    """Give the direction a second reading from a place at or before `seq` on, so far the same as the first."""
    u = s.used[0]
    slot = u.next_reading
    u.next_reading = (slot + 1) & (READINGS - 1)
    r = s.readings[slot]
    if r.owner >= 0:
        close(s, s.sides[r.owner])
    r.owner = side.row
    r.open = 0
    r.owed = 0
    side.reading = slot
    begin = history.start_before(s, side, seq)
    index = np.int64(side.row) & (HISTORIES - 1)
    size = s.histories[index].bytes - begin
    copy(s.history_bytes[index], begin, s.first_bytes[slot], NOTHING, size)
    copy(s.history_bytes[index], begin, s.second_bytes[slot], NOTHING, size)
    r.bytes = size
    r.start = (side.next_seq - size) & (WRAP - 1)


@njit(cache=True, nogil=True, boundscheck=True)
def _read(s, messages, out, conversation, forward, ts_ns, frame, buf, at, size):
    """Write down the messages in buf[at:at + size]; (how far they reach, 1 where fragments wait for more)."""
    side = s.sides[len(s.sides) - 1]
    new_side(side, len(s.sides) - 1)
    begin = s.used[0].assembled
    copy(buf, at, out, begin, size)
    s.used[0].assembled = begin + size
    rest = drain(s, messages, out, side, conversation, forward, ts_ns, frame, out, begin, begin + size, IN_ASSEMBLED)
    waits = 1 if side.assembly >= 0 else 0
    drop_assemblies(s, side)
    return rest - begin, waits


@njit(cache=True, nogil=True, boundscheck=True)
def _number(s, messages, out, begin, end):
    """Hash each of the messages begin to end, counting from the first of them."""
    seed = s.used[0].seed
    for i in range(begin, end):
        m = messages[i]
        h = hash_bytes(mix(seed, m.link), out, ~m.at, ~m.at + m.octets)
        s.reading_hashes[i - begin] = mix(h, m.protocol)


@njit(cache=True, nogil=True, boundscheck=True)
def _count(s, begin, end, h):
    found = 0
    for i in range(begin, end):
        if s.reading_hashes[i] == h:
            found += 1
    return found


@njit(cache=True, nogil=True, boundscheck=True)
def _differ(s, messages, out, side, conversation, forward, ts_ns, frame, was, buf, at, offset, size):
    """Put buf[at:at + size] over the second reading at `offset`; write down what it now gives that nothing gave before.

    was: bytes of the second reading that were read before.
    """
    u, c = s.used[0], s.conversations[conversation]
    r = s.readings[side.reading]
    first, second = s.first_bytes[side.reading], s.second_bytes[side.reading]
    base = u.messages
    if base + ROOM_READING > len(messages) or u.assembled + 6 * READING_BYTES > len(out):
        copy(buf, at, second, offset, size)
        r.open = 1
        close(s, side)
        return
    s.reading_counters[0] = s.counters[0]
    s.reading_talk[0] = c
    assembled = u.assembled
    total = np.int64(r.bytes)
    rest, waits = _read(s, messages, out, conversation, forward, ts_ns, frame, first, NOTHING, total)
    before = u.messages - base
    if was:
        _read(s, messages, out, conversation, forward, ts_ns, frame, second, NOTHING, was)
    middle = u.messages - base
    copy(buf, at, second, offset, size)
    other, waits_too = _read(s, messages, out, conversation, forward, ts_ns, frame, second, NOTHING, total)
    count = u.messages - base
    _number(s, messages, out, base, base + count)
    s.counters[0] = s.reading_counters[0]
    s.conversations[conversation] = s.reading_talk[0]
    # What both begin with is known without counting.
    known = middle
    like = before if middle > before else NOTHING
    while known < count and like < middle and s.reading_hashes[known] == s.reading_hashes[like]:
        known += 1
        like += 1
    new = 0
    for i in range(known, count):
        h = s.reading_hashes[i]
        if _count(s, middle, i + 1, h) > max(_count(s, NOTHING, before, h), _count(s, before, middle, h)):
            messages[base + new] = messages[base + i]
            messages[base + new].marks |= OVERLAP
            new += 1
    u.messages = base + new
    if new:
        r.owed = 0
        s.counters[0].messages += new
        c.messages += new
    else:
        u.assembled = assembled
    alike = not waits and not waits_too and rest == other and same(first, rest, second, rest, total - rest)
    r.open = 0 if alike else 1
    if r.owed and not r.open:
        side.marks |= OVERLAP
        r.owed = 0


@njit(cache=True, nogil=True, boundscheck=True)
def alone(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, size, mark):
    """Read buf[at:at + size] by itself and mark what it gives; the next PDU where it gives none."""
    base = s.used[0].messages
    if base + size // SMALLEST > len(messages) or s.used[0].assembled + 2 * size > len(out):
        side.marks |= mark
        return
    _read(s, messages, out, conversation, forward, ts_ns, frame, buf, at, size)
    for i in range(base, s.used[0].messages):
        messages[i].marks |= mark
    if s.used[0].messages == base:
        side.marks |= mark


@njit(cache=True, nogil=True, boundscheck=True)
def _begins(framing, buf, at, end):
    """Whether a message begins at `at` beyond doubt."""
    if framing == DNP3:
        return dnp3_link.header_ok(buf, at, end)
    if framing == TPKT:
        return cotp.proof(buf, at, end) > 0
    return framing == MODBUS and modbus.proof(buf, at, end) > 0


@njit(cache=True, nogil=True, boundscheck=True)
def beside(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, size):
    """Read a segment that contradicted what was read, all of it before `next_seq`, also by itself.

    Who stands between the two ends and changes what passes may have shifted the sequence numbers as well: then neither
    reading has a message where the segment has one.
    """
    c, u = s.conversations[conversation], s.used[0]
    if side.reading < 0 or not _begins(c.framing, buf, at, at + size):
        return
    base = u.messages
    if base + ROOM_READING + size // SMALLEST > len(messages) or u.assembled + 4 * READING_BYTES + 2 * size > len(out):
        return
    s.reading_counters[0] = s.counters[0]
    s.reading_talk[0] = c
    total = np.int64(s.readings[side.reading].bytes)
    first, second = s.first_bytes[side.reading], s.second_bytes[side.reading]
    _read(s, messages, out, conversation, forward, ts_ns, frame, first, NOTHING, total)
    _read(s, messages, out, conversation, forward, ts_ns, frame, second, NOTHING, total)
    middle = u.messages - base
    _read(s, messages, out, conversation, forward, ts_ns, frame, buf, at, size)
    count = min(u.messages - base, len(s.reading_hashes))
    _number(s, messages, out, base, base + count)
    s.counters[0] = s.reading_counters[0]
    s.conversations[conversation] = s.reading_talk[0]
    new = 0
    for i in range(middle, count):
        if _count(s, NOTHING, i, s.reading_hashes[i]) == 0:
            messages[base + new] = messages[base + i]
            messages[base + new].marks |= OVERLAP
            new += 1
    u.messages = base + new
    s.counters[0].messages += new
    c.messages += new


@njit(cache=True, nogil=True, boundscheck=True)
def contradict(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, seq, size):
    """Read buf[at:at + size] instead of what was read at `seq`, all of it before `next_seq`."""
    s.counters[0].overlaps += 1
    s.conversations[conversation].overlaps += 1
    was = NOTHING
    if side.reading >= 0:
        r = s.readings[side.reading]
        offset = distance(seq, r.start)
        if offset < 0 or offset + size > r.bytes:
            close(s, side)
        else:
            was = np.int64(r.bytes)
    if side.reading < 0:
        if history.where(s, side, seq) < 0:
            alone(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, size, OVERLAP)
            return
        _begin(s, side, seq)
    r = s.readings[side.reading]
    r.owed = 1
    _differ(s, messages, out, side, conversation, forward, ts_ns, frame, was, buf, at, distance(seq, r.start), size)


@njit(cache=True, nogil=True, boundscheck=True)
def follow(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end):
    """Add what both readings have in common, the bytes buf[at:end] before `next_seq`."""
    r = s.readings[side.reading]
    was, size = np.int64(r.bytes), end - at
    if was + size > READING_BYTES:
        close(s, side)
        return
    copy(buf, at, s.first_bytes[side.reading], was, size)
    copy(buf, at, s.second_bytes[side.reading], was, size)
    r.bytes = was + size
    if r.open:
        _differ(s, messages, out, side, conversation, forward, ts_ns, frame, was, buf, at, was, size)
