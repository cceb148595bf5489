"""DNP3 through the whole decoder: segments become fragments on TCP and UDP, whatever was cut, broken or put between."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dnp3_wire import hexed, link_frame
from support.wire import Talk, frames, udp

from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Anomaly

FIN, FIR = 0x80, 0x40
READ = hexed("C8 01 3C0206 3C0306 3C0406 3C0106")
LONG = hexed("C8 81 0000 1E02 01 0000 7700") + bytes([1, 0, 0] * 120)  # 120 analog inputs: two segments

Row = tuple[int, bytes, Anomaly]


def decoded(*packets: bytes) -> list[Row]:
    """(frame, fragment, anomalies) of each event; whether a request was seen is of no matter here."""
    decoder = Decoder(seed=7)
    rows = []
    for batch in decoder.decode([frames(packets)]):
        for row in range(batch.size):
            bits = Anomaly(int(batch.columns.anomalies[row])) & ~(Anomaly.ORPHAN | Anomaly.REPEATED)
            rows.append((int(batch.columns.frame[row]), batch.pdu(row), bits))
    return rows


def segments(fragment: bytes, first: int = 0, size: int = 249, **link: int) -> list[bytes]:
    """The link frames that carry a fragment."""
    parts = [fragment[i : i + size] for i in range(0, len(fragment), size)]
    return [
        link_frame(
            bytes([(FIR if i == 0 else 0) | (FIN if i == len(parts) - 1 else 0) | (first + i) & 63]) + part, **link
        )
        for i, part in enumerate(parts)
    ]


def talk() -> Talk:
    return Talk(dport=20000)


def test_a_request_and_a_fragment_of_several_segments_stand_on_the_frames_that_complete_them():
    t = talk()
    one, two = segments(LONG, first=63, source=1024, destination=1)
    rows = decoded(t.asks(segments(READ)[0]), t.answers(one), t.answers(two))
    assert rows == [(1, READ, Anomaly(0)), (3, LONG, Anomaly.SPLIT)]


@given(cuts=st.sets(st.integers(1, 430), max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_cut_of_the_stream_gives_the_same_fragments(cuts):
    stream = b"".join((*segments(READ), *segments(LONG, first=1), *segments(READ, first=9)))
    t, edges = talk(), [0, *sorted(cuts), len(stream)]
    rows = decoded(*(t.asks(stream[a:b]) for a, b in itertools.pairwise(edges)))
    assert [fragment for _, fragment, _ in rows] == [READ, LONG, READ]
    assert rows[-1][0] == len(edges) - 1


def test_on_udp_segments_of_one_fragment_come_in_several_datagrams():
    one, two = segments(LONG)
    assert decoded(udp(one), udp(two)) == [(2, LONG, Anomaly.SPLIT)]
    assert [row[1] for row in decoded(udp(segments(READ)[0] + segments(READ, first=1)[0]))] == [READ, READ]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_segments_become_fragments_as_the_transport_function_says(sequence):
    """Every order of FIR, FIN and sequence number, against the receiving station's rules written down once more."""
    expected, collected, last = [], b"", None
    t, packets = talk(), []
    for number, (fir, fin, seq) in enumerate(sequence):
        part = bytes([0xC0, 0x17, number])  # delay measurement, and an octet that tells the segments apart
        packets.append(t.asks(link_frame(bytes([FIR * fir | FIN * fin | seq]) + part)))
        if fir:
            collected = part
        elif last is not None and seq == (last + 1) % 64:
            collected += part
        else:
            last = None
            continue
        last = None if fin else seq
        if fin:
            expected.append((number + 1, collected))
    assert [(frame, fragment) for frame, fragment, _ in decoded(*packets)] == expected


@pytest.mark.parametrize("at", [4, 9, 12, 25])
def test_a_wrong_crc_marks_the_fragment_and_hides_nothing(at):
    (good,) = segments(READ)
    bad = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
    t = talk()
    (first, second) = decoded(t.asks(bad), t.asks(segments(READ, first=1)[0]))
    assert Anomaly.CHECKSUM in first[2]
    assert len(first[1]) == len(READ)
    assert second[1:] == (READ, Anomaly(0))


@given(garbage=st.binary(min_size=1, max_size=300).filter(lambda octets: octets[0] != 5))
@settings(max_examples=60, deadline=None)
def test_after_garbage_the_next_fragment_is_read(garbage):
    t = talk()
    rows = decoded(t.asks(segments(READ)[0]), t.asks(garbage), t.asks(segments(READ, first=1)[0]))
    assert [fragment for _, fragment, _ in rows][-1] == READ
    assert rows[0][1] == READ


def test_a_frame_under_a_broken_header_is_found():
    t = talk()
    cover = b"\x05\x64\xff\xc4\x00\x04\x01\x00\x00\x00"
    rows = decoded(t.asks(cover + segments(READ)[0] + bytes(300)))
    assert [fragment for _, fragment, _ in rows] == [READ]


def test_link_frames_without_user_data_do_not_disturb_a_fragment():
    t = talk()
    one, two = segments(LONG)
    status = link_frame(control=0xC9)
    assert [row[1] for row in decoded(t.asks(status), t.asks(one), t.asks(status), t.asks(two))] == [
        status,
        status,
        LONG,
    ]


def test_a_wrong_crc_in_an_early_segment_marks_the_fragment_that_comes_of_it():
    one, two = segments(LONG)
    t = talk()
    broken = one[:-1] + bytes([one[-1] ^ 0xFF])
    assert [row[2] for row in decoded(t.asks(broken), t.asks(two))] == [Anomaly.CHECKSUM | Anomaly.SPLIT]


def test_a_lost_segment_marks_the_next_fragment_and_only_that():
    one, _, last = segments(LONG, size=150)
    t = talk()
    rows = decoded(t.asks(one), t.asks(last), t.asks(segments(READ)[0]), t.asks(segments(READ, first=1)[0]))
    assert [row[1:] for row in rows] == [(READ, Anomaly.SEQUENCE), (READ, Anomaly(0))]


RESET, TEST, STATUS = 0xC0, 0xD2, 0xC9  # of a master: PRM, and FCV where the function has it
ACK, NACK, STATUS_ANSWER, NOT_SUPPORTED = 0x00, 0x01, 0x0B, 0x0F  # of an outstation


def lines(*packets: bytes) -> list[dict[str, Any]]:
    decoder = Decoder(seed=7)
    batches = decoder.decode([frames(packets)])
    return [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]


def answer(control: int, source: int = 1024) -> bytes:
    return link_frame(source=source, destination=1, control=control)


def test_link_frames_without_user_data_are_events_matched_with_their_answers():
    t = talk()
    told = lines(
        t.asks(link_frame(control=RESET)), t.answers(answer(ACK)),
        t.asks(link_frame(control=STATUS)), t.answers(answer(STATUS_ANSWER)),
        t.asks(link_frame(control=TEST)), t.answers(answer(NACK)),
        t.asks(link_frame(control=STATUS)), t.answers(answer(NOT_SUPPORTED)),
    )  # fmt: skip
    assert [line["dnp3.link.function"] for line in told] == [
        "reset_link_states", "ack", "request_link_status", "link_status", "test_link_states", "nack",
        "request_link_status", "not_supported",
    ]  # fmt: skip
    assert [line["event.outcome"] for line in told] == [
        "asked", "answered", "asked", "answered", "asked", "refused", "asked", "refused",
    ]  # fmt: skip
    assert [line["dnp3.link.source"] for line in told[:2]] == [1, 1024]
    assert not any("anomalies" in line or "dnp3.function_code" in line for line in told)


def test_an_acknowledgement_of_confirmed_user_data_is_no_orphan():
    t = talk()
    asked = link_frame(b"\xc0" + READ, control=0xF3)
    told = lines(t.asks(asked), t.answers(answer(ACK)))
    assert [line.get("dnp3.function", line.get("dnp3.link.function")) for line in told] == ["read", "ack"]
    assert "anomalies" not in told[1]


def test_a_storm_of_link_resets_is_one_behaviour_that_counts_them():
    t, decoder = talk(), Decoder(seed=7)
    for _ in decoder.decode([frames([t.asks(link_frame(control=RESET)) for _ in range(50)])]):
        pass
    (asked,) = [b for b in decoder.view.behaviours.table if b.outcome == 0]
    assert (asked["count"], asked["function"]) == (50, 0x100)


def test_a_link_frame_between_the_segments_of_a_fragment_disturbs_nothing():
    t = talk()
    one, two = segments(LONG, source=1024, destination=1)
    told = lines(t.asks(segments(READ)[0]), t.answers(one), t.answers(answer(STATUS_ANSWER)), t.answers(two))
    assert [line.get("dnp3.function_code") for line in told] == [1, None, 129]
    assert told[2]["event.outcome"] == "answered"


@pytest.mark.parametrize(
    ("control", "fault"), [(0xC3, "illegal"), (0xC5, "unknown_function"), (0x05, "unknown_function")]
)
def test_link_frames_that_the_standard_does_not_know_say_so(control, fault):
    (line,) = lines(talk().asks(link_frame(control=control)))
    assert fault in line["anomalies"]


def test_a_broken_header_is_said_of_its_own_frame_only():
    t = talk()
    broken = bytearray(link_frame(control=STATUS))
    broken[-1] ^= 1
    told = lines(t.asks(bytes(broken)), t.asks(link_frame(control=RESET)))
    assert [line.get("anomalies") for line in told] == [["checksum"], ["repeated"]]


def test_who_was_asked_by_the_self_address_answers_by_its_own():
    t = talk()
    asked = segments(READ, destination=0xFFFC)[0]
    told = lines(t.asks(asked), t.answers(segments(hexed("C8 81 0000"), source=1024, destination=1)[0]))
    assert [line["event.outcome"] for line in told] == ["asked", "answered"]
    assert (told[0]["dnp3.link.destination"], told[1]["dnp3.link.source"]) == (0xFFFC, 1024)
    assert told[1]["request.frame"] == 1
