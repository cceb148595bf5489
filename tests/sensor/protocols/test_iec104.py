"""IEC 60870-5-104: what each kind of APDU says, and any bytes at all."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import framed, mutations, probed, row

from sensor.decode.pdu import ABSENT, MAY_BE_ANSWERED, NO_VALUE, Anomaly, Kind
from sensor.operations import Verb
from sensor.protocols import iec104
from sensor.protocols.iec104_tables import CAUSES, STOPDT, TESTFR, TYPES, VARIABLE
from sensor.schema import IEC104

NAMES = {field.name for field in IEC104} | {"event.action", "anomalies"}
STARTDT = bytes.fromhex("680407000000")


def apdu(asdu: bytes, sent: int = 0, received: int = 0) -> bytes:
    """An ASDU in the I format."""
    return struct.pack("<BBHH", 0x68, 4 + len(asdu), sent << 1, received << 1) + asdu


def asdu(kind: int, cause: int, *objects: tuple[int, bytes], station: int = 3, originator: int = 0) -> bytes:
    """Objects with an address each."""
    body = b"".join(struct.pack("<I", address)[:3] + elements for address, elements in objects)
    return struct.pack("<BBBBH", kind, len(objects), cause, originator, station) + body


def message(kind: int, cause: int, *objects: tuple[int, bytes], **more: Any) -> bytes:
    return apdu(asdu(kind, cause, *objects, **more))


def explained(data: bytes, kind: Kind = Kind.REQUEST) -> dict[str, Any]:
    fields = iec104.explain(data, kind)
    assert fields.keys() <= NAMES
    return fields


ON, SELECT_ON = b"\x01", b"\x81"
SINGLE_COMMAND = message(45, 6, (5000, ON))
MESSAGES = [
    STARTDT,
    bytes.fromhex("680401000400"),
    SINGLE_COMMAND,
    message(50, 7, (7, struct.pack("<fB", 2.5, 0))),
    message(100, 6, (0, b"\x14")),
    message(36, 3, (9, struct.pack("<fB", 1e9, 0x80) + bytes(7)), (10, struct.pack("<fB", -1, 0) + bytes(7))),
    apdu(bytes.fromhex("0183 1400 0300 0a0000 00 01 10")),
    message(122, 13, (1, b"\x05\x00\x01\x04")),
]


def test_a_message_is_as_long_as_its_length_octet_says() -> None:
    assert framed(iec104, SINGLE_COMMAND) == len(SINGLE_COMMAND) == 16
    assert framed(iec104, SINGLE_COMMAND[:2]) == 16, "the rest may come later"
    assert framed(iec104, SINGLE_COMMAND + STARTDT) == 16
    assert framed(iec104, b"\x68") == 0
    assert framed(iec104, b"\x68\x03") == -1
    assert framed(iec104, b"\x69\x04") == -1


def test_a_command_is_a_request_that_waits_for_its_confirmation() -> None:
    asked = row(iec104, SINGLE_COMMAND)
    assert (asked.kind, asked.expects, asked.station, asked.object, asked.value) == (Kind.REQUEST, 1, 3, 5000, 1)
    assert (asked.function, asked.subfunction, asked.quantity) == (45, 6, 1)
    confirmed = row(iec104, message(45, 7, (5000, ON)))
    assert (confirmed.kind, confirmed.refused, confirmed.continues) == (Kind.RESPONSE, 0, 0)
    assert (confirmed.transaction, confirmed.station) == (asked.transaction, asked.station)
    ended = row(iec104, message(45, 10, (5000, ON)))
    assert (ended.kind, ended.continues) == (Kind.RESPONSE, 1)
    assert row(iec104, message(45, 6, (5001, ON))).transaction != asked.transaction


@pytest.mark.parametrize(("cause", "status"), [(0x47, 7), (0x49, 9), (44, 44), (45, 45), (46, 46), (0x6F, 47)])
def test_a_negative_confirmation_and_the_causes_of_the_unknown_refuse(cause: int, status: int) -> None:
    answer = row(iec104, message(45, cause, (5000, ON)))
    assert (answer.kind, answer.refused, answer.status) == (Kind.RESPONSE, 1, status)
    fields = explained(message(45, cause, (5000, ON)), Kind.RESPONSE)
    assert fields["iec104.cause"] == CAUSES[status]
    assert fields["iec104.negative"] == (cause & 0x40 > 0)


def test_selecting_and_executing_are_different_behaviours() -> None:
    selects, executes = row(iec104, message(45, 6, (1, SELECT_ON))), row(iec104, SINGLE_COMMAND)
    assert (selects.subfunction, executes.subfunction) == (6 | 1 << 8, 6)
    assert explained(message(45, 6, (1, SELECT_ON)))["iec104.select"] is True
    point = struct.pack("<fB", 2.5, 0x80)
    assert row(iec104, message(50, 6, (1, point))).subfunction == 6 | 1 << 8


def test_a_deactivation_does_not_answer_an_activation() -> None:
    assert row(iec104, message(45, 9, (5000, ON))).transaction != row(iec104, SINGLE_COMMAND).transaction
    assert row(iec104, message(45, 9, (5000, ON))).transaction == row(iec104, message(45, 8, (5000, ON))).transaction


def test_the_value_of_a_command_is_no_part_of_its_behaviour_but_its_qualifier_and_originator_are() -> None:
    details = [
        int(row(iec104, data).detail)
        for data in (
            message(45, 6, (5000, b"\x00")),
            SINGLE_COMMAND,
            message(45, 6, (5000, b"\x05")),
            message(45, 6, (5000, ON), originator=9),
            message(45, 6, (5000, ON), (5001, ON)),
        )
    ]
    assert details[0] == details[1]
    assert len(set(details)) == 4


def test_a_broadcast_waits_for_nobody_because_each_station_answers_with_its_own_address() -> None:
    assert row(iec104, message(103, 6, (0, bytes(7)), station=0xFFFF)).expects == MAY_BE_ANSWERED
    assert row(iec104, message(103, 7, (0, bytes(7)))).continues == 1, "it may answer the broadcast"
    assert row(iec104, message(103, 6, (0, bytes(7)))).expects == 1


def test_data_that_a_station_sends_is_unsolicited() -> None:
    for cause in (1, 2, 3, 5, 11, 20, 37):
        assert row(iec104, message(13, cause, (1, struct.pack("<fB", 4.4, 0)))).kind == Kind.UNSOLICITED


@pytest.mark.parametrize(
    ("kind", "elements", "value", "text"),
    [
        (1, "01", 1, "on"),
        (3, "02", 2, "on"),
        (5, "7f00", -1, "-1"),
        (7, "7856341200", 0x12345678, "0x12345678"),
        (9, "008000", -32768, "-1"),
        (11, "feff00", -2, "-2"),
        (13, "0000204100", 10, "10"),
        (13, "0000c07f00", NO_VALUE, "nan"),
        (15, "ffffffff00", -1, "-1"),
        (46, "02", 2, "on"),
        (47, "01", 1, "lower"),
        (48, "004000", 16384, "0.5"),
        (49, "0a0000", 10, "10"),
        (50, "0000c0bf00", -2, "-1.5"),
        (51, "01000000", 1, "0x00000001"),
    ],
)
def test_values_are_read_as_their_type_has_them(kind: int, elements: str, value: int, text: str) -> None:
    data = message(kind, 3 if kind < 45 else 6, (1, bytes.fromhex(elements)))
    assert row(iec104, data).value == value
    assert row(iec104, data).anomalies == 0
    assert explained(data)["iec104.values"] == [text]


def test_a_sequence_carries_one_address_for_all_its_elements() -> None:
    data = apdu(bytes.fromhex("0183 1400 0300 0a0000 00 01 10"))
    fields = explained(data, Kind.UNSOLICITED)
    assert fields["iec104.addresses"] == [10, 11, 12]
    assert fields["iec104.values"] == ["off", "on", "off"]
    assert fields["iec104.qualities"] == ["good", "good", "blocked"]
    assert (row(iec104, data).object, row(iec104, data).quantity, row(iec104, data).anomalies) == (10, 3, 0)


@pytest.mark.parametrize(
    ("act", "con", "verb"), [(0x07, 0x0B, Verb.SESSION), (0x13, 0x23, Verb.SILENCE), (0x43, 0x83, Verb.SESSION)]
)
def test_controls_of_the_connection_are_asked_and_confirmed(act: int, con: int, verb: Verb) -> None:
    asks, confirms = bytes([0x68, 4, act, 0, 0, 0]), bytes([0x68, 4, con, 0, 0, 0])
    asked, confirmed = row(iec104, asks), row(iec104, confirms)
    assert (asked.kind, asked.expects, confirmed.kind) == (Kind.REQUEST, 1, Kind.RESPONSE)
    assert (asked.function, asked.transaction) == (confirmed.function, confirmed.transaction)
    assert explained(asks)["event.action"] == explained(confirms, Kind.RESPONSE)["event.action"] == verb
    assert explained(confirms, Kind.RESPONSE)["iec104.control"].endswith("_con")


def test_several_controls_at_once_are_none() -> None:
    both = row(iec104, bytes.fromhex("680447000000"))
    assert both.anomalies == Anomaly.UNKNOWN_FUNCTION
    assert both.function not in (STOPDT, TESTFR)


@pytest.mark.parametrize(
    ("data", "anomaly"),
    [
        (SINGLE_COMMAND[:-1], Anomaly.LENGTH),
        (apdu(asdu(45, 6, (1, b"\x01\x01"))), Anomaly.LENGTH),
        (apdu(asdu(45, 3, (1, ON))), Anomaly.ILLEGAL),
        (apdu(asdu(1, 6, (1, ON))), Anomaly.ILLEGAL),
        (apdu(asdu(45, 0, (1, ON))), Anomaly.ILLEGAL),
        (apdu(asdu(22, 3, (1, ON))), Anomaly.UNKNOWN_FUNCTION),
        (bytes.fromhex("680401010400"), Anomaly.ILLEGAL),
        (bytes.fromhex("68050100040000"), Anomaly.LENGTH),
        (bytes.fromhex("680407000001"), Anomaly.ILLEGAL),
    ],
)
def test_what_the_standard_forbids_is_said(data: bytes, anomaly: Anomaly) -> None:
    assert Anomaly(int(row(iec104, data).anomalies)) == anomaly
    assert explained(data)["anomalies"] == [anomaly.name.lower()]


def test_an_unknown_type_is_still_asked_and_refused() -> None:
    asked, refused = row(iec104, message(200, 6, (1, ON))), row(iec104, message(200, 0x40 | 44, (1, ON)))
    assert (asked.kind, refused.kind, refused.refused) == (Kind.REQUEST, Kind.RESPONSE, 1)
    assert explained(message(200, 6, (1, ON)))["iec104.type_name"] == "private"


def test_every_type_has_a_verb_and_those_that_act_are_told_apart() -> None:
    verbs = {
        kind: explained(message(kind, 6, (1, bytes(max(it.size, 4)))))["event.action"] for kind, it in TYPES.items()
    }
    assert {verbs[kind] for kind in (45, 46, 47, 48, 49, 50, 51, 58, 63)} == {"command"}
    assert (verbs[100], verbs[103], verbs[105], verbs[110], verbs[127]) == (
        "read", "time-set", "restart", "configure", "file",
    )  # fmt: skip
    assert explained(message(101, 6, (0, b"\x85")))["event.action"] == "write", "it resets the counters"
    assert explained(message(101, 6, (0, b"\x05")))["event.action"] == "read"


def test_times_and_files_are_spelled_out() -> None:
    clock = struct.pack("<HBBBBB", 30_250, 15, 13, 22 | 7 << 5, 11, 26)
    assert explained(message(103, 6, (0, clock)))["iec104.time"] == "2026-11-22T13:15:30.250"
    fields = explained(message(122, 13, (1, b"\x05\x00\x01\x04")))
    assert (fields["iec104.file.name"], fields["iec104.file.operation"]) == (5, "delete_file")
    assert row(iec104, message(122, 13, (1, b"\x05\x00\x01\x04"))).subfunction == 13 | 4 << 8


@pytest.mark.parametrize("data", MESSAGES)
def test_sound_messages_are_recognised_alone_and_before_another(data: bytes) -> None:
    assert probed(iec104, data)
    assert probed(iec104, data + STARTDT)
    assert not probed(iec104, data + b"\x00")
    assert not probed(iec104, data[:-1])


@pytest.mark.parametrize("other", [b"http://a", b"hello, this is text" * 9, bytes.fromhex("68040000"), b"\x68" * 64])
def test_other_things_are_not_recognised(other: bytes) -> None:
    assert not probed(iec104, other)


def test_noise_is_not_recognised() -> None:
    noise = np.random.default_rng(1).integers(0, 256, 200_000, dtype=np.uint8)
    noise[::5] = 0x68
    assert not any(bool(iec104.probe(noise, at, min(at + 64, len(noise)))) for at in range(0, len(noise), 5))


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=250).map(lambda body: apdu(body[:249]))))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_reading_fail(data: bytes) -> None:
    record = row(iec104, data)
    assert record.kind in (Kind.REQUEST, Kind.RESPONSE, Kind.UNSOLICITED)
    assert (record.transaction == ABSENT) or record.transaction >= 0
    explained(data, Kind(int(record.kind)))
    assert -1 <= framed(iec104, data) <= 257


def test_mutated_messages_are_read_and_explained_alike() -> None:
    for data in mutations(MESSAGES, 3000, seed=104):
        record = row(iec104, data)
        fields = explained(data, Kind(int(record.kind)))
        assert sorted(fields.get("anomalies", [])) == sorted(
            str(bit.name).lower() for bit in Anomaly(int(record.anomalies))
        )
        if probed(iec104, data) and len(data) == framed(iec104, data):
            assert not record.anomalies, "what is recognised is sound"


def test_each_size_in_the_table_is_what_a_whole_object_takes() -> None:
    for kind, it in TYPES.items():
        if it.size != VARIABLE:
            data = message(kind, 3, (1, bytes(it.size)), (2, bytes(it.size)))
            assert not Anomaly(int(row(iec104, data).anomalies)) & Anomaly.LENGTH, it.name
