"""Rhythm: a silent device, a silent talker and a blind sensor are three findings; ordinary traffic gives none."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from support.findings import BEGINS_NS, Plant
from support.wire import SECOND

from detectors.baseline.book import Baseline, State
from detectors.baseline.learner import Learner
from detectors.baseline.review import decide
from detectors.finding import Finding, Severity
from detectors.pipeline import Options, Pipeline, merge
from detectors.rhythm import Rhythm
from pcaps.messages import modbus
from sensor.capture.frames import FrameBatch

HMI, OTHER, PLC, RTU = "10.1.0.5", "10.1.0.6", "10.1.0.20", "10.1.0.40"
CUT = (300, 600)  # seconds
Drop = Callable[[str, str, bool], bool]


def polling(
    drop: Drop = lambda *_: False,
    seconds: int = 900,
    talks: Sequence[tuple[str, str, int]] = (),
    cuts: Sequence[tuple[int, int]] = (CUT,),
) -> Plant:
    """Polls every few seconds; drop(client, server, is answer) says what is missing during the cuts."""
    plant = Plant()
    for second in range(0, seconds, 2):
        plant.now_s = float(second)
        for client, server, every in talks or ((HMI, PLC, 2), (HMI, RTU, 10), (OTHER, PLC, 4)):
            if second % every:
                continue
            cut = any(begin <= second < end for begin, end in cuts)
            pdus = modbus.adu(second, 1, modbus.read(3, 0, 2)), modbus.adu(second, 1, modbus.registers(3, [1, 2]))
            if not (cut and drop(client, server, False)):
                plant.asks(client, server, pdus[0])
            if not (cut and drop(client, server, True)):
                plant.answers(client, server, pdus[1])
    return plant


def rhythms(findings: Sequence[Finding]) -> list[Finding]:
    return [it for it in findings if it.rule_id.startswith(("rhythm.", "detector."))]


@pytest.mark.parametrize("size", [None, 50])
def test_even_traffic_to_its_end_is_quiet(size: int | None) -> None:
    assert rhythms(polling().findings(size)) == []


@pytest.mark.parametrize("size", [None, 50])
def test_a_device_that_answers_nothing_while_it_is_asked_is_one_finding(size: int | None) -> None:
    found = rhythms(polling(lambda client, server, answer: answer and server == RTU).findings(size))
    assert [it.rule_id for it in found] == ["rhythm.device-silent"]
    (silent,) = found
    assert (silent.source_ip, silent.destination_ip, silent.station, silent.count) == (HMI, RTU, 1, 1)
    assert 300 <= (silent.last_ns - silent.first_ns) / SECOND <= 320
    assert abs(silent.first_ns - BEGINS_NS - 290 * SECOND) < 2 * SECOND
    assert "for 310 seconds" in silent.explanation.en
    assert "every 10 s" in silent.explanation.en


@pytest.mark.parametrize("size", [None, 50])
def test_five_minutes_cut_from_one_conversation_are_one_silent_talker(size: int | None) -> None:
    found = rhythms(polling(lambda client, server, _: (client, server) == (OTHER, PLC)).findings(size))
    assert [(it.rule_id, it.source_ip, it.destination_ip) for it in found] == [("rhythm.talker-silent", OTHER, PLC)]
    assert "304 seconds" in found[0].explanation.en


def test_a_talker_that_is_silent_towards_all_its_devices_is_one_finding() -> None:
    (found,) = rhythms(polling(lambda client, *_: client == HMI).findings(50))
    assert (found.rule_id, found.source_ip, found.destination_ip) == ("rhythm.talker-silent", HMI, "")
    assert PLC in found.explanation.en
    assert RTU in found.explanation.en


def test_a_device_that_is_silent_towards_all_who_ask_it_is_one_finding() -> None:
    (found,) = rhythms(polling(lambda client, server, answer: answer and server == PLC).findings(50))
    assert (found.rule_id, found.destination_ip) == ("rhythm.device-silent", PLC)


@pytest.mark.parametrize("size", [None, 50])
def test_when_everything_stops_only_the_sensor_is_claimed_to_be_blind(size: int | None) -> None:
    (found,) = rhythms(polling(lambda *_: True).findings(size))
    assert (found.rule_id, found.source_ip, found.destination_ip) == ("rhythm.sensor-blind", "", "")
    assert 300 <= (found.last_ns - found.first_ns) / SECOND <= 302


def test_an_exception_of_a_gateway_is_no_answer_of_the_device() -> None:
    plant = polling(lambda client, server, answer: answer and server == RTU)
    again = Plant()
    again._packets = list(plant._packets)
    for n in range(*CUT, 10):
        again.now_s = n + 1.5
        again._talks = plant._talks
        again.answers(HMI, RTU, modbus.adu(n, 1, modbus.exception(3, 11)))
    again._packets.sort(key=lambda it: it[0])
    assert [it.rule_id for it in rhythms(again.findings())] == ["rhythm.device-silent"]


def test_two_silences_of_one_device_are_counted() -> None:
    plant = polling(lambda client, server, answer: answer and server == RTU, seconds=1600, cuts=(CUT, (1000, 1300)))
    (found,) = rhythms(plant.findings(60))
    assert (found.rule_id, found.count) == ("rhythm.device-silent", 2)


def test_what_people_do_has_no_rhythm() -> None:
    plant, chance = polling(), random.Random(7)
    for second in sorted(chance.sample(range(20, 400), 25)):
        plant.now_s = second + 0.5
        request = modbus.adu(9, 1, modbus.write_register(8, second))
        plant.exchange(OTHER, RTU, request, request)
    plant._packets.sort(key=lambda it: it[0])
    assert rhythms(plant.findings()) == []


def test_a_tool_that_reads_fast_for_a_short_time_has_no_rhythm() -> None:
    plant = polling()
    for n in range(200):
        plant.now_s = 100 + n / 50
        request = modbus.adu(n, 1, modbus.read(4, 0, 2))
        plant.exchange(OTHER, RTU, request, modbus.adu(n, 1, modbus.registers(4, [1, 2])))
    plant._packets.sort(key=lambda it: it[0])
    assert rhythms(plant.findings()) == []


def test_a_slow_poll_is_allowed_its_own_pace() -> None:
    plant = polling(seconds=3000, talks=((HMI, PLC, 2), (HMI, RTU, 120)))
    assert rhythms(plant.findings()) == []


def live(plant: Plant, until: int) -> list[Finding]:
    """The same on a live link that ticks every second."""
    (whole,) = plant.batches()
    batches = []
    for second in range(until):
        clock = BEGINS_NS + (second + 1) * SECOND
        rows = np.flatnonzero((whole.ts_ns >= clock - SECOND) & (whole.ts_ns < clock))
        part = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        columns = [getattr(whole, name)[part] for name in ("ts_ns", "offset", "captured", "wire", "link")]
        batches.append(FrameBatch(whole.data, *columns, first=1 + (rows[0] if len(rows) else 0), clock_ns=clock))
    return list(Pipeline(detectors=[Rhythm(watched=True)]).run(batches))


def test_a_live_sensor_tells_a_silence_when_it_notices_it_and_when_it_ends() -> None:
    found = live(polling(lambda client, server, answer: answer and server == RTU), 800)
    assert [it.rule_id for it in found] == ["rhythm.device-silent", "rhythm.recovered"]
    assert 60 <= (found[0].last_ns - found[0].first_ns) / SECOND <= 70
    assert "310 seconds" in found[1].explanation.en


def test_a_live_sensor_that_is_blind_says_nothing_of_devices() -> None:
    assert live(polling(lambda *_: True, talks=((HMI, PLC, 2), (HMI, RTU, 60))), 900) == []


def test_who_has_a_period_in_the_baseline_and_never_speaks_is_told_once() -> None:
    learned = Baseline()
    for _ in Pipeline(detectors=[Learner(learned.merge)]).run(polling().batches()):
        pass
    decide(learned, [name for name, _ in learned], State.APPROVED, "li.na", "known", 1)
    plant = polling(talks=((HMI, PLC, 2),))
    (found,) = rhythms(merge(Pipeline(Options(baseline=learned)).run(plant.batches())))
    assert (found.rule_id, found.count) == ("rhythm.absent", 2)
    assert f"{OTHER} -> {PLC}" in found.explanation.en
    assert f"{HMI} -> {RTU}" in found.explanation.en


def test_a_talker_whose_rhythm_was_known_for_long_weighs_more_than_one_that_may_just_have_ended() -> None:
    def stops(client: str, server: str, answer: bool) -> bool:
        return (client, server) == (OTHER, PLC)

    (short,) = rhythms(polling(stops, seconds=900, cuts=[(300, 600)]).findings())
    (long,) = rhythms(polling(stops, seconds=1500, cuts=[(900, 1200)]).findings())
    (longer,) = rhythms(polling(stops, seconds=2000, cuts=[(700, 1900)]).findings())
    assert {it.rule_id for it in (short, long, longer)} == {"rhythm.talker-silent"}
    assert [it.severity for it in (short, long, longer)] == [Severity.LOW, Severity.MEDIUM, Severity.LOW]


def test_a_device_that_leaves_requests_unanswered_is_no_hint_however_short_it_was_known() -> None:
    (found,) = rhythms(
        polling(lambda client, server, answer: answer and server == RTU, seconds=600, cuts=[(200, 400)]).findings()
    )
    assert (found.rule_id, found.severity) == ("rhythm.device-silent", Severity.MEDIUM)


def test_pairs_for_which_there_is_no_room_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detectors.rhythm.MAX_PAIRS", 2)
    assert [it.rule_id for it in rhythms(polling(seconds=60).findings(10))] == ["rhythm.left-out"]
    monkeypatch.setattr("detectors.rhythm.MAX_PAIRS", 3)
    assert rhythms(polling(seconds=60).findings(10)) == []
