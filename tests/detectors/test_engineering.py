"""Engineering operations: several steps of one host on one controller are one finding, a lone step stays what it is."""

from __future__ import annotations

import dataclasses

import pytest
from support import s7
from support.findings import S7, Plant, of, the
from support.sessions import tpkt

from detectors.engineering.session import GAP_NS
from detectors.engineering.tool import client_name
from detectors.finding import Severity
from detectors.pipeline import Pipeline, merge
from pcaps.messages import modbus

ENGINEER, PLC = "10.1.0.5", "10.1.0.20"
STOP = "29 0000000000 09 505F50524F4752414D"
START = "28 00000000 0000 FD 0000 09 505F50524F4752414D"
INSERT = "28 00000000 0000 FD 000A 01 00 3038303030303150 05 5F494E5345"
REQUEST = "1A 00 0100 00000000 09 5F3038303030303150 0D 31303030313030303030303634"
FETCH = "1B 00 0000 00000000 09 5F3038303030303150"
END = "1C 00 0000 00000000 09 5F3038303030303150"


class Controller(Plant):
    """A controller, and an engineer who works on it."""

    reference = 0

    def job(self, parameters: str, answer: str | None = None, error: int = 0, engineer: str = ENGINEER) -> None:
        """The engineer asks; the controller acknowledges with the function code unless told otherwise."""
        self.reference += 1
        self.exchange(
            engineer,
            PLC,
            tpkt(s7.job(parameters, reference=self.reference)),
            tpkt(s7.ack_data(answer or parameters[:2], error=error, reference=self.reference)),
            S7,
        )

    def fetched(self, parameters: str, data: str = "", answer: str = "") -> None:
        """The controller asks, the engineer's software answers: so do downloads go."""
        self.reference += 1
        self.answers(ENGINEER, PLC, tpkt(s7.job(parameters, reference=self.reference)), S7)
        self.asks(ENGINEER, PLC, tpkt(s7.ack_data(answer or parameters[:2], data, reference=self.reference)), S7)

    def download(self) -> None:
        """OB1 goes in."""
        self.job(REQUEST)
        self.fetched(FETCH, "0004 00FB 70700302", answer="1B 00")
        self.fetched(END)
        self.job(INSERT)


def operations(findings):
    """Findings about operations."""
    return [it for it in findings if it.rule_id.startswith(("operation.", "engineering."))]


def test_a_lone_stop_stays_a_stop():
    plant = Controller()
    plant.job(STOP)
    (only,) = operations(plant.findings())
    assert (only.rule_id, only.techniques) == ("operation.s7comm.stop", ("T0858",))


def test_stop_download_activate_and_start_are_one_operation_with_the_techniques_of_all():
    plant = Controller()
    plant.job(STOP)
    plant.wait(2)
    plant.download()
    plant.wait(2)
    plant.job(START)
    (only,) = operations(plant.findings())
    assert only.rule_id == "engineering.program-download"
    assert set(only.techniques) == {"T0843", "T0858", "T0889"}
    assert (only.source_ip, only.destination_ip, only.severity) == (ENGINEER, PLC, Severity.CRITICAL)
    assert "stop; download of OB1; activation of OB1; start" in only.explanation.en
    assert "停机，下载 OB1，激活 OB1，启动" in only.explanation.zh
    assert only.count == 6


def test_on_a_live_link_the_first_step_is_told_at_once_and_the_rest_as_the_same_problem():
    plant = Controller()
    plant.job(STOP)
    plant.wait(5)
    plant.download()
    plant.wait(5)
    plant.job(START)
    seen = 0

    def frames():
        nonlocal seen
        for batch in plant.batches(1):
            seen = batch.first
            yield batch._replace(clock_ns=int(batch.ts_ns[-1]))

    records, at = [], {}
    for record in Pipeline().run(frames()):
        records.append(record)
        at.setdefault(record.rule_id, seen)
    told = operations(records)
    assert told[0].rule_id == "operation.s7comm.stop"
    assert at["operation.s7comm.stop"] <= 6
    assert {it.rule_id for it in told[1:]} == {"engineering.program-download"}
    assert at["engineering.program-download"] < seen
    assert len({it.fingerprint for it in told}) == 1
    assert sum(it.count for it in told) == 6
    assert merge(told)[0].rule_id == "engineering.program-download"


def test_after_a_long_rest_another_operation_begins():
    plant = Controller()
    for _ in range(2):
        plant.job(STOP)
        plant.download()
        plant.wait(GAP_NS / 1e9 + 60)
    found = of(plant.findings(), "engineering.program-download")
    assert len(found) == len({it.fingerprint for it in found}) == 2
    assert found[0].last_ns < found[1].first_ns
    assert [it.count for it in found] == [5, 5]


def test_two_engineers_are_two_operations():
    plant = Controller()
    for engineer in (ENGINEER, "10.1.0.6"):
        plant.job(STOP, engineer=engineer)
        plant.job(START, engineer=engineer)
    assert {it.source_ip for it in of(plant.findings(), "engineering.start-stop")} == {ENGINEER, "10.1.0.6"}


def test_a_refused_operation_says_so():
    plant = Controller()
    plant.job(STOP, error=0xD241)
    plant.job(START, error=0xD241)
    finding = the(plant.findings(), "engineering.start-stop")
    assert "refused everything" in finding.explanation.en


def test_writing_variables_is_no_part_of_an_operation():
    plant = Controller()
    plant.job(STOP)
    plant.exchange(
        ENGINEER,
        PLC,
        tpkt(s7.job("05 01 12 0A 10 04 0001 0001 84 000010", "00 04 0010 0001", reference=900)),
        tpkt(s7.ack_data("05 01", "FF", reference=900)),
        S7,
    )
    plant.job(START)
    assert {it.rule_id for it in operations(plant.findings())} == {"operation.s7comm.write", "engineering.start-stop"}


def test_the_name_that_programming_software_gives_itself_is_told():
    plant = Plant()
    for number, (code, data) in enumerate(
        [(0x10, b"\x00\x00\x00\x00\x05ENG-7"), (0x41, b"\xff\x00"), (0x40, b"\xff\x00")]
    ):
        request = modbus.adu(number, 0, modbus.umas(0, code, data))
        plant.exchange(ENGINEER, PLC, request, modbus.adu(number, 0, modbus.umas(0, 0xFE)))
    finding = the(plant.findings(), "engineering.start-stop")
    assert '"ENG-7"' in finding.explanation.en
    assert "“ENG-7”" in finding.explanation.zh


@pytest.mark.parametrize("body", [b"", b"\x00" * 9, b"\x00\x00\x00\x00\x06ENG\x07AB", b"\x00\x00\x00\x00\x7fENG"])
def test_a_reservation_without_a_readable_name_gives_none(body):
    assert client_name(modbus.adu(1, 0, modbus.umas(0, 0x10, body))) == ""


def test_a_flood_of_steps_keeps_within_bounds():
    plant = Controller()
    for number in range(3000):
        name = f"{number:05d}".encode().hex()
        plant.reference += 1
        plant.asks(ENGINEER, PLC, tpkt(s7.job(f"1A 00 0100 00000000 09 5F3038{name}50", reference=number + 1)), S7)
    plant.job(STOP)
    finding = the(plant.findings(), "engineering.program-download")
    assert finding.count == 3001
    assert len(finding.explanation.en) < 4000


def test_findings_keep_their_own_fingerprint_unless_they_go_on_with_another_problem():
    plant = Controller()
    plant.job(STOP)
    (stop,) = operations(plant.findings())
    assert dataclasses.replace(stop, problem="0" * 32).fingerprint == "0" * 32
    assert dataclasses.replace(stop, absorbs=("1",)).fingerprint == stop.fingerprint
