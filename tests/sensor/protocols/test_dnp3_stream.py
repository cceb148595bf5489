"""DNP3 through the whole decoder: segments become fragments on TCP and UDP, whatever was cut, broken or put between."""

from __future__ import annotations

import itertools

import pytest
from dnp3_wire import hexed, link_frame
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_link_frames_without_user_data_are_no_events_and_do_not_disturb_a_fragment():
    t = talk()
    one, two = segments(LONG)
    status = link_frame(control=0xC9)
    assert [row[1] for row in decoded(t.asks(status), t.asks(one), t.asks(status), t.asks(two))] == [LONG]


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
