"""A shortcut for the usual frame: Ethernet without a tag, IPv4 without options, TCP, between ends that were met before.

What link.py and flows.py find out about such a frame a few words of it tell: its form, compared with what never
differs, and its conversation by addresses and ports, which are remembered where they were found once. All other frames
take the long way, and so does the first of each direction; what comes out is the same.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.ip import MORE_FRAGMENTS
from sensor.decode.link import ETHERNET
from sensor.decode.load import u16be, u32be, u64be
from sensor.decode.packet import IPV4, TCP
from sensor.decode.state import SHORTCUTS

FORM = IPV4 << 8 | 0x45  # EtherType, and version 4 with a header of 20 octets
IP, PORTS, SHORTEST = 14, 34, 54  # where the IP header and the ports begin; the shortest frame of this form
PIECES = MORE_FRAGMENTS | 0x1FFF
STRANGE = np.int64(-1)  # a frame of another form
SPREAD_HOSTS, SPREAD_PORTS = np.int64(0x1E3779B97F4A7C15), np.int64(0x3F58476D1CE4E5B9)  # odd, without a pattern


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def find(s, buf, at, captured, linktype, packet):
    """Slot of the direction that the frame buf[at:at + captured] belongs to, and what `link.parse` would say of it.

    STRANGE where the frame has another form; below that, where nothing stands in the slot `-2 - it` that fits: the
    direction may be remembered there. Of `packet` all is filled in that a TCP segment of a known conversation needs.
    """
    if linktype != ETHERNET or captured < SHORTEST:
        return STRANGE
    if u64be(buf, at + 12) >> 40 != FORM or u16be(buf, at + 20) & PIECES or buf[at + 23] != TCP:
        return STRANGE
    total = u16be(buf, at + IP + 2)
    header = (np.int64(buf[at + 46]) >> 4) * 4
    end = at + np.int64(captured)
    stop = at + IP + total
    begin = at + PORTS + header
    if total < 40 or header < 20 or begin > end or begin > stop:
        return STRANGE
    hosts, ports = u64be(buf, at + 26), u32be(buf, at + PORTS)
    slot = ((hosts * SPREAD_HOSTS + ports * SPREAD_PORTS) >> 40) & (SHORTCUTS - 1)
    known = s.shortcuts[slot]
    if known.hosts != hosts or known.ports != ports or known.row == 0:
        return -2 - slot
    packet.transport = TCP
    packet.control = buf[at + 47]
    packet.seq = u32be(buf, at + 38)
    packet.ack = u32be(buf, at + 42)
    packet.at = begin
    packet.end = min(stop, end)
    packet.missing = max(stop - end, 0)
    packet.marks = 0
    return slot


@njit(cache=True, nogil=True, boundscheck=True)
def learn(s, slot, buf, at, row, forward):
    """Remember that the frame at `at` belongs to direction `forward` of the conversation in `row`."""
    known = s.shortcuts[slot]
    known.hosts, known.ports = u64be(buf, at + 26), u32be(buf, at + PORTS)
    known.row = row + 1
    known.forward = forward


@njit(cache=True, nogil=True, boundscheck=True)
def forget(s):
    """Remember nothing: rows of conversations are about to change their owners."""
    for slot in range(SHORTCUTS):
        s.shortcuts[slot].row = 0
