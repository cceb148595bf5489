"""Data that a receiver acknowledged and nobody here saw: proof that the mirror, or the capture, lost frames.

Retransmissions are no proof of anything: they repair losses on the wire, before or behind the mirror port. An
acknowledgement of unseen data is (RFC 9293, section 3.4): the frames did arrive, only not here. Cards and switches with
several queues deliver an acknowledgement before its data now and then; so a gap has time to close.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.compiled import njit
from sensor.decode.link import ACK, SYN
from sensor.decode.stream_tables import RESYNC_DISTANCE
from sensor.span.fault import Fault, numbers, percent
from sensor.span.tables import HELD

if TYPE_CHECKING:
    from sensor.span.survey import Survey

FIN, RST = 0x01, 0x04
PATIENCE = 12  # frames of a conversation after an acknowledgement until the data before it count as lost
MUTE_STEPS = (
    16  # acknowledgements of unseen data, one after the other: not lost frames, but a direction that is missing
)

# Zeek warns from a loss of 0.1 % on, and so do we: a busy mirror port loses a frame once a day and nobody minds. Below
# a thousand segments one loss is enough, for there should be none.
MIN_SHARE = 0.001


@njit(cache=True, nogil=True, boundscheck=True)
def distance(to, since):
    """Signed distance between sequence numbers, modulo 2**32."""
    return ((to - since + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@njit(cache=True, nogil=True, boundscheck=True)
def _join(side):
    """Let `next` move over the runs that it has reached."""
    while side.held and distance(side.held_from[0], side.next) <= 0:
        if distance(side.held_to[0], side.next) > 0:
            side.next = side.held_to[0]
        side.held -= 1
        for k in range(side.held):
            side.held_from[k] = side.held_from[k + 1]
            side.held_to[k] = side.held_to[k + 1]


@njit(cache=True, nogil=True, boundscheck=True)
def _take(side, begin, end):
    """Note that [begin, end) was seen; returns how many bytes of it are new."""
    if side.held == HELD:  # no room: the first gap goes uncounted, so that losses are told too low, never too high
        side.next = side.held_from[0]
        _join(side)
    if distance(begin, side.next) <= 0:
        new = distance(end, side.next)
        if new > 0:
            side.next = end
            _join(side)
        return max(new, 0)
    place = side.held
    while place and distance(side.held_from[place - 1], begin) > 0:
        place -= 1
    if place and distance(side.held_to[place - 1], begin) >= 0:  # overlaps or continues the run before it
        new = distance(end, side.held_to[place - 1])
        if new > 0:
            side.held_to[place - 1] = end
        return max(new, 0)
    for k in range(side.held, place, -1):
        side.held_from[k] = side.held_from[k - 1]
        side.held_to[k] = side.held_to[k - 1]
    side.held_from[place] = begin
    side.held_to[place] = end
    side.held += 1
    return end - begin


@njit(cache=True, nogil=True, boundscheck=True)
def _open(side):
    """Whether the other end has acknowledged data of this one that were not seen."""
    return side.known != 0 and side.acked != 0 and distance(side.acknowledged, side.next) > 0


@njit(cache=True, nogil=True, boundscheck=True)
def _lost(side):
    """Whether the sender, too, counts them as sent: an acknowledgement alone may be forged."""
    return _open(side) and distance(side.reached, side.next) > 0


@njit(cache=True, nogil=True, boundscheck=True)
def _give_up(side):
    """Count as lost what was acknowledged, sent, and not seen."""
    for _ in range(HELD + 1):
        missing = min(distance(side.acknowledged, side.next), distance(side.reached, side.next))
        if missing <= 0:
            break
        if side.held:
            missing = min(missing, distance(side.held_from[0], side.next))
        side.lost += missing
        side.gaps += 1
        if side.lost_frame == 0:
            side.lost_frame = side.open_frame
        side.next = (side.next + missing) & 0xFFFFFFFF
        _join(side)
    side.patience = 0


@njit(cache=True, nogil=True, boundscheck=True)
def _seen_again(side):
    """This end sent a frame, or the capture is over: tell whether it had been missing, not just some of its frames."""
    if side.steps >= MUTE_STEPS and _open(side):
        side.mute += side.steps
        side.mute_lost += distance(side.acknowledged, side.next)
        if side.mute_frame == 0:
            side.mute_frame = side.steps_frame
        side.next = side.acknowledged
        _join(side)
    side.steps = 0


@njit(cache=True, nogil=True, boundscheck=True)
def settle(side):
    """The capture is over, or the sequence numbers begin anew.

    A gap that only the last frame showed may have been about to close.
    """
    _seen_again(side)
    if _lost(side) and side.patience and side.patience < PATIENCE:
        _give_up(side)
    side.patience = 0


@njit(cache=True, nogil=True, boundscheck=True)
def _begin(side, following):
    """A connection begins, whose first byte has the sequence number `following`."""
    side.known = 1
    side.acked = 0
    side.held = 0
    side.patience = 0
    side.next = following
    side.reached = following


@njit(cache=True, nogil=True, boundscheck=True)
def _acknowledge(side, ack, frame):
    """The other end acknowledges what `side` sent."""
    if side.acked == 0:
        side.acked = 1
        side.acknowledged = ack
        return
    further = distance(ack, side.acknowledged)
    if abs(further) >= RESYNC_DISTANCE:  # another connection, or a forgery
        side.acknowledged = ack
        return
    if further <= 0:
        return
    side.acknowledged = ack
    side.advances += 1
    if not _open(side):
        return
    if distance(ack, side.next) >= RESYNC_DISTANCE:
        side.known = 0
        return
    if side.steps == 0:
        side.steps_frame = frame
    side.steps += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _wait(side, frame):
    """One more frame of the conversation: a gap has that much less time to close."""
    if not _lost(side):
        side.patience = 0
        return
    if side.patience == 0:
        side.patience = PATIENCE
        side.open_frame = frame
        return
    side.patience -= 1
    if side.patience == 0:
        _give_up(side)


@njit(cache=True, nogil=True, boundscheck=True)
def follow(c, me, peer, packet, frame):
    """One TCP segment that `me` sent in conversation `c`."""
    _seen_again(me)
    length = packet.end - packet.at + packet.missing
    if packet.control & RST:  # its numbers need not be those of the connection
        c.closed = 1
        return
    if packet.control & SYN:
        c.closed = 0
        settle(me)
        _begin(me, (packet.seq + 1 + length) & 0xFFFFFFFF)
        if packet.control & ACK:
            peer.advances += 1  # it must have sent a SYN
        else:
            settle(peer)
            peer.known = 0
            peer.acked = 0
            peer.held = 0
        return
    end = (packet.seq + length) & 0xFFFFFFFF
    if packet.control & FIN:
        c.closed = 1
        end = (end + 1) & 0xFFFFFFFF
    near = me.known != 0 and abs(distance(packet.seq, me.next)) < RESYNC_DISTANCE
    if near and distance(packet.seq, me.reached) > 0:
        me.reached = packet.seq
    if end != packet.seq:
        fresh = length
        if near:
            belated = _open(me)
            fresh = _take(me, packet.seq, end)
            if fresh and belated:
                me.late += 1
        else:
            _begin(me, end)
        if fresh:
            me.segments += 1
            me.payload += fresh
    if packet.control & ACK:
        _acknowledge(peer, packet.ack, frame)
    _wait(me, frame)
    _wait(peer, frame)


def check(survey: Survey) -> Iterator[Fault]:
    """span.loss: judged where both directions are seen."""
    sides = survey.sides
    both = np.all(sides["frames"] > 0, axis=1, keepdims=True)
    gaps = np.where(both, sides["gaps"], 0)
    total, segments = int(gaps.sum()), int(np.where(both, sides["segments"], 0).sum())
    # A segment that came in IP fragments was seen and is not known here.
    if total <= survey.counts.tcp_fragments or total < MIN_SHARE * (segments + total):
        return
    rows, ends = np.nonzero(gaps)
    lost, payload = int(sides["lost"][rows, ends].sum()), int(np.where(both, sides["payload"], 0).sum())
    yield Fault(
        "span.loss",
        {
            "bytes": lost,
            "percent": percent(lost, lost + payload),
            "gaps": total,
            "segments": segments,
            "conversations": len(np.unique(rows)),
            "senders": survey.busiest(rows, ends, gaps[rows, ends]),
            "peak": survey.peak_mbit(),
        },
        numbers(sides["lost_frame"][rows, ends].tolist()),
    )
