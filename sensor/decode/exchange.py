"""Requests and responses paired, behaviours interned, events written.

A behaviour is who asks what of whom, with which outcome. A request makes one (ASKED) the moment it is seen; its answer
one with the request's objects (ANSWERED, REFUSED); a request that stays without answer one more (UNANSWERED).
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.borrow import borrow
from sensor.decode.flows import spread
from sensor.decode.pdu import MAY_BE_ANSWERED, NO_VALUE, Anomaly, Kind, Outcome, Protocol, mix
from sensor.decode.read import read
from sensor.decode.state import ANSWER_WITHIN_NS, PENDING, PENDING_WAYS, UNANSWERED_AFTER_NS

DNP3 = int(Protocol.DNP3)
SAME_FUNCTION = np.zeros(256, np.bool_)  # protocols in which a response bears the function of its request
SAME_FUNCTION[[Protocol.MODBUS, Protocol.S7COMM, Protocol.MODBUS_RTU]] = True
REQUEST, RESPONSE = int(Kind.REQUEST), int(Kind.RESPONSE)
ASKED, ANSWERED, REFUSED = int(Outcome.ASKED), int(Outcome.ANSWERED), int(Outcome.REFUSED)
UNANSWERED, UNSOLICITED = int(Outcome.UNANSWERED), int(Outcome.UNSOLICITED)
ORPHAN, REPEATED = int(Anomaly.ORPHAN), int(Anomaly.REPEATED)
NOTHING, SOUND = np.int64(NO_VALUE), np.uint32(0)  # numpy scalars: see messages.py
AT_A_TIME = 256  # messages that are read and settled: their PDUs stay in the nearest cache
DNP3_REFUSALS = 0x7F0007  # control status, IIN2.0 to IIN2.2; the other indications are the device's health
DNP3_SELF = 0xFFFC  # "whoever you are": the answer comes from the address that the station has (IEEE 1815, 9.2)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _intern(s, b):
    """Row of the behaviour that equals scratch row `b` in identity, made when it is new.

    `b` is the row after the last one in use, filled by the caller: a new behaviour is kept where it stands.
    """
    table, slots = s.behaviours, s.behaviour_slots
    u = s.settled[0]
    # Multilinear hashing: secret factors, so nobody can aim at a collision; products that need not wait for each other.
    k = u.keys
    h = mix(
        np.uint64(b.client) * k[0]
        + np.uint64(b.server) * k[1]
        + np.uint64(b.station) * k[2]
        + np.uint64(b.function) * k[3]
        + np.uint64(b.subfunction) * k[4]
        + np.uint64(b.object) * k[5]
        + np.uint64(b.quantity) * k[6]
        + np.uint64(b.status) * k[7]
        + b.detail * k[8]
        + np.uint64(b.protocol) * k[9]
        + np.uint64(b.kind) * k[10],
        np.uint64(b.outcome) * k[11],
    )
    mask = u.behaviour_mask
    slot = np.int64(h & np.uint64(mask))
    while slots[slot]:
        row = np.int64(slots[slot] - 1)
        t = table[row]
        if (
            t.detail == b.detail
            and t.object == b.object
            and t.client == b.client
            and t.server == b.server
            and t.station == b.station
            and t.function == b.function
            and t.subfunction == b.subfunction
            and t.quantity == b.quantity
            and t.status == b.status
            and t.outcome == b.outcome
            and t.kind == b.kind
            and t.protocol == b.protocol
        ):
            return row
        slot = (slot + 1) & mask
    row = u.behaviours
    if row >= len(table) - 1:  # the last row stays scratch
        u.behaviours_refused += 1
        return row - 1
    u.behaviours = row + 1
    slots[slot] = row + 1
    b.hash = h
    b.count = 0
    b.value_min = NO_VALUE
    b.value_max = NO_VALUE
    b.gap_sum = 0.0
    b.gap_squares = 0.0
    b.anomalies = 0
    b.conversation = -1
    b.asked = -1
    b.answered = -1
    if 2 * u.behaviours > mask:
        u.behaviour_mask = spread(slots, table, u.behaviours, mask)
    return np.int64(row)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _count(t, ts_ns, frame, conversation, value, anomalies):
    """Add one event to a behaviour."""
    if t.count == 0:
        t.first_ns = ts_ns
        t.first_frame = frame
        t.conversation = conversation
    else:
        gap = np.float64(ts_ns - t.last_ns)
        t.gap_sum += gap
        t.gap_squares += gap * gap
    t.count += 1
    t.last_ns = ts_ns
    t.last_frame = frame
    t.anomalies |= anomalies
    if value != NO_VALUE:
        if t.value_min == NO_VALUE or value < t.value_min:
            t.value_min = value
        if t.value_max == NO_VALUE or value > t.value_max:
            t.value_max = value


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _free(s, place):
    """Nobody waits at a place any more; returns the place of its set that is free then.

    Requests of a set stand side by side from its first place on: a search ends where nobody stands.
    """
    last, stop = place, (place | PENDING_WAYS - 1) + 1
    while last + 1 < stop and s.waiting_tags[last + 1]:
        last += 1
    if last != place:
        s.waiting[place] = s.waiting[last]
        s.waiting_tags[place] = s.waiting_tags[last]
    s.waiting_tags[last] = 0
    return last


@njit(cache=True, nogil=True, boundscheck=True)
def retire(s, place):
    """Give up waiting: count the request as unanswered, where the answer is missed. Returns the place that is free."""
    w = s.waiting[place]
    behaviour, ts_ns, frame, conversation = w.behaviour, w.ts_ns, w.frame, np.int64(w.conversation)
    missed = w.expects != MAY_BE_ANSWERED
    place = _free(s, place)
    if not missed:
        return place
    s.settled[0].unanswered += 1
    table = s.behaviours
    asked = table[behaviour]
    b = table[s.settled[0].behaviours]
    b.client = asked.client
    b.server = asked.server
    b.protocol = asked.protocol
    b.kind = asked.kind
    b.outcome = UNANSWERED
    b.station = asked.station
    b.function = asked.function
    b.subfunction = asked.subfunction
    b.object = asked.object
    b.quantity = asked.quantity
    b.status = -1
    b.detail = asked.detail
    row = _intern(s, b)
    table[row].asked = behaviour
    _count(table[row], ts_ns, frame, conversation, NOTHING, SOUND)
    return place


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _waiting_set(transaction, station, conversation, asked_forward):
    """First place of the set in which this request waits, or the one that this response answers.

    Not hashed: 16 sets follow each other for each asker, and those of the conversations that are alive lie side by
    side, in memory that stays in the cache. Some clients count in the upper octet.
    """
    asker = 2 * conversation + asked_forward + 257 * (station & 0xFFFF)
    return ((16 * asker + ((transaction ^ transaction >> 8) & 15)) * PENDING_WAYS) & (PENDING - 1)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _find(s, pdu, station, conversation, asked_forward):
    """Where the PDU's request waits: (its place, the free place, the tag of both); places are -1 where there is none.

    The tags of a set lie side by side: a search reads one line of the cache.
    """
    base = _waiting_set(pdu.transaction, station, conversation, asked_forward)
    h = mix(s.settled[0].seed + np.uint64(conversation), pdu.transaction)
    tag = np.uint32(h >> np.uint64(32)) | np.uint32(1)  # 0 says free
    for k in range(base, base + PENDING_WAYS):
        other = s.waiting_tags[k]
        if other == 0:
            return np.int64(-1), np.int64(k), tag
        if other == tag:
            w = s.waiting[k]
            if (
                w.conversation == conversation
                and w.transaction == pdu.transaction
                and w.forward == asked_forward
                and w.station == station
                and w.protocol == pdu.protocol
            ):
                return np.int64(k), np.int64(-1), tag
    return np.int64(-1), np.int64(-1), tag


@njit(cache=True, nogil=True, boundscheck=True)
def _make_place(s, pdu, conversation, forward, ts_ns):
    """Retire the oldest of the requests that stand where this one could; returns the place that is free then."""
    base = _waiting_set(pdu.transaction, pdu.station, conversation, forward)
    oldest = np.int64(base)
    for k in range(base, base + PENDING_WAYS):
        if s.waiting[k].ts_ns < s.waiting[oldest].ts_ns:
            oldest = np.int64(k)
    if ts_ns - s.waiting[oldest].ts_ns < UNANSWERED_AFTER_NS:  # it might still have been answered
        s.settled[0].waiting_retired += 1
    return retire(s, oldest)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _identified(s, m, pdu, asked):
    """Row of the behaviour that the PDU of message `m` is, where it answers behaviour `asked`, or none (-1)."""
    table = s.behaviours
    b = table[s.settled[0].behaviours]  # scratch: the row after the last
    b.protocol = pdu.protocol
    b.kind = pdu.kind
    b.station = pdu.station
    b.status = -1
    if pdu.kind == REQUEST:
        b.client, b.server = m.sender, m.receiver
        b.outcome = ASKED
    else:
        b.client, b.server = m.receiver, m.sender
        b.outcome = UNSOLICITED
        if pdu.kind == RESPONSE:
            b.outcome = ANSWERED
            if pdu.refused:
                b.outcome = REFUSED
                b.status = pdu.status & DNP3_REFUSALS if pdu.protocol == DNP3 else pdu.status
    if asked >= 0:
        a = table[asked]
        b.function, b.subfunction, b.object, b.quantity, b.detail = (
            a.function,
            a.subfunction,
            a.object,
            a.quantity,
            a.detail,
        )
    else:
        b.function, b.subfunction, b.object = pdu.function, pdu.subfunction, pdu.object
        b.quantity, b.detail = pdu.quantity, pdu.detail
    return _intern(s, b)


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _settle(s, m, pdu, e, i):
    """Pair and intern the PDU of message `m`, and write row `i` of the columns `e`."""
    u = s.settled[0]
    table = s.behaviours
    conversation, forward, ts_ns, frame = np.int64(m.conversation), np.int64(m.forward), m.ts_ns, m.frame
    anomalies = np.uint32(pdu.anomalies) | np.uint32(m.marks)
    request = np.int64(-1)
    request_frame = np.int64(-1)
    latency = np.int64(-1)
    asked = np.int64(-1)  # behaviour of the request that this answers

    free = np.int64(-1)
    tag = np.uint32(0)
    if pdu.kind == REQUEST:
        place, free, tag = _find(s, pdu, pdu.station, conversation, forward)
        if place >= 0:
            if s.waiting[place].expects != MAY_BE_ANSWERED:
                anomalies |= np.uint32(REPEATED)
            free = retire(s, place)
        elif free < 0 and pdu.expects:
            free = _make_place(s, pdu, conversation, forward, ts_ns)
    elif pdu.kind == RESPONSE:
        place, free, tag = _find(s, pdu, pdu.station, conversation, 1 - forward)
        if place < 0 and pdu.protocol == DNP3:
            place, free, tag = _find(s, pdu, pdu.station >> 16 << 16 | DNP3_SELF, conversation, 1 - forward)
        if place >= 0:
            w = s.waiting[place]
            if ts_ns - w.ts_ns > ANSWER_WITHIN_NS:
                retire(s, place)
            elif not SAME_FUNCTION[pdu.protocol] or table[w.behaviour].function == pdu.function:
                asked = np.int64(w.behaviour)
                request = w.event
                request_frame = w.frame
                latency = ts_ns - w.ts_ns
                _free(s, place)
        if asked < 0 and not pdu.continues:
            anomalies |= np.uint32(ORPHAN)

    row = np.int64(-1)
    granted = asked >= 0 and not pdu.refused
    if granted:  # what answers a request as it did before is known without a search
        row = np.int64(table[asked].answered)
        if row >= 0 and table[row].station != pdu.station:  # of DNP3, for a request to whoever it concerns
            row = np.int64(-1)
    if row < 0:
        row = _identified(s, m, pdu, asked)
        if granted and u.behaviours < len(table) - 1:  # otherwise it may be the row that all others share
            table[asked].answered = row
    t = table[row]
    if asked >= 0:
        t.asked = asked
    _count(t, ts_ns, frame, conversation, pdu.value, anomalies)

    e.ts_ns[i] = ts_ns
    e.frame[i] = frame
    e.conversation[i] = conversation
    e.forward[i] = forward
    e.behaviour[i] = row
    e.protocol[i] = pdu.protocol
    e.kind[i] = pdu.kind
    e.outcome[i] = t.outcome
    e.station[i] = pdu.station
    e.function[i] = pdu.function
    e.subfunction[i] = pdu.subfunction
    e.transaction[i] = pdu.transaction
    e.object[i] = t.object
    e.quantity[i] = t.quantity
    e.value[i] = pdu.value
    e.status[i] = pdu.status
    e.anomalies[i] = anomalies
    e.request[i] = request
    e.request_frame[i] = request_frame
    e.asked[i] = asked
    e.latency_ns[i] = latency
    e.pdu_at[i] = m.at
    e.pdu_length[i] = m.octets
    if pdu.kind == REQUEST and pdu.expects:
        s.waiting_tags[free] = tag
        w = s.waiting[free]
        w.forward = forward
        w.expects = pdu.expects
        w.protocol = pdu.protocol
        w.conversation = conversation
        w.behaviour = row
        w.transaction = pdu.transaction
        w.station = pdu.station
        w.ts_ns = ts_ns
        w.frame = frame
        w.event = u.events
    u.events += 1


@njit(cache=True, nogil=True, boundscheck=True)
def settle(frames, assembled, messages, unread, pdus, count, state, events, at):
    """Third pass: the first `count` messages and their PDUs become rows of the columns of `events`, from `at` on.

    unread: a bit for each protocol whose messages the second pass has left alone: they are read here, few at a time,
    and `pdus` is scratch. Nothing of `state` is touched that the first pass writes, so that both may run at one time.
    """
    frames, assembled = borrow(frames), borrow(assembled)
    messages, pdus, events = borrow(messages), borrow(pdus), borrow(events)
    s = state[0]
    u = s.settled[0]
    for begin in range(0, count, AT_A_TIME):
        stop = min(begin + AT_A_TIME, count)
        first = begin if unread else 0
        if unread:
            for protocol in range(len(u.readers)):
                if unread >> protocol & 1:
                    read(protocol, u.readers[protocol], frames, assembled, messages, begin, stop, u.seed, pdus)
        for i in range(begin, stop):
            _settle(s, messages[i], pdus[i - first], events[0], at + i)


@njit(cache=True, nogil=True, boundscheck=True)
def sweep(state, before_ns):
    """Retire every request asked before `before_ns`."""
    s = state[0]
    for k in range(PENDING):
        while s.waiting_tags[k] and s.waiting[k].ts_ns < before_ns:
            retire(s, k)  # another may stand there then
