"""S7comm-plus is named: operation and function, and whether a request is about the controller or its own session."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import mutations, row

from sensor.decode.pdu import ABSENT, Anomaly, Kind
from sensor.operations import Verb
from sensor.protocols import s7comm_plus
from sensor.schema import S7COMM_PLUS

NAMES = {field.name for field in S7COMM_PLUS} | {"event.action", "anomalies"}
SESSION = 0x386


def message(body: bytes, version: int = 2) -> bytes:
    """A PDU with its trailer; of version 3 with a digest."""
    if version == 3:
        body = b"\x20" + bytes(range(32)) + body
    return struct.pack(">BBH", 0x72, version, len(body)) + body + struct.pack(">BBH", 0x72, version, 0)


def asks(function: int, rest: bytes = bytes(16), sequence: int = 5, session: int = SESSION, flags: int = 0x34) -> bytes:
    return struct.pack(">BHHHHIB", 0x31, 0, function, 0, sequence, session, flags) + rest


def answers(function: int, sequence: int = 5) -> bytes:
    return struct.pack(">BHHHHB", 0x32, 0, function, 0, sequence, 0x34) + bytes(4)


NOTIFICATION = b"\x33\x70\x00\x0e\x51" + bytes(12)
MESSAGES = [message(asks(0x54C)), message(asks(0x542), 3), message(answers(0x54C), 1), message(NOTIFICATION, 3)]


def explained(pdu: bytes, kind: Kind = Kind.REQUEST, request: bytes | None = None) -> dict[str, Any]:
    fields = s7comm_plus.explain(pdu, kind, request)
    assert fields.keys() <= NAMES
    return fields


def recognised(pdu: bytes) -> bool:
    return bool(s7comm_plus.is_s7comm_plus(np.frombuffer(pdu, np.uint8), 0, len(pdu)))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_request_and_answer_are_named_and_paired_in_every_version(version: int) -> None:
    pdus = message(asks(0x54C), version), message(answers(0x54C), version)
    asked, answered = (row(s7comm_plus, pdu) for pdu in pdus)
    assert (asked.kind, asked.expects, asked.function, asked.anomalies) == (Kind.REQUEST, 1, 0x54C, 0)
    assert (answered.kind, answered.function, answered.transaction) == (Kind.RESPONSE, 0x54C, asked.transaction)
    fields = explained(pdus[0])
    assert (fields["s7comm_plus.function_name"], fields["s7comm_plus.opcode_name"]) == (
        "get_multi_variables",
        "request",
    )
    assert (fields["s7comm_plus.session"], fields["s7comm_plus.sequence"]) == (SESSION, 5)
    assert fields["event.action"] == Verb.READ
    assert all(recognised(pdu) for pdu in pdus)


def test_a_request_that_wants_no_answer_does_not_wait_for_one() -> None:
    assert row(s7comm_plus, message(asks(0x4F2, flags=0x74))).expects == 0


@pytest.mark.parametrize(
    ("function", "rest", "session", "verb"),
    [
        (0x542, struct.pack(">I", 0), SESSION, Verb.WRITE),
        (0x542, struct.pack(">I", SESSION), SESSION, Verb.SESSION),
        (0x4F2, struct.pack(">I", 0x70000E51), SESSION, Verb.SESSION),
        (0x4F2, bytes.fromhex("1000006a01881d"), SESSION, Verb.SESSION),
        (0x4F2, bytes.fromhex("1000006a018819"), SESSION, Verb.WRITE),
        (0x4CA, bytes(20), 0x120, Verb.SESSION),
        (0x4CA, bytes.fromhex("000003af00040000000000a17fffc001"), SESSION, Verb.SESSION),
        (0x4CA, bytes.fromhex("000003af00040000000000a1000000d3"), SESSION, Verb.CONFIGURE),
        (0x4D4, struct.pack(">I", SESSION), SESSION, Verb.SESSION),
        (0x4D4, struct.pack(">I", 0x8A0E0001), SESSION, Verb.CONFIGURE),
        (0x4D4, struct.pack(">I", 0x32), SESSION, Verb.CONFIGURE),
    ],
)
def test_what_only_concerns_the_session_is_no_command(function: int, rest: bytes, session: int, verb: Verb) -> None:
    request, answer = message(asks(function, rest, session=session)), message(answers(function))
    assert explained(request)["event.action"] == verb
    assert explained(answer, Kind.RESPONSE, request)["event.action"] == verb


def test_notifications_and_events_are_unsolicited() -> None:
    for pdu in (message(NOTIFICATION, 3), message(b"\0\0\x04\xb1", 0xFE)):
        assert (row(s7comm_plus, pdu).kind, row(s7comm_plus, pdu).function) == (Kind.UNSOLICITED, ABSENT)
        assert explained(pdu, Kind.UNSOLICITED)["event.action"] == Verb.REPORT


def test_unknown_functions_and_cut_requests_are_said() -> None:
    assert row(s7comm_plus, message(asks(0x1234))).anomalies == Anomaly.UNKNOWN_FUNCTION
    assert explained(message(asks(0x1234)))["s7comm_plus.function_name"] == "unknown"
    assert row(s7comm_plus, message(asks(0x54C)[:10])).anomalies == Anomaly.LENGTH
    assert row(s7comm_plus, message(asks(0x54C))[:12]).anomalies & Anomaly.LENGTH


@pytest.mark.parametrize("other", [b"\x32\x01\0\0", b"\x72\x04\0\0", b"\x72\x01\x00\x09abc", b"\x72"])
def test_other_things_are_not_recognised(other: bytes) -> None:
    assert not recognised(other)


@given(st.binary(max_size=80), st.sampled_from([1, 2, 3, 0xFE]))
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_reading_fail(data: bytes, version: int) -> None:
    for pdu in (data, message(data, version)):
        record = row(s7comm_plus, pdu)
        explained(pdu, Kind(int(record.kind)), pdu)


def test_mutated_messages_are_read_and_explained_alike() -> None:
    for pdu in mutations(MESSAGES, 1500, seed=72):
        record = row(s7comm_plus, pdu)
        fields = explained(pdu, Kind(int(record.kind)))
        assert fields.get("s7comm_plus.function", ABSENT) == record.function
