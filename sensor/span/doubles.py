"""Copies: one frame that was seen twice, because two mirror sources saw it.

A copy has the same bytes within milliseconds. Not so a TCP retransmission: it comes later, and with another
identification (RFC 6864, section 4.1: the field is unique within the lifetime of a datagram). A router on the way
changes addresses of the link layer, the time to live (or hop limit) and its checksum, and nothing else: so the key of a
frame leaves these out, and they tell the kinds of copies apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.compiled import njit
from sensor.decode.link import OK, TCP
from sensor.decode.load import u16be
from sensor.decode.pdu import hash_bytes, mix
from sensor.span.fault import MAX_EXAMPLES, Fault, numbers, percent, seconds
from sensor.span.tables import EXAMPLES, RECENT

if TYPE_CHECKING:
    from sensor.span.survey import Survey

SAME, RETAGGED, ROUTED = 0, 1, 2  # kinds: nothing differs; another VLAN tag; link addresses or time to live differ
AGAIN = 3  # a copy of a frame that a copy is known of
NONE = -1
FAULTS = ("span.doubled", "span.doubled-tags", "span.doubled-routed")

# Of what one end sends, half must come twice, and three different frames: one frame may repeat by chance (duplicate
# acknowledgements without identification are the same bytes), nearly all of them do not.
MIN_COPIED = 3

WITHIN_NS = (
    20 * 10**6
)  # two ways through switches and a router differ by less; a retransmission takes longer (RFC 6298)
# Without an identification an honest sender may repeat itself: polls and cyclic data with the same content.
ANONYMOUS_WITHIN_NS = 2 * 10**6
WAYS = 4  # places of one set: a frame is forgotten when four newer ones share its set
HASHED_BYTES = 128  # behind the IP header's begin: with the checksums in there, frames that differ later do not match


@njit(cache=True, nogil=True, boundscheck=True)
def _place(s, key):
    """Where a frame with this key stands, or the place of its set that was taken first."""
    first = np.int64(key & np.uint64(RECENT - WAYS))
    oldest = 0
    for way in range(WAYS):
        if s.recent[first + way].key == key:
            return first + way
        if s.recent[first + way].frame < s.recent[first + oldest].frame:
            oldest = way
    return first + oldest


@njit(cache=True, nogil=True, boundscheck=True)
def _remember(s, kind, original, copy, delay_ns):
    row = s.copied[kind]
    if row < EXAMPLES:
        s.examples[kind, row, 0] = original
        s.examples[kind, row, 1] = copy
    s.copied[kind] = row + 1
    s.delays_ns[kind] = max(s.delays_ns[kind], delay_ns)


@njit(cache=True, nogil=True, boundscheck=True)
def note(s, packet, buf, at, captured, verdict, now, frame):
    """Which kind of copy of an earlier frame this one is: AGAIN if that has a copy already, NONE if it is no copy."""
    seed = s.seed
    end = at + captured
    if verdict == OK:
        end = packet.end
    outer = np.uint64(0)
    ttl = np.uint8(0)
    anonymous = True
    ip = packet.network
    if ip < 0:
        key = hash_bytes(seed, buf, at, min(end, at + HASHED_BYTES))
    else:
        end = min(end, ip + HASHED_BYTES)
        if packet.ethernet >= 0:
            outer = hash_bytes(seed, buf, packet.ethernet, packet.ethernet + 12)
        if packet.family == 4:
            ttl = buf[ip + 8]
            key = hash_bytes(mix(seed, np.uint64(buf[ip + 9])), buf, ip, ip + 8)
            key = hash_bytes(key, buf, ip + 12, end)
            anonymous = u16be(buf, ip + 4) == 0
        else:
            ttl = buf[ip + 7]
            key = hash_bytes(seed, buf, ip, ip + 7)
            key = hash_bytes(key, buf, ip + 8, end)
        if verdict == OK and packet.transport == TCP:
            anonymous = False  # sequence numbers
    e = s.recent[_place(s, key)]
    within = ANONYMOUS_WITHIN_NS if anonymous else WITHIN_NS
    if e.key != key or e.frame == 0 or now < e.ts_ns or now - e.ts_ns > within:
        e.key = key
        e.outer = outer
        e.ts_ns = now
        e.frame = frame
        e.ttl = ttl
        e.vlan = packet.vlan
        e.copied = 0
        return NONE
    kind = SAME
    if e.outer != outer or e.ttl != ttl:
        kind = ROUTED
    elif e.vlan != packet.vlan:
        kind = RETAGGED
    _remember(s, kind, e.frame, frame, now - e.ts_ns)
    if e.copied:
        return AGAIN
    e.copied = 1
    return kind


def check(survey: Survey) -> Iterator[Fault]:
    """span.doubled, span.doubled-tags, span.doubled-routed."""
    sides, state = survey.sides, survey.state
    distinct = sides["frames"] - sides["repeats"]
    for kind, name in enumerate(FAULTS):
        copied = sides["copies"][:, :, kind]
        often = (copied >= MIN_COPIED) & (2 * copied >= distinct)
        if not often.any():
            continue
        rows, ends = np.nonzero(often)
        examples = state.examples[kind, : min(int(state.copied[kind]), EXAMPLES)]
        yield Fault(
            name,
            {
                "count": int(sides["repeats"][often].sum()),
                "percent": percent(int(sides["repeats"][often].sum()), survey.counts.frames),
                "delay": seconds(int(state.delays_ns[kind])),
                "senders": survey.busiest(rows, ends),
                "pairs": [f"{first}={second}" for first, second in examples.tolist()][:MAX_EXAMPLES],
            },
            numbers(examples.ravel().tolist()),
        )
