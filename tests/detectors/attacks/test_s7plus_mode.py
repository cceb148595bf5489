"""An S7-1200 or S7-1500 that is told to stop or to run."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import S7, Plant, of, the

from detectors.attacks.s7plus_mode import asked_for
from detectors.finding import Severity
from pcaps.messages import s7comm

ENGINEER, PLC = "10.1.0.9", "10.1.0.40"
SET_VARIABLE, SET_MULTI_VARIABLES, GET_MULTI_VARIABLES = 0x04F2, 0x0542, 0x054C
STATE = "02 9077 0008"


def message(function: int, body: str, opcode: int = 0x31) -> bytes:
    """A PDU of version 2 in TPKT and COTP. body: behind the transport flags, in hexadecimal."""
    head = struct.pack(">BHHHHIB", opcode, 0, function, 0, 7, 0x386, 0x34)
    content = head + bytes.fromhex(body.replace(" ", ""))
    pdu = struct.pack(">BBH", 0x72, 2, len(content)) + content + b"\x72\x02\x00\x00"
    return s7comm.tpkt(b"\x02\xf0\x80" + pdu)


def session(*messages: bytes) -> Plant:
    """A connection on which an engineering station sends these."""
    plant = Plant()
    plant.exchange(ENGINEER, PLC, s7comm.connect_request(), s7comm.connect_confirm(), S7)
    for one in messages:
        plant.asks(ENGINEER, PLC, one, S7)
        plant.wait(1)
    return plant


@pytest.mark.parametrize("function", [SET_VARIABLE, SET_MULTI_VARIABLES])
@pytest.mark.parametrize(
    ("value", "severity", "word"), [("01", Severity.CRITICAL, "STOP"), ("03", Severity.HIGH, "RUN")]
)
def test_a_controller_that_is_told_to_stop_or_to_run_is_told(
    function: int, value: str, severity: Severity, word: str
) -> None:
    found = the(session(message(function, f"00000034 {STATE} {value} 000004E8")).findings(), "controller.mode")
    assert (found.source_ip, found.destination_ip, found.count) == (ENGINEER, PLC, 1)
    assert (found.severity, found.techniques) == (severity, ("T0858",))
    assert f"to go to {word}" in found.explanation.en


def test_numbers_before_values_are_read_as_well() -> None:
    assert asked_for(message(SET_MULTI_VARIABLES, "00000034 01 02 9077 01 0008 01 00000000")) == 1


@pytest.mark.parametrize(
    "one",
    [
        message(SET_VARIABLE, f"00000035 {STATE} 01"),
        message(SET_VARIABLE, "00000034 02 9078 0008 01"),
        message(SET_VARIABLE, f"00000034 {STATE} 02"),
        message(GET_MULTI_VARIABLES, f"00000034 {STATE} 01"),
        message(SET_VARIABLE, f"00000034 {STATE} 01", opcode=0x32),
    ],
    ids=["another object", "another attribute", "another state", "it is read", "an answer"],
)
def test_what_asks_for_no_state_is_quiet(one: bytes) -> None:
    assert not of(session(one).findings(), "controller.mode")


@given(st.binary(max_size=64))
def test_any_octets_are_read(octets: bytes) -> None:
    assert asked_for(octets) in (None, 1, 3)
    assert asked_for(bytes.fromhex("00000034029077") + octets) in (None, 1, 3)
