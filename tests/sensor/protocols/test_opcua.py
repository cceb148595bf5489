"""OPC UA binary: what chunks and services say, what cannot be read, and any bytes at all."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import framed, mutations, probed, row

from sensor.decode.pdu import NO_VALUE, Anomaly, Kind
from sensor.operations import Verb
from sensor.protocols import opcua, opcua_kernel
from sensor.protocols import opcua_tables as t
from sensor.schema import OPCUA

NAMES = {field.name for field in OPCUA} | {"event.action", "anomalies"}
NOW = struct.pack("<q", 0x01DC_5BA0_0000_0000)  # autumn of 2025
POLICY = "http://opcfoundation.org/UA/SecurityPolicy#"


def text(value: str | None) -> bytes:
    return struct.pack("<i", -1) if value is None else struct.pack("<i", len(value.encode())) + value.encode()


def type_id(number: int) -> bytes:
    return struct.pack("<BBH", 1, 0, number)


def node(value: str, space: int = 2) -> bytes:
    return struct.pack("<BH", 3, space) + text(value)


def numeric(number: int, space: int = 0) -> bytes:
    return struct.pack("<BHI", 2, space, number)


def listed(*members: bytes) -> bytes:
    return struct.pack("<i", len(members)) + b"".join(members)


REQUEST_HEADER = (
    b"\x05\x01\x00" + text("token") + NOW + struct.pack("<II", 7, 0) + text(None) + b"\x10\x27\0\0" + b"\0\0\0"
)


def response_header(status: int = 0) -> bytes:
    return NOW + struct.pack("<II", 7, status) + b"\0" + listed() + b"\0\0\0"


def chunk(word: str, body: bytes, kind: str = "F") -> bytes:
    return word.encode() + kind.encode() + struct.pack("<I", 8 + len(body)) + body


def asks(service: int, body: bytes = b"", request_id: int = 3, kind: str = "F", word: str = "MSG") -> bytes:
    head = struct.pack("<IIII", 9, 1, 51, request_id)
    return chunk(word, head + type_id(service) + REQUEST_HEADER + body, kind)


def answers(service: int, body: bytes = b"", status: int = 0, request_id: int = 3) -> bytes:
    code = service if service == t.SERVICE_FAULT else t.BY_REQUEST[service].response
    return chunk("MSG", struct.pack("<IIII", 9, 1, 52, request_id) + type_id(code) + response_header(status) + body)


def opens(policy: str, body: bytes, channel: int = 0) -> bytes:
    certificate = text("certificate") + text("thumbprint") if policy != "None" else text(None) + text(None)
    return chunk("OPN", struct.pack("<I", channel) + text(POLICY + policy) + certificate + body)


def value(kind: int, raw: bytes) -> bytes:
    """A DataValue with a single Variant."""
    return bytes([1, kind]) + raw


def writes(raw: bytes, attribute: int = 13, where: bytes | None = None) -> bytes:
    return asks(t.WRITE, listed((where or node("Valve")) + struct.pack("<I", attribute) + text(None) + raw))


HELLO = chunk("HEL", struct.pack("<IIIII", 0, 65536, 65536, 0, 0) + text("opc.tcp://plc:4840"))
ACKNOWLEDGE = chunk("ACK", struct.pack("<IIIII", 0, 65536, 65536, 0, 0))
ERROR = chunk("ERR", struct.pack("<I", 0x80820000) + text("no"))
OPEN = opens(
    "None",
    struct.pack("<II", 1, 1)
    + type_id(446)
    + REQUEST_HEADER
    + struct.pack("<III", 0, 0, 1)
    + text(None)
    + b"\x80\xee\x36\0",
)
SECRET = np.random.default_rng(3).bytes(300)
OPEN_SECRET = opens("Basic256Sha256", SECRET)
MESSAGE_SECRET = chunk("MSG", struct.pack("<II", 9, 1) + SECRET)
READ = asks(
    t.READ,
    struct.pack("<dI", 0, 0)
    + listed(*(node(n) + struct.pack("<I", 13) + text(None) + b"\0\0" + text(None) for n in ("A", "B"))),
)
WRITE = writes(value(6, struct.pack("<i", -5)))
CALL = asks(t.CALL, listed(numeric(85) + numeric(62541, 1) + listed(b"\x0c" + text("now"))))
BROWSE = asks(t.BROWSE, numeric(0) + bytes(16) + listed(numeric(84) + struct.pack("<I", 0) + numeric(31) + bytes(9)))
DELETE = asks(t.DELETE_NODES, listed(node("X") + b"\1"))
PUBLISH = asks(t.PUBLISH, listed())
LOGIN = asks(
    t.ACTIVATE_SESSION,
    text(None) + text(None) + listed() + listed(text("en"))
    + type_id(324) + b"\1" + text((text("p") + text("anna") + text("s3cret") + text(None)).decode("latin-1"))
    + text(None) + text(None),
)  # fmt: skip
GONE = chunk("MSG", struct.pack("<IIIII", 9, 1, 5, 6, 0x80080000) + text("gone"), "A")
SOUND = [
    HELLO, ACKNOWLEDGE, ERROR, chunk("RHE", text("urn:s") + text("opc.tcp://s")), OPEN, OPEN_SECRET, MESSAGE_SECRET,
    READ,
    answers(t.READ, listed(value(10, struct.pack("<f", 2.5)), b"\2" + struct.pack("<I", 0x80340000)) + listed()), WRITE,
    answers(t.WRITE, listed(struct.pack("<I", 0x803B0000)) + listed()), CALL, BROWSE, DELETE, PUBLISH,
    answers(t.PUBLISH), answers(t.SERVICE_FAULT, status=0x80790000), LOGIN,
    asks(t.CLOSE_SECURE_CHANNEL, word="CLO"), GONE,
]  # fmt: skip


def explained(data: bytes, request: bytes | None = None) -> dict[str, Any]:
    return opcua.explain(data, Kind.NONE, request)


# --- where a chunk ends, and what it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", SOUND)
def test_a_chunk_is_as_long_as_its_header_says_and_recognised_without_its_port(data):
    assert framed(opcua, data) == len(data)
    assert framed(opcua, data + data[:9]) == len(data)
    assert probed(opcua, data)
    assert not probed(opcua, b"x" + data)
    assert [framed(opcua, data[:size]) for size in range(8)] == [0] * 8


@pytest.mark.parametrize("data", [b"HTTP", b"HELO", b"MSGX", b"HELC", b"OPNA", b"MSGF\7\0\0\0", b"MSGF\0\0\0\2", b"\0"])
def test_bytes_that_cannot_begin_a_chunk_are_refused(data):
    assert framed(opcua, data) == -1


def test_random_bytes_are_never_taken_for_the_protocol():
    random = np.random.default_rng(1)
    for size in (12, 28, 60, 200):
        assert not any(probed(opcua, random.bytes(size)) for _ in range(500))


# --- who asks what of whom --------------------------------------------------------------------------------------------


def test_sound_chunks_have_no_anomaly():
    assert [Anomaly(int(row(opcua, data)["anomalies"])) for data in SOUND] == [Anomaly(0)] * len(SOUND)
    assert all("anomalies" not in explained(data) for data in SOUND)


def test_hello_is_answered_by_acknowledge_or_error():
    hello, yes, no = row(opcua, HELLO), row(opcua, ACKNOWLEDGE), row(opcua, ERROR)
    assert (hello["kind"], yes["kind"], no["kind"]) == (Kind.REQUEST, Kind.RESPONSE, Kind.RESPONSE)
    assert hello["transaction"] == yes["transaction"] == no["transaction"]
    assert hello["function"] == yes["function"] == no["function"]
    assert (no["refused"], no["status"]) == (1, 0x8082)
    assert explained(HELLO)["opcua.endpoint_url"] == "opc.tcp://plc:4840"
    assert explained(ERROR)["opcua.reason"] == "no"


def test_a_service_and_its_response_are_one_function_and_one_request_id():
    asked, answered = row(opcua, WRITE), row(opcua, answers(t.WRITE, listed(bytes(4)) + listed()))
    assert asked["subfunction"] == answered["subfunction"] == t.WRITE
    assert asked["transaction"] == answered["transaction"] == 3
    assert (asked["expects"], answered["refused"]) == (1, 0)


def test_a_write_tells_node_and_value_and_its_refusal_is_seen_in_the_result():
    fields = explained(WRITE)
    assert (fields["opcua.nodes"], fields["opcua.values"], fields["event.action"]) == (
        ["ns=2;s=Valve"],
        ["-5"],
        "write",
    )
    assert row(opcua, WRITE)["value"] == -5
    refused = row(opcua, answers(t.WRITE, listed(struct.pack("<I", 0x803B0000)) + listed()))
    assert (refused["refused"], refused["status"]) == (1, 0x803B)
    assert explained(answers(t.WRITE, listed(struct.pack("<I", 0x803B0000))))["opcua.results"] == ["BadNotWritable"]


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (1, b"\1", 1), (2, b"\xfe", -2), (5, b"\xff\xff", 65535), (4, b"\xff\xff", -1), (10, struct.pack("<f", 7.6), 8),
        (11, struct.pack("<d", float("nan")), NO_VALUE), (12, text("x"), NO_VALUE), (8, struct.pack("<q", -9), -9),
    ],
)  # fmt: skip
def test_the_first_value_written_is_kept_where_it_is_a_number(kind, raw, expected):
    assert row(opcua, writes(value(kind, raw)))["value"] == expected


def test_writing_another_attribute_than_the_value_is_configuration():
    assert explained(writes(value(3, b"\3"), attribute=17))["event.action"] == Verb.CONFIGURE


def test_what_is_asked_for_makes_a_behaviour_and_the_value_does_not():
    def detail(data: bytes) -> int:
        return int(row(opcua, data)["detail"])

    assert detail(WRITE) == detail(writes(value(6, struct.pack("<i", 99))))
    assert detail(WRITE) != detail(writes(value(6, bytes(4)), where=node("Pump")))
    assert detail(WRITE) != detail(writes(value(6, bytes(4)), attribute=17))
    assert row(opcua, writes(value(1, b"\1"), where=numeric(70, 4)))["object"] == (4 << 32) | 70
    second = listed(*(node(n) + struct.pack("<I", 13) + text(None) + value(1, b"\1") for n in ("A", "B")))
    other = listed(*(node(n) + struct.pack("<I", 13) + text(None) + value(1, b"\1") for n in ("A", "C")))
    assert detail(asks(t.WRITE, second)) != detail(asks(t.WRITE, other))
    assert row(opcua, asks(t.WRITE, second))["quantity"] == 2


def test_a_call_names_object_method_and_arguments():
    fields = explained(CALL)
    assert (fields["opcua.nodes"], fields["opcua.methods"]) == (["i=85"], ["ns=1;i=62541"])
    assert (fields["opcua.values"], fields["event.action"]) == (["now"], Verb.COMMAND)


def test_a_fault_refuses_what_was_asked():
    fault = answers(t.SERVICE_FAULT, status=0x801F0000)
    record = row(opcua, fault)
    assert (record["refused"], record["status"], record["function"]) == (1, 0x801F, row(opcua, WRITE)["function"])
    fields = explained(fault, WRITE)
    assert (fields["opcua.request.service"], fields["event.action"]) == ("write", Verb.WRITE)
    assert fields["opcua.status_name"] == "BadUserAccessDenied"


def test_publish_is_not_expected_to_be_answered_soon():
    assert row(opcua, PUBLISH)["expects"] == 0
    assert row(opcua, answers(t.PUBLISH))["continues"] == 1


def test_a_login_tells_the_user_and_never_the_password():
    fields = explained(LOGIN)
    assert (fields["opcua.user_token"], fields["opcua.user"]) == ("user_name", "anna")
    assert fields["event.action"] == Verb.AUTHENTICATE
    assert "s3cret" not in str(fields)


def test_a_channel_tells_its_policy_and_mode():
    fields = explained(OPEN)
    assert (fields["opcua.security_policy"], fields["opcua.security_mode_name"]) == ("None", "none")
    assert fields["opcua.readable"] is True


@pytest.mark.parametrize("data", [OPEN_SECRET, MESSAGE_SECRET])
def test_of_what_is_encrypted_nothing_is_guessed(data):
    record = row(opcua, data)
    assert (record["kind"], record["subfunction"], record["transaction"]) == (Kind.NONE, -1, -1)
    fields = explained(data)
    assert fields["opcua.readable"] is False
    assert not {"opcua.service", "opcua.request_id", "opcua.sequence_number"} & fields.keys()


def test_a_chunk_that_goes_on_is_named_and_a_later_one_is_not_read():
    assert explained(asks(t.READ, kind="C"))["opcua.chunk"] == "intermediate"
    later = chunk("MSG", struct.pack("<IIII", 9, 1, 53, 3) + b"and so on and so on and so on")
    assert explained(later)["opcua.readable"] is False


def test_a_service_of_nobody_is_an_anomaly():
    head = struct.pack("<IIII", 9, 1, 51, 3)
    assert row(opcua, chunk("MSG", head + type_id(9999) + REQUEST_HEADER))["anomalies"] == Anomaly.UNKNOWN_FUNCTION


def test_a_request_that_is_cut_is_an_anomaly():
    data = asks(t.READ)[:70]
    short = data[:4] + struct.pack("<I", len(data)) + data[8:]
    assert row(opcua, short[:-30] + b"")["anomalies"] & Anomaly.LENGTH


# --- any bytes at all -------------------------------------------------------------------------------------------------


def test_mutated_chunks_are_read_without_an_error_and_explained_with_known_names():
    for count, data in enumerate(mutations(SOUND, 6000, seed=2)):
        framed(opcua, data)
        probed(opcua, data)
        assert row(opcua, data)["kind"] in list(Kind)
        if count % 6 == 0:
            assert explained(data, SOUND[count % len(SOUND)]).keys() <= NAMES


@given(st.sampled_from([s.request for s in t.SERVICES] + [s.response for s in t.SERVICES]), st.binary(max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_contents_of_any_service_are_explained(code, body):
    head = struct.pack("<IIII", 9, 1, 51, 3) + type_id(code)
    data = chunk("MSG", head + (REQUEST_HEADER if code in t.BY_REQUEST else response_header()) + body)
    row(opcua, data)
    assert explained(data, data).keys() <= NAMES


def test_a_list_that_claims_to_be_endless_ends_with_the_chunk():
    null_array = asks(t.WRITE, listed(node("A") + struct.pack("<I", 13) + text(None) + b"\1\x80\xff\xff\xff\x7f"))
    row(opcua, null_array)
    assert "length" in explained(null_array)["anomalies"]


def test_of_a_list_with_thousands_of_members_the_first_are_told():
    many = answers(t.READ, struct.pack("<i", 60000) + value(1, b"\1") * 20000)
    fields = explained(many)
    assert len(fields["opcua.results"]) == len(fields["opcua.values"]) == 64
    assert "anomalies" not in fields


def test_every_service_is_known_by_both_ids_and_has_one_verb():
    assert len(t.BY_REQUEST) == len(t.BY_RESPONSE) == len(t.SERVICES)
    assert not t.BY_REQUEST.keys() & t.BY_RESPONSE.keys()
    assert opcua_kernel.SERVICE_FAULT not in t.BY_REQUEST
