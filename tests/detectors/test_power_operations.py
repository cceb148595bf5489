"""Operations of telecontrol and substations in dialogues: who commanded what, and what became of it."""

from __future__ import annotations

import struct

import pytest
from support.ber import ber, integer
from support.findings import Plant, of, the
from support.wire import ethernet

from detectors.finding import Severity

CENTRE, STATION, ODD_PORT = "10.1.0.5", "10.1.0.30", 31337
TELECONTROL, ISO = 2404, 102
ON, SELECT_ON = b"\x01", b"\x81"
STARTDT_ACT, STARTDT_CON = bytes.fromhex("680407000000"), bytes.fromhex("68040b000000")


def apdu(kind: int, cause: int, address: int, elements: bytes, station: int = 3) -> bytes:
    body = struct.pack("<BBBBH", kind, 1, cause, 0, station) + struct.pack("<I", address)[:3] + elements
    return struct.pack("<BBHH", 0x68, 4 + len(body), 0, 0) + body


def tpkt(data: bytes) -> bytes:
    """User data in a data TPDU."""
    return struct.pack(">BBHBBB", 3, 0, 7 + len(data), 2, 0xF0, 0x80) + data


def mms(kind: int, invoke: int, service: bytes) -> bytes:
    pdu = ber(kind, integer(0x02, invoke), service)
    return tpkt(b"\x01\x00\x01\x00" + ber(0x61, ber(0x30, b"\x02\x01\x03", ber(0xA0, pdu))))


def write(item: bytes, value: bytes) -> bytes:
    variable = ber(0x30, ber(0xA0, ber(0xA1, ber(0x1A, b"LD0"), ber(0x1A, item))))
    return ber(0xA5, ber(0xA0, variable), ber(0xA0, value))


@pytest.mark.parametrize("port", [TELECONTROL, ODD_PORT])
def test_a_telecontrol_command_names_its_object_and_what_the_station_said(port: int) -> None:
    plant = Plant()
    plant.exchange(CENTRE, STATION, STARTDT_ACT, STARTDT_CON, port)
    plant.exchange(CENTRE, STATION, apdu(45, 6, 5000, SELECT_ON), apdu(45, 7, 5000, SELECT_ON), port)
    plant.exchange(CENTRE, STATION, apdu(45, 6, 5000, ON), apdu(45, 7, 5000, ON), port)
    plant.answers(CENTRE, STATION, apdu(45, 10, 5000, ON), port)
    plant.exchange(CENTRE, STATION, apdu(45, 6, 6000, ON), apdu(45, 0x6F, 6000, ON), port)
    findings = plant.findings()
    control, select = the(findings, "operation.iec104.control"), the(findings, "operation.iec104.select")
    assert (control.source_ip, control.destination_ip, control.station, control.count) == (CENTRE, STATION, 3, 2)
    assert control.severity is Severity.INFORMATIONAL
    assert "5000, 6000" in control.explanation.en
    assert "1 accepted, 1 refused" in control.explanation.en
    assert "The device accepted it." in select.explanation.en
    assert not of(findings, "command.unanswered")


def test_a_reset_of_all_stations_at_once_is_critical() -> None:
    plant = Plant()
    plant.asks(CENTRE, STATION, apdu(105, 6, 0, b"\x01", station=3), TELECONTROL)
    plant.asks(CENTRE, STATION, apdu(105, 6, 0, b"\x01", station=0xFFFF), TELECONTROL)
    single, broadcast = of(plant.findings(), "operation.iec104.reset-process")
    assert (single.severity, single.techniques) == (Severity.HIGH, ("T0816",))
    assert (broadcast.severity, broadcast.station) == (Severity.CRITICAL, 0xFFFF)


def test_stopping_the_data_of_a_station_is_told() -> None:
    plant = Plant()
    plant.exchange(CENTRE, STATION, bytes.fromhex("680413000000"), bytes.fromhex("680423000000"), TELECONTROL)
    assert the(plant.findings(), "operation.iec104.stop-data-transfer").techniques == ("T0804",)


def test_a_station_that_reports_is_no_commander() -> None:
    plant = Plant()
    plant.exchange(CENTRE, STATION, STARTDT_ACT, STARTDT_CON, TELECONTROL)
    for n in range(20):
        plant.answers(CENTRE, STATION, apdu(13, 3, 100 + n, struct.pack("<fB", n, 0)), TELECONTROL)
    assert plant.findings() == []


def test_a_breaker_operated_over_mms_is_named() -> None:
    plant = Plant()
    oper = ber(0xA2, ber(0x83, b"\x01"), ber(0x85, b"\x05"))
    plant.exchange(CENTRE, STATION, mms(0xA0, 1, write(b"CSWI1$CO$Pos$Oper", oper)), mms(0xA1, 1, ber(0xA5, ber(0x81))),
                   ISO)  # fmt: skip
    found = the(plant.findings(), "operation.mms.control")
    assert (found.protocol, found.source_ip, found.destination_ip) == ("mms", CENTRE, STATION)
    assert "LD0/CSWI1$CO$Pos$Oper" in found.explanation.en
    assert "The device accepted it." in found.explanation.en
    assert not of(plant.findings(), "operation.mms.write")


def test_an_error_that_does_not_name_its_service_still_refuses_the_right_request() -> None:
    plant = Plant()
    refusal = ber(0xA2, integer(0x80, 9), ber(0xA2, ber(0xA0, integer(0x87, 3))))
    refusal = tpkt(b"\x01\x00\x01\x00" + ber(0x61, ber(0x30, b"\x02\x01\x03", ber(0xA0, refusal))))
    plant.exchange(CENTRE, STATION, mms(0xA0, 9, ber(0xBF29, ber(0x80, b"main"))), refusal, ISO)
    found = the(plant.findings(), "operation.mms.stop")
    assert (found.severity, found.techniques) == (Severity.CRITICAL, ("T0858",))
    assert "main" in found.explanation.en
    assert "The device refused." in found.explanation.en


def test_a_goose_message_without_a_mandatory_field_and_a_simulation_name_their_publisher() -> None:
    def message(simulated: int, *fields: bytes) -> bytes:
        body = ber(0x61, *fields)
        frame = ethernet(struct.pack(">HHHH", 1, 8 + len(body), simulated, 0) + body, 0x88B8)
        return bytes.fromhex("010ccd0100010002aa000001") + frame[12:]

    names = [ber(0x80, b"IED/LLN0$GO$g"), ber(0x81, b"\x10"), ber(0x82, b"IED/LLN0$d"), ber(0x84, bytes(8))]
    numbers = [ber(tag, b"\1") for tag in (0x85, 0x86, 0x88, 0x8A)]
    whole = [*names, *numbers, ber(0xAB, ber(0x83, b"\1"))]
    plant = Plant()
    plant.sends(message(0, *whole))
    assert plant.findings() == []
    plant.sends(message(0, *names, *numbers[:2], *numbers[3:], whole[-1]))
    plant.sends(message(0x8000, *whole))
    findings = plant.findings()
    assert {finding.rule_id for finding in findings} == {"operation.goose.malformed", "operation.goose.simulation"}
    for finding in findings:
        assert finding.severity is Severity.MEDIUM
        assert "00:02:aa:00:00:01" in finding.explanation.en
        assert "IED/LLN0$GO$g" in finding.explanation.en


def s7comm_plus(opcode: int, function: int, rest: bytes = b"") -> bytes:
    body = struct.pack(">BHHHH", opcode, 0, function, 0, 5) + rest
    return tpkt(struct.pack(">BBH", 0x72, 2, len(body)) + body + bytes.fromhex("72020000"))


def test_writes_and_changed_objects_of_s7comm_plus_are_told_and_sessions_are_not() -> None:
    plant = Plant()
    own, other = struct.pack(">IBI", 0x386, 0x34, 0x386), struct.pack(">IBI", 0x386, 0x34, 0x32)
    for function, rest in ((0x542, own), (0x4D4, own), (0x542, other), (0x4D4, other)):
        plant.exchange(CENTRE, STATION, s7comm_plus(0x31, function, rest), s7comm_plus(0x32, function, b"\x34"), ISO)
    findings = plant.findings()
    write = the(findings, "operation.s7comm_plus.write")
    change = the(findings, "operation.s7comm_plus.change-objects")
    assert (write.count, write.severity, write.source_ip) == (1, Severity.INFORMATIONAL, CENTRE)
    assert (change.count, change.severity) == (1, Severity.MEDIUM)
    assert "delete_object" in change.explanation.en
    assert "The device accepted it." in change.explanation.en
