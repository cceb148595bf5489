"""Whole messages out of contiguous bytes: framing and reassembly of fragments. What they say is read later (read.py).

Compiled code cannot call what it looks up in a list, so `drain` names each framing; recognise.py says which one it is.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import INTEGER, SMALL, Rows, address_of, for_the_compiler, njit
from sensor.decode import slots
from sensor.decode.apart import caller
from sensor.decode.pdu import Anomaly, Protocol
from sensor.decode.recognise import PROBE_BYTES, PROBES, Framing, foreign, recognise
from sensor.decode.state import MESSAGE, OCTET, STATE
from sensor.decode.stream_tables import HOLDS, SIDE
from sensor.protocols import (
    bacnet_kernel,
    cotp,
    dnp3_link,
    enip_kernel,
    iec104,
    mms_kernel,
    modbus,
    modbus_rtu,
    opcua_kernel,
    s7comm,
    s7comm_plus,
)  # fmt: skip

UNDECIDED, FOREIGN = int(Framing.UNDECIDED), int(Framing.FOREIGN)
MODBUS, TPKT, DNP3 = int(Framing.MODBUS), int(Framing.TPKT), int(Framing.DNP3)
IEC104, ENIP, OPCUA = int(Framing.IEC104), int(Framing.ENIP), int(Framing.OPCUA)
BACNET = int(Framing.BACNET)
MODBUS_RTU = int(Framing.MODBUS_RTU)

# Numpy scalars, not Python's: numba compiles a function anew for each Python constant that it is called with.
GAP, SPLIT = np.uint32(Anomaly.GAP), np.uint32(Anomaly.SPLIT)
CHECKSUM, SEQUENCE = np.uint32(Anomaly.CHECKSUM), np.uint32(Anomaly.SEQUENCE)
IN_FRAMES, IN_ASSEMBLED = np.uint8(0), np.uint8(1)  # `inside`: which buffer a message lies in
AS_S7COMM, AS_S7COMM_PLUS = np.uint8(Protocol.S7COMM), np.uint8(Protocol.S7COMM_PLUS)
AS_MODBUS = np.uint8(Protocol.MODBUS)
AS_DNP3, AS_MMS, AS_GOOSE = np.uint8(Protocol.DNP3), np.uint8(Protocol.MMS), np.uint8(Protocol.GOOSE)
NO_LINK = np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _emit(s, messages, side, protocol, conversation, forward, ts_ns, frame, at, end, inside, link):
    """Write one message down, with what the stream knows of it."""
    u = s.used[0]
    c = s.conversations[conversation]
    m = messages[u.messages]
    u.messages += 1
    u.found |= np.uint64(1) << np.uint64(protocol)
    s.counters[0].messages += 1
    c.messages += 1
    if c.protocol == 0:
        c.protocol = protocol
    m.ts_ns = ts_ns
    m.frame = frame
    m.at = ~at if inside else at
    m.link = link
    m.octets = end - at
    m.conversation = conversation
    m.sender = c.a_host if forward else c.b_host
    m.receiver = c.b_host if forward else c.a_host
    m.protocol = protocol
    m.forward = forward
    m.to_server = 1 if forward == c.server else 0  # endpoint a sends to b, and b is the server
    m.marks = side.marks
    side.marks = 0
    if side.gap:
        m.marks |= GAP
        side.gap = 0
    if side.split:
        m.marks |= SPLIT


@njit(cache=True, nogil=True, boundscheck=True)
def _cotp(s, messages, side, conversation, forward, ts_ns, frame, buf, at, end, inside, out):
    code, start, last = cotp.data(buf, at, end)
    if code != cotp.DT or start >= end:
        return
    if not last or side.assembly >= 0:
        slot = slots.collect(s, side, np.int32(side.assembly), NO_LINK, buf, start, end)
        if slot < 0 or not last:
            return
        side.marks |= SPLIT
        begin, stop = slots.assembled(s, side, slot, out)
        _tsdu(s, messages, side, conversation, forward, ts_ns, frame, out, begin, stop, IN_ASSEMBLED)
        return
    _tsdu(s, messages, side, conversation, forward, ts_ns, frame, buf, start, end, inside)


@njit(cache=True, nogil=True, boundscheck=True)
def _tsdu(s, messages, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
    """What COTP carries, told by its first octets."""
    if s7comm.is_s7comm(buf, at, end):
        protocol = AS_S7COMM
    elif s7comm_plus.is_s7comm_plus(buf, at, end):
        protocol = AS_S7COMM_PLUS
    elif mms_kernel.is_mms(buf, at, end):
        protocol = AS_MMS
    else:
        s.counters[0].other_cotp += 1
        return
    _emit(s, messages, side, protocol, conversation, forward, ts_ns, frame, at, end, inside, NO_LINK)


@njit(cache=True, nogil=True, boundscheck=True)
def publication(s, messages, conversation, forward, ts_ns, frame, at, end, inside):
    """A GOOSE message: a whole Ethernet payload; inside: see `drain`."""
    side = s.sides[2 * conversation + (0 if forward else 1)]
    _emit(s, messages, side, AS_GOOSE, conversation, forward, ts_ns, frame, at, end, inside, NO_LINK)


@njit(cache=True, nogil=True, boundscheck=True)
def _dnp3(s, messages, side, conversation, forward, ts_ns, frame, buf, at, end, inside, out):
    octet = dnp3_link.transport(buf, at, end)
    if octet < 0:
        s.counters[0].dnp3_link_only += 1
        fragment = side.marks  # what is noted of a fragment that is on its way stays with it
        side.marks = 0
        if not dnp3_link.header_ok(buf, at, end):
            s.counters[0].dnp3_crc += 1
            side.marks = CHECKSUM
        _emit(s, messages, side, AS_DNP3, conversation, forward, ts_ns, frame, at, end, inside, dnp3_link.NO_FRAGMENT)
        side.marks = fragment
        return
    u = s.used[0]
    begin = u.assembled
    size, sound = dnp3_link.unpack(buf, at, end, out, begin)
    key = np.int64((dnp3_link.source(buf, at) << 16) | dnp3_link.destination(buf, at))
    slot = slots.find_assembly(s, side, key)
    expected = np.int64(s.holders[slot].expected) if slot >= 0 else np.int64(0)
    step = dnp3_link.step(octet, slot >= 0, expected)
    if step != dnp3_link.APPEND:
        if slot >= 0 or step == dnp3_link.DISCARD:  # a fragment is lost: said of the one that follows
            s.counters[0].dnp3_discarded += 1
            side.marks |= SEQUENCE
        if slot >= 0:
            slots.drop_assembly(s, side, slot)
            slot = slots.NONE
        if step == dnp3_link.DISCARD:
            return
    if not sound:
        s.counters[0].dnp3_crc += 1
    if step == dnp3_link.BEGIN and octet & dnp3_link.FIN:
        start, stop = begin, begin + size
        u.assembled = stop
        if not sound:
            side.marks |= CHECKSUM
    else:
        slot = slots.collect(s, side, slot, key, out, begin, begin + size)
        if slot < 0:
            return
        s.holders[slot].expected = (octet + 1) & dnp3_link.SEQUENCE
        if not sound:
            s.holders[slot].marks |= CHECKSUM
        if not octet & dnp3_link.FIN:
            return
        side.marks |= SPLIT
        start, stop = slots.assembled(s, side, slot, out)
    if stop > start:
        _emit(s, messages, side, AS_DNP3, conversation, forward, ts_ns, frame, start, stop, IN_ASSEMBLED, key)


@njit(cache=True, nogil=True, boundscheck=True)
def _decide(s, c, buf, at, end):
    """Look for the protocol of an undecided conversation; True when the rest of a beginning is awaited."""
    c.framing = recognise(buf, at, end)
    if c.framing != UNDECIDED:
        return False
    if c.foreign == 0:
        c.foreign = foreign(buf, at, end)
    c.tries += 1
    if c.tries >= PROBES:
        c.framing = FOREIGN
        return False
    # Of what is kept for messages that are known to go on, curiosity never takes more than half.
    return end - at < PROBE_BYTES and c.foreign == 0 and 2 * s.used[0].free_holds > HOLDS


@njit(cache=True, nogil=True, boundscheck=True)
def _breaks_promise(s, c, buf, at, end):
    """Whether what begins a conversation is another protocol than its port promised; then it is read as that."""
    if c.messages or c.tries >= PROBES:
        return False
    c.tries += 1
    found = recognise(buf, at, end)
    if found == UNDECIDED or found == c.framing:
        if c.foreign == 0:
            c.foreign = foreign(buf, at, end)
        return False
    c.framing = found
    if c.promised:
        s.counters[0].promises_broken += 1
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def _search(framing, buf, at, end):
    """(where a message begins beyond doubt after garbage, True), or (from where on more bytes are needed, False)."""
    while at < end:
        proof = modbus.proof(buf, at, end) if framing == MODBUS else cotp.proof(buf, at, end)
        if proof >= 0:
            return at, proof > 0
        at += 1
    return end, False


@njit(cache=True, nogil=True, boundscheck=True)
def _drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
    """Take whole messages off the head of buf[at:end].

    inside: IN_ASSEMBLED when `buf` is the batch's assembled buffer `out`, IN_FRAMES when it is the frame buffer.
    Returns where an incomplete message begins; `end` when nothing is left or the rest cannot be the protocol.
    """
    c = s.conversations[conversation]
    while at < end:
        if side.searching:
            at, found = _search(c.framing, buf, at, end)
            if not found:
                return at
            side.searching = 0
        if c.framing == MODBUS:
            if c.messages == 0 and modbus_rtu.instead_of_mbap(buf, at, end):
                c.framing = MODBUS_RTU
                continue
            size = modbus.frame(buf, at, end)
        elif c.framing == TPKT:
            size = cotp.frame(buf, at, end)
            if size > 0 and cotp.hides(buf, at, end):
                size = -1
        elif c.framing == DNP3:
            size = dnp3_link.frame(buf, at, end)
        elif c.framing == MODBUS_RTU:
            size = modbus_rtu.frame(buf, at, end)
        elif c.framing == IEC104:
            size = iec104.frame(buf, at, end)
        elif c.framing == ENIP:
            size = enip_kernel.frame(buf, at, end)
        elif c.framing == OPCUA:
            size = opcua_kernel.frame(buf, at, end)
        elif c.framing == BACNET:
            size = bacnet_kernel.frame(buf, at, end)
        elif c.framing == UNDECIDED:
            if _decide(s, c, buf, at, end):
                return at
            if c.framing == UNDECIDED:
                return end
            continue
        else:
            return end
        if size == 0 or size > end - at:
            return at
        if size < 0:
            if _breaks_promise(s, c, buf, at, end):
                continue
            s.counters[0].garbage += 1
            if c.garbage == 0:
                c.garbage_frame = frame
            c.garbage += 1
            side.gap = 1
            if c.framing == DNP3:  # the receiver skips it, and the transport sequence says what is lost
                at = dnp3_link.sync(buf, at + 1, end)
                continue
            slots.drop_assemblies(s, side)
            if c.framing == MODBUS_RTU:
                at = modbus_rtu.sync(buf, at + 1, end)
            elif c.messages and (c.framing == MODBUS or c.framing == TPKT):
                side.searching = 1
                at += 1
            else:
                return end  # a message of these begins a segment: the next one is tried afresh
            continue
        if c.framing == TPKT:
            _cotp(s, messages, side, conversation, forward, ts_ns, frame, buf, at, at + size, inside, out)
        elif c.framing == DNP3:
            _dnp3(s, messages, side, conversation, forward, ts_ns, frame, buf, at, at + size, inside, out)
        else:  # each of these is its own protocol
            protocol = np.uint8(c.framing)
            _emit(s, messages, side, protocol, conversation, forward, ts_ns, frame, at, at + size, inside, NO_LINK)
        side.split = 0
        at += size
    return at


DRAIN = (
    STATE, Rows(MESSAGE), Rows(OCTET), SIDE, INTEGER, INTEGER, INTEGER, INTEGER, Rows(OCTET), INTEGER, INTEGER, SMALL,
)  # fmt: skip


def drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
    """See _drain, which compiled code calls by its address: apart.py says why."""
    return _drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside)


@for_the_compiler
def _drain_by_address():
    from numba.extending import overload

    call = caller(INTEGER, DRAIN)

    @overload(drain, inline="always")
    def _compiled_form(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
        def compiled(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
            return call(
                s.used[0].drain, s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside
            )

        return compiled


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def take(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside):
    """What `drain` does with a whole segment. Nearly every one of Modbus bears one ADU, which is taken here."""
    c = s.conversations[conversation]
    if c.framing == MODBUS and c.messages and not side.searching and modbus.alone(buf, at, end):
        _emit(s, messages, side, AS_MODBUS, conversation, forward, ts_ns, frame, at, end, inside, NO_LINK)
        return end
    return drain(s, messages, out, side, conversation, forward, ts_ns, frame, buf, at, end, inside)


def drain_address() -> int:
    """For `used.drain` of a state."""
    return address_of(_drain, DRAIN)
