"""Grave findings overtake a long queue; nothing is sent twice without need, nothing is left out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.ledger import Books, graded, told

from sensor import lanes as lanes_module
from sensor.lanes import Lanes
from sensor.spool import Spool

LOW, HIGH, CRITICAL = 2, 4, 5
MOST = 10  # findings in a parcel


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path, told)
    yield spool
    spool.close()


def fill(spool, count, severity=LOW):
    for _ in range(count):
        spool.append(graded(f"rule.{severity}", severity))
    return spool.flush()


def sequences(parcel):
    return [record.sequence for record in parcel.records]


def test_a_critical_finding_of_now_overtakes_a_long_queue(spool):
    fill(spool, 1000)
    lanes = Lanes(spool)
    assert sequences(lanes.take(MOST, 1 << 20)) == list(range(1, 11))
    fill(spool, 3, CRITICAL)
    fill(spool, 2, HIGH)
    parcel = lanes.take(MOST, 1 << 20)
    assert (sequences(parcel), parcel.ahead) == ([1001, 1002, 1003, 1004, 1005], True)
    assert sequences(lanes.take(MOST, 1 << 20)) == list(range(11, 21))


def test_what_went_ahead_is_passed_over_when_its_turn_comes(spool):
    fill(spool, 100)
    fill(spool, 3, CRITICAL)
    fill(spool, 40)
    lanes, books = Lanes(spool), Books()
    while parcel := lanes.take(MOST, 1 << 20):
        lanes.arrived(parcel, books.take(parcel.records))
    assert spool.acknowledged == 143
    assert books.arrived == 143


def test_a_short_queue_goes_in_order(spool):
    fill(spool, 15)
    fill(spool, 1, CRITICAL)
    assert sequences(Lanes(spool).take(MOST, 1 << 20)) == list(range(1, 11))


def test_the_newest_go_first_and_the_queue_gets_every_second_parcel(spool):
    fill(spool, 100)
    fill(spool, 100, CRITICAL)
    lanes = Lanes(spool)
    taken = [lanes.take(MOST, 1 << 20) for _ in range(6)]
    assert [parcel.ahead for parcel in taken] == [True, False] * 3
    assert [sequences(parcel)[0] for parcel in taken] == [191, 1, 181, 11, 171, 21]


def test_after_a_restart_the_latest_grave_findings_of_the_queue_are_found_again(tmp_path):
    spool = Spool(tmp_path / "again", told)
    fill(spool, 100)
    fill(spool, 2, CRITICAL)
    fill(spool, 100)
    spool.close()
    spool = Spool(tmp_path / "again", told)
    assert sequences(Lanes(spool).take(MOST, 1 << 20)) == [101, 102]
    spool.close()


def test_what_went_ahead_and_did_not_arrive_goes_ahead_again(spool):
    fill(spool, 100)
    fill(spool, 2, CRITICAL)
    lanes = Lanes(spool)
    lanes.failed(lanes.take(MOST, 1 << 20))
    lanes.again()
    lanes.take(MOST, 1 << 20)
    assert sequences(lanes.take(MOST, 1 << 20)) == [101, 102]


def test_a_console_that_forgot_what_went_ahead_gets_it_again(spool):
    fill(spool, 100)
    fill(spool, 2, CRITICAL)
    lanes, forgetful = Lanes(spool), Books()
    lanes.arrived(lanes.take(MOST, 1 << 20), 0)  # restored from a backup right after
    while parcel := lanes.take(MOST, 1 << 20):
        lanes.arrived(parcel, forgetful.take(parcel.records))
    assert spool.acknowledged == 100
    assert lanes.again()
    while parcel := lanes.take(MOST, 1 << 20):
        lanes.arrived(parcel, forgetful.take(parcel.records))
    assert spool.acknowledged == 102


def test_memory_of_what_went_ahead_is_bounded(spool, monkeypatch):
    monkeypatch.setattr(lanes_module, "MAX_SENT_AHEAD", 15)
    fill(spool, 100)
    fill(spool, 50, CRITICAL)
    lanes, books = Lanes(spool), Books()
    while parcel := lanes.take(MOST, 1 << 20):
        lanes.arrived(parcel, books.take(parcel.records))
        assert len(lanes._sent_ahead) <= 15
    assert spool.acknowledged == books.arrived == 150, "where the console acknowledges past it, nothing is repeated"


class LanesMachine(RuleBasedStateMachine):
    """Several parcels on their way, lost and repeated; the console has everything in the end, each once."""

    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp(prefix="lanes-"))
        self.spool = Spool(self.directory, told)
        self.lanes, self.books = Lanes(self.spool), Books()
        self.flying, self.made = [], 0

    @rule(severity=st.sampled_from([LOW, LOW, CRITICAL]), count=st.integers(1, 40))
    def find(self, severity, count):
        self.made += count
        assert fill(self.spool, count, severity) == self.made

    @rule()
    def send(self):
        if len(self.flying) < 3 and (parcel := self.lanes.take(5, 1 << 20)):
            self.flying.append((parcel, self.books.take(parcel.records)))

    @rule(which=st.integers(0, 2))
    def answer(self, which):
        if self.flying:
            self.lanes.arrived(*self.flying.pop(which % len(self.flying)))

    @rule(committed=st.booleans())
    def fail(self, committed):
        if parcel := self.lanes.take(5, 1 << 20):
            if committed:
                self.books.take(parcel.records)
            self.lanes.failed(parcel)
            while self.flying:
                self.lanes.arrived(*self.flying.pop())
            self.lanes.again()

    @rule()
    def restart(self):
        self.spool.close()
        self.flying.clear()
        self.spool = Spool(self.directory, told)
        self.lanes = Lanes(self.spool)

    def teardown(self):
        if hasattr(self, "spool"):
            while self.flying:
                self.lanes.arrived(*self.flying.pop())
            self.lanes.again()
            while parcel := self.lanes.take(5, 1 << 20):
                self.lanes.arrived(parcel, self.books.take(parcel.records))
            assert self.spool.acknowledged == self.made == len(self.books.known)
            self.spool.close()
            shutil.rmtree(self.directory)


LanesMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestLanesAgainstBooks = LanesMachine.TestCase
