"""TCP streams: the same bytes give the same events, however they were cut, ordered or repeated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire import ACK, SYN, Talk, coils, frames, read_coils, refusal, tcp, write_register

from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Anomaly, Kind, Outcome
from sensor.decode.stream_tables import PARKS_EACH
from sensor.events import EventBatch


def decoded(*packets, **options) -> tuple[list[tuple[int, int, int, int]], Decoder]:
    """((frame, transaction, kind, anomalies) of each event, the decoder)."""
    decoder = Decoder(seed=7)
    rows = []
    for batch in decoder.decode([frames(packets, **options)]):
        c = batch.columns
        rows += zip(c.frame.tolist(), c.transaction.tolist(), c.kind.tolist(), c.anomalies.tolist(), strict=True)
    return rows, decoder


def transactions(*packets, **options) -> list[int]:
    return [row[1] for row in decoded(*packets, **options)[0]]


def test_a_request_and_its_answer_are_two_events_in_their_frames():
    talk = Talk()
    rows, _ = decoded(*talk.handshake(), talk.asks(read_coils(7)), talk.answers(coils(7)))
    assert rows == [(4, 7, Kind.REQUEST, 0), (5, 7, Kind.RESPONSE, 0)]


def test_two_adus_in_one_segment_give_two_events_in_one_frame():
    talk = Talk()
    rows, _ = decoded(talk.asks(read_coils(1) + read_coils(2)))
    assert [(frame, transaction) for frame, transaction, _, _ in rows] == [(1, 1), (1, 2)]


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_adu_split_anywhere_is_one_event_on_the_frame_that_completes_it(cut):
    talk, adu = Talk(), read_coils(5)
    rows, _ = decoded(talk.asks(adu[:cut]), talk.asks(adu[cut:]))
    assert rows == [(2, 5, Kind.REQUEST, Anomaly.SPLIT)]


def test_an_adu_in_single_octets_is_one_event():
    talk, adu = Talk(), read_coils(5)
    rows, _ = decoded(*(talk.asks(adu[i : i + 1]) for i in range(len(adu))))
    assert rows == [(12, 5, Kind.REQUEST, Anomaly.SPLIT)]


@given(
    cuts=st.sets(st.integers(1, 59), max_size=PARKS_EACH - 2),
    order=st.randoms(use_true_random=False),
    doubled=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_segmentation_order_and_repetition_of_five_requests_gives_the_same_five(cuts, order, doubled):
    stream = b"".join(read_coils(n, address=n) for n in range(1, 6))
    edges = [0, *sorted(cuts), len(stream)]
    talk = Talk()
    hello = talk.handshake()
    segments = [tcp(stream[a:b], seq=talk.client_seq + a) for a, b in itertools.pairwise(edges)]
    if doubled:
        segments += segments
    order.shuffle(segments)
    found = transactions(*hello, *segments)
    assert sorted(found) == [1, 2, 3, 4, 5]


def test_a_retransmission_gives_no_second_event():
    talk = Talk()
    first = talk.asks(read_coils(1))
    assert transactions(first, first, talk.asks(read_coils(2))) == [1, 2]


def test_every_frame_doubled_by_the_mirror_gives_each_pdu_once():
    talk = Talk()
    packets = [*talk.handshake(), talk.asks(read_coils(1)), talk.answers(coils(1)), talk.asks(read_coils(2))]
    assert transactions(*(packet for packet in packets for _ in range(2))) == [1, 1, 2]


def test_a_retransmission_with_new_octets_at_its_end_gives_the_new_ones():
    talk = Talk()
    packets = [talk.asks(read_coils(1)), tcp(read_coils(1) + read_coils(2), seq=1000)]
    assert transactions(*packets) == [1, 2]


def test_a_segment_before_its_predecessor_waits_for_it():
    talk = Talk()
    one, two, three = (talk.asks(read_coils(n)) for n in (1, 2, 3))
    rows, decoder = decoded(*Talk(client_seq=999).handshake(), one, three, two)
    assert [(frame, transaction) for frame, transaction, _, _ in rows] == [(4, 1), (6, 2), (5, 3)]
    assert decoder.counters()["gaps"] == 0


def test_sequence_numbers_may_wrap_within_a_pdu():
    talk = Talk(client_seq=2**32 - 5)
    assert transactions(talk.asks(read_coils(1)), talk.asks(read_coils(2)), talk.asks(read_coils(3))) == [1, 2, 3]


def test_a_lost_segment_is_given_up_at_the_end_and_marked_on_the_next_pdu():
    talk = Talk()
    one = talk.asks(read_coils(1))
    talk.asks(read_coils(2))  # never captured
    rows, decoder = decoded(one, talk.asks(read_coils(3)))
    assert [(transaction, anomalies) for _, transaction, _, anomalies in rows] == [(1, 0), (3, Anomaly.GAP)]
    assert decoder.counters()["gap_bytes"] == len(read_coils(2))


def test_a_gap_that_the_receiver_acknowledged_is_given_up_while_traffic_goes_on():
    talk = Talk()
    one = talk.asks(read_coils(1))
    talk.asks(read_coils(2))  # never captured
    later = []
    for n in range(3, 12):
        later += [talk.asks(read_coils(n)), talk.answers(coils(n))]
    decoder = Decoder()
    run = decoder.decode([frames([one, *later])])
    live = next(run).columns.transaction.tolist()  # before the capture ends
    assert live[0] == 1
    assert {3, 4, 5, 6, 7, 8, 9} <= set(live)


def test_a_direction_parks_a_bounded_number_of_segments():
    talk = Talk()
    one = talk.asks(read_coils(1))
    talk.asks(b"\0")  # never captured
    flood = [talk.asks(read_coils(n)) for n in range(2, 2 + 5 * PARKS_EACH)]
    rows, decoder = decoded(one, *flood)
    assert len(rows) == 1 + len(flood)
    assert decoder.counters()["parks_refused"] == 0


def test_capture_may_begin_in_the_middle_of_a_connection():
    talk = Talk()
    rows, _ = decoded(talk.answers(coils(1)), talk.asks(read_coils(2)), talk.answers(coils(2)))
    assert rows[0][1:] == (1, Kind.RESPONSE, Anomaly.ORPHAN)
    assert [row[1] for row in rows[1:]] == [2, 2]


def test_one_direction_alone_is_decoded():
    talk = Talk()
    assert transactions(*(talk.answers(coils(n)) for n in range(4))) == [0, 1, 2, 3]


def test_a_new_connection_between_the_same_ports_begins_afresh():
    old, new = Talk(), Talk(client_seq=5_000_000, server_seq=7_000_000)
    packets = [*old.handshake(), old.asks(read_coils(1)[:5]), *new.handshake(), new.asks(read_coils(2))]
    rows, _ = decoded(*packets)
    assert [(transaction, anomalies) for _, transaction, _, anomalies in rows] == [(2, 0)]


def test_a_far_jump_without_a_syn_is_another_connection():
    old, new = Talk(), Talk(client_seq=900_000_000)
    rows, _ = decoded(old.asks(read_coils(1)), new.asks(read_coils(2)))
    assert [(transaction, anomalies) for _, transaction, _, anomalies in rows] == [(1, 0), (2, Anomaly.GAP)]


def test_a_forged_reset_or_fin_does_not_blind_the_stream():
    talk = Talk()
    forged = [tcp(seq=talk.client_seq, flags=flag) for flag in (0x04, 0x01, 0x14, 0x11)]
    assert transactions(talk.asks(read_coils(1)), *forged, talk.asks(read_coils(2))) == [1, 2]


def test_data_in_a_syn_is_read():
    assert transactions(tcp(read_coils(3), seq=10, flags=SYN), tcp(read_coils(4), seq=11 + 12, flags=ACK)) == [3, 4]


def test_a_keep_alive_repeats_an_old_octet_and_changes_nothing():
    talk = Talk()
    one = talk.asks(read_coils(1))
    keep_alive = tcp(b"\0", seq=talk.client_seq - 1)
    assert transactions(one, keep_alive, talk.asks(read_coils(2))) == [1, 2]


def test_after_garbage_the_next_segment_is_tried_afresh():
    talk = Talk()
    rows, decoder = decoded(talk.asks(b"GET / HTTP/1.1\r\n\r\n"), talk.asks(read_coils(9)))
    assert [(transaction, anomalies) for _, transaction, _, anomalies in rows] == [(9, Anomaly.GAP)]
    c = decoder.view.conversations[0]
    assert (c.messages, c.garbage, c.garbage_frame) == (1, 1, 1)


def test_octets_that_the_capture_cut_off_count_as_lost_and_the_stream_goes_on():
    talk = Talk()
    packets = [talk.asks(read_coils(1)), talk.asks(read_coils(2)), talk.asks(read_coils(3))]
    rows, decoder = decoded(*packets, cut={1: len(packets[1]) - 4})
    assert [row[1] for row in rows] == [1, 3]
    assert decoder.counters()["cut_frames"] == 1
    assert decoder.counters()["gap_bytes"] == 4


def test_the_bytes_of_every_pdu_can_be_fetched_from_its_batch():
    talk = Talk()
    adus = [read_coils(n, address=n) for n in range(6)]
    stream = b"".join(adus)
    packets = [talk.asks(stream[a:b]) for a, b in itertools.pairwise((0, 12, 17, 40, 41, 60, 72))]
    batches: list[EventBatch] = list(Decoder().decode([frames(packets)]))
    assert [batch.pdu(row) for batch in batches for row in range(batch.size)] == adus


def test_batches_of_frames_are_one_stream():
    talk, adu = Talk(), read_coils(5)
    parts = [frames([talk.asks(adu[i : i + 3])], first=1 + i // 3) for i in range(0, 12, 3)]
    events = [(int(b.columns.frame[0]), b.first) for b in Decoder().decode(parts) if b.size]
    assert events == [(4, 0)]


def test_requests_and_answers_are_paired_over_pipelining():
    talk = Talk()
    decoder = Decoder()
    packets = [talk.asks(read_coils(1) + read_coils(2) + write_register(3, 4, 5)), talk.answers(coils(2) + refusal(1))]
    (batch,) = decoder.decode([frames(packets)])
    c = batch.columns
    assert c.request.tolist() == [-1, -1, -1, 1, 0]
    assert c.outcome.tolist() == [Outcome.ASKED] * 3 + [Outcome.ANSWERED, Outcome.REFUSED]
    assert c.latency_ns.tolist()[3:] == [1_000_000, 1_000_000]
    assert np.all(c.request_frame[3:] == 1)
