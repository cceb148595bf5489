"""EtherNet/IP and CIP: what the standard's messages say, and any bytes at all."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import framed, mutations, probed, row

from sensor.decode.pdu import ABSENT, NO_VALUE, Anomaly, Kind
from sensor.operations import Verb
from sensor.protocols import cip_path, cip_tables, enip, enip_kernel, pccc
from sensor.schema import CIP, ENIP

NAMES = {field.name for field in (*ENIP, *CIP)} | {"event.action", "anomalies"}


def message(command: int, body: bytes = b"", session: int = 7, status: int = 0, context: bytes = b"context1") -> bytes:
    """An encapsulated message."""
    return struct.pack("<HHII8sI", command, len(body), session, status, context, 0) + body


def items(*contents: tuple[int, bytes]) -> bytes:
    """A common packet."""
    return struct.pack("<H", len(contents)) + b"".join(
        struct.pack("<HH", kind, len(data)) + data for kind, data in contents
    )


def unconnected(cip: bytes, **header: Any) -> bytes:
    return message(0x6F, struct.pack("<IH", 0, 10) + items((0, b""), (0xB2, cip)), **header)


def connected(cip: bytes, sequence: int = 5, connection: int = 0xABCD, **header: Any) -> bytes:
    address, data = struct.pack("<I", connection), struct.pack("<H", sequence) + cip
    return message(0x70, struct.pack("<IH", 0, 0) + items((0xA1, address), (0xB1, data)), **header)


def asks(service: int, path: str, data: bytes = b"") -> bytes:
    raw = bytes.fromhex(path)
    return bytes([service, len(raw) // 2]) + raw + data


def answers(service: int, data: bytes = b"", status: int = 0, extended: tuple[int, ...] = ()) -> bytes:
    words = struct.pack(f"<{len(extended)}H", *extended)
    return bytes([service | 0x80, 0, status, len(extended)]) + words + data


def tag(*names: str) -> str:
    raw = b"".join(b"\x91" + bytes([len(n)]) + n.encode() + bytes(len(n) % 2) for n in names)
    return raw.hex()


def routed(inner: bytes, route: str = "0100") -> bytes:
    """An Unconnected Send through port 1 to slot 0."""
    way = bytes.fromhex(route)
    data = bytes([5, 157]) + struct.pack("<H", len(inner)) + inner + bytes(len(inner) % 2)
    return asks(0x52, "20062401", data + bytes([len(way) // 2, 0]) + way)


def packet(*requests: bytes) -> bytes:
    """Count, offsets and messages of a Multiple Service Packet."""
    at, offsets = 2 + 2 * len(requests), []
    for request in requests:
        offsets.append(at)
        at += len(request)
    return struct.pack(f"<H{len(offsets)}H", len(requests), *offsets) + b"".join(requests)


IDENTITY_OBJECT = struct.pack("<HHHBBHI", 1, 14, 55, 20, 11, 0x3060, 0x60F0A1B2) + b"\x0b1756-L61/B "
LISTED = struct.pack("<H", 1) + struct.pack(">HH4s8x", 2, 44818, bytes([10, 1, 2, 3])) + IDENTITY_OBJECT + b"\x03"
STOP = asks(0x07, "208e2401")
RESET = asks(0x05, "20012401", b"\x01")
READ = asks(0x4C, tag("Program:Main", "Speed"), struct.pack("<H", 3))
WRITE = asks(0x4D, tag("Valve"), struct.pack("<HHi", 0xC4, 1, -7))
FORWARD_OPEN = asks(
    0x54, "20062401",
    struct.pack("<BBIIHHIBxxxIHIHBB", 10, 14, 0, 0x11223344, 3, 1, 0x0BADCAFE, 2, 8000, 0x43F4, 9000, 0x43F4, 0xA3, 3)
    + bytes.fromhex("010020022401"),
)  # fmt: skip
REGISTER = message(0x65, struct.pack("<HH", 1, 0), session=0)
IO = items((0x8002, struct.pack("<II", 0x1234, 9)), (0xB1, b"\x01\x00abcd"))
SOUND = [
    REGISTER,
    message(0x65, struct.pack("<HH", 1, 0)),
    message(0x63, session=0),
    message(0x63, items((0x0C, LISTED)), session=0),
    message(0x04, items((0x100, struct.pack("<HH16s", 1, 0x20, b"Communications"))), session=0),
    unconnected(STOP),
    unconnected(routed(RESET)),
    unconnected(answers(0x05, status=0x0F)),
    unconnected(FORWARD_OPEN),
    connected(READ),
    connected(answers(0x4C, struct.pack("<Hh", 0xC3, -2))),
    connected(WRITE),
    connected(asks(0x0A, "20022401", packet(READ, STOP))),
    connected(answers(0x0A, packet(answers(0x4C, b"\xc3\0\1\0"), answers(0x07, status=0x10)), status=0x1E)),
    IO,
]
PROBED = [data for data in SOUND if data]


def explained(data: bytes, request: bytes | None = None) -> dict[str, Any]:
    return enip.explain(data, Kind.NONE, request)


# --- where a message ends, and what it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", SOUND)
def test_a_message_is_as_long_as_its_header_says_whatever_follows(data):
    assert framed(enip, data) == len(data)
    assert framed(enip, data + data[:7]) == len(data)


@pytest.mark.parametrize(
    "data", [b"GET / HT", b"\x16\x03\x01", b"\x03\0\0\x16", b"\x65\x01", b"\x02\0\3\x80", b"\x81\x0a"]
)
def test_other_protocols_cannot_begin_a_message(data):
    assert framed(enip, data) == -1


@given(st.sampled_from(SOUND).flatmap(lambda m: st.tuples(st.just(m), st.binary(max_size=4), st.integers(0, 40))))
@settings(max_examples=150, deadline=None)
def test_more_bytes_never_change_the_answer_about_a_message(drawn):
    whole, other, at = drawn
    data = (whole[:at] + other + whole[at + len(other) :])[:60]
    given_answers = [framed(enip, data[:size]) for size in range(len(data) + 1)]
    settled = [answer for answer in given_answers if answer]
    assert len(set(settled)) <= 1
    assert given_answers == [0] * (len(given_answers) - len(settled)) + settled


@pytest.mark.parametrize("data", PROBED)
def test_a_message_is_recognised_without_its_port_and_only_if_its_items_fill_it(data):
    assert probed(enip, data)
    assert not probed(enip, data[:20])
    assert not probed(enip, b"\x01" + data[1:])


def test_random_bytes_are_never_taken_for_the_protocol():
    random = np.random.default_rng(1)
    for size in (24, 28, 60, 200):
        for _ in range(500):
            assert not probed(enip, random.bytes(size))


# --- who asks what of whom --------------------------------------------------------------------------------------------


def test_requests_and_responses_are_told_apart_by_what_they_hold():
    kinds = [Kind(int(row(enip, data)["kind"])) for data in SOUND]
    asked, answered = Kind.REQUEST, Kind.RESPONSE
    assert kinds == [
        asked, answered, asked, answered, answered, asked, asked, answered, asked, asked, answered, asked, asked,
        answered, Kind.UNSOLICITED,
    ]  # fmt: skip
    assert [Anomaly(int(row(enip, data)["anomalies"])) for data in SOUND] == [Anomaly(0)] * len(SOUND)


def test_a_connected_request_is_paired_by_its_sequence_count_and_others_by_the_sender_context():
    assert row(enip, connected(READ, sequence=9))["transaction"] == 9
    assert row(enip, connected(answers(0x4C), sequence=9))["transaction"] == 9
    one, other = row(enip, unconnected(STOP)), row(enip, unconnected(answers(0x07)))
    assert one["transaction"] == other["transaction"] > 1 << 62
    assert row(enip, unconnected(STOP, context=b"context2"))["transaction"] != one["transaction"]
    assert one["function"] == other["function"] == 0x6F
    assert one["subfunction"] == other["subfunction"] == 7


def test_an_unconnected_send_is_read_as_what_it_carries():
    record = row(enip, unconnected(routed(RESET)))
    assert (record["subfunction"], record["object"] >> 47) == (5, 1)
    assert record["detail"] != row(enip, unconnected(routed(RESET, "0103")))["detail"], "another slot, another device"
    fields = explained(unconnected(routed(RESET)))
    assert fields["cip.service_name"] == "reset"
    assert fields["cip.class_name"] == "identity"
    assert fields["cip.route"] == "1/0"
    assert fields["event.action"] == Verb.RESTART


def test_a_router_that_cannot_pass_a_message_on_answers_in_its_own_name():
    asked, refusal = unconnected(routed(RESET)), unconnected(answers(0x52, status=1, extended=(0x0204,)))
    record = row(enip, refusal)
    assert (record["refused"], record["status"]) == (1, 0x0204_01)
    fields = explained(refusal, asked)
    assert fields["cip.service_name"] == "unconnected_send"
    assert fields["cip.extended_status_name"] == "unconnected_request_timed_out"
    assert fields["event.action"] == Verb.RESTART


def test_values_are_not_part_of_what_is_asked_but_paths_are():
    def detail(value: int, name: str) -> int:
        return int(row(enip, connected(asks(0x4D, tag(name), struct.pack("<HHi", 0xC4, 1, value))))["detail"])

    assert detail(1, "Valve") == detail(2, "Valve")
    assert detail(1, "Valve") != detail(1, "Pump1")


@pytest.mark.parametrize(
    ("data_type", "raw", "value", "text"),
    [
        (0xC4, struct.pack("<i", -7), -7, "-7"),
        (0xC3, struct.pack("<h", -2), -2, "-2"),
        (0xC7, b"\xff\xff", 65535, "65535"),
        (0xC1, b"\x01", 1, "1"),
        (0xCA, struct.pack("<f", -12.75), -13, "-12.75"),
        (0xCA, struct.pack("<f", float("inf")), NO_VALUE, "inf"),
        (0xCB, struct.pack("<d", 2.5e6), 2_500_000, "2500000.0"),
    ],
)
def test_a_value_that_is_written_and_read_back_is_the_same(data_type, raw, value, text):
    write = connected(asks(0x4D, tag("T"), struct.pack("<HH", data_type, 1) + raw))
    back = connected(answers(0x4C, struct.pack("<H", data_type) + raw))
    assert row(enip, write)["value"] == row(enip, back)["value"] == value
    fields = explained(write)
    assert (fields["cip.values"], fields["cip.tag"], fields["event.action"]) == ([text], "T", Verb.WRITE)
    assert explained(back, connected(asks(0x4C, tag("T"), b"\1\0")))["cip.values"] == [text]


def test_a_read_of_a_tag_in_a_program_is_told_in_words():
    record = row(enip, connected(READ))
    assert (record["quantity"], record["object"]) == (3, ABSENT)
    fields = explained(connected(READ))
    assert (fields["cip.tag"], fields["cip.element_count"]) == ("Program:Main.Speed", 3)
    assert (fields["cip.service_name"], fields["event.action"]) == ("read_tag", Verb.READ)


def test_a_packet_of_several_services_is_named_by_the_heaviest():
    asked = connected(asks(0x0A, "20022401", packet(READ, STOP)))
    fields = explained(asked)
    assert row(enip, asked)["quantity"] == fields["cip.contained.count"] == 2
    assert fields["cip.contained.services"] == [0x4C, 7]
    assert fields["cip.contained.names"] == ["read_tag", "stop"]
    assert fields["cip.contained.paths"] == ["Program:Main.Speed", "class 0x8E instance 1"]
    assert fields["cip.contained.actions"] == ["read", "stop"]
    assert fields["cip.targets"] == ["class 0x8E instance 1"]
    assert fields["event.action"] == Verb.STOP
    answer = connected(answers(0x0A, packet(answers(0x4C, b"\xc3\0\1\0"), answers(0x07, status=0x10)), status=0x1E))
    assert explained(answer, asked)["cip.contained.statuses"] == [0, 0x10]
    assert explained(answer, asked)["event.action"] == Verb.STOP
    other = connected(asks(0x0A, "20022401", packet(READ, RESET)))
    assert row(enip, asked)["detail"] != row(enip, other)["detail"]


def test_a_connection_is_told_with_its_path_and_intervals():
    fields = explained(unconnected(FORWARD_OPEN))
    assert fields["cip.connection.path"] == "1/0 class 0x02 instance 1"
    assert (fields["cip.connection.o_t_interval"], fields["cip.connection.t_o_interval"]) == (8000, 9000)
    assert fields["cip.connection.originator_serial"] == "0BADCAFE"
    assert fields["cip.connection.transport_class"] == 3
    answer = unconnected(answers(0x54, struct.pack("<IIHHIIIxx", 1, 2, 3, 1, 4, 8000, 9000)))
    fields = explained(answer, unconnected(FORWARD_OPEN))
    assert (fields["cip.connection.o_t_id"], fields["cip.connection.t_o_id"]) == (1, 2)


def test_a_device_that_is_listed_tells_who_it_is():
    listed = message(0x63, items((0x0C, LISTED)), session=0)
    fields = explained(listed)
    assert fields["enip.identity.address"] == "10.1.2.3"
    assert fields["enip.identity.vendor"] == "Rockwell Automation/Allen-Bradley"
    assert fields["enip.identity.device_type_name"] == "programmable_logic_controller"
    assert (fields["enip.identity.product_code"], fields["enip.identity.revision"]) == (55, "20.11")
    assert fields["enip.identity.serial_number"] == "60F0A1B2"
    assert (fields["enip.identity.product_name"], fields["enip.identity.state"]) == ("1756-L61/B ", 3)
    record = row(enip, listed)
    assert (record["continues"], row(enip, message(0x63, session=0))["expects"]) == (1, 0), "asked by broadcast"
    asked = unconnected(asks(0x01, "20012401"))
    same = explained(unconnected(answers(0x01, IDENTITY_OBJECT)), asked)
    assert same["enip.identity.product_name"] == "1756-L61/B "
    assert same["event.action"] == Verb.IDENTIFY


@pytest.mark.parametrize(
    ("request_path", "service", "data", "verb"),
    [
        ("20012401", 0x05, b"\0", Verb.RESTART),
        ("208e2401", 0x06, b"", Verb.START),
        ("208e2401", 0x07, b"", Verb.STOP),
        ("20682401206a2402", 0x50, b"code", Verb.PROGRAM_DOWN),
        ("206a2402", 0x4F, b"", Verb.PROGRAM_UP),
        ("20682401", 0x09, b"", Verb.PROGRAM_DOWN),
        ("208b2401", 0x04, b"\1\0\6\0abcd", Verb.TIME_SET),
        ("20f524013005", 0x10, b"\n\1\2\3", Verb.CONFIGURE),
        ("200424643003", 0x10, b"\1", Verb.WRITE),
        ("200424643003", 0x0E, b"", Verb.READ),
        ("206b2400", 0x55, b"", Verb.IDENTIFY),
        ("20672401", 0x4B, b"\7\1\0\1\2\3\4" + b"\x0f\0\1\0\x80\1", Verb.STOP),
        ("20672401", 0x4B, b"\7\1\0\1\2\3\4" + b"\x0f\0\1\0\x80\6", Verb.START),
        ("20672401", 0x4B, b"\7\1\0\1\2\3\4" + b"\x0f\0\1\0\xa2\2\7\x89\0\0", Verb.READ),
        ("20992401", 0x4B, b"", Verb.UNKNOWN),
    ],
)
def test_what_a_service_does_depends_on_the_object(request_path, service, data, verb):
    fields = explained(unconnected(asks(service, request_path, data)))
    assert fields["event.action"] == verb
    assert "anomalies" not in fields
    assert fields.keys() <= NAMES


def test_pccc_is_told_with_its_file_and_its_refusal_is_one():
    command = asks(0x4B, "20672401", b"\7\1\0\1\2\3\4" + b"\x0f\0\x34\x12\xaa\2\7\x89\5\0\x2a\0")
    fields = explained(unconnected(command))
    assert (fields["cip.pccc.name"], fields["cip.pccc.address"]) == ("protected_typed_logical_write_3", "N7:5")
    refusal = unconnected(answers(0x4B, b"\7\1\0\1\2\3\4" + b"\x4f\x10\x34\x12"))
    assert row(enip, refusal)["refused"] == 1
    fields = explained(refusal, unconnected(command))
    assert fields["cip.pccc.status_name"] == "illegal_command_or_format"
    assert fields["event.action"] == Verb.WRITE


def test_a_refusal_names_its_status_and_more_data_is_none():
    refused = unconnected(answers(0x07, status=0x0F))
    assert row(enip, refused)["refused"] == 1
    assert explained(refused)["cip.status_name"] == "privilege_violation"
    assert row(enip, connected(answers(0x52, status=6)))["refused"] == 0
    rejected = message(0x6F, status=0x64)
    record = row(enip, rejected)
    assert (record["kind"], record["refused"], record["status"]) == (Kind.RESPONSE, 1, 0x2000064)
    assert explained(rejected)["enip.status_name"] == "invalid_session_handle"


@pytest.mark.parametrize(
    ("data", "anomaly"),
    [
        (unconnected(STOP) + b"x", Anomaly.LENGTH),
        (unconnected(asks(0x7F, "20012401")), Anomaly.UNKNOWN_FUNCTION),
        (unconnected(bytes([0x0E, 9, 0x20])), Anomaly.LENGTH),
        (unconnected(asks(0x0E, "2001ff01")), Anomaly.ILLEGAL),
        (REGISTER[:20] + b"\1\0\0\0" + REGISTER[24:], Anomaly.ILLEGAL),
    ],
)
def test_what_is_wrong_with_a_message_is_said(data, anomaly):
    assert row(enip, data)["anomalies"] & anomaly
    assert str(anomaly.name).lower() in explained(data)["anomalies"]


def test_implicit_io_is_named_by_its_connection():
    record = row(enip, IO)
    assert (record["function"], record["object"]) == (enip_kernel.IMPLICIT_IO, 0x1234)
    assert explained(IO)["enip.io.sequence"] == 9


def test_paths_are_told_in_words_and_walked_the_same():
    raw = bytes.fromhex("0100 2006 2401".replace(" ", ""))
    assert cip_path.sentence(cip_path.segments(raw)) == "1/0 class 0x06 instance 1"
    wide = bytes.fromhex("21006b03 26000a0b0c0d 30 01".replace(" ", ""))
    assert cip_path.sentence(cip_path.segments(wide)) == "class 0x36B instance 218893066 attribute 1"
    assert cip_path.walk(np.frombuffer(wide, np.uint8), 0, len(wide)) == (0x36B, 0x0D0C0B0A, 1, 0, 1)
    address = b"\x12\x0c192.168.1.20"
    assert cip_path.sentence(cip_path.segments(address)) == "2/192.168.1.20"
    member = bytes.fromhex(tag("Array")) + b"\x28\x05"
    assert cip_path.sentence(cip_path.segments(member)) == "Array[5]"


# --- any bytes at all -------------------------------------------------------------------------------------------------


def test_mutated_messages_are_read_without_an_error_and_explained_with_known_names():
    for count, data in enumerate(mutations(SOUND, 6000, seed=2)):
        framed(enip, data)
        probed(enip, data)
        record = row(enip, data)
        assert record["kind"] in (Kind.REQUEST, Kind.RESPONSE, Kind.UNSOLICITED)
        if count % 8 == 0:
            assert explained(data, SOUND[count % len(SOUND)]).keys() <= NAMES


@given(st.binary(max_size=80), st.sampled_from([0x6F, 0x70]))
@settings(max_examples=200, deadline=None)
def test_any_contents_are_explained(body, command):
    data = message(command, struct.pack("<IH", 0, 0) + items((0xA1, b"abcd"), (0xB1, b"\1\0" + body)))
    assert explained(data, data).keys() <= NAMES
    row(enip, data)


def test_every_verb_has_a_weight_and_every_code_a_name():
    assert sorted(cip_tables.WEIGHT) == sorted(Verb)
    for code in range(128):
        for class_id in (None, *cip_tables.OBJECT_SERVICES):
            name, verb = cip_tables.service(code, class_id, tag=False)
            assert name
            assert isinstance(verb, Verb)
    assert pccc.explain(b"\x0f\0\1\0\x07")[1] == Verb.STOP
