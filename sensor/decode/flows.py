"""Hosts and conversations, interned: who speaks with whom, whichever end spoke first."""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.link import ACK, SYN, TCP
from sensor.decode.pdu import mix
from sensor.decode.slots import new_side


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _endpoint(seed, hi, lo, port):
    h = mix(seed + np.uint64(port) * np.uint64(0x9E3779B97F4A7C15), lo)
    if hi:
        h = mix(h, hi)
    return h


@njit(cache=True, nogil=True, boundscheck=True)
def spread(slots, table, rows, mask):
    """Let a hash table use twice as many of its slots; returns the new mask. `table` rows keep their `hash`."""
    if 2 * (mask + 1) > len(slots):
        return mask
    mask = 2 * mask + 1
    slots[: mask + 1] = 0
    for row in range(rows):
        slot = np.int64(table[row].hash & np.uint64(mask))
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = row + 1
    return mask


@njit(cache=True, nogil=True, boundscheck=True)
def host(s, family, hi, lo):
    """Row of the address in the host table, made when it is new; the last row when the table is full."""
    hosts, slots = s.hosts, s.host_slots
    mask = np.uint64(len(slots) - 1)
    u = s.used[0]
    slot = np.int64(mix(mix(u.seed, hi) + np.uint64(family), lo) & mask)
    while slots[slot]:
        row = np.int64(slots[slot] - 1)
        if hosts[row].lo == lo and hosts[row].hi == hi and hosts[row].family == family:
            return row
        slot = (slot + 1) & np.int64(mask)
    row = u.hosts
    if row >= len(hosts) - 1:
        return np.int64(len(hosts) - 1)
    u.hosts = row + 1
    hosts[row].hi = hi
    hosts[row].lo = lo
    hosts[row].family = family
    slots[slot] = row + 1
    return np.int64(row)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def conversation(s, packet, ts_ns, frame):
    """Row of the packet's conversation, made when it is new; -1 when the table is full.

    Endpoint a is who opened it, as far as the capture shows: the sender of the first packet, or its receiver when that
    packet is the answer to a SYN. The server is the end with the watched port; without one, the end that was called;
    where the call was not seen, the end with the lower port.
    """
    table, slots = s.conversations, s.conversation_slots
    u = s.used[0]
    seed = u.seed
    mask = u.conversation_mask
    key = (
        _endpoint(seed, packet.src_hi, packet.src_lo, packet.src_port)
        + _endpoint(seed, packet.dst_hi, packet.dst_lo, packet.dst_port)
        + np.uint64(packet.transport)
        + np.uint64(packet.vlan + 1) * np.uint64(256)
        + np.uint64(packet.segment + 1) * np.uint64(1 << 24)
    )
    slot = np.int64(key & np.uint64(mask))
    while slots[slot]:
        row = np.int64(slots[slot] - 1)
        c = table[row]
        if c.transport == packet.transport and c.vlan == packet.vlan and c.family == packet.family:
            if (
                c.a_lo == packet.src_lo
                and c.b_lo == packet.dst_lo
                and c.a_port == packet.src_port
                and c.b_port == packet.dst_port
                and c.segment == packet.segment
                and c.a_hi == packet.src_hi
                and c.b_hi == packet.dst_hi
            ):
                return row
            if (
                c.b_lo == packet.src_lo
                and c.a_lo == packet.dst_lo
                and c.b_port == packet.src_port
                and c.a_port == packet.dst_port
                and c.segment == packet.segment
                and c.b_hi == packet.src_hi
                and c.a_hi == packet.dst_hi
            ):
                return row
        slot = (slot + 1) & mask
    if u.first_free:
        row = u.first_free - 1
        u.first_free = table[row].next_free
        u.free_count -= 1
        table[row] = s.blank[0]
    else:
        row = u.conversations
        if row >= len(table):
            s.counters[0].conversations_refused += 1
            return np.int64(-1)
        u.conversations = row + 1
    slots[slot] = row + 1
    table[row].hash = key
    table[row].number = u.begun
    u.begun += 1
    if 2 * u.conversations > mask:  # then no row is free
        u.conversation_mask = spread(slots, table, u.conversations, mask)
    swapped = packet.transport == TCP and packet.control & SYN and packet.control & ACK
    promised = s.ports[packet.dst_port]
    to_server = True
    if promised == 0:
        promised = s.ports[packet.src_port]
        if promised:
            to_server = False
        elif packet.transport == TCP and packet.control & SYN:
            to_server = not swapped
        else:
            to_server = packet.dst_port <= packet.src_port
    c = table[row]
    c.family = packet.family
    c.transport = packet.transport
    c.vlan = packet.vlan
    c.segment = packet.segment
    c.tunnel = packet.tunnel
    c.promised = promised
    c.framing = promised
    c.first_ns = ts_ns
    c.first_frame = frame
    source = host(s, packet.family, packet.src_hi, packet.src_lo)
    target = host(s, packet.family, packet.dst_hi, packet.dst_lo)
    if swapped:
        c.a_hi, c.a_lo, c.a_port, c.a_host = packet.dst_hi, packet.dst_lo, packet.dst_port, target
        c.b_hi, c.b_lo, c.b_port, c.b_host = packet.src_hi, packet.src_lo, packet.src_port, source
    else:
        c.a_hi, c.a_lo, c.a_port, c.a_host = packet.src_hi, packet.src_lo, packet.src_port, source
        c.b_hi, c.b_lo, c.b_port, c.b_host = packet.dst_hi, packet.dst_lo, packet.dst_port, target
    c.server = 1 if to_server != swapped else 0
    for k in range(2 * row, 2 * row + 2):
        new_side(s.sides[k], np.int32(k))
    return np.int64(row)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def sent_by_a(c, packet):
    """Whether endpoint a of the conversation sent the packet."""
    return c.a_port == packet.src_port and c.a_lo == packet.src_lo and c.a_hi == packet.src_hi
