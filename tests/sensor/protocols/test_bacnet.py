"""BACnet/IP: what the layers and services say, what devices put up with, and any bytes at all."""

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
from sensor.protocols import bacnet
from sensor.protocols import bacnet_tables as t
from sensor.schema import BACNET

NAMES = {field.name for field in BACNET} | {"event.action", "anomalies"}
AO3, DEVICE7 = 1 << 22 | 3, 8 << 22 | 7


def bvll(function: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0x81, function, 4 + len(body) if length is None else length) + body


def npdu(apdu: bytes, *, asked: tuple[int, bytes] | None = None, sender: tuple[int, bytes] | None = None) -> bytes:
    control, where = 0, b""
    if asked is not None:
        control, where = 0x20, struct.pack(">HB", asked[0], len(asked[1])) + asked[1]
    if sender is not None:
        control, where = control | 8, where + struct.pack(">HB", sender[0], len(sender[1])) + sender[1]
    return bytes([1, control]) + where + (b"\xff" if asked is not None else b"") + apdu


def sends(apdu: str | bytes, function: int = 0x0A, **way: Any) -> bytes:
    return bvll(function, npdu(bytes.fromhex(apdu) if isinstance(apdu, str) else apdu, **way))


def asks(service: int, parameters: str | bytes = b"", invoke: int = 9, **way: Any) -> bytes:
    raw = bytes.fromhex(parameters) if isinstance(parameters, str) else parameters
    return sends(bytes([0x00, 0x05, invoke, service]) + raw, **way)


def tells(service: int, parameters: str = "", **way: Any) -> bytes:
    return sends(bytes([0x10, service]) + bytes.fromhex(parameters), function=0x0B, **way)


def objid(tag: int, identifier: int) -> str:
    return f"{tag:02x}{identifier:08x}"


READ = asks(12, objid(0x0C, AO3) + "1955")
READ_ACK = sends(f"30090c{objid(0x0C, AO3)} 1955 3e4442480000 3f".replace(" ", ""))
WRITE = asks(15, objid(0x0C, AO3) + "1955" + "3e44424800003f" + "4908")
WRITE_MANY = asks(
    16, objid(0x0C, AO3) + "1e0955" + "2e91012f" + "3908" + "1f" + objid(0x0C, DEVICE7) + "1e096f2e21072f1f"
)
READ_MANY = asks(14, objid(0x0C, DEVICE7) + "1e094d09791f")
RESTART = asks(20, "0900" + "1d0500" + b"geheim"[:4].hex())
SILENCE = asks(17, "0978" + "1901")
I_AM = tells(0, objid(0xC4, DEVICE7) + "220480" + "9100" + "21" + "0f")
WHO_IS = tells(8, "0901" + "1964", asked=(0xFFFF, b""))
COV = tells(2, "0901" + objid(0x1C, DEVICE7) + objid(0x2C, AO3) + "3900" + "4e09552e44424800002f4f")
FILE = asks(7, objid(0xC4, 10 << 22 | 2) + "0e3100" + "6504aabbccdd" + "0f")
SOUND = [
    READ, READ_ACK, WRITE, WRITE_MANY, READ_MANY, RESTART, SILENCE, I_AM, WHO_IS, COV, FILE, sends("20090f"),
    sends("50090f 9102 9128".replace(" ", "")), sends("600909"), sends("710904"), sends("40090101"), sends("41090101"),
    bvll(5, b"\0\x3c"), bvll(0, b"\0\0"), bvll(0, b"\0\x30"), bvll(2, b""), bvll(1, bytes(20)), bvll(3, bytes(10)),
    bvll(8, bytes(6)), bvll(4, bytes([10, 1, 2, 3, 0xBA, 0xC0]) + npdu(bytes([0x10, 8]))),
    bvll(0x0B, bytes([1, 0x80, 0])), bvll(0x0B, bytes([1, 0x80, 1, 0, 5, 0, 6])),
    tells(6, "a47d0b1601b40d0f1e00"), tells(1, objid(0xC4, DEVICE7) + objid(0xC4, AO3) + "750300" + b"AO".hex()),
]  # fmt: skip


def explained(data: bytes, request: bytes | None = None) -> dict[str, Any]:
    return bacnet.explain(data, Kind.NONE, request)


# --- where a message ends, and what it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", SOUND)
def test_a_datagram_is_a_message_and_recognised_without_its_port(data):
    assert framed(bacnet, data) == len(data)
    assert [framed(bacnet, data[:size]) for size in range(4)] == [0] * 4
    assert probed(bacnet, data)
    assert not probed(bacnet, data[:-1])
    assert not probed(bacnet, data + b"\0")


@pytest.mark.parametrize("data", [b"\x82\x0a\0\4", b"\x81\x0d\0\4", b"GET /", b"\0"])
def test_bytes_that_cannot_begin_a_message_are_refused(data):
    assert framed(bacnet, data) == -1


def test_a_message_that_claims_another_length_is_read_to_the_end_of_its_datagram():
    data = bvll(0x0A, npdu(bytes.fromhex("0005091409001d050073657379")), length=17)
    assert framed(bacnet, data) == len(data)
    assert row(bacnet, data)["anomalies"] == Anomaly.LENGTH
    fields = explained(data)
    assert (fields["bacnet.state_name"], fields["anomalies"]) == ("coldstart", ["length"])


def test_random_bytes_are_never_taken_for_the_protocol():
    random = np.random.default_rng(1)
    for size in (4, 6, 12, 60):
        assert not any(probed(bacnet, random.bytes(size)) for _ in range(500))


# --- who asks what of whom --------------------------------------------------------------------------------------------


def test_sound_messages_have_no_anomaly():
    assert [Anomaly(int(row(bacnet, data)["anomalies"])) for data in SOUND] == [Anomaly(0)] * len(SOUND)
    assert all("anomalies" not in explained(data) for data in SOUND)


def test_a_confirmed_request_and_its_answers_share_invoke_id_and_layer():
    asked = row(bacnet, WRITE)
    assert (asked["kind"], asked["expects"], asked["transaction"]) == (Kind.REQUEST, 1, 9)
    for data in (sends("20090f"), sends("50090f91029128"), sends("600909"), sends("710904"), READ_ACK):
        answer = row(bacnet, data)
        assert (answer["kind"], answer["function"], answer["transaction"]) == (Kind.RESPONSE, asked["function"], 9)


@pytest.mark.parametrize(
    ("apdu", "status", "name"),
    [
        ("50090f91029128", 2 << 16 | 40, ("bacnet.error_code_name", "write-access-denied")),
        ("50091c0e910191200f", 1 << 16 | 32, ("bacnet.error_code_name", "unknown-property")),
        ("600909", 0x10000009, ("bacnet.reject_reason_name", "unrecognized-service")),
        ("710904", 0x20000004, ("bacnet.abort_reason_name", "segmentation-not-supported")),
    ],
)
def test_errors_rejects_and_aborts_refuse(apdu, status, name):
    record = row(bacnet, sends(apdu))
    assert (record["refused"], record["status"]) == (1, status)
    fields = explained(sends(apdu), WRITE)
    assert fields[name[0]] == name[1]
    assert (fields["bacnet.object"], fields["event.action"]) == ("analog-output,3", Verb.COMMAND)


def test_a_write_names_object_property_value_and_priority():
    record = row(bacnet, WRITE)
    assert (record["object"], record["value"]) == (AO3 << 22 | 85, 50)
    fields = explained(WRITE)
    assert (fields["bacnet.object"], fields["bacnet.property_name"]) == ("analog-output,3", "present-value")
    assert (fields["bacnet.values"], fields["bacnet.write_priority"]) == (["50.0"], 8)
    assert fields["event.action"] == Verb.COMMAND
    other = asks(15, objid(0x0C, AO3) + "1955" + "3e44426800003f" + "4908")
    assert row(bacnet, other)["detail"] == record["detail"], "another value, the same behaviour"
    higher = asks(15, objid(0x0C, AO3) + "1955" + "3e44424800003f" + "4901")
    assert row(bacnet, higher)["detail"] != record["detail"], "another priority, another behaviour"


def test_several_writes_in_one_are_told_and_hashed_without_their_values():
    fields = explained(WRITE_MANY)
    assert fields["bacnet.objects"] == ["analog-output,3", "device,7"]
    assert fields["bacnet.properties"] == ["present-value", "status-flags"]
    assert (fields["bacnet.values"], fields["event.action"]) == (["1", "7"], Verb.COMMAND)
    record = row(bacnet, WRITE_MANY)
    assert (record["quantity"], record["value"]) == (2, 1)
    other = asks(
        16, objid(0x0C, AO3) + "1e0955" + "2e91002f" + "3908" + "1f" + objid(0x0C, DEVICE7) + "1e096f2e21092f1f"
    )
    assert row(bacnet, other)["detail"] == record["detail"]
    elsewhere = asks(16, objid(0x0C, AO3) + "1e0955" + "2e91012f" + "3908" + "1f" + objid(0x0C, 5) + "1e096f2e21072f1f")
    assert row(bacnet, elsewhere)["detail"] != record["detail"]


@pytest.mark.parametrize(
    ("raw", "value", "text"),
    [
        ("44c1480000", -12, "-12.5"), ("550840c3880000000000", 10000, "10000.0"), ("11", 1, "true"), ("2102", 2, "2"),
        ("31fe", -2, "-2"), ("9103", 3, "3"), ("00", NO_VALUE, "null"), ("7d03004142", NO_VALUE, None),
        ("447f800000", NO_VALUE, "inf"),
    ],
)  # fmt: skip
def test_the_value_of_a_write_is_kept_where_it_is_a_number(raw, value, text):
    data = asks(15, objid(0x0C, 2 << 22) + "1955" + f"3e{raw}3f")
    assert row(bacnet, data)["value"] == value
    if text is not None:
        assert explained(data)["bacnet.values"] == [text]


@pytest.mark.parametrize(
    ("data", "verb"),
    [
        (RESTART, Verb.RESTART), (asks(20, "0904"), Verb.PROGRAM_DOWN), (asks(20, "0902"), Verb.PROGRAM_UP),
        (SILENCE, Verb.SILENCE), (asks(17, "1900"), Verb.CONFIGURE), (FILE, Verb.FILE), (READ, Verb.READ),
        (asks(15, objid(0x0C, 3) + "19553e44424800003f"), Verb.WRITE),
        (asks(15, objid(0x0C, 3) + "19513e113f"), Verb.CONFIGURE),
        (asks(11, objid(0xC4, AO3)), Verb.CONFIGURE), (WHO_IS, Verb.IDENTIFY), (I_AM, Verb.REPORT),
        (tells(6, "a47d0b1601b40d0f1e00"), Verb.TIME_SET), (bvll(1, bytes(10)), Verb.CONFIGURE),
        (bvll(5, b"\0\x3c"), Verb.SESSION), (bvll(0x0B, bytes([1, 0x80, 6, 0])), Verb.CONFIGURE),
    ],
)  # fmt: skip
def test_what_a_service_does_is_one_verb(data, verb):
    assert explained(data)["event.action"] == verb
    assert explained(data).keys() <= NAMES


def test_a_password_is_seen_and_not_kept():
    fields = explained(RESTART)
    assert fields["bacnet.password_given"] is True
    assert "gehe" not in str(fields)
    other = asks(20, "0900" + "1d0500" + b"ande".hex())
    assert row(bacnet, other)["detail"] == row(bacnet, RESTART)["detail"], "guesses are one behaviour"


def test_a_device_tells_who_it_is():
    fields = explained(I_AM)
    assert (fields["bacnet.device_instance"], fields["bacnet.vendor_id"], fields["bacnet.max_apdu"]) == (7, 15, 1152)
    record = row(bacnet, I_AM)
    assert (record["kind"], record["station"]) == (Kind.UNSOLICITED, 7)
    assert row(bacnet, COV)["station"] == 7
    assert explained(COV)["bacnet.values"] == ["50.0"]


def test_a_device_behind_a_router_is_the_same_station_in_question_and_answer():
    asked = row(bacnet, asks(12, objid(0x0C, AO3) + "1955", asked=(13, b"\x3d")))
    answered = row(bacnet, sends("20090f", sender=(13, b"\x3d")))
    assert asked["station"] == answered["station"] == (13 << 48) | 0x3D
    assert row(bacnet, READ)["station"] == -1
    assert explained(sends("20090f", sender=(13, b"\x3d")))["bacnet.source.address"] == "3d"


def test_segments_are_named_and_only_the_first_asks():
    first, later = sends("0c05090004 0f 00".replace(" ", "")), sends("0805090104 0f 00".replace(" ", ""))
    assert (row(bacnet, first)["expects"], row(bacnet, later)["expects"]) == (1, 0)
    assert row(bacnet, first)["transaction"] == 9 != row(bacnet, later)["transaction"]
    assert explained(first)["bacnet.more_follows"] is True
    assert (explained(later)["bacnet.segmented"], explained(later)["bacnet.segment"]) == (True, 1)
    assert row(bacnet, sends("38090104 0c 00".replace(" ", "")))["continues"] == 1
    assert row(bacnet, sends("41090101"))["kind"] == Kind.UNSOLICITED, "it answers no request, that one still waits"


def test_the_link_layer_is_asked_and_refuses():
    asked, refusal = row(bacnet, bvll(2, b"")), row(bacnet, bvll(0, b"\0\x20"))
    assert asked["transaction"] == refusal["transaction"] == row(bacnet, bvll(3, bytes(10)))["transaction"]
    assert (refusal["refused"], row(bacnet, bvll(0, b"\0\0"))["refused"]) == (1, 0)
    assert explained(bvll(0, b"\0\x30"))["bacnet.bvlc_result_name"] == "register-foreign-device-nak"
    assert explained(bvll(3, bytes([10, 1, 2, 3, 0xBA, 0xC0, 255, 255, 255, 0])))["bacnet.table"] == ["10.1.2.3:47808"]
    assert explained(SOUND[24])["bacnet.forwarded_from"] == "10.1.2.3:47808"


@pytest.mark.parametrize(
    ("data", "anomaly"),
    [
        (asks(99), Anomaly.UNKNOWN_FUNCTION), (tells(60), Anomaly.UNKNOWN_FUNCTION), (sends("90090f"), Anomaly.ILLEGAL),
        (asks(12, "0c0040"), Anomaly.LENGTH), (asks(15, "3e"), Anomaly.ILLEGAL), (sends("0005"), Anomaly.LENGTH),
        (bvll(0x0A, b"\2\0\x10\x08"), Anomaly.LENGTH),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_message_is_said(data, anomaly):
    assert row(bacnet, data)["anomalies"] & anomaly
    assert str(anomaly.name).lower() in explained(data)["anomalies"]


# --- any bytes at all -------------------------------------------------------------------------------------------------


def test_mutated_messages_are_read_without_an_error_and_explained_with_known_names():
    for count, data in enumerate(mutations(SOUND, 6000, seed=2)):
        framed(bacnet, data)
        probed(bacnet, data)
        assert row(bacnet, data)["kind"] in (Kind.REQUEST, Kind.RESPONSE, Kind.UNSOLICITED)
        if count % 6 == 0:
            assert explained(data, SOUND[count % len(SOUND)]).keys() <= NAMES


@given(st.sampled_from(sorted(t.CONFIRMED)), st.sampled_from([0x00, 0x30, 0x10, 0x50]), st.binary(max_size=90))
@settings(max_examples=300, deadline=None)
def test_any_parameters_of_any_service_are_explained(service, kind, parameters):
    head = {0x00: [0, 5, 9, service], 0x10: [0x10, service % 15]}.get(kind, [kind, 9, service])
    data = sends(bytes(head) + parameters)
    row(bacnet, data)
    assert explained(data, asks(service, parameters)).keys() <= NAMES


def test_lists_in_lists_end():
    deep = asks(15, "3e" * 400)
    row(bacnet, deep)
    assert explained(deep).keys() <= NAMES
