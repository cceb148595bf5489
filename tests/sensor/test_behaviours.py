"""Behaviours: who asks what of whom, with which outcome; requests paired with answers, or kept without one."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire import MASTER, PLC, SECOND, Talk, coils, frames, read_coils, refusal, write_register

from sensor.decode.decoder import Decoder
from sensor.decode.pdu import ABSENT, Anomaly, Outcome
from sensor.decode.state import ANSWER_WITHIN_NS, PENDING


def run(*packets: bytes, **options: Any) -> Decoder:
    decoder = Decoder()
    for _ in decoder.decode([frames(packets, **options)]):
        pass
    return decoder


def outcomes(decoder: Decoder) -> list[tuple[Outcome, int, int, int]]:
    """(outcome, function, object, count) of each behaviour."""
    return [(Outcome(b.outcome), b.function, b.object, b.count) for b in decoder.view.behaviours.table]


def poll(talk: Talk, times: int, address: int = 40) -> list[bytes]:
    packets = []
    for n in range(times):
        packets += [talk.asks(read_coils(n, address)), talk.answers(coils(n))]
    return packets


def test_polling_is_two_behaviours_however_long_it_lasts():
    decoder = run(*poll(Talk(), 500))
    assert outcomes(decoder) == [(Outcome.ASKED, 1, 40, 500), (Outcome.ANSWERED, 1, 40, 500)]


def test_an_answer_inherits_the_objects_of_its_request():
    talk = Talk()
    decoder = run(talk.asks(read_coils(1, address=40, quantity=3)), talk.answers(refusal(1)))
    assert outcomes(decoder) == [(Outcome.ASKED, 1, 40, 1), (Outcome.REFUSED, 1, 40, 1)]
    refused = decoder.view.behaviours.table[1]
    assert (refused.quantity, refused.status, refused.asked) == (3, 2, 0)


def test_another_reason_for_refusing_is_another_behaviour():
    talk = Talk()
    packets = [
        talk.asks(read_coils(1)),
        talk.answers(refusal(1, code=2)),
        talk.asks(read_coils(2)),
        talk.answers(refusal(2, code=6)),
    ]
    assert [b.status for b in run(*packets).view.behaviours.table if b.outcome == Outcome.REFUSED] == [2, 6]


def test_the_asker_is_the_client_whichever_end_is_seen_first():
    talk = Talk()
    decoder = run(talk.answers(coils(1)), talk.asks(read_coils(2)))
    for b in decoder.view.behaviours.table:
        assert (decoder.view.host(b.client), decoder.view.host(b.server)) == (MASTER, PLC)


def test_values_do_not_make_behaviours_but_their_range_is_kept():
    talk = Talk()
    packets = []
    for n, value in enumerate((17, 65535, 3)):
        adu = write_register(n, 100, value)
        packets += [talk.asks(adu), talk.answers(adu)]
    table = run(*packets).view.behaviours.table
    assert [(b.count, b.value_min, b.value_max) for b in table] == [(3, 3, 65535), (3, 3, 65535)]


def test_times_between_events_give_period_and_jitter():
    talk = Talk()
    b = run(*poll(talk, 11), step_ns=SECOND).view.behaviours.table[0]
    assert (b.first_frame, b.last_frame, b.last_ns - b.first_ns) == (1, 21, 20 * SECOND)
    assert b.gap_sum / (b.count - 1) == 2 * SECOND
    assert b.gap_squares / (b.count - 1) == pytest.approx((2 * SECOND) ** 2)


def test_a_request_without_answer_becomes_unanswered_when_the_capture_went_on():
    talk = Talk()
    decoder = run(talk.asks(write_register(1, 5, 6)), *poll(talk, 5), step_ns=SECOND)
    (lost,) = [b for b in decoder.view.behaviours.table if b.outcome == Outcome.UNANSWERED]
    assert (lost.function, lost.object, lost.count, lost.first_frame, lost.asked) == (6, 5, 1, 1, 0)


def test_a_request_at_the_very_end_may_still_have_been_answered():
    talk = Talk()
    decoder = run(*poll(talk, 5), talk.asks(read_coils(9)), step_ns=SECOND)
    assert Outcome.UNANSWERED not in [b.outcome for b in decoder.view.behaviours.table]


def test_asking_again_with_the_same_transaction_leaves_the_first_unanswered():
    talk = Talk()
    decoder = run(talk.asks(read_coils(1, 10)), talk.asks(read_coils(1, 20)), talk.answers(coils(1)))
    found = outcomes(decoder)
    assert (Outcome.UNANSWERED, 1, 10, 1) in found
    assert (Outcome.ANSWERED, 1, 20, 1) in found
    assert [int(b.anomalies) for b in decoder.view.behaviours.table if b.outcome == Outcome.ASKED] == [
        0,
        Anomaly.REPEATED,
    ]


def test_an_answer_that_comes_after_the_limit_belongs_to_nobody():
    talk = Talk()
    decoder = run(talk.asks(read_coils(1)), talk.answers(coils(1)), step_ns=ANSWER_WITHIN_NS + 1)
    table = decoder.view.behaviours.table
    answered = next(b for b in table if b.outcome == Outcome.ANSWERED)
    assert answered.anomalies == Anomaly.ORPHAN
    assert answered.object == ABSENT
    assert Outcome.UNANSWERED in [b.outcome for b in table]


def test_an_answer_to_another_function_is_no_answer():
    talk = Talk()
    decoder = run(talk.asks(read_coils(1)), talk.answers(write_register(1, 2, 3)))
    assert Outcome.ANSWERED in [b.outcome for b in decoder.view.behaviours.table]
    assert all(b.asked == -1 for b in decoder.view.behaviours.table)


def test_the_same_transaction_in_another_connection_is_another_request():
    one, two = Talk(sport=50001), Talk(sport=50002)
    decoder = run(
        one.asks(read_coils(1, 10)), two.asks(read_coils(1, 20)), two.answers(coils(1)), one.answers(coils(1))
    )
    assert (Outcome.ANSWERED, 1, 10, 1) in outcomes(decoder)
    assert (Outcome.ANSWERED, 1, 20, 1) in outcomes(decoder)


def test_requests_that_wait_are_bounded_and_none_is_lost():
    asked = PENDING + PENDING // 2
    packets = [
        Talk(sport=1024 + n // 60000, client_seq=1000 + 12 * (n % 60000)).asks(read_coils(n % 60000, address=1))
        for n in range(asked)
    ]
    decoder = run(*packets, step_ns=1000)
    counters = decoder.counters()
    assert counters["waiting_retired"] > 0
    assert decoder.view.behaviours.table[0].count == asked
    assert counters["unanswered"] == counters["waiting_retired"]


def test_requests_that_count_in_the_upper_octet_wait_side_by_side():
    talk = Talk()
    decoder = run(*(talk.asks(read_coils(n << 8, address=1)) for n in range(200)), step_ns=1000)
    assert decoder.counters()["waiting_retired"] == 0


def test_describe_names_the_ends_and_the_request():
    talk = Talk()
    decoder = run(talk.asks(read_coils(1, address=40)), talk.answers(refusal(1)))
    refused = decoder.view.behaviours.describe(1)
    assert (refused["source.ip"], refused["destination.ip"], refused["destination.port"]) == (MASTER, PLC, 502)
    assert (refused["network.protocol"], refused["event.outcome"]) == ("modbus", "refused")
    assert (refused["modbus.function_code"], refused["modbus.address"], refused["modbus.exception_code"]) == (1, 40, 2)
