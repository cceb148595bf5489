"""Messages changed as an adversary would: structure-aware, compiled, and the same again from the same seed.

Each mutant begins as a message of the corpus and gets a few changes: bits, boundary values in one, two or four octets,
pieces left out, doubled or taken from another message. Then, three times in four, what the protocol checks first is
made right again (lengths, checksums), so that the change is looked at and not thrown away.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.pdu import Protocol
from sensor.protocols import dnp3_link, modbus_rtu

LONGEST = 700  # octets of a mutant
MODBUS, S7COMM, DNP3 = int(Protocol.MODBUS), int(Protocol.S7COMM), int(Protocol.DNP3)
IEC104, ENIP, OPCUA = int(Protocol.IEC104), int(Protocol.ENIP), int(Protocol.OPCUA)
BACNET, MMS, GOOSE = int(Protocol.BACNET), int(Protocol.MMS), int(Protocol.GOOSE)
S7COMM_PLUS, MODBUS_RTU = int(Protocol.S7COMM_PLUS), int(Protocol.MODBUS_RTU)
BOUNDARIES = np.array([0, 1, 2, 0x7F, 0x80, 0x81, 0xFE, 0xFF], np.uint8)


@njit(cache=True)
def _below(random, limit):
    """The next number of an xorshift64* sequence, below `limit`."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.int64(((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)) % np.uint64(limit))


@njit(cache=True)
def _change(out, at, size, corpus, begin, end, random):
    """One change of out[at:at + size]; the new size."""
    if size == 0:
        return size
    how = _below(random, 10)
    place = _below(random, size)
    if how < 3:
        out[at + place] ^= np.uint8(1 << _below(random, 8))
    elif how < 5:
        for k in range(place, min(size, place + (1 << _below(random, 3)))):
            out[at + k] = BOUNDARIES[_below(random, len(BOUNDARIES))]
    elif how == 5:
        out[at + place] = np.uint8(_below(random, 256))
    elif how == 6:
        size = place
    elif how == 7:  # leave a piece out
        cut = min(size - place, 1 + _below(random, 16))
        for k in range(place, size - cut):
            out[at + k] = out[at + k + cut]
        size -= cut
    elif how == 8:  # double a piece
        more = min(size - place, 1 + _below(random, 64), LONGEST - size)
        for k in range(more):
            out[at + size + k] = out[at + place + k]
        size += more
    else:  # the rest of another message
        other = _below(random, len(begin))
        skip = _below(random, end[other] - begin[other] + 1)
        more = min(end[other] - begin[other] - skip, LONGEST - place)
        for k in range(more):
            out[at + place + k] = corpus[begin[other] + skip + k]
        size = place + more
    return size


@njit(cache=True)
def _big(out, at, value):
    out[at] = np.uint8(value >> 8 & 0xFF)
    out[at + 1] = np.uint8(value & 0xFF)


@njit(cache=True)
def _little(out, at, value):
    out[at] = np.uint8(value & 0xFF)
    out[at + 1] = np.uint8(value >> 8 & 0xFF)


@njit(cache=True)
def _mend(out, at, size, protocol):
    """Make right what the protocol checks first."""
    if protocol == MODBUS and size >= 6:
        _big(out, at + 2, 0)
        _big(out, at + 4, size - 6)
    elif (protocol in (S7COMM, MMS, S7COMM_PLUS)) and size >= 4:
        out[at] = 3
        _big(out, at + 2, size)
    elif protocol == IEC104 and size >= 2:
        out[at] = 0x68
        out[at + 1] = np.uint8(min(size - 2, 253))
    elif protocol == ENIP and size >= 24:
        _little(out, at + 2, size - 24)
    elif protocol == OPCUA and size >= 8:
        _little(out, at + 4, size)
        _little(out, at + 6, 0)
    elif (protocol in (BACNET, GOOSE)) and size >= 4:
        _big(out, at + 2, size)
    elif protocol == MODBUS_RTU and size >= 4:
        _little(out, at + size - 2, modbus_rtu.crc16(out, at, at + size - 2))
    elif protocol == DNP3 and size >= 10:
        out[at] = 0x05
        out[at + 1] = 0x64
        blocks = (size - 10 + 17) // 18
        out[at + 2] = np.uint8(min(5 + max(size - 10 - 2 * blocks, 0), 255))
        _little(out, at + 8, dnp3_link.crc(out, at, at + 8))
        begin = at + 10
        while begin + 2 < at + size:
            end = min(begin + 16, at + size - 2)
            _little(out, end, dnp3_link.crc(out, begin, end))
            begin = end + 2


@njit(cache=True)
def mutate(corpus, begin, end, protocol, count, random, out, starts, sizes):
    """Write `count` mutants to `out`: starts[i] and sizes[i] say where. `random`: one non-zero number, changed."""
    at = np.int64(0)
    for i in range(count):
        seed = _below(random, len(begin))
        size = min(end[seed] - begin[seed], LONGEST)
        for k in range(size):
            out[at + k] = corpus[begin[seed] + k]
        for _ in range(1 + _below(random, 4)):
            size = _change(out, at, size, corpus, begin, end, random)
        if _below(random, 4):
            _mend(out, at, size, protocol)
        starts[i] = at
        sizes[i] = size
        at += size


@njit(cache=True)
def datagrams(mutants, starts, sizes, count, port, first, head, data, offset, captured):
    """Frames around the mutants, one UDP datagram each; GOOSE (port 0) stands straight on Ethernet. Returns the octets.

    first: of the clients' ports. head: octets of Ethernet, IPv4 and UDP, or of Ethernet alone.
    """
    at = np.int64(0)
    for i in range(count):
        size = sizes[i]
        for k in range(len(head)):
            data[at + k] = head[k]
        if port:
            _big(data, at + 16, 28 + size)
            _big(data, at + 34, 1024 + (first + i) % 60_000)
            _big(data, at + 36, port)
            _big(data, at + 38, 8 + size)
        for k in range(size):
            data[at + len(head) + k] = mutants[starts[i] + k]
        offset[i] = at
        captured[i] = len(head) + size
        at += len(head) + size
    return at


@njit(cache=True)
def segments(mutants, starts, sizes, count, port, first, sequence, head, data, offset, captured, random):
    """The same as TCP: 64 connections whose segments are lost, doubled or late at times. Returns (frames, octets)."""
    at = np.int64(0)
    rows = np.int64(0)
    for i in range(count):
        talk = (first + i) & 63
        size = sizes[i]
        fate = _below(random, 64)
        seq = sequence[talk]
        if fate == 0:  # lost: the next one leaves a gap
            sequence[talk] += np.uint32(size)
            continue
        if fate == 1:  # overlaps what was sent before
            seq -= np.uint32(_below(random, 40))
        if fate == 2:  # too early
            seq += np.uint32(1 + _below(random, 2000))
        copies = 2 if fate == 3 else 1
        for _ in range(copies):
            for k in range(len(head)):
                data[at + k] = head[k]
            _big(data, at + 16, 40 + size)
            _big(data, at + 34, 2000 + talk)
            _big(data, at + 36, port)
            _big(data, at + 38, np.int64(seq >> np.uint32(16)))
            _big(data, at + 40, np.int64(seq & np.uint32(0xFFFF)))
            for k in range(size):
                data[at + len(head) + k] = mutants[starts[i] + k]
            offset[rows] = at
            captured[rows] = len(head) + size
            at += len(head) + size
            rows += 1
        if fate != 2:
            sequence[talk] = seq + np.uint32(size)
    return rows, at
