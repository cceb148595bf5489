"""GOOSE: who publishes what, and what a publisher must not leave out."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ber import ber, integer
from support.kernels import framed, mutations, row

from sensor.decode.pdu import Anomaly, Kind
from sensor.protocols import goose
from sensor.schema import GOOSE

NAMES = {field.name for field in GOOSE} | {"event.action", "anomalies"}
FIELDS: dict[int, bytes] = {
    0x80: b"IED1/LLN0$GO$gcb01",
    0x81: (2000).to_bytes(2, "big"),
    0x82: b"IED1/LLN0$trips",
    0x83: b"trips",
    0x84: bytes.fromhex("5c53d68a3604350a"),
    0x85: b"\x07",
    0x86: b"\x2a",
    0x87: b"\x00",
    0x88: b"\x03",
    0x89: b"\x00",
    0x8A: b"\x02",
    0xAB: ber(0x83, b"\x01") + ber(0x84, b"\x06\x80"),
}


def message(
    fields: dict[int, bytes] | None = None, *, appid: int = 0x3001, reserved: int = 0, tag: int = 0x61
) -> bytes:
    """A message with these fields in their order."""
    body = ber(tag, *(ber(name, data) for name, data in (FIELDS if fields is None else fields).items()))
    return struct.pack(">HHHH", appid, 8 + len(body), reserved, 0) + body


def without(name: int) -> dict[int, bytes]:
    return {key: data for key, data in FIELDS.items() if key != name}


def explained(data: bytes) -> dict[str, Any]:
    fields = goose.explain(data, Kind.UNSOLICITED)
    assert fields.keys() <= NAMES
    return fields


def test_a_publisher_is_named_with_its_state_and_its_values() -> None:
    record = row(goose, message())
    assert (record.kind, record.station, record.function, record.subfunction) == (Kind.UNSOLICITED, 0x3001, 1, 0)
    assert (record.value, record.transaction, record.object, record.quantity) == (7, 42, 3, 2)
    assert record.anomalies == 0
    fields = explained(message())
    assert fields["goose.control_block"] == "IED1/LLN0$GO$gcb01"
    assert fields["goose.values"] == ["true", "0b10"]
    assert fields["goose.time"] == "2019-02-01T05:18:02.211001Z"
    assert (fields["goose.state_number"], fields["goose.sequence_number"]) == (7, 42)


def test_repetitions_and_changes_of_state_are_one_behaviour_and_another_publisher_is_not() -> None:
    def detail(**changed: bytes) -> int:
        return int(row(goose, message(FIELDS | {int(name[1:], 16): data for name, data in changed.items()})).detail)

    assert detail(x85=b"\x08", x86=b"\x00", xab=ber(0x83, b"\x00") * 2) == detail()
    assert detail(x80=b"IED2/LLN0$GO$gcb01") != detail()
    assert detail(x82=b"IED1/LLN0$other") != detail()


def test_simulation_is_told_by_the_header_or_by_the_test_flag_and_is_another_behaviour() -> None:
    for data in (message(reserved=0x8000), message(FIELDS | {0x87: b"\xff"})):
        assert row(goose, data).subfunction == 1
        assert explained(data)["goose.simulation"] is True
    assert row(goose, message(FIELDS | {0x89: b"\x01"})).subfunction == 2
    assert explained(message())["goose.simulation"] is False


@pytest.mark.parametrize("name", [0x80, 0x81, 0x82, 0x84, 0x85, 0x86, 0x88, 0x8A, 0xAB])
def test_a_mandatory_field_that_is_missing_is_illegal(name: int) -> None:
    record = row(goose, message(without(name)))
    assert Anomaly(int(record.anomalies)) == Anomaly.ILLEGAL
    assert record.subfunction == 4, "so that it does not hide among the publisher's sound messages"


@pytest.mark.parametrize("name", [0x83, 0x87, 0x89])
def test_fields_with_a_default_and_the_id_may_be_missing(name: int) -> None:
    assert row(goose, message(without(name))).anomalies == 0


def test_fields_out_of_order_or_twice_are_illegal() -> None:
    swapped = dict(sorted(FIELDS.items(), reverse=True))
    assert row(goose, message(swapped)).anomalies & Anomaly.ILLEGAL
    body = ber(0x61, *(ber(name, data) for name, data in FIELDS.items()), ber(0xAB, FIELDS[0xAB]))
    twice = struct.pack(">HHHH", 1, 8 + len(body), 0, 0) + body
    assert row(goose, twice).anomalies & Anomaly.ILLEGAL


def test_counts_and_lengths_that_lie_are_said() -> None:
    assert row(goose, message(FIELDS | {0x8A: b"\x03"})).anomalies == Anomaly.LENGTH
    assert row(goose, message()[:-2]).anomalies & Anomaly.LENGTH
    assert row(goose, message() + b"\x00").anomalies & Anomaly.LENGTH
    assert row(goose, message(tag=0x62)).anomalies & Anomaly.UNKNOWN_FUNCTION


def test_padding_behind_a_message_is_no_part_of_it() -> None:
    data = message()
    assert framed(goose, data + bytes(20)) == len(data)
    assert framed(goose, data[:7]) == 0
    assert framed(goose, data[:2] + b"\x00\x07" + data[4:]) == -1


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_reading_fail(data: bytes, headed: bool) -> None:
    data = struct.pack(">HHHH", 1, 8 + len(data), 0, 0) + data if headed else data
    assert row(goose, data).kind == Kind.UNSOLICITED
    explained(data)


def test_mutated_messages_are_read_and_explained_alike() -> None:
    for data in mutations([message(), message(without(0x84)), message(tag=0x60)], 2000, seed=61850):
        record, fields = row(goose, data), explained(data)
        assert sorted(fields.get("anomalies", [])) == sorted(
            str(bit.name).lower() for bit in Anomaly(int(record.anomalies))
        )
        if "goose.state_number" in fields and not record.anomalies:
            assert fields["goose.state_number"] == record.value


def test_numbers_are_read_as_the_encoder_writes_them() -> None:
    fields = FIELDS | {0x85: integer(0x85, 2**32 - 1)[2:]}
    assert row(goose, message(fields)).value == 2**32 - 1
