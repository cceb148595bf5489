"""Streams under attack: caps give up what is oldest and say so; no healthy stream starves, no table fills up."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from support.dnp3_wire import link_frame
from support.segments import Segment, Variants, decode, decode_with
from support.sessions import SESSIONS
from support.wire import Talk, frames, read_coils, write_register

from sensor.decode import recycle
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Anomaly
from sensor.decode.stream_tables import HISTORY_BYTES, HOLDS, PARKS

PORT = 502


def healthy(count: int) -> bytes:
    return b"".join(write_register(n, 7, n) for n in range(count))


def test_a_hundred_thousand_directions_that_hold_one_octet_do_not_starve_a_stream_that_finishes_its_messages():
    variants = Variants(PORT, [healthy(50)])
    good = variants.add([])
    for n in range(50):
        for _ in range(1000):
            variants.add([Segment(0, 0, 1)], syn=False)
        variants.go_on(good, [Segment(0, 12 * n, 12 * n + 5)])
        for _ in range(1000):
            variants.add([Segment(0, 0, 1)], syn=False)
        variants.go_on(good, [Segment(0, 12 * n + 5, 12 * n + 12)])
    got = decode(variants)
    assert got.variant.tolist() == [good] * 50
    assert got.anomalies.tolist() == [Anomaly.SPLIT] * 50
    assert got.counters["holds_refused"] >= 100_000 - HOLDS


def test_a_direction_whose_beginning_was_given_up_says_so_on_its_next_pdu():
    variants = Variants(PORT, [healthy(3)])
    unlucky = variants.add([Segment(0, 0, 5)])
    for _ in range(HOLDS):
        variants.add([Segment(0, 0, 1)], syn=False)
    variants.go_on(unlucky, [Segment(0, 12, 24)])
    got = decode(variants)
    assert [bool(bits & Anomaly.LIMIT and bits & Anomaly.GAP) for bits in got.anomalies] == [True]


def test_gaps_without_end_do_not_starve_a_stream_whose_gaps_are_filled():
    variants = Variants(PORT, [healthy(40)])
    good = variants.add([])
    crowd = 600
    others = [variants.add([Segment(0, 0, 12)]) for _ in range(crowd)]
    for n in range(10):
        late = 12 * 4 * n
        variants.go_on(good, [Segment(0, late + 12, late + 48)])
        for turn in range(30):  # every one of the crowd leaves gap after gap
            for other in others[(turn % 20) * 30 : (turn % 20 + 1) * 30]:
                at = 100 + 24 * (30 * n + turn)
                variants.go_on(other, [Segment(0, 0, 12, seq=at)])
        variants.go_on(good, [Segment(0, late, late + 12)])
    decoder = Decoder(seed=7)
    got = decode_with(decoder, variants)
    mine = got.variant == good
    assert mine.sum() == 40
    assert (got.content[mine][:, 7] == np.arange(40)).all()
    assert not (got.anomalies[mine] & (Anomaly.GAP | Anomaly.LIMIT)).any()
    assert got.counters["parks_refused"] > 0
    assert (got.anomalies[~mine] & Anomaly.LIMIT).any()
    state = decoder.view.state
    assert int(state.used[0].free_parks) == PARKS
    assert len(set(state.park_stack.tolist())) == PARKS


def test_parked_segments_of_one_direction_are_bounded_whatever_their_number():
    variants = Variants(PORT, [healthy(1)])
    variants.add([Segment(0, 0, 12, seq=24 * (n + 1)) for n in range(200_000)])
    got = decode(variants)
    assert len(got.variant) == 200_000
    assert got.counters["gaps"] >= 200_000 // 2
    assert got.counters["parks_refused"] == 0  # PARKS_EACH comes first


def test_what_is_sent_again_long_after_is_counted_and_marked_where_it_can_no_longer_be_compared():
    count = HISTORY_BYTES // 12 * 2
    variants = Variants(PORT, [healthy(count)])
    variants.add([Segment(0, 12 * n, 12 * n + 12) for n in range(count - 1)])
    variants.go_on(0, [Segment(0, 0, 12), Segment(0, 12 * count - 12, 12 * count)])
    got = decode(variants)
    assert len(got.variant) == count
    assert got.counters["overlaps_unchecked"] == 1
    assert np.flatnonzero(got.anomalies & Anomaly.LIMIT).tolist() == [count - 1]


def test_many_contradictions_end_older_second_readings_and_nothing_else():
    one, two = healthy(2), bytes(255 - octet if i % 12 > 7 else octet for i, octet in enumerate(healthy(2)))
    variants = Variants(PORT, [one, two])
    for _ in range(2000):
        variants.add([Segment(0, 0, 12), Segment(1, 0, 20), Segment(0, 20, 24)])
    got = decode(variants)
    assert got.counters["overlaps"] == 2000
    overlapping = (got.anomalies & Anomaly.OVERLAP) != 0
    assert (np.bincount(got.variant[overlapping], minlength=2000) >= 1).all()
    assert (np.bincount(got.variant[~overlapping], minlength=2000) == 2).all()


@pytest.mark.parametrize("protocol", SESSIONS)
def test_after_garbage_the_messages_that_follow_are_found_again_wherever_it_was_put(protocol):
    session, rng = SESSIONS[protocol](), random.Random(5)
    pdus = session.asked * 3
    streams, sizes = [], []
    for _ in range(1000):
        place = rng.randrange(1, 6)
        garbage = rng.randbytes(rng.randint(1, 40))
        streams.append(b"".join(pdus[:place]) + garbage + b"".join(pdus[place:]))
        sizes.append(len(pdus) - place)
    variants = Variants(session.port, streams)
    for i, stream in enumerate(streams):
        edges = [0, *sorted(rng.sample(range(1, len(stream)), rng.randint(0, 4))), len(stream)]
        variants.add([Segment(i, a, b) for a, b in itertools.pairwise(edges)])
    got = decode(variants)
    whole = np.bincount(got.variant, minlength=len(streams))
    gaps = np.bincount(got.variant[(got.anomalies & (Anomaly.GAP | Anomaly.SEQUENCE | Anomaly.CHECKSUM)) != 0],
                       minlength=len(streams))  # fmt: skip
    assert (gaps > 0).all(), "nothing says that something was lost"
    assert (whole >= len(pdus) - 1).mean() > 0.99  # garbage may itself look like a header and take a message with it
    assert whole.min() >= len(pdus) - 4


def test_garbage_within_a_segment_hides_no_command_behind_it():
    talk = Talk()
    behind = b"\xff\xfe\xfd" + write_register(2, 7, 9)
    (events,) = Decoder().decode([frames([talk.asks(read_coils(1)), talk.asks(behind), talk.asks(read_coils(3))])])
    assert events.columns.transaction.tolist() == [1, 2, 3]
    assert [bool(bits & Anomaly.GAP) for bits in events.columns.anomalies] == [False, True, False]


def test_fragments_of_several_outstations_on_one_connection_are_put_together_each_by_itself():
    def part(bits: int, sequence: int, octets: bytes, outstation: int) -> bytes:
        return link_frame(bytes([bits | sequence]) + octets, source=outstation, destination=1, control=0x44)

    answer = bytes.fromhex("C3 81 0000 1E02 00 0001 010100 010300")
    stations = range(10, 16)
    stream = b"".join(part(0x40, 5, answer[:6], n) for n in stations) + b"".join(
        part(0x80, 6, answer[6:], n) for n in stations
    )
    talk = Talk(dport=20000)
    (events,) = Decoder().decode([frames([talk.answers(stream)])])
    assert [events.pdu(row) for row in range(events.size)] == [answer] * 6
    assert not (events.columns.anomalies & Anomaly.SEQUENCE).any()


def test_rows_of_silent_conversations_without_behaviours_are_used_again():
    decoder = Decoder(seed=7)
    view = decoder.view
    (first,) = decoder.decode([frames([Talk(sport=40_000).asks(read_coils(1))])])
    kept = int(first.columns.conversation[0])
    scans = [frame for port in range(41_000, 41_500) for frame in Talk(sport=port).handshake()]
    list(decoder.decode([frames(scans, first=2)]))
    assert len(view.conversations) == 501
    now_ns = int(view.state.used[0].last_ns)
    assert recycle.recycle(decoder._state, now_ns) == 0  # too young
    assert recycle.recycle(decoder._state, now_ns + recycle.EMPTY_AFTER_NS + 10**9) == 500
    view.forget_conversations()
    again = [Talk(sport=port, src="10.9.9.9").asks(read_coils(3)) for port in range(30_000, 30_500)]
    old = Talk(sport=40_000, client_seq=1012).asks(read_coils(2))
    events = list(decoder.decode([frames([*again, old], first=9000)]))
    assert len(view.conversations) == 501
    rows = np.concatenate([batch.columns.conversation for batch in events])
    assert len(set(rows.tolist())) == 501
    assert rows[-1] == kept
    assert view.conversation(kept).port_a == 40_000
    assert {view.conversation(int(row)).ip_a for row in rows[:-1]} == {"10.9.9.9"}
    assert len(set(view.conversations["number"].tolist())) == 501


def test_a_table_that_fills_up_is_recycled_while_frames_go_on(monkeypatch):
    monkeypatch.setattr(
        recycle, "due", lambda used, rows: int(used["conversations"][0]) - int(used["free_count"][0]) >= 100
    )
    decoder = Decoder(seed=7)
    for n in range(10):
        scans = [frame for port in range(100) for frame in Talk(sport=30_000 + 100 * n + port).handshake()]
        list(decoder.decode([frames(scans, first=1 + n * 100_000)]))  # 100 seconds apart
    assert len(decoder.view.conversations) <= 200
    assert decoder.view.recycled >= 8
    assert decoder.counters()["conversations_refused"] == 0
