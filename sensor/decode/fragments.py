"""IP fragments put together again, as any receiver may do it.

Sources: RFC 791 and RFC 815 (IPv4), RFC 8200, section 4.5, and RFC 5722 (IPv6). Receivers differ in what they do with
fragments that overlap and contradict each other, and an attacker may let fragments expire between the sensor and the
receiver: so no policy is guessed. Every datagram has two readings, one in which the first bytes of a place win, one in
which the last do; both are given where they differ. A datagram that is whole is remembered for a while, for a later
fragment may be the one that the receiver has in its place: that gives a further reading.

What is whole waits in `ready` until the kernel takes it (`take`), the latest first: it may be a fragment itself, when
a tunnel was fragmented within a tunnel.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.octets import copy
from sensor.decode.packet import IP_PAYLOAD, TCP, UDP
from sensor.decode.pdu import Anomaly, mix
from sensor.decode.state import (
    DATAGRAM_BYTES,
    DATAGRAM_WAYS,
    DATAGRAMS,
    ENDS,
    FRAGMENTS_EACH,
    READINGS_EACH,
    READINGS_OF_FRAME,
    REASSEMBLE_WITHIN_NS,
)

FRAGMENTED, OVERLAP = np.uint32(Anomaly.FRAGMENTED), np.uint32(Anomaly.OVERLAP)
ILLEGAL, LIMIT = np.uint32(Anomaly.ILLEGAL), np.uint32(Anomaly.LIMIT)
FIRST_WINS, LAST_WINS = np.uint8(0), np.uint8(1)
LAYER = np.uint8(IP_PAYLOAD)
AGE, DONE, UNUSED = np.int64(1) << 60, np.int64(1) << 61, np.int64(1) << 62  # what is given up first: the highest
GENERATIONS = 255  # what an octet can count
SHORTEST_TCP, SHORTEST_UDP = 20, 8  # headers


@njit(cache=True, nogil=True, boundscheck=True)
def _tag(seed, packet):
    """Hash of what tells datagrams apart."""
    h = mix(mix(seed, packet.src_lo), packet.src_hi)
    h = mix(mix(h, packet.dst_lo), packet.dst_hi)
    protocol = packet.kind if packet.family == 4 else 0  # of IPv6, only the first fragment's counts
    h = mix(h, np.uint64(packet.datagram) * np.uint64(256) + np.uint64(protocol))
    h = mix(h, np.uint64(packet.family))
    return mix(mix(h, np.uint64(packet.vlan + 1)), np.uint64(packet.segment + 1))


@njit(cache=True, nogil=True, boundscheck=True)
def _same(one, other):
    """Whether two fragments belong to one datagram."""
    return (
        one.datagram == other.datagram
        and one.src_lo == other.src_lo
        and one.dst_lo == other.dst_lo
        and one.src_hi == other.src_hi
        and one.dst_hi == other.dst_hi
        and one.family == other.family
        and (one.family != 4 or one.kind == other.kind)
        and one.vlan == other.vlan
        and one.segment == other.segment
    )


@njit(cache=True, nogil=True, boundscheck=True)
def _incomplete(d):
    """Whether fragments wait in vain; those that only repeat a datagram that was whole do not."""
    return d.used and (d.whole == 0 or d.changed)


@njit(cache=True, nogil=True, boundscheck=True)
def _age(d, ts_ns):
    """How far a datagram's beginning lies from now, in ns, at most AGE; captures are out of order, and clocks jump."""
    return min(abs(ts_ns - d.first_ns), AGE)


@njit(cache=True, nogil=True, boundscheck=True)
def _find(s, packet, ts_ns):
    """Row of the fragment's datagram; a new one takes the place of what is expired, done, or oldest in its set."""
    u = s.used[0]
    tag = _tag(u.seed, packet)
    begin = np.int64(tag % np.uint64(DATAGRAMS // DATAGRAM_WAYS)) * DATAGRAM_WAYS
    victim, rank = begin, np.int64(-1)  # the higher, the better can it be spared
    for row in range(begin, begin + DATAGRAM_WAYS):
        d = s.datagrams[row]
        spare = _age(d, ts_ns)
        if d.used and d.tag == tag and _same(d.packet[0], packet):
            if spare <= REASSEMBLE_WITHIN_NS:
                return row
            spare = UNUSED + 1  # its own place, too long ago
        elif not d.used:
            spare = UNUSED
        elif not _incomplete(d):
            spare += DONE
        if spare > rank:
            victim, rank = np.int64(row), spare
    d = s.datagrams[victim]
    if _incomplete(d):
        if _age(d, ts_ns) > REASSEMBLE_WITHIN_NS:
            s.counters[0].datagrams_expired += 1
        else:
            s.counters[0].datagrams_retired += 1
    _begin(s, victim, packet, ts_ns)
    d.tag = tag
    return victim


@njit(cache=True, nogil=True, boundscheck=True)
def _begin(s, row, packet, ts_ns):
    """Make a row that of the packet's datagram, with nothing in it."""
    d = s.datagrams[row]
    s.have[row][: d.extent] = 0
    d.packet[0] = packet
    d.used = 1
    d.generation = 1
    d.extent = d.reach = d.filled = d.whole = d.ends_known = d.latest_end = d.pieces = d.overlays = 0
    d.changed = d.conflict = 0
    d.last_kind = packet.kind
    d.marks = FRAGMENTED
    d.first_ns = ts_ns
    u = s.used[0]
    u.datagrams += 1
    d.serial = u.datagrams


@njit(cache=True, nogil=True, boundscheck=True)
def _place(d, first, last, have, to, buf, at, size):
    """Lay a fragment's bytes into both readings; True when they add to or contradict what was there before."""
    generation = d.generation
    news = False
    if to >= d.extent:  # nothing lies there: the usual case
        copy(buf, at, first, to, size)
        copy(buf, at, last, to, size)
        have[to : to + size] = generation
        news = size > 0
    else:
        for k in range(size):
            octet, seen = buf[at + k], have[to + k]
            if seen == 0 or last[to + k] != octet:
                news = True
            if seen != generation:
                if seen and last[to + k] != octet:
                    d.changed = 1
                first[to + k] = octet
                have[to + k] = generation
            elif first[to + k] != octet or last[to + k] != octet:
                d.conflict = 1
            last[to + k] = octet
    d.extent = max(d.extent, to + size)
    while d.filled < d.extent and have[d.filled] == generation:
        d.filled += 1
    d.reach = max(d.reach, d.filled)
    while d.reach < d.extent and have[d.reach]:
        d.reach += 1
    return news


@njit(cache=True, nogil=True, boundscheck=True)
def add(s, buf, packet, ts_ns, frame):
    """Take the fragment that `packet` describes; its bytes are buf[packet.at:packet.end].

    What becomes whole by it is put into `ready`.
    """
    counters = s.counters[0]
    counters.ip_fragments += 1
    row = _find(s, packet, ts_ns)
    d = s.datagrams[row]
    to, size = np.int64(packet.piece_at), packet.end - packet.at
    end = to + packet.stop - packet.at
    d.pieces += 1
    if end > DATAGRAM_BYTES:  # more than a datagram can have: the "ping of death"
        counters.fragments_oversize += 1
        d.marks |= ILLEGAL
        return
    if d.pieces > FRAGMENTS_EACH:
        counters.fragments_refused += 1
        d.marks |= LIMIT
        return
    if to == 0:
        if packet.more and size < (SHORTEST_TCP if packet.kind == TCP else SHORTEST_UDP if packet.kind == UDP else 0):
            counters.fragments_tiny += 1
            d.marks |= ILLEGAL
        if d.filled == 0 and d.whole == 0:
            d.packet[0].kind = d.last_kind = packet.kind
        elif d.last_kind != packet.kind:
            d.last_kind = packet.kind
            d.conflict = 1
    news = _place(d, s.first_bytes_of[row], s.last_bytes_of[row], s.have[row], to, buf, packet.at, size)
    if not packet.more:
        news = news or end != d.latest_end
        _end_at(counters, d, end)
    if not news:
        counters.fragments_repeated += 1
    _finish(s, row, news, ts_ns, frame)


@njit(cache=True, nogil=True, boundscheck=True)
def _end_at(counters, d, end):
    """Note where a last fragment says that the datagram ends; contradicting ones are kept, up to ENDS."""
    d.latest_end = end
    for k in range(d.ends_known):
        if d.ends[k] == end:
            return
    if d.ends_known == ENDS:
        counters.fragments_refused += 1
        d.marks |= LIMIT
        return
    d.ends[d.ends_known] = end
    d.ends_known += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _finish(s, row, news, ts_ns, frame):
    """Put into `ready` what the latest fragment made whole."""
    d = s.datagrams[row]
    counters = s.counters[0]
    reached = 0
    end = np.int64(0)
    for k in range(d.ends_known):
        if d.ends[k] <= d.filled:
            reached += 1
            end = np.int64(d.ends[k])
    late = reached == 0 and d.whole and news and 0 < d.latest_end <= d.reach
    if (d.conflict or d.changed or reached > 1 or late) and not d.marks & OVERLAP:
        d.marks |= OVERLAP
        counters.datagrams_conflicting += 1
    if late:
        d.changed = 1
        if d.overlays < READINGS_EACH:
            d.overlays += 1
            _ready(s, row, LAST_WINS, np.int64(d.latest_end), ts_ns, frame)
        else:
            counters.readings_refused += 1
            d.marks |= LIMIT
    if reached == 0:
        return
    if d.whole == end and reached == 1 and not d.conflict and not d.changed:
        counters.datagrams_repeated += 1
    else:
        counters.datagrams_reassembled += 1
        for k in range(d.ends_known - 1, -1, -1):  # what is taken first is put last
            if d.ends[k] <= d.filled:
                if d.conflict:
                    _ready(s, row, LAST_WINS, np.int64(d.ends[k]), ts_ns, frame)
                _ready(s, row, FIRST_WINS, np.int64(d.ends[k]), ts_ns, frame)
    d.whole = end
    d.ends_known = d.filled = d.changed = d.conflict = 0
    d.generation += 1
    if d.generation == GENERATIONS:
        d.used = 0


@njit(cache=True, nogil=True, boundscheck=True)
def _ready(s, row, reading, size, ts_ns, frame):
    """Let a reading wait for `take`."""
    u = s.used[0]
    if u.readings_left == 0 or u.ready == READINGS_OF_FRAME:
        s.counters[0].readings_refused += 1
        return
    u.readings_left -= 1
    r = s.ready[u.ready]
    u.ready += 1
    r.datagram = row
    r.serial = s.datagrams[row].serial
    r.reading = reading
    r.bytes = size
    r.ts_ns = ts_ns
    r.frame = frame


@njit(cache=True, nogil=True, boundscheck=True)
def take(s, out):
    """Move the latest reading that is ready to the batch's buffer `out` and point the scratch packet at it.

    Returns its row in `ready`, which says when it became whole; -1 when it had to make room in between.
    """
    u = s.used[0]
    u.ready -= 1
    row = u.ready
    r = s.ready[row]
    d = s.datagrams[r.datagram]
    if d.serial != r.serial:
        s.counters[0].readings_refused += 1
        return np.int64(-1)
    begin = u.assembled
    end = begin + r.bytes
    if r.reading == LAST_WINS:
        copy(s.last_bytes_of[r.datagram], 0, out, begin, r.bytes)
    else:
        copy(s.first_bytes_of[r.datagram], 0, out, begin, r.bytes)
    u.assembled = end
    s.packet[0] = d.packet[0]
    packet = s.packet[0]
    packet.at = begin
    packet.end = packet.stop = end
    packet.layer = LAYER
    if r.reading == LAST_WINS:
        packet.kind = d.last_kind
    packet.ethernet = packet.network = -1  # they stand in other frames
    packet.missing = 0
    packet.marks |= d.marks
    return np.int64(row)


@njit(cache=True, nogil=True, boundscheck=True)
def close(s):
    """At the end of a capture: count the datagrams that stay incomplete."""
    for row in range(DATAGRAMS):
        d = s.datagrams[row]
        if _incomplete(d):
            s.counters[0].datagrams_expired += 1
        d.used = 0
