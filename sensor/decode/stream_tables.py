"""What the kernel remembers of streams between frames: tables as record arrays, each bounded by a named cap.

A cap that is reached is counted (COUNTERS in state.py) and marked as LIMIT on the next PDU of the stream; it is never
an error, and never lets a new stream starve: what is oldest is given up.
"""

from __future__ import annotations

from sensor.records import record

HOLD_BYTES = 1 << 16  # the longest message: a TPKT of 65,535 bytes
HOLDS = 2048  # beginnings of messages kept at one time; 128 MB if all are full; beyond this the oldest is given up
ASSEMBLIES_EACH = 8  # fragmented messages of one direction: so many outstations speak at once behind a DNP3 gateway
PARK_BYTES = 1 << 16  # the longest segment (IP total length)
PARKS = 1024  # out-of-order segments kept at one time, over all streams; beyond this the oldest gap is given up
PARKS_EACH = 32  # of one direction: more means that the gap will not be filled
PARKED_BYTES = 1 << 19  # of one direction: likewise
RIVALS_EACH = 8  # of these, segments that contradict what came first
HISTORIES = 1 << 12  # directions whose recent bytes are kept; 32 MB
HISTORY_BYTES = 1 << 13  # of each: at least the last half of it, more than a segment of Ethernet holds
STARTS = 12  # segments of these bytes, of which it is known that a message begins with them
READINGS = 1 << 8  # directions with a second reading at one time; 4 MB
READING_BYTES = HISTORY_BYTES
GAP_PATIENCE = 6  # frames of a conversation that may follow before a gap which the receiver acknowledged is given up
RESYNC_DISTANCE = 1 << 24  # a sequence number this far off is another connection, not a gap
RESYNC_BEHIND = 1 << 18  # likewise, not a segment that is sent again: more than a sender keeps for that
FRESH_WINDOW = 1 << 16  # behind the sequence number of a SYN, where the first segments of the new connection lie

# Room that must be free before a frame is begun, so that nothing is refused in the middle of one: the frame itself,
# everything parked of its direction and of those whose oldest gaps are given up in its favour may complete messages;
# each of these segments may be joined with what is held, and may be read twice.
SMALLEST = 6  # bytes of a message
GIVEN_UP = 2  # gaps of other directions, for one segment that needs a place
ROOM_BYTES = PARK_BYTES + (GIVEN_UP + 1) * (PARKED_BYTES + PARK_BYTES)
ROOM_SEGMENTS = (GIVEN_UP + 1) * (2 * PARKS_EACH + RIVALS_EACH + 2)
ROOM_READING = 3 * READING_BYTES // SMALLEST  # messages while a second reading is compared with the first
ROOM_MESSAGES = ROOM_BYTES // SMALLEST + ROOM_SEGMENTS * READING_BYTES // SMALLEST + ROOM_READING
ROOM_ASSEMBLED = 3 * ROOM_BYTES + ROOM_SEGMENTS * (HOLD_BYTES + 6 * READING_BYTES)

SIDE = record(  # one direction of a TCP conversation; what every segment needs stands first
    [
        ("seen", "u1"),
        ("gap", "u1"),  # bytes were lost: the next PDU is marked
        ("searching", "u1"),  # after garbage: for bytes that begin a message beyond doubt
        ("split", "u1"),  # the message being read began in an earlier segment
        ("parked", "u1"),  # segments in both lists below
        ("marks", "u4"),  # anomalies for the next PDU
        ("next_seq", "i8"),
        ("row", "i4"),  # of this record in the table
        ("hold", "i4"),  # slot with the beginning of an incomplete message, -1 when there is none
        ("hold_bytes", "i4"),
        ("hold_frame", "i8"),
        ("assembly", "i4"),  # slots with the first fragments of messages (COTP, DNP3 transport), -1
        ("reading", "i4"),  # slot of the second reading, -1
        ("park_head", "i4"),  # parked segments by ascending sequence number, without overlap: the first to come wins
        ("rival_head", "i4"),  # parked segments that contradict those, in order of arrival
        ("patience", "i4"),  # frames of the conversation since the gap opened
        ("parked_bytes", "i4"),
        ("hole", "i8"),  # sequence number of the last bytes that were given up or came before the capture,
        ("hole_bytes", "i4"),  # and how many they are: what comes of them is late, not sent again
        # Where the stream was before it jumped, or may go on after a SYN inside of it: a forger cannot end a stream.
        ("aside", "u1"),  # NOWHERE, PLACE or FRESH
        ("aside_seq", "i8"),
        ("aside_hold", "i4"),
        ("aside_bytes", "i4"),
        ("aside_frame", "i8"),
        ("aside_assembly", "i4"),
    ]
)
NOWHERE, PLACE, FRESH = 0, 1, 2  # of `aside`: FRESH after a SYN

HOLDER = record(  # of a hold slot
    [
        ("owner", "i4"),  # row of the side
        ("role", "u1"),  # HOLD, ASIDE or ASSEMBLY
        ("older", "i4"), ("newer", "i4"),  # slots by age, -1 at the ends
        ("next", "i4"),  # assemblies of the same side
        ("bytes", "i4"),  # of an assembly
        ("marks", "u4"),  # anomalies of its fragments
        ("expected", "i4"),  # DNP3: transport sequence
        ("key", "i8"),  # DNP3: link source << 16 | link destination
    ]
)  # fmt: skip

PARK = record(
    [
        ("next", "i4"), ("bytes", "i4"), ("missing", "i4"), ("owner", "i4"),
        ("older", "i4"), ("newer", "i4"),  # slots by age, -1 at the ends
        ("seq", "i8"), ("frame", "i8"), ("ts_ns", "i8"),
    ]
)  # fmt: skip

AGES = record([("oldest", "i4"), ("newest", "i4")])  # ends of a list of slots by age

HISTORY = record(  # the last bytes of a direction, which end at its `next_seq`
    [
        ("owner", "i4"),  # row of the side + 1; directions that share a slot take it from each other
        ("bytes", "i4"),
        ("known", "u1"),  # of `starts`
        ("turn", "u1"),  # the oldest of them, once all are known
        ("starts", "u4", (STARTS,)),  # sequence numbers
    ]
)

READING = record(  # both readings of a direction, from a place where a message begins to its `next_seq`
    [
        ("owner", "i4"),  # row of the side, -1 when free
        ("bytes", "i4"),
        ("open", "u1"),  # the readings end differently: what follows must be read twice
        ("owed", "u1"),  # no PDU of the second reading was found yet
        ("start", "i8"),  # sequence number
    ]
)
