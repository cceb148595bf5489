"""Silence: spans in which nothing at all was seen, although the stations had not stopped talking.

Networks rest, too: nobody clicks, a laptop is closed. So a pause counts only when a conversation speaks for it: a TCP
connection that went on meanwhile (its numbers have moved), or one that had been regular and never rested so long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensor.compiled import njit
from sensor.decode.link import ACK, OK, SYN, TCP
from sensor.decode.stream_tables import RESYNC_DISTANCE
from sensor.span.fault import Fault, numbers, seconds
from sensor.span.gaps import RST, distance
from sensor.span.tables import RECENT_PAUSES, SILENCES

if TYPE_CHECKING:
    from sensor.span.survey import Survey

PAUSE_NS = 5 * 10**9  # shorter ones are losses (gaps.py)
REST_NS = 20 * 10**9  # when nothing moved meanwhile; polling has been seen to rest for 5 s while a master was busy
MIN_FRAMES = 5  # of a connection that went on
MIN_SEGMENTS = 8  # by which it went on: a frame or two are lost beside an ordinary rest, too
NOTABLE = 5  # times its longest pause before
REGULAR_FRAMES = 20  # of a conversation: fewer tell nothing about how it goes
REGULAR_NS = 10 * 10**9  # and for so long
UNUSUAL = 20  # times the longest pause before: polling wavers by less than two
LEAP_NS = (
    600 * 10**9
)  # no process is left without polling for ten minutes and then goes on in the middle of a connection


@njit(cache=True, nogil=True, boundscheck=True)
def pause(s, now, frame):
    """Note how long no frame was seen; called before the clock ticks."""
    counts = s.counts[0]
    if counts.frames > 1 and now - counts.last_ns >= PAUSE_NS:
        p = s.pauses[counts.pauses % RECENT_PAUSES]
        p.begin_ns = counts.last_ns
        p.end_ns = now
        p.frame = frame
        p.silence = 0
        counts.pauses += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _pause_within(s, begin_ns, end_ns):
    """The place of the longest pause of the whole capture that lies in the span, -1 if there is none."""
    found = -1
    longest = 0
    for k in range(min(s.counts[0].pauses, RECENT_PAUSES)):
        p = s.pauses[k]
        if p.begin_ns >= begin_ns and p.end_ns <= end_ns and p.end_ns - p.begin_ns > longest:
            longest = p.end_ns - p.begin_ns
            found = k
    return found


@njit(cache=True, nogil=True, boundscheck=True)
def _progress(me, peer, packet):
    """Bytes by which a TCP connection has moved on, unseen, when `me` sends its next segment."""
    unseen = 0
    if me.known:
        further = distance(packet.seq, me.next)
        if 0 < further < RESYNC_DISTANCE:
            unseen += further
    if peer.known and packet.control & ACK:
        further = distance(packet.ack, peer.next)
        if 0 < further < RESYNC_DISTANCE:
            unseen += further
    return unseen


@njit(cache=True, nogil=True, boundscheck=True)
def resume(s, c, me, peer, packet, verdict, now):
    """A conversation has its next frame: what its rest says about the mirror."""
    rest = now - c.last_ns
    if rest < PAUSE_NS:
        c.longest_ns = max(c.longest_ns, rest)
        return
    place = _pause_within(s, c.last_ns, now)
    if place < 0:
        c.longest_ns = max(c.longest_ns, rest)
        return
    p = s.pauses[place]
    length = p.end_ns - p.begin_ns
    unseen = 0
    if verdict == OK and packet.transport == TCP and packet.control & (SYN | RST) == 0:
        unseen = _progress(me, peer, packet)
    regular = (
        c.closed == 0
        and length >= REST_NS
        and c.frames >= REGULAR_FRAMES
        and c.last_ns - c.first_ns >= REGULAR_NS
        and length >= UNUSUAL * c.longest_ns
    )
    typical = (me.payload + peer.payload) // max(me.segments + peer.segments, 1)
    if c.frames < MIN_FRAMES or length < NOTABLE * c.longest_ns or unseen < MIN_SEGMENTS * typical:
        unseen = 0  # a frame lost beside a rest that is not unusual: gaps.py tells of it
    if unseen == 0 and not regular:
        c.longest_ns = max(c.longest_ns, rest)
        return
    counts = s.counts[0]
    if p.silence == 0:
        counts.silences += 1
        p.silence = counts.silences
        if counts.silences <= SILENCES:
            new = s.silences[counts.silences - 1]
            new.begin_ns = p.begin_ns
            new.end_ns = p.end_ns
            new.frame = p.frame
    if p.silence <= SILENCES:
        silence = s.silences[p.silence - 1]
        silence.interrupted += 1
        if unseen:
            silence.progressed += 1
            silence.unseen += unseen
    if unseen:  # told here, so no loss of gaps.py
        me.held = 0
        if me.known and distance(packet.seq, me.next) > 0:
            me.next = packet.seq
            me.reached = packet.seq
        peer.held = 0
        if peer.known and distance(packet.ack, peer.next) > 0:
            peer.next = packet.ack
            peer.reached = packet.ack


def check(survey: Survey) -> Iterator[Fault]:
    """span.silence, where connections went on unseen; span.clock-forward and span.rest, where nothing moved.

    span.fell-silent on a live link whose conversations, regular until then, are not seen any more.
    """
    yield from _end(survey)
    counts, table = survey.counts, survey.state.silences
    kept = table[: min(int(counts.silences), SILENCES)]
    lengths = kept["end_ns"] - kept["begin_ns"]
    went_on = kept["progressed"] > 0
    leapt = ~went_on & (lengths >= LEAP_NS)
    for name, which in (
        ("span.silence", went_on),
        ("span.clock-forward", leapt),
        ("span.rest", ~went_on & ~leapt),
    ):
        if not which.any():
            continue
        rows = kept[which]
        evidence = {
            "count": len(rows),
            "seconds": seconds(int(lengths[which].max())),
            "since": survey.time(int(rows["begin_ns"][0])),
            "conversations": int(rows["interrupted"].max()),
        }
        if name == "span.silence":
            evidence |= {"bytes": int(rows["unseen"].sum())}
        yield Fault(name, evidence, numbers(rows["frame"].tolist()))


def _end(survey: Survey) -> Iterator[Fault]:
    quiet = survey.now_ns - int(survey.counts.latest_ns)
    if quiet < REST_NS:
        return
    c = survey.conversations
    regular = (
        (c["closed"] == 0)
        & (c["frames"] >= REGULAR_FRAMES)
        & (c["last_ns"] - c["first_ns"] >= REGULAR_NS)
        & (quiet >= UNUSUAL * c["longest_ns"])
    )
    if regular.any():
        yield Fault(
            "span.fell-silent",
            {
                "seconds": seconds(quiet),
                "since": survey.time(int(survey.counts.latest_ns)),
                "conversations": int(regular.sum()),
            },
            (int(survey.counts.frames),),
        )
