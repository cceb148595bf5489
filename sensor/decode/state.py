"""What the kernel remembers between frames: tables as record arrays, each bounded by a named cap.

Every table has its final size from the start. It is allocated zeroed, and the operating system gives a page only when
it is first written: a quiet link costs a few megabytes, and nothing has to grow while frames wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.behaviours import BEHAVIOUR
from sensor.decode.pdu import Protocol
from sensor.decode.stream_tables import (
    AGES,
    HISTORIES,
    HISTORY,
    HISTORY_BYTES,
    HOLD_BYTES,
    HOLDER,
    HOLDS,
    PARK,
    PARK_BYTES,
    PARKS,
    READING,
    READING_BYTES,
    READINGS,
    ROOM_ASSEMBLED,
    ROOM_MESSAGES,
    ROOM_READING,
    SIDE,
)
from sensor.events import DTYPES
from sensor.records import record, untouched

# Caps, each with its reason. Reaching one is counted in COUNTERS and never an error.
MAX_CONVERSATIONS = 1 << 20  # industrial links have tens; a million is a flood, 250 MB
MAX_HOSTS = 1 << 20
SHORTCUTS = 1 << 10  # directions whose frames are known by a few words: see shortcut.py
MAX_BEHAVIOURS = 1 << 20  # real plants have hundreds; beyond this new ones share the last row
PENDING = 1 << 16  # requests that wait for their answer
PENDING_WAYS = 16  # places of one set, before the oldest request is retired as unanswered
ANSWER_WITHIN_NS = 30 * 10**9  # slow gateways need seconds; a later response belongs to another request
UNANSWERED_AFTER_NS = 2 * 10**9  # at the end of a capture, younger requests may still have been answered
DATAGRAMS = 256  # IP datagrams whose fragments are kept at one time; 48 MB if all are full
DATAGRAM_WAYS = 16  # places of one set, before the oldest datagram is given up
DATAGRAM_BYTES = 65_535  # the longest (RFC 791)
FRAGMENTS_EACH = DATAGRAM_BYTES // 8 + 1  # pieces that the longest datagram can have: more only repeat
REASSEMBLE_WITHIN_NS = 30 * 10**9  # receivers wait 15 to 120 s (RFC 791, RFC 8200: 60 s), most of them 30 s
ENDS = 8  # lengths that contradicting last fragments may give one datagram
READINGS_EACH = 8  # further readings that late fragments may give a datagram which was whole
READINGS_OF_FRAME = 16  # readings that one frame may complete, tunnels in tunnels included
FIRST_SLOTS = 1 << 10  # of a hash table: a small one stays in the cache
MESSAGES = ROOM_MESSAGES + (1 << 13)  # taken at a time, at most; usually 1 << 13, which stay in the cache
ASSEMBLED = ROOM_ASSEMBLED + (1 << 23)
# Events of one batch: what looks at them by columns needs many at a time, while messages are few at a time (MESSAGES),
# to stay in the cache between the passes.
USUAL_EVENTS = 1 << 15
EVENTS = USUAL_EVENTS + 2 * MESSAGES

OCTET: np.dtype[Any] = np.dtype(np.uint8)

HOST = record([("hi", "u8"), ("lo", "u8"), ("family", "u1")])  # an address: 128 bits, IPv4 in `lo`; family 4 or 6

CONVERSATION = record(
    [
        ("a_hi", "u8"), ("a_lo", "u8"), ("b_hi", "u8"), ("b_lo", "u8"),
        ("a_port", "i4"), ("b_port", "i4"),
        ("a_host", "i4"), ("b_host", "i4"),
        ("vlan", "i4"),  # innermost VLAN identifier, -1 when untagged
        ("family", "u1"),
        ("transport", "u1"),  # 6 or 17
        ("promised", "u1"),  # the Framing that the port promises
        ("framing", "u1"),  # the one in use: see recognise.py
        ("tries", "u1"),  # payloads in which no protocol was recognised
        ("foreign", "u1"),  # what it seems to be instead, as Foreign
        ("protocol", "u1"),  # Protocol of the first message, 0 before
        ("server", "u1"),  # 1 when endpoint b is asked, 0 when a is, by the port or by who opened the connection
        ("first_ns", "i8"), ("last_ns", "i8"),
        ("first_frame", "i8"),
        ("frames_a", "i8"), ("frames_b", "i8"),  # frames with payload sent by a, by b
        ("messages", "i8"),  # whole protocol messages found
        ("garbage", "i8"),  # runs of bytes that cannot be the protocol
        ("garbage_frame", "i8"),  # the first frame that held such a run
        ("lost", "i8"),  # bytes missing from the streams
        ("overlaps", "i8"),  # segments that contradict what was sent before at the same place
        ("hash", "u8"),
        ("segment", "i4"),  # network identifier of the tunnel that carries it, -1 when there is none
        ("tunnel", "u1"),  # packet.Tunnel of its first packet
        ("number", "i8"),  # counts conversations over the whole run, where rows are used again: see recycle.py
        ("free", "u1"), ("wanted", "u1"),
        ("next_free", "i4"),  # row + 1 of a free row
    ]
)  # fmt: skip

SHORTCUT = record(  # a direction of a conversation over TCP and IPv4
    [
        ("hosts", "i8"),  # both addresses, that of the sender in the upper half
        ("ports", "i8"),  # likewise
        ("row", "i4"),  # of the conversation, + 1; 0 in an empty slot
        ("forward", "i4"),
    ]
)

WAITING = record(  # one request that waits for its answer
    [
        ("forward", "u1"),
        ("expects", "u1"),  # of its PDU
        ("protocol", "u1"),
        ("conversation", "i4"),
        ("behaviour", "i4"),
        ("transaction", "i8"),
        ("station", "i8"),
        ("ts_ns", "i8"),
        ("frame", "i8"),
        ("event", "i8"),
    ]
)

PACKET = record(  # what link.py found in a frame
    [
        ("src_hi", "u8"), ("src_lo", "u8"), ("dst_hi", "u8"), ("dst_lo", "u8"),
        ("src_port", "i4"), ("dst_port", "i4"),
        ("vlan", "i4"),
        ("family", "u1"), ("transport", "u1"), ("control", "u1"),  # of TCP: SYN, ACK, ...
        ("seq", "i8"), ("ack", "i8"),
        ("at", "i8"), ("end", "i8"),  # payload in the frame buffer
        ("missing", "i8"),  # payload bytes that were on the wire and are not in the capture
        ("ethernet", "i8"),  # where the innermost Ethernet header begins, -1 when there is none
        ("network", "i8"),  # where the innermost IP header begins, -1 when there is none
        ("ethertype", "i4"),  # behind the innermost tag; 0 when the link layer has none
        ("segment", "i4"),  # network identifier of the innermost VXLAN, GENEVE, NVGRE or 802.1ah, -1 when there is none
        ("tunnel", "u1"),  # packet.Tunnel
        ("headers", "u1"),  # taken off so far
        ("layer", "u1"), ("kind", "i4"), ("stop", "i8"),  # the cursor: see packet.py
        ("datagram", "i8"),  # of a fragment: the identification of its datagram
        ("piece_at", "i4"),  # where in the datagram its bytes belong
        ("more", "u1"),  # 1 when it is not the last
        ("marks", "u4"),  # anomalies of the way, for the PDU that comes of it
    ]
)  # fmt: skip

DATAGRAM = record(  # one IP datagram, whole or not yet
    [
        ("used", "u1"),
        ("changed", "u1"),  # a late fragment contradicts or goes beyond what was whole
        ("conflict", "u1"),  # fragments contradict each other
        ("generation", "u1"),  # from 1, one more each time it was whole
        ("marks", "u4"),
        ("last_kind", "i4"),  # next header of the latest first fragment; the earliest's is the packet's
        ("pieces", "i4"),
        ("extent", "i4"),  # bytes from the beginning beyond which nothing lies
        ("filled", "i4"),  # bytes from the beginning without a hole, of this generation
        ("reach", "i4"),  # likewise, of any generation
        ("whole", "i4"),  # length of the latest datagram that was whole, 0 when none was
        ("latest_end", "i4"),  # of any generation, 0 when unknown
        ("ends_known", "i4"),
        ("ends", "i4", (ENDS,)),  # of this generation, in order of arrival
        ("overlays", "i4"),  # further readings given
        ("tag", "u8"),
        ("serial", "i8"),
        ("first_ns", "i8"),
        ("packet", PACKET, (1,)),  # of its first fragment to arrive
    ]
)

# What a batch of events is written into: columns side by side, for who asks one column of many rows then reads nothing
# else; in one record, for compiled code that is given arrays of their own checks the bounds of each.
EVENTS_OF_BATCH = record([(name, kind, (EVENTS,)) for name, kind in DTYPES.items()])

READY = record(  # a reading of a datagram, for fragments.take
    [("datagram", "i4"), ("bytes", "i4"), ("reading", "u1"), ("serial", "i8"), ("ts_ns", "i8"), ("frame", "i8")]
)

MESSAGE = record(  # a whole message that the streams gave, not read yet
    [
        ("ts_ns", "i8"), ("frame", "i8"),  # of the frame that completes it
        ("at", "i8"),  # where it begins: >= 0 in the frame buffer, otherwise ~at in the assembled one
        ("link", "i8"),  # DNP3: source << 16 | destination; -1: a link frame, no fragment
        ("octets", "i4"),  # its length
        ("conversation", "i4"),
        ("sender", "i4"), ("receiver", "i4"),  # rows of the host table
        ("marks", "u4"),  # anomalies of the stream and of the protocol's own fragments
        ("protocol", "u1"),
        ("forward", "u1"),  # 1 when endpoint a sent it
        ("to_server", "u1"),
    ]
)  # fmt: skip

COUNTERS = record(
    [
        (name, "i8")
        for name in (
            "frames",  # all frames
            "bytes",  # captured bytes
            "cut_frames",  # frames of which the capture kept only a part
            "not_ip",
            "ip_fragments",
            "fragments_repeated",  # of them, those that say nothing new
            "fragments_tiny",  # first ones that end within the transport header
            "fragments_oversize",  # dropped: they reach beyond DATAGRAM_BYTES
            "fragments_refused",  # dropped: FRAGMENTS_EACH or ENDS reached
            "datagrams_reassembled",
            "datagrams_repeated",  # whole once more, of the same bytes: given once only
            "datagrams_conflicting",  # whose fragments contradict each other
            "datagrams_expired",  # not whole within REASSEMBLE_WITHIN_NS, or at the end
            "datagrams_retired",  # given up before that, for want of a place: DATAGRAMS or DATAGRAM_WAYS reached
            "readings_refused",  # not decoded: READINGS_EACH or READINGS_OF_FRAME reached
            "malformed",  # headers that contradict the frame's length
            "too_deep",  # MAX_HEADERS reached: what is inside was not looked at
            "other",  # neither TCP nor UDP
            "foreign",  # frames of conversations that speak none of the protocols
            "segments",  # TCP segments and UDP datagrams with payload, of the others
            "retransmitted",
            "out_of_order",
            "gaps",
            "gap_bytes",
            "overlaps",  # segments that contradict what was sent before at the same place
            "overlaps_unchecked",  # segments sent again whose first copy is no longer known (HISTORIES, HISTORY_BYTES)
            "second_readings_refused",  # broken off: READINGS or READING_BYTES reached
            "parks_refused",  # gaps given up early, or out-of-order segments dropped: PARKS, RIVALS_EACH reached
            "holds_refused",  # message beginnings dropped: HOLDS or HOLD_BYTES reached
            "messages",
            "garbage",
            "promises_broken",  # conversations that speak another protocol than their port promised
            "assemblies_refused",  # fragments dropped: HOLDS, HOLD_BYTES or ASSEMBLIES_EACH reached
            "conversations_refused",
            "other_cotp",  # COTP user data that is neither S7comm nor MMS
            "dnp3_link_only",  # link frames without user data
            "dnp3_crc",  # link frames with a wrong CRC
            "dnp3_discarded",  # fragments lost: a transport segment is missing
        )
    ]
)

USED = record(
    [
        ("hosts", "i8"),
        ("conversations", "i8"),
        ("messages", "i8"),  # in this batch
        ("found", "u8"),  # protocols of this batch, a bit for each
        ("assembled", "i8"),  # bytes in this batch
        ("free_holds", "i8"),
        ("free_parks", "i8"),
        ("datagrams", "i8"),  # over the whole run
        ("ready", "i8"),  # rows of the table of that name
        ("readings_left", "i8"),  # that the frame may still complete
        ("begun", "i8"),  # conversations over the whole run
        ("first_free", "i8"),  # row + 1 of a conversation that may be used again, 0 when there is none
        ("free_count", "i8"),
        ("recycled", "i8"),  # how often rows were freed
        ("next_reading", "i8"),  # slot to be given next
        ("last_ns", "i8"),
        ("conversation_mask", "i8"),  # length of the part of the hash table in use, less 1: it grows with what it holds
        ("drain", "i8"),
        ("irregular", "i8"),  # addresses of messages._drain and of streams._irregular
        ("seed", "u8"),  # of every hash
    ]
)

# The same of the third pass, which runs while the first is at the next messages: they write no record in common.
SETTLED = record(
    [
        ("behaviours", "i8"),
        ("events", "i8"),  # over the whole run
        ("behaviour_mask", "i8"),  # as `conversation_mask`
        ("behaviours_refused", "i8"),  # counters, see COUNTERS
        ("waiting_retired", "i8"),  # requests given up although they were young, for want of a place
        ("unanswered", "i8"),
        ("seed", "u8"),
        ("readers", "i8", (len(Protocol),)),  # addresses, of those that were met
        ("keys", "u8", (12,)),  # secret odd factors, one for each field of a behaviour's identity
    ]
)

# Everything in one record: compiled code passes it on as one pointer. Arrays passed one by one would be copied, seven
# words each, at every call, which cost more than the decoding.
STATE = record(
    [
        ("used", USED, (1,)),
        ("counters", COUNTERS, (1,)),
        ("packet", PACKET, (1,)),  # scratch of one frame
        ("hosts", HOST, (MAX_HOSTS,)),
        ("host_slots", "i4", (2 * MAX_HOSTS,)),  # hash table: row + 1, 0 free
        ("conversations", CONVERSATION, (MAX_CONVERSATIONS,)),
        ("conversation_slots", "i4", (2 * MAX_CONVERSATIONS,)),
        ("blank", CONVERSATION, (1,)),  # stays as it is
        ("shortcuts", SHORTCUT, (SHORTCUTS,)),
        (
            "sides",
            SIDE,
            (2 * MAX_CONVERSATIONS + 1,),
        ),  # 2 * c is what endpoint a of conversation c sends, 2 * c + 1 what b does; the last is scratch
        ("holds", "u1", (HOLDS, HOLD_BYTES)),
        ("holders", HOLDER, (HOLDS,)),
        ("hold_ages", AGES, (1,)),
        ("hold_stack", "i4", (HOLDS,)),  # free slots
        ("parks", PARK, (PARKS,)),
        ("park_ages", AGES, (1,)),
        ("park_bytes", "u1", (PARKS, PARK_BYTES)),
        ("park_stack", "i4", (PARKS,)),
        ("datagrams", DATAGRAM, (DATAGRAMS,)),
        ("first_bytes_of", "u1", (DATAGRAMS, DATAGRAM_BYTES + 1)),  # reading in which the first bytes of a place win
        ("last_bytes_of", "u1", (DATAGRAMS, DATAGRAM_BYTES + 1)),
        ("have", "u1", (DATAGRAMS, DATAGRAM_BYTES + 1)),  # generation of the latest byte, 0 where none came
        ("ready", READY, (READINGS_OF_FRAME,)),
        ("histories", HISTORY, (HISTORIES,)),
        ("history_bytes", "u1", (HISTORIES, HISTORY_BYTES)),
        ("readings", READING, (READINGS,)),
        ("first_bytes", "u1", (READINGS, READING_BYTES)),
        ("second_bytes", "u1", (READINGS, READING_BYTES)),
        ("reading_hashes", "u8", (ROOM_READING,)),  # scratch, as are the next two
        ("reading_counters", COUNTERS, (1,)),
        ("reading_talk", CONVERSATION, (1,)),
        ("settled", SETTLED, (1,)),
        ("waiting", WAITING, (PENDING,)),
        ("waiting_tags", "u4", (PENDING,)),  # part of each one's hash, 0 where nothing waits
        ("behaviours", BEHAVIOUR, (MAX_BEHAVIOURS,)),
        ("behaviour_slots", "i4", (2 * MAX_BEHAVIOURS,)),
        ("ports", "u1", (65536,)),  # Framing that a port promises
    ]
)


def new_state(ports: Mapping[int, int], seed: int) -> npt.NDArray[np.void]:
    """(1,) STATE, empty; `ports` maps a transport port to the Framing expected there, `seed` is that of the hashes."""
    state = untouched(1, STATE)
    s = state[0]
    s.used[0].seed = seed
    s.settled[0].seed = seed
    s.settled[0].behaviour_mask = s.used[0].conversation_mask = FIRST_SLOTS - 1
    drawn = hashlib.shake_256(seed.to_bytes(8, "big")).digest(8 * len(s.settled[0].keys))
    s.settled[0].keys[:] = np.frombuffer(drawn, np.uint64) | np.uint64(1)
    s.used[0].free_holds, s.used[0].free_parks = HOLDS, PARKS
    for ages in (s.hold_ages[0], s.park_ages[0]):
        ages.oldest = ages.newest = -1
    s.readings["owner"] = -1
    s.hold_stack[:] = np.arange(HOLDS - 1, -1, -1)
    s.park_stack[:] = np.arange(PARKS - 1, -1, -1)
    for port, framing in ports.items():
        s.ports[port] = framing
    return state
