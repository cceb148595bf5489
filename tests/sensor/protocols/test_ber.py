"""BER elements in hostile bytes: nothing reaches beyond what holds it, and every step moves on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ber import ber, integer

from sensor.decode.pdu import NO_VALUE
from sensor.protocols.ber import CUT, child, count, element, elements, find, number
from sensor.protocols.mms_data import MAX_TEXT, first_value, text, texts
from sensor.protocols.real import nearest


def at(data: bytes) -> tuple[int, bytes, int]:
    """(identifier, contents, where the next begins) of the element that `data` begins with."""
    identifier, start, stop, after = element(np.frombuffer(data, np.uint8), 0, len(data))
    return int(identifier), data[start:stop], int(after)


@pytest.mark.parametrize(
    ("data", "identifier", "contents", "after"),
    [
        ("020105", 0x02, "05", 3),
        ("0500", 0x05, "", 2),
        ("0481020102", 0x04, "0102", 5),
        ("04840000000201 02", 0x04, "0102", 8),
        ("bf2b03800178", 0xBF << 24 | 43, "800178", 6),
        ("9f8101016f", 0x9F << 24 | 129, "6f", 5),
        ("308002010500000201", 0x30, "020105", 7),
        ("3080308002010100000000", 0x30, "30800201010000", 11),
    ],
)
def test_elements_are_delimited_in_every_form(data: str, identifier: int, contents: str, after: int) -> None:
    assert at(bytes.fromhex(data)) == (identifier, bytes.fromhex(contents), after)


@pytest.mark.parametrize("data", ["02", "1f", "1f8080", "1f80808001", "0485000000000001", "0480aa0000", "04820001"[:6]])
def test_a_header_that_is_cut_or_damaged_says_so(data: str) -> None:
    raw = bytes.fromhex(data)
    assert at(raw) == (CUT, b"", len(raw) + 1)


@pytest.mark.parametrize(("data", "contents"), [("040501", "01"), ("308002", "02"), ("0484ffffffff01", "01")])
def test_contents_that_claim_too_much_are_cut_and_nothing_follows(data: str, contents: str) -> None:
    raw = bytes.fromhex(data)
    assert at(raw)[1:] == (bytes.fromhex(contents), len(raw) + 1)


def test_numbers_have_a_sign_and_at_most_eight_octets() -> None:
    for value in (0, 1, -1, 127, 128, -128, -129, 2**31, -(2**63), 2**63 - 1):
        data = integer(0x02, value)[2:]
        assert number(np.frombuffer(data, np.uint8), 0, len(data)) == value
    assert number(np.zeros(9, np.uint8), 0, 9) == NO_VALUE
    assert number(np.zeros(9, np.uint8), 0, 0) == NO_VALUE


def test_children_are_found_by_identifier() -> None:
    data = ber(0x80, b"a") + ber(0x30, ber(0x81, b"b")) + ber(0x81, b"c")
    buffer = np.frombuffer(data, np.uint8)
    start, stop = child(buffer, 0, len(data), np.int64(0x81))
    assert data[start:stop] == b"c"
    assert child(buffer, 0, len(data), np.int64(0x82)) == (-1, -1)
    assert count(buffer, 0, len(data)) == 3
    assert find(data, 0x30, 0x81) == b"b"
    assert find(data, 0x30, 0x80) is None


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_walked_to_their_end(data: bytes) -> None:
    buffer = np.frombuffer(data, np.uint8)
    place = 0
    for _ in range(len(data) + 1):
        if place >= len(data):
            break
        _identifier, start, stop, after = element(buffer, place, len(data))
        assert place < after <= len(data) + 1
        assert 0 <= start <= stop <= len(data)
        place = int(after)
    assert place >= len(data)
    assert 0 <= count(buffer, 0, len(data)) <= len(data)
    assert sum(len(each.data) for each in elements(data)) <= len(data)
    assert all(len(shown) <= 6 * MAX_TEXT + 2 for shown in texts(data))


def test_endless_nesting_is_bounded_in_time_and_depth() -> None:
    deep = b"\xa2\x80" * 20_000
    buffer = np.frombuffer(deep, np.uint8)
    assert element(buffer, 0, len(deep))[3] == len(deep) + 1
    assert first_value(buffer, 0, len(deep)) == NO_VALUE
    assert len(texts(deep)) == 1


@pytest.mark.parametrize(
    ("data", "number", "shown"),
    [
        ("830101", 1, "true"),
        ("8501ff", -1, "-1"),
        ("860200ff", 255, "255"),
        ("870508c0200000", -2, "-2.5"),
        ("84020680", 2, "0b10"),
        ("8a0341420a", NO_VALUE, "AB\\n"),
        ("a206850107830100", 7, "{7, false}"),
        ("a103850103", 3, "[3]"),
        ("91085c53d68a3604350a", NO_VALUE, "2019-02-01T05:18:02.211001Z"),
        ("8c06012a59cd32ba", NO_VALUE, "2019-07-22T05:25:52.717"),
        ("890201ff", NO_VALUE, "0x01ff"),
        ("8509000000000000000000", NO_VALUE, "0"),
    ],
)
def test_values_are_text_and_where_possible_a_number(data: str, number: int, shown: str) -> None:
    raw = bytes.fromhex(data)
    assert first_value(np.frombuffer(raw, np.uint8), 0, len(raw)) == number
    assert [text(each) for each in elements(raw)] == [shown]


@given(st.floats(width=32))
@settings(max_examples=200, deadline=None)
def test_a_single_float_becomes_its_nearest_integer(value: float) -> None:
    bits = int(np.float32(value).view(np.uint32))
    found = int(nearest(np.int64(bits)))
    if not np.isfinite(value) or abs(value) >= 2.0**63:
        assert found == NO_VALUE
    else:
        assert found == round(value)
