"""BACnet/IP, compiled: `frame` and `probe` find messages, `read` fills the narrow row of each.

Source: ANSI/ASHRAE 135-2020, clauses 6 (network layer), 20 (encoding), annex J (BVLL). How the PDU record is filled:

- function: CONFIRMED, UNCONFIRMED, NETWORK or BVLL; subfunction: the service choice, network message or BVLL function
  in it. Rejects and aborts do not repeat the service: they have none.
- transaction: the invoke id; of later segments of a request with the sequence number, for they are not asked anew.
- station: the device instance where the message names its sender; otherwise network and address behind a router, of the
  asked, as `network << 48 | address`; otherwise absent.
- object: `object identifier << 22 | property`, the property all ones where there is none. quantity: properties of a
  multiple read or write. value: the value written or read, or the state that a device is told to enter.
- status: error class << 16 | code; reject 0x10000000 | reason; abort 0x20000000 | reason; BVLL 0x30000000 | result.
- detail: the parameters of the service without values, passwords, times and file contents.
- kind: a service by which a device tells something unasked is UNSOLICITED, and so is what servers acknowledge of
  segments.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind, hash_bytes, mix
from sensor.protocols import bacnet_tables as t
from sensor.protocols import bacnet_walk as walk

BVLL_TYPE = 0x81  # BACnet/IP; IPv6 has 0x82
CONFIRMED, UNCONFIRMED, NETWORK, BVLL = 0, 1, 2, 3
NO_PROPERTY = 0x3FFFFF
REJECTED, ABORTED, BVLL_REFUSED = 0x10000000, 0x20000000, 0x30000000
BVLL_TRANSACTION = 1 << 16
LATER_SEGMENT = 1 << 20
GLOBAL_BROADCAST = 0xFFFF

REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)
NOTHING = int(NO_VALUE)

RESULT, WRITE_BDT, READ_BDT, READ_BDT_ACK, FORWARDED = t.RESULT, t.WRITE_BDT, t.READ_BDT, t.READ_BDT_ACK, t.FORWARDED
REGISTER_FOREIGN_DEVICE, READ_FDT, READ_FDT_ACK = t.REGISTER_FOREIGN_DEVICE, t.READ_FDT, t.READ_FDT_ACK
DELETE_FDT_ENTRY, DISTRIBUTE_BROADCAST, SECURE_BVLL = t.DELETE_FDT_ENTRY, t.DISTRIBUTE_BROADCAST, t.SECURE_BVLL
CONFIRMED_REQUEST, UNCONFIRMED_REQUEST, SIMPLE_ACK, COMPLEX_ACK = range(4)
SEGMENT_ACK, ERROR, REJECT, ABORT = range(4, 8)
READ_PROPERTY, READ_PROPERTY_MULTIPLE = t.READ_PROPERTY, t.READ_PROPERTY_MULTIPLE
WRITE_PROPERTY, WRITE_PROPERTY_MULTIPLE = t.WRITE_PROPERTY, t.WRITE_PROPERTY_MULTIPLE

_UNASKED = np.zeros(64, dtype=np.bool_)
_UNASKED[list(t.SPOKEN_UNASKED)] = True


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the message that begins at buf[at]; 0: needs more bytes to tell; -1: none begins.

    A datagram holds one message, so that it ends where the datagram ends: devices read what claims another length, and
    `read` says that it does.
    """
    have = end - at
    if have < 1:
        return 0
    if buf[at] != BVLL_TYPE:
        return -1
    if have < 2:
        return 0
    if buf[at + 1] > SECURE_BVLL:
        return -1
    return have if have >= 4 else 0


@njit(cache=True, nogil=True, boundscheck=True)
def _npdu(buf, at, end):
    """(APDU or network message, control octet, asked network and address, sender's network and address) of an NPDU.

    Network and address are `network << 48 | address`, -1 where there is none; the first is -1 where no NPDU is whole.
    """
    nowhere = np.int64(-1)
    asked, sender = nowhere, nowhere
    if at + 2 > end or buf[at] != 1:
        return nowhere, nowhere, asked, sender
    control = np.int64(buf[at + 1])
    at += 2
    for flag in (0x20, 0x08):  # destination, then source: network, length, address
        if control & flag:
            if at + 3 > end:
                return nowhere, control, asked, sender
            network, length = u16be(buf, at), np.int64(buf[at + 2])
            address = np.int64(0)
            if at + 3 + length > end:
                return nowhere, control, asked, sender
            for k in range(length):
                address = ((address << 8) | np.int64(buf[at + 3 + k])) & 0xFFFFFFFFFFFF
            at += 3 + length
            where = ((network & 0x7FFF) << 48) | address
            if flag == 0x08:
                sender = where
            elif network != GLOBAL_BROADCAST and length:
                asked = where
    if control & 0x20:
        at += 1  # hop count
    return (np.int64(at) if at < end else nowhere), control, asked, sender


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """True where the bytes are one message of BACnet/IP, so plainly that the port does not matter."""
    have = end - at
    if have < 4 or buf[at] != BVLL_TYPE or buf[at + 1] >= SECURE_BVLL or u16be(buf, at + 2) != have:
        return False
    function = np.int64(buf[at + 1])
    if function == RESULT:
        return have == 6 and buf[at + 4] == 0 and buf[at + 5] <= 0x60 and buf[at + 5] & 0x0F == 0
    if function in (READ_BDT, READ_FDT):
        return have == 4
    if function == REGISTER_FOREIGN_DEVICE:
        return have == 6
    if function == DELETE_FDT_ENTRY:
        return have == 10
    if function in (WRITE_BDT, READ_BDT_ACK, READ_FDT_ACK):
        return (have - 4) % 10 == 0
    begin, control, _, _ = _npdu(buf, at + (10 if function == FORWARDED else 4), end)
    if begin < 0 or control & 0x50:  # reserved bits
        return False
    if control & 0x80:
        return buf[begin] <= 0x13
    kind, flags = np.int64(buf[begin]) >> 4, np.int64(buf[begin]) & 15
    rest = end - begin
    if kind == CONFIRMED_REQUEST:
        service = begin + 3 + (2 if flags & 8 else 0)
        return service < end and not flags & 1 and buf[service] < walk.OFFSET and walk.KNOWN[buf[service]]
    if kind == UNCONFIRMED_REQUEST:
        return rest >= 2 and flags == 0 and buf[begin + 1] < walk.OFFSET and walk.KNOWN[walk.OFFSET + buf[begin + 1]]
    if kind == SIMPLE_ACK:
        return rest == 3 and flags == 0 and buf[begin + 2] < walk.OFFSET and walk.KNOWN[buf[begin + 2]]
    if kind == COMPLEX_ACK:
        service = begin + 2 + (2 if flags & 8 else 0)
        return service < end and not flags & 3 and buf[service] < walk.OFFSET and walk.KNOWN[buf[service]]
    if kind == ERROR:
        return rest >= 5 and flags == 0 and buf[begin + 2] < walk.OFFSET and walk.KNOWN[buf[begin + 2]]
    return (kind == SEGMENT_ACK and rest == 4) or (kind in (REJECT, ABORT) and rest == 3 and flags < 2)


@njit(cache=True, nogil=True, boundscheck=True)
def _confirmed(buf, at, end, pdu):
    flags, rest = np.int64(buf[at]) & 15, end - at
    pdu.kind = REQUEST
    segmented = flags & 8
    if rest < (6 if segmented else 4):
        pdu.anomalies |= LENGTH
        return
    pdu.transaction = buf[at + 2]
    service = at + (5 if segmented else 3)
    pdu.subfunction = buf[service]
    known = buf[service] < walk.OFFSET and walk.KNOWN[buf[service]]
    if not known:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if segmented and buf[at + 3]:
        pdu.transaction = LATER_SEGMENT | (np.int64(buf[at + 3]) << 8) | np.int64(buf[at + 2])
        return
    pdu.expects = 1
    if known and not segmented:
        walk.parameters(buf, service + 1, end, np.int64(buf[service]), pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _unconfirmed(buf, at, end, pdu):
    pdu.kind = REQUEST
    if end - at < 2:
        pdu.anomalies |= LENGTH
        return
    service = np.int64(buf[at + 1])
    pdu.subfunction = service
    if service >= walk.OFFSET or not walk.KNOWN[walk.OFFSET + service]:
        pdu.anomalies |= UNKNOWN_FUNCTION
        return
    if _UNASKED[service]:
        pdu.kind = UNSOLICITED
    walk.parameters(buf, at + 2, end, walk.OFFSET + service, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _complex_ack(buf, at, end, pdu):
    segmented = np.int64(buf[at]) & 8
    service = at + (4 if segmented else 2)
    if service >= end:
        pdu.anomalies |= LENGTH
        return
    pdu.subfunction = buf[service]
    if segmented and buf[at + 2]:
        pdu.continues = 1
    elif buf[service] == READ_PROPERTY and not segmented:
        walk.parameters(buf, service + 1, end, np.int64(READ_PROPERTY), pdu)
    elif buf[service] >= walk.OFFSET or not walk.KNOWN[buf[service]]:
        pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def _error(buf, at, end, pdu):
    """Error class and code: two enumerated values, in some services inside of an opening tag 0 (21)."""
    pdu.refused = 1
    if end - at < 3:
        pdu.anomalies |= LENGTH
        return
    pdu.subfunction = buf[at + 2]
    kind, number, begin, behind = walk.tag(buf, at + 3, end)
    if kind == walk.OPENING:
        kind, number, begin, behind = walk.tag(buf, behind, end)
    if kind != walk.APPLICATION_TAG or number != 9:
        pdu.anomalies |= LENGTH
        return
    group = walk.unsigned(buf, begin, behind)
    kind, number, begin, behind = walk.tag(buf, behind, end)
    if kind != walk.APPLICATION_TAG or number != 9:
        pdu.anomalies |= LENGTH
        return
    pdu.status = ((group & 0x0FFF) << 16) | (walk.unsigned(buf, begin, behind) & 0xFFFF)


@njit(cache=True, nogil=True, boundscheck=True)
def _apdu(buf, at, end, asked, sender, pdu):
    kind, flags = np.int64(buf[at]) >> 4, np.int64(buf[at]) & 15
    pdu.function = CONFIRMED
    if kind == CONFIRMED_REQUEST:
        pdu.station = asked
        _confirmed(buf, at, end, pdu)
        return
    if kind == UNCONFIRMED_REQUEST:
        pdu.function = UNCONFIRMED
        pdu.station = asked
        _unconfirmed(buf, at, end, pdu)
        if pdu.kind == UNSOLICITED and pdu.station == asked:
            pdu.station = sender
        return
    pdu.kind = RESPONSE
    if kind > ABORT:
        pdu.anomalies |= ILLEGAL
        pdu.continues = 1
        return
    if end - at < 3:
        pdu.anomalies |= LENGTH
        return
    pdu.station = sender
    pdu.transaction = buf[at + 1]
    by_server = kind in (REJECT, ERROR) or kind < SEGMENT_ACK or flags & 1
    if kind == SIMPLE_ACK:
        pdu.subfunction = buf[at + 2]
    elif kind == COMPLEX_ACK:
        _complex_ack(buf, at, end, pdu)
    elif kind == ERROR:
        _error(buf, at, end, pdu)
    elif kind == REJECT:
        pdu.refused = 1
        pdu.status = REJECTED | np.int64(buf[at + 2])
    elif kind == ABORT and by_server:
        pdu.refused = 1
        pdu.status = ABORTED | np.int64(buf[at + 2])
    elif by_server:  # SegmentACK: the request still waits for its answer
        pdu.kind = UNSOLICITED
    else:  # from the client: an abort, or the acknowledgement of a segmented answer
        pdu.kind = REQUEST
        pdu.station = asked
        pdu.transaction = -1


@njit(cache=True, nogil=True, boundscheck=True)
def _network(buf, at, end, asked, sender, seed, pdu):
    message = np.int64(buf[at])
    pdu.function = NETWORK
    pdu.subfunction = message
    pdu.detail = hash_bytes(seed, buf, at, min(at + 3, end))
    if 1 <= message <= 5 or message == 0x13:
        pdu.kind = UNSOLICITED
        pdu.station = sender
    elif message == 7 or message == 0x0C:
        pdu.kind = RESPONSE
        pdu.station = sender
        pdu.continues = 1
    else:
        pdu.kind = REQUEST
        pdu.station = asked
    if 0x14 <= message < 0x80:
        pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def _bvll(buf, at, end, function, seed, pdu):
    """BVLL functions that carry no NPDU. A result does not say to what it answers; refusals tell it by their code."""
    pdu.function = BVLL
    pdu.subfunction = function
    pdu.transaction = BVLL_TRANSACTION
    if function in (READ_BDT, READ_BDT_ACK):
        pdu.transaction += READ_BDT
    elif function in (READ_FDT, READ_FDT_ACK):
        pdu.transaction += READ_FDT
    if function == RESULT:
        pdu.kind = RESPONSE
        pdu.continues = 1
        if end - at < 6:
            pdu.anomalies |= LENGTH
            return
        code = u16be(buf, at + 4)
        if code:
            pdu.refused = 1
            pdu.status = BVLL_REFUSED | code
        if code == 0x20:
            pdu.transaction += READ_BDT
        elif code == 0x40:
            pdu.transaction += READ_FDT
    elif function in (READ_BDT_ACK, READ_FDT_ACK):
        pdu.kind = RESPONSE
    else:
        pdu.kind = REQUEST
        pdu.expects = 0 if function == SECURE_BVLL else 1
        if function in (WRITE_BDT, DELETE_FDT_ENTRY):
            pdu.detail = hash_bytes(seed, buf, at + 4, end)
        elif function == REGISTER_FOREIGN_DEVICE and end - at >= 6:
            pdu.value = u16be(buf, at + 4)


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill one PDU record from the whole message buf[at:end]."""
    pdu.kind = REQUEST
    if end - at < 4:
        pdu.anomalies |= LENGTH
        return
    if u16be(buf, at + 2) != end - at:
        pdu.anomalies |= LENGTH
    function = np.int64(buf[at + 1])
    pdu.detail = mix(seed, np.int64(0))
    if function < FORWARDED or REGISTER_FOREIGN_DEVICE <= function <= DELETE_FDT_ENTRY or function == SECURE_BVLL:
        _bvll(buf, at, end, function, seed, pdu)
        return
    begin, control, asked, sender = _npdu(buf, at + (10 if function == FORWARDED else 4), end)
    if begin < 0:
        pdu.function = NETWORK
        pdu.anomalies |= LENGTH
    elif control & 0x80:
        _network(buf, begin, end, asked, sender, seed, pdu)
    else:
        _apdu(buf, begin, end, asked, sender, pdu)
