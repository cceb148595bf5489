"""The loop over frames that fills the tables. Everything below runs without a Python object."""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode import link
from sensor.decode.borrow import borrow
from sensor.decode.flows import spread
from sensor.decode.load import u16be, u32be
from sensor.decode.pdu import mix
from sensor.decode.tunnels import TAGS
from sensor.span import clock, content, cut, doubles, gaps, oversize, reach, silence

MAC = np.uint8(link.MAC48)
PEAK_NS = 100 * 10**6


@njit(cache=True, nogil=True, boundscheck=True)
def _end_hash(seed, hi, lo, port):
    return mix(mix(seed + np.uint64(port), lo), hi)


@njit(cache=True, nogil=True, boundscheck=True)
def _conversation(s, p, group, now):
    """Row of the packet's conversation, made when it is new; -1 when the table is full.

    Other than in the decoder it begins with any packet, whatever its ports; the VLAN is a part of its key there and
    here: the same addresses repeat in every machine line.
    """
    counts = s.counts[0]
    key = (
        _end_hash(s.seed, p.src_hi, p.src_lo, p.src_port)
        + _end_hash(s.seed, p.dst_hi, p.dst_lo, p.dst_port)
        + np.uint64(p.transport) * np.uint64(0x9E3779B97F4A7C15)
        + np.uint64(p.vlan + 1) * np.uint64(0x94D049BB133111EB)
    )
    slot = np.int64(key & np.uint64(counts.mask))
    while s.slots[slot]:
        row = np.int64(s.slots[slot] - 1)
        c = s.conversations[row]
        if c.hash == key and c.transport == p.transport and c.vlan == p.vlan and c.family == p.family:
            if (
                c.a_lo == p.src_lo and c.b_lo == p.dst_lo and c.a_port == p.src_port and c.b_port == p.dst_port
                and c.a_hi == p.src_hi and c.b_hi == p.dst_hi
            ):  # fmt: skip
                return row
            if (
                c.b_lo == p.src_lo and c.a_lo == p.dst_lo and c.b_port == p.src_port and c.a_port == p.dst_port
                and c.b_hi == p.src_hi and c.a_hi == p.dst_hi
            ):  # fmt: skip
                return row
        slot = (slot + 1) & counts.mask
    row = counts.conversations
    if row >= len(s.conversations):
        counts.refused += 1
        return np.int64(-1)
    counts.conversations = row + 1
    s.slots[slot] = row + 1
    c = s.conversations[row]
    c.hash = key
    c.a_hi, c.a_lo, c.a_port = p.src_hi, p.src_lo, p.src_port
    c.b_hi, c.b_lo, c.b_port = p.dst_hi, p.dst_lo, p.dst_port
    c.vlan, c.family, c.transport, c.group = p.vlan, p.family, p.transport, group
    c.first_ns = now
    c.last_ns = now
    if 2 * counts.conversations > counts.mask:
        counts.mask = spread(s.slots, s.conversations, counts.conversations, counts.mask)
    return np.int64(row)


@njit(cache=True, nogil=True, boundscheck=True)
def _name_ends(buf, packet, verdict):
    """Give the packet ends to talk about where it has no ports; false where there are none at all."""
    if verdict == link.OK:
        return True
    packet.src_port = 0
    packet.dst_port = 0
    if packet.network >= 0:
        at = packet.network
        packet.transport = buf[at + 9] if packet.family == 4 else buf[at + 6]
        return True
    if packet.ethernet < 0:
        return False
    at = packet.ethernet
    packet.family = MAC
    packet.transport = 0
    packet.dst_hi = 0
    packet.src_hi = 0
    packet.dst_lo = (u16be(buf, at) << 32) | u32be(buf, at + 2)
    packet.src_lo = (u16be(buf, at + 6) << 32) | u32be(buf, at + 8)
    packet.src_port = packet.ethertype
    packet.dst_port = packet.ethertype
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def _count_verdict(s, buf, packet, verdict):
    counts = s.counts[0]
    if verdict == link.NOT_IP:
        counts.not_ip += 1
    elif verdict in (link.MALFORMED, link.TOO_DEEP):
        counts.malformed += 1
    elif verdict == link.FRAGMENT:
        counts.fragments += 1
        if packet.family == 4 and buf[packet.network + 9] == link.TCP:
            counts.tcp_fragments += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _outer_tag(buf, at, captured, linktype):
    """The outermost VLAN of an Ethernet frame with two tags or more, -1 for any other."""
    if linktype != link.ETHERNET or captured < 20:
        return -1
    if u16be(buf, at + 12) not in TAGS or u16be(buf, at + 16) not in TAGS:
        return -1
    return u16be(buf, at + 14) & 0x0FFF


# Writes to arrays inside of records stand in functions of their own: where a function is inlined into another (borrow,
# u16be), numba's removal of dead code takes them for writes to a copy and drops them.


@njit(cache=True, nogil=True, boundscheck=True)
def _count_way(s, packet, outer):
    s.vlans[packet.vlan + 1] += 1
    if outer >= 0:
        s.outer_vlans[outer] += 1
    s.tunnels[packet.tunnel] += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _count_frame(side, frame, copy):
    if side.frames == 0:
        side.first_frame = frame
    side.frames += 1
    side.last_frame = frame
    if copy != doubles.NONE:
        side.repeats += 1
        if copy != doubles.AGAIN:
            side.copies[copy] += 1


@njit(cache=True, nogil=True, boundscheck=True)
def _count_rate(counts, now, length):
    bin_ns = now // PEAK_NS
    if bin_ns != counts.bin_ns:
        counts.bin_ns = bin_ns
        counts.bin_bytes = 0
    counts.bin_bytes += length
    counts.peak_bytes = max(counts.peak_bytes, counts.bin_bytes)


@njit(cache=True, nogil=True, boundscheck=True)
def walk(data, ts_ns, offset, captured, wire, linktype, first, state):
    """Survey the frames of one FrameBatch, whose columns these are."""
    buf = borrow(data)
    s = state[0]
    counts = s.counts[0]
    packet = s.packet[0]
    for i in range(len(ts_ns)):
        now = ts_ns[i]
        frame = first + i
        at = offset[i]
        counts.frames += 1
        counts.bytes += wire[i]
        counts.largest = max(counts.largest, wire[i])
        silence.pause(s, now, frame)
        clock.tick(counts, now, frame)
        _count_rate(counts, now, wire[i])
        verdict = link.parse(buf, at, captured[i], wire[i], linktype[i], packet)
        # A header may claim more bytes than the wire had: lengths below are of what was really there.
        packet.missing = min(packet.missing, max(wire[i] - captured[i], 0))
        _count_verdict(s, buf, packet, verdict)
        _count_way(s, packet, _outer_tag(buf, at, captured[i], linktype[i]))
        cut.note(s, packet, captured[i], wire[i], verdict, frame)
        copy = doubles.note(s, packet, buf, at, captured[i], verdict, now, frame)
        if not _name_ends(buf, packet, verdict):
            continue
        group = reach.note(counts, packet, buf)
        content.note(s, packet, verdict)
        row = _conversation(s, packet, group, now)
        if row < 0:
            continue
        c = s.conversations[row]
        forward = c.a_port == packet.src_port and c.a_lo == packet.src_lo and c.a_hi == packet.src_hi
        me = s.sides[2 * row + (0 if forward else 1)]
        peer = s.sides[2 * row + (1 if forward else 0)]
        silence.resume(s, c, me, peer, packet, verdict, now)
        c.frames += 1
        c.last_ns = now
        _count_frame(me, frame, copy)
        if verdict == link.OK and packet.transport == link.TCP:
            oversize.note(counts, me, peer, packet, buf, frame)
            gaps.follow(c, me, peer, packet, frame)


@njit(cache=True, nogil=True, boundscheck=True)
def settle(state):
    """Close what is open when the capture is over."""
    s = state[0]
    for k in range(2 * s.counts[0].conversations):
        gaps.settle(s.sides[k])
