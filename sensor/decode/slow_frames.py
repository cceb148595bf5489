"""Picks the frames of slow protocols out of a batch: ARP, LLDP, PROFINET DCP, DHCP, names and their like.

Those are read in plain Python (sensor/slow/), so what reaches it must be few: this pass passes over all other frames
after a look at three fields, and counts repetitions of a message instead of giving them again. Frames that something
else carries (tunnels, other link layers, IPv6 extension headers) are taken apart by link.parse as in the decoder.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode import link, tunnels
from sensor.decode.borrow import borrow
from sensor.decode.load import u16be
from sensor.decode.packet import GOOSE_TYPE, IPV4, IPV6
from sensor.decode.pdu import hash_bytes, mix
from sensor.decode.state import PACKET
from sensor.records import record

MOST = 2048  # distinct messages given for one batch; further ones are counted
KNOWN = 1 << 14  # distinct messages remembered: a plant has hundreds; beyond, all are forgotten and begun anew
SLOTS = 4 * KNOWN

ARP, PROFINET = 0x0806, 0x8892
ARP_BYTES = 28  # of IPv4 on Ethernet: what lies behind is padding, and differs from frame to frame
DCP_FIRST, DCP_LAST = 0xFEFC, 0xFEFF  # PROFINET frame ids

SLOW = record(  # one distinct message of a batch
    [
        ("number", "i8"),  # of the message in this run: the same again has the same
        ("new", "u1"),  # 1: not seen before
        ("count", "i8"),  # how often in this batch
        ("first_ns", "i8"), ("last_ns", "i8"),
        ("frame", "i8"),  # the first
        ("at", "i8"), ("end", "i8"),  # what the EtherType or the UDP header announces, in the frame buffer
        ("ethernet", "i8"), ("network", "i8"),  # where these headers begin, -1 where there is none
        ("ethertype", "i4"),
        ("src_port", "i4"), ("dst_port", "i4"),  # of UDP, otherwise -1
        ("vlan", "i4"), ("segment", "i4"),
        ("family", "u1"), ("tunnel", "u1"),
        ("src_hi", "u8"), ("src_lo", "u8"), ("dst_hi", "u8"), ("dst_lo", "u8"),
    ]
)  # fmt: skip

SLOW_SLOT = record([("hash", "u8"), ("number", "i8"), ("batch", "i8"), ("row", "i4")])

SLOW_STATE = record(
    [
        ("packet", PACKET, (1,)),  # scratch
        ("slots", SLOW_SLOT, (SLOTS,)),  # hash table; number 0: free
        ("known", "i8"),  # messages in it
        ("numbers", "i8"),  # messages over the whole run
        ("batch", "i8"),
        ("refused", "i8"),  # messages not given: MOST or `room` reached
        ("seed", "u8"),
    ]
)


@njit(cache=True, nogil=True, boundscheck=True)
def _is_dcp(buf, at, end):
    """Whether a PROFINET payload is DCP; cyclic data has other frame ids."""
    return at + 2 <= end and DCP_FIRST <= u16be(buf, at) <= DCP_LAST


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _passed_over(buf, at, captured, ports):
    """Whether an Ethernet frame surely is none of those wanted; false where only taking it apart can tell."""
    end = at + captured
    kind = u16be(buf, at + 12)
    at += 14
    while kind in tunnels.TAGS and at + 4 <= end:
        kind = u16be(buf, at + 2)
        at += 4
    if kind == IPV4:
        if at + 20 > end:
            return True
        if buf[at + 9] != link.UDP:
            return buf[at + 9] == link.TCP or buf[at + 9] == 1  # ICMP
        at += np.int64(buf[at] & 0x0F) * 4
    elif kind == IPV6:
        if at + 40 > end:
            return True
        if buf[at + 6] != link.UDP:
            return buf[at + 6] == link.TCP or buf[at + 6] == 58  # ICMPv6
        at += 40
    elif kind == PROFINET:
        return not _is_dcp(buf, at, end)
    else:
        return kind == GOOSE_TYPE
    if at + 8 > end:
        return True
    source, destination = u16be(buf, at), u16be(buf, at + 2)
    return not (ports[source] or ports[destination] or destination in tunnels.PORTS)


@njit(cache=True, nogil=True, boundscheck=True)
def _identity(buf, packet, udp, end, seed):
    """Hash of who says what to whom, and where in the network."""
    h = mix(seed, np.uint64(packet.ethertype) << np.uint64(16) ^ np.uint64(packet.vlan + 1))
    h = mix(h, np.uint64(packet.segment + 1))
    if packet.ethernet >= 0:
        h = hash_bytes(h, buf, packet.ethernet, packet.ethernet + 12)
    if udp:
        h = mix(h, np.uint64(packet.src_port) << np.uint64(16) | np.uint64(packet.dst_port))
        h = mix(mix(h, np.uint64(packet.src_hi)), np.uint64(packet.src_lo))
        h = mix(mix(h, np.uint64(packet.dst_hi)), np.uint64(packet.dst_lo))
    return hash_bytes(h, buf, packet.at, end)


# Writes to arrays inside of records stand in functions without inlined ones (borrow, u16be): see sensor/span/walk.py.


@njit(cache=True, nogil=True, boundscheck=True)
def _forget(s):
    """Begin the hash table anew."""
    for slot in range(SLOTS):
        s.slots[slot].number = 0
    s.known = 0


@njit(cache=True, nogil=True, boundscheck=True)
def _fill(row, packet, udp, end, now, frame):
    row.count = 0
    row.first_ns, row.frame = now, frame
    row.at, row.end = packet.at, end
    row.ethernet, row.network = packet.ethernet, packet.network
    row.ethertype, row.vlan, row.segment, row.tunnel = packet.ethertype, packet.vlan, packet.segment, packet.tunnel
    row.family = packet.family if udp else 0
    row.src_port = packet.src_port if udp else -1
    row.dst_port = packet.dst_port if udp else -1
    row.src_hi, row.src_lo, row.dst_hi, row.dst_lo = packet.src_hi, packet.src_lo, packet.dst_hi, packet.dst_lo


@njit(cache=True, nogil=True, boundscheck=True)
def _note(s, rows, used, room, h, packet, udp, end, now, frame):
    """Count a message whose hash is `h`. Returns how many rows are used then."""
    at = np.int64(h & np.uint64(SLOTS - 1))
    while s.slots[at].number and s.slots[at].hash != h:
        at = (at + 1) & (SLOTS - 1)
    slot = s.slots[at]
    if not slot.number or slot.batch != s.batch:
        if used >= room or (not slot.number and s.known >= KNOWN):
            s.refused += 1
            return used
        row = rows[used]
        _fill(row, packet, udp, end, now, frame)
        row.new = 0 if slot.number else 1
        if not slot.number:
            s.known += 1
            s.numbers += 1
            slot.hash, slot.number = h, s.numbers
        row.number = slot.number
        slot.batch, slot.row = s.batch, used
        used += 1
    row = rows[slot.row]
    row.count += 1
    row.last_ns = now
    return used


@njit(cache=True, nogil=True, boundscheck=True)
def select(data, ts_ns, offset, captured, wire, linktype, first, types, ports, room, state, rows):
    """Fill `rows` with the distinct messages among the frames of one FrameBatch, whose columns these are.

    types, ports: (65536,) uint8, not 0 for each EtherType (802.3 lengths: at their own value) and UDP port wanted.
    room: how many rows may be filled. Returns how many were.
    """
    buf = borrow(data)
    s = state[0]
    packet = s.packet[0]
    s.batch += 1
    if s.known >= KNOWN:
        _forget(s)
    room = min(room, len(rows))
    used = 0
    for i in range(len(ts_ns)):
        at = offset[i]
        if linktype[i] == link.ETHERNET and (captured[i] < 14 or _passed_over(buf, at, captured[i], ports)):
            continue
        verdict = link.parse(buf, at, captured[i], wire[i], linktype[i], packet)
        udp = verdict == link.OK and packet.transport == link.UDP
        if udp:
            if not (ports[packet.src_port] or ports[packet.dst_port]):
                continue
        elif verdict != link.NOT_IP or not types[packet.ethertype]:
            continue
        end = packet.end
        if packet.ethertype == ARP:
            end = min(end, packet.at + ARP_BYTES)
        elif packet.ethertype == PROFINET and not _is_dcp(buf, packet.at, end):
            continue
        h = _identity(buf, packet, udp, end, s.seed)
        used = _note(s, rows, used, room, h, packet, udp, end, ts_ns[i], first + i)
    return used
