"""Segments longer than any that was on the wire: the card of the sensor, or of a host that records itself, joins them.

A segment is longer than its receiver accepts when it exceeds the maximum segment size that the receiver announced (RFC
9293, section 3.7.1). Where the handshake was not seen, only what no Ethernet carries is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensor.compiled import njit
from sensor.decode.link import SYN, TCP
from sensor.decode.load import u16be
from sensor.span.fault import Fault

if TYPE_CHECKING:
    from sensor.span.survey import Survey

OPTION_END, OPTION_NOTHING, OPTION_MSS = 0, 1, 2
DEFAULT_MSS = 536  # nobody keeps to it where no option is sent, so that says nothing
JUMBO_PAYLOAD = 9216 - 40  # the longest that switches are set to, less the shortest headers
MAX_OPTIONS = 40  # bytes; an option has at least one


@njit(cache=True, nogil=True, boundscheck=True)
def _accepts(packet, buf):
    """The maximum segment size in a SYN, 0 when it says none."""
    at = packet.network + 40
    if packet.family == 4:
        at = packet.network + (buf[packet.network] & 0x0F) * 4
    elif buf[packet.network + 6] != TCP:
        return 0
    end = packet.at
    at += 20
    for _ in range(MAX_OPTIONS):
        if at + 4 > end or buf[at] == OPTION_END:
            return 0
        if buf[at] == OPTION_NOTHING:
            at += 1
            continue
        if buf[at] == OPTION_MSS and buf[at + 1] == 4:
            return u16be(buf, at + 2)
        at += max(buf[at + 1], 2)
    return 0


@njit(cache=True, nogil=True, boundscheck=True)
def note(counts, me, peer, packet, buf, frame):
    """Look at one TCP segment of `me`; on links without Ethernet (loopback) there is no wire to be longer than."""
    if packet.ethernet < 0:
        return
    if packet.control & SYN:
        me.mss = _accepts(packet, buf)
    length = packet.end - packet.at + packet.missing
    limit = peer.mss if peer.mss > DEFAULT_MSS else JUMBO_PAYLOAD
    if length <= limit:
        return
    if counts.oversize == 0:
        counts.oversize_frame = frame
    counts.oversize += 1
    counts.oversize_bytes = max(counts.oversize_bytes, length)


def check(survey: Survey) -> Iterator[Fault]:
    """span.oversize."""
    counts = survey.counts
    if counts.oversize:
        yield Fault(
            "span.oversize",
            {"count": int(counts.oversize), "largest": int(counts.oversize_bytes)},
            (int(counts.oversize_frame),),
        )
