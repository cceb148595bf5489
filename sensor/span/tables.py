"""What a survey counts: records and tables, each bounded by a named cap.

Memory is reserved at once and given by the operating system page by page, as in sensor/decode/state.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensor.decode.state import PACKET
from sensor.records import record, untouched

# Caps, each with its reason. What does not fit is counted in SURVEY.refused or left out as the comment says.
MAX_CONVERSATIONS = 1 << 17  # industrial links have tens; a scan or a flood makes thousands a second
HELD = 6  # separate runs of TCP data kept beyond a gap, of one direction; with more the gap is given up
RECENT = 1 << 16  # frames remembered to know a copy: more than a full Gbit/s link of small frames sends in 20 ms
EXAMPLES = 8  # pairs of frames kept for each kind of copy
RECENT_PAUSES = 16  # silent spans that a conversation may still have to come back from
SILENCES = 16  # kept with what is known about them; later ones are counted only
SIZES = 1 << 18  # frame lengths counted apart: MAX_FRAME_BYTES of the capture reader
VLANS = 4097  # 12 bits, and one place for frames without tag
PORTS = 1 << 16

SIDE = record(  # what one end of a conversation sent
    [
        ("frames", "i8"),
        ("first_frame", "i8"), ("last_frame", "i8"),
        ("segments", "i8"),  # TCP segments with data, not counting what was sent before
        ("payload", "i8"),  # bytes in them
        ("copies", "i8", (3,)),  # of them: frames that came a second time, by kind of the first copy (doubles.py)
        ("repeats", "i8"),  # of them: copies
        # TCP sequence numbers (gaps.py)
        ("known", "u1"),  # `next` is known
        ("acked", "u1"),  # the other end has acknowledged data: `acknowledged` is known
        ("next", "i8"),  # everything before this sequence number was seen or given up
        ("acknowledged", "i8"),  # highest acknowledgement by the other end
        ("reached", "i8"),  # highest sequence number that a segment of this end began with
        ("held", "i8"),  # runs in use
        ("held_from", "i8", (HELD,)), ("held_to", "i8", (HELD,)),  # runs beyond the gap, ascending
        ("patience", "i8"),  # frames of the conversation that may follow before the gap is given up
        ("open_frame", "i8"),  # the frame that showed it
        ("lost", "i8"), ("gaps", "i8"), ("lost_frame", "i8"),  # bytes, gaps, the frame that showed the first one
        ("late", "i8"),  # segments that came after their acknowledgement: out of order, not lost
        # this end as its peer's acknowledgements betray it (one_way.py)
        ("advances", "i8"),  # times the other end acknowledged more than before
        ("steps", "i8"), ("steps_frame", "i8"),  # of them: for data not seen, since this end was last seen; the first
        ("mute", "i8"), ("mute_lost", "i8"), ("mute_frame", "i8"),  # long runs of such steps: steps, bytes, first frame
        ("mss", "i4"),  # largest segment that this end accepts, from its SYN; 0 unknown
    ]
)  # fmt: skip

CONVERSATION = record(
    [
        ("hash", "u8"),
        ("a_hi", "u8"), ("a_lo", "u8"), ("b_hi", "u8"), ("b_lo", "u8"),  # a: who was seen first
        ("a_port", "i4"), ("b_port", "i4"),  # without IP: the EtherType in both
        ("vlan", "i4"),  # innermost VLAN identifier, -1 when untagged
        ("family", "u1"),  # 4, 6, or 48 for MAC addresses
        ("transport", "u1"),  # 6, 17, other IP protocol, 0 without IP
        ("group", "u1"),  # to a group or broadcast address: nobody answers from there
        ("closed", "u1"),  # FIN or RST seen
        ("frames", "i8"),
        ("first_ns", "i8"), ("last_ns", "i8"),
        ("longest_ns", "i8"),  # longest pause so far, not counting silences
    ]
)  # fmt: skip

COPY = record(
    [
        ("key", "u8"),
        ("outer", "u8"),  # hash of the link addresses
        ("ts_ns", "i8"),
        ("frame", "i8"),
        ("vlan", "i4"),
        ("ttl", "u1"),
        ("copied", "u1"),  # a copy was seen
    ]
)

PAUSE = record(  # a span in which no frame at all was seen
    [
        ("begin_ns", "i8"), ("end_ns", "i8"),
        ("frame", "i8"),  # the first after it
        ("silence", "i8"),  # 1 + its row in `silences`, 0 while nothing speaks for one
    ]
)  # fmt: skip

SILENCE = record(  # a pause that conversations came back from although they never rested so long
    [
        ("begin_ns", "i8"), ("end_ns", "i8"),
        ("frame", "i8"),
        ("interrupted", "i8"),  # conversations
        ("progressed", "i8"),  # of them: TCP connections that had gone on meanwhile
        ("unseen", "i8"),  # bytes by which they had
    ]
)  # fmt: skip

COUNTS = record(
    [
        (name, "i8")
        for name in (
            "frames",
            "bytes",  # bytes on the wire
            "first_ns",
            "last_ns",
            "earliest_ns",
            "latest_ns",
            "not_ip",
            "fragments",
            "tcp_fragments",
            "malformed",
            "conversations",
            "mask",
            "refused",  # frames of conversations beyond MAX_CONVERSATIONS
            "cut",
            "cut_frame",
            "broadcast",
            "multicast",
            "unicast",
            "by_design",  # to groups, as the protocol wants it (reach.py)
            "largest",  # frame, in bytes on the wire
            "oversize",
            "oversize_frame",
            "oversize_bytes",
            "backward",
            "backward_frame",
            "backward_ns",
            "disorder",
            "disorder_frame",
            "moments",  # runs of frames with one and the same time
            "before_2000",
            "before_2000_frame",
            "units",  # bits: all times so far are multiples of UNITS[bit]
            "pauses",
            "silences",
            "bin_ns",
            "bin_bytes",
            "peak_bytes",  # busiest span of PEAK_NS
        )
    ]
)

SURVEY = record(
    [
        ("counts", COUNTS, (1,)),
        ("seed", "u8"),
        ("packet", PACKET, (1,)),
        ("conversations", CONVERSATION, (MAX_CONVERSATIONS,)),
        ("sides", SIDE, (2 * MAX_CONVERSATIONS,)),  # 2 * c is what endpoint a sends, 2 * c + 1 what b does
        ("slots", "i4", (2 * MAX_CONVERSATIONS,)),
        ("recent", COPY, (RECENT,)),
        ("copied", "i8", (3,)),  # frames that are copies, by kind
        ("examples", "i8", (3, EXAMPLES, 2)),  # (original, copy) frame numbers
        ("delays_ns", "i8", (3,)),  # the longest
        ("pauses", PAUSE, (RECENT_PAUSES,)),
        ("silences", SILENCE, (SILENCES,)),
        ("cut_lengths", "i8", (SIZES + 1,)),  # frames cut to so many bytes
        ("vlans", "i8", (VLANS,)),
        ("outer_vlans", "i8", (VLANS,)),  # of frames with two tags or more: the outermost
        ("tunnels", "i8", (256,)),  # frames by Tunnel (sensor/decode/packet.py)
        ("ports", "u1", (PORTS,)),  # which industrial protocol a port is registered for, 0 none
        ("industrial", "i8", (256,)),  # frames of each
    ]
)


def new_survey(seed: int) -> npt.NDArray[np.void]:
    """(1,) SURVEY, empty."""
    state = untouched(1, SURVEY)
    state[0].seed = seed
    state[0].counts[0].mask = (1 << 10) - 1
    return state
