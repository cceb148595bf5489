"""Who changes a device without looking at it is told; stations, applications and controllers are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import S7, Plant, the

from detectors.blind_writer import AT_ONCE_NS, STEADY, steady, twice
from detectors.finding import Finding, Severity
from detectors.pipeline import Options
from pcaps.messages import modbus
from pcaps.messages import s7comm as s7
from sensor.decode.pdu import NO_VALUE

HMI, PEER, SCRIPT, PLC = "10.1.0.5", "10.1.0.40", "10.1.0.66", "10.1.0.20"
MARKERS = 0x83  # area of the flags


class Line:
    """A controller and those who talk S7 with it."""

    def __init__(self) -> None:
        self.plant = Plant()
        self._reference = 0

    def writes(self, client: str, value: int, byte: int = 100, *, answered: bool = True, asked: bool = True) -> None:
        """One octet of the flags."""
        self._reference += 1
        parameter, data = s7.write_var(MARKERS, 0, byte, bytes([value]))
        if asked:
            self.plant.asks(client, PLC, s7.job(self._reference, parameter, data), S7)
        if answered:
            self.plant.answers(client, PLC, s7.ack_data(self._reference, bytes([5, 1]), b"\xff"), S7)

    def reads(self, client: str, byte: int = 100) -> None:
        """One octet of the flags."""
        self._reference += 1
        self.plant.exchange(
            client,
            PLC,
            s7.job(self._reference, s7.read_var((MARKERS, 0, byte, 1))),
            s7.ack_data(self._reference, bytes([4, 1]), s7.read_var_data(b"\x01")),
            S7,
        )

    def polls(self, client: str, seconds: int) -> None:
        """Another place once a second."""
        for _ in range(seconds):
            self.reads(client, 7)
            self.plant.wait(1)

    def claims(self, options: Options | None = None) -> list[Finding]:
        """What is said about writers."""
        return [it for it in self.plant.findings(size=8, options=options) if it.rule_id.startswith("writer.")]


def test_a_value_changed_twice_within_milliseconds_is_a_script() -> None:
    line = Line()
    line.writes(SCRIPT, 1)
    line.writes(SCRIPT, 0)
    found = the(line.claims(), "writer.scripted")
    assert (found.source_ip, found.destination_ip, found.severity) == (SCRIPT, PLC, Severity.MEDIUM)
    assert found.techniques == ("T0855", "T0836")
    assert found.count == 2
    assert "different values" in found.explanation.en
    assert "s7comm" in found.explanation.zh


def test_a_value_read_and_written_back_at_once_is_a_script() -> None:
    line = Line()
    line.reads(SCRIPT)
    line.writes(SCRIPT, 0)
    assert "wrote it back" in the(line.claims(), "writer.scripted").explanation.en


def test_a_single_write_of_a_host_that_reads_nothing_weighs_little() -> None:
    line = Line()
    line.writes(SCRIPT, 1)
    assert the(line.claims(), "writer.blind").severity is Severity.LOW


def test_it_weighs_more_where_another_host_watches_the_device() -> None:
    line = Line()
    line.polls(HMI, 3)
    line.writes(SCRIPT, 1)
    found = the(line.claims(), "writer.blind")
    assert (found.source_ip, found.severity) == (SCRIPT, Severity.MEDIUM)


def test_answers_alone_show_a_writer_whose_requests_took_another_way() -> None:
    line = Line()
    line.writes(SCRIPT, 1, asked=False)
    assert the(line.claims(), "writer.blind").source_ip == SCRIPT


def test_a_station_that_looks_around_is_left_alone() -> None:
    line = Line()
    line.polls(HMI, 2)
    line.writes(HMI, 1)
    line.writes(HMI, 0)
    assert line.claims() == []


def test_a_person_who_switches_on_and_off_is_no_script() -> None:
    line = Line()
    line.reads(HMI)
    line.plant.wait(0.5)
    line.writes(HMI, 1)
    line.plant.wait(0.3)
    line.writes(HMI, 0)
    assert line.claims() == []


def test_an_application_that_keeps_reading_and_writing_back_is_left_alone() -> None:
    line = Line()
    for n in range(5):
        line.reads(PEER)
        line.writes(PEER, n)
        line.plant.wait(n)
    assert line.claims() == []


def test_controllers_that_write_in_a_rhythm_are_left_alone_even_when_a_connection_breaks() -> None:
    line = Line()
    line.polls(HMI, 2)
    for n in range(30):
        line.writes(PEER, n)
        line.plant.wait(20 if n == 10 else 0.5)
    assert line.claims() == []


def test_the_same_writes_without_pause_are_no_rhythm_but_a_flood() -> None:
    line = Line()
    line.polls(HMI, 2)
    for _ in range(300):
        line.writes(SCRIPT, 42)
    found = the(line.claims(), "writer.blind")
    assert (found.severity, found.count) == (Severity.MEDIUM, 300)


def test_on_a_live_link_a_station_has_time_for_its_first_poll() -> None:
    line = Line()
    line.writes(HMI, 1)
    line.plant.wait(60)
    line.polls(HMI, 200)
    assert line.claims(Options(learn_s=3600)) == []


def test_on_a_live_link_a_script_is_told_while_traffic_goes_on() -> None:
    line = Line()
    line.writes(SCRIPT, 1)
    line.writes(SCRIPT, 0)
    line.polls(HMI, 200)
    records = line.plant.records(size=8, options=Options(learn_s=3600))
    (record,) = (it for it in records if it.rule_id == "writer.scripted")
    assert record.count == 2
    assert record.evidence.frames


def test_read_write_multiple_registers_looks_at_the_device() -> None:
    plant = Plant()
    request = modbus.adu(1, 1, bytes.fromhex("17 0000 0001 0000 0001 02 0001"))
    plant.exchange(HMI, PLC, request, modbus.adu(1, 1, bytes.fromhex("17 02 0001")))
    assert [it.rule_id for it in plant.findings() if it.rule_id.startswith("writer.")] == []


@given(st.integers(60_000_000, 10**12), st.integers(STEADY, 60), st.floats(-0.1, 0.1))
def test_a_rhythm_is_told_whatever_its_period(period: int, writes: int, drift: float) -> None:
    assert steady([n * period + round(drift * period * (n % 2)) for n in range(writes)])


@given(st.lists(st.integers(0, 10**12), max_size=60).map(sorted))
def test_any_times_can_be_asked_for_a_rhythm(at: list[int]) -> None:
    assert steady(at) in (True, False)
    assert not steady(at[: STEADY - 1])


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((AT_ONCE_NS, 1, 8), True),
        ((AT_ONCE_NS + 1, 1, 8), False),
        ((1, 2, 8), False),
        ((1, 1, 7), False),
        ((1, 1, NO_VALUE), False),
        ((-1, 1, 8), False),
    ],
)
def test_twice_means_one_place_two_values_and_no_time(second: tuple[int, int, int], expected: bool) -> None:
    assert twice([(0, 1, 7), second]) is expected


@pytest.mark.parametrize(("read", "write", "scripted"), [(3, 6, True), (1, 5, True), (3, 5, False), (1, 6, False)])
def test_a_coil_and_a_register_of_the_same_number_are_different_places(
    read: int, write: int, *, scripted: bool
) -> None:
    plant = Plant()
    looked = modbus.registers(3, [7]) if read == 3 else modbus.bits(1, [True])
    change = modbus.write_register(4, 9) if write == 6 else modbus.write_coil(4, on=True)
    plant.exchange(SCRIPT, PLC, modbus.adu(1, 1, modbus.read(read, 4, 1)), modbus.adu(1, 1, looked))
    plant.exchange(SCRIPT, PLC, modbus.adu(2, 1, change), modbus.adu(2, 1, change))
    assert [it.rule_id for it in plant.findings() if it.rule_id == "writer.scripted"] == ["writer.scripted"] * scripted
