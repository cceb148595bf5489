"""DNP3 link frames and transport segments: known frames, broken ones, and any octets at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dnp3_wire import crc, hexed, link_frame, octets

from sensor.protocols import dnp3_link as link

# Read class 1, 2, 3 and 0 data.
READ_CLASSES = hexed(
    "0564    # start",
    "14      # LENGTH: 5 + 15 octets of user data",
    "C4      # CONTROL: DIR, PRM, unconfirmed user data",
    "0200    # destination 2",
    "0300    # source 3",
    "4503    # CRC of the header",
    "C7      # transport: FIN, FIR, sequence 7",
    "C801    # application control, function: read",
    "3C0206 3C0306 3C0406 3C0106",
    "42AC    # CRC of the only block",
)
SEGMENT = READ_CLASSES[11:25]
REQUEST_LINK_STATUS = link_frame(control=0xC9)
TWO_BLOCKS = link_frame(bytes(range(17)))


def frame(data: bytes) -> int:
    return int(link.frame(octets(data), 0, len(data)))


def unpack(data: bytes, room: int = 300) -> tuple[bytes, bool]:
    out = np.full(room, 0xEE, np.uint8)
    count, good = link.unpack(octets(data), 0, len(data), out, 0)
    assert np.all(out[count:] == 0xEE), "nothing is written behind what is counted"
    return out[:count].tobytes(), bool(good)


def broken(data: bytes, at: int) -> bytes:
    """The same octets with one bit turned."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


# --- CRC --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"123456789", 0xEA82),  # the check value of CRC-16/DNP in the catalogues
        (b"", 0xFFFF),
        (bytes(16), 0xFFFF),
        (bytes.fromhex("056405C001000004"), 0x21E9),  # reset link states, 1024 to 1: E9 21 on the wire,
    ],
)
def test_the_crc_has_its_known_answers(data, value):
    assert link.crc(octets(data), 0, len(data)) == value


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_table_gives_what_the_bitwise_definition_gives(data):
    assert int(link.crc(octets(data), 0, len(data))).to_bytes(2, "little") == crc(data)


# --- where a frame ends -----------------------------------------------------------------------------------------------


def test_a_frame_is_as_long_as_its_length_field_and_its_crcs_say():
    assert frame(READ_CLASSES) == len(READ_CLASSES) == 27
    assert frame(READ_CLASSES + b"\x05\x64") == 27
    assert frame(REQUEST_LINK_STATUS) == 10
    assert frame(TWO_BLOCKS) == 10 + 17 + 2 * 2
    assert frame(link_frame(bytes(250))) == link.MAX_FRAME_OCTETS


def test_the_length_is_known_before_the_frame_is_there():
    assert [frame(READ_CLASSES[:n]) for n in range(5)] == [0, 0, 0, 27, 27]


@pytest.mark.parametrize(
    "data", [b"\x06", b"\x05\x65", b"\x05\x64\x04", b"\x00\x01\x00\x00\x00\x06", b"GET / HTTP/1.1"]
)
def test_octets_that_cannot_begin_a_frame_are_refused(data):
    assert frame(data) < 0


def test_a_wrong_header_crc_alone_does_not_make_a_frame_disappear():
    assert frame(broken(READ_CLASSES, 4)) == 27


def test_a_sound_frame_is_not_hidden_under_a_broken_header_with_a_long_length():
    cover = b"\x05\x64\xff\xc4\x02\x00\x03\x00\x00\x00"
    data = cover + READ_CLASSES + bytes(300)
    assert frame(data) < 0
    assert link.sync(octets(data), 1, len(data)) == len(cover)


def test_a_frame_that_begins_at_the_end_of_a_broken_one_is_waited_for():
    cover = b"\x05\x64\x08\xc4\x02\x00\x03\x00\x00\x00" + b"\x01\x05\x64\x14\xc4"
    assert frame(cover) == 0
    assert frame(cover + READ_CLASSES[4:]) < 0
    assert frame(cover + bytes(10)) == 15, "it was no header after all"


def test_looking_under_a_broken_header_ends_where_its_extent_ends():
    cover = b"\x05\x64\x08\xc4\x02\x00\x03\x00\x00\x00" + bytes(5)
    last_inside = cover[:-1] + READ_CLASSES
    assert frame(last_inside) < 0
    assert frame(cover + READ_CLASSES) == len(cover), "what begins behind it is the next frame"
    assert frame(cover + b"\x05\x64") == len(cover)


# --- finding the next frame -------------------------------------------------------------------------------------------


@given(garbage=st.binary(max_size=400), rest=st.binary(max_size=20))
@settings(max_examples=300, deadline=None)
@example(garbage=b"\x05\x64\x05\x05", rest=b"")
@example(garbage=b"\x05\x64\xff\xc4\x00\x00\x00\x00\x00\x00", rest=b"")
def test_after_garbage_the_next_frame_is_found(garbage, rest):
    data = garbage + READ_CLASSES + rest
    found = link.sync(octets(data), 0, len(data))
    assert found <= len(garbage)
    if found < len(garbage):
        assert link.header_ok(octets(data), found, len(data)), "chance made a sound header in the garbage"


@pytest.mark.parametrize(
    ("data", "kept"), [(b"\x00\x05", 1), (b"\x00\x05\x64", 2), (b"\x00\x05\x64\x03", 0), (b"\x01", 0)]
)
def test_a_beginning_at_the_end_is_kept(data, kept):
    assert len(data) - link.sync(octets(data), 0, len(data)) == kept


# --- fields and user data ---------------------------------------------------------------------------------------------


def test_addresses_and_control_are_read():
    data = octets(READ_CLASSES)
    assert (link.source(data, 0), link.destination(data, 0)) == (3, 2)
    control = link.control(data, 0)
    assert control & link.DIR
    assert control & link.PRM
    assert link.PRIMARY_FUNCTIONS[control & link.LINK_FUNCTION] == "UNCONFIRMED_USER_DATA"


def test_only_user_data_frames_carry_a_segment():
    def transport(data: bytes) -> int:
        return int(link.transport(octets(data), 0, len(data)))

    assert transport(READ_CLASSES) == 0xC7
    assert transport(link_frame(b"\xc0\xc0\x01", control=0xF3)) == 0xC0, "confirmed user data"
    assert transport(REQUEST_LINK_STATUS) == -1
    assert transport(link_frame()) == -1, "user data without any"
    assert transport(link_frame(b"\xc0\xc0\x01", control=0xC0)) == -1, "octets behind a reset reach no application"
    assert transport(link_frame(b"\xc0\xc0\x01", control=0x84)) == -1, "a secondary station sends no user data"
    assert transport(READ_CLASSES[:10]) == -1


def test_unpacking_takes_out_the_crcs_and_the_transport_header():
    assert unpack(READ_CLASSES) == (SEGMENT, True)
    assert unpack(TWO_BLOCKS) == (bytes(range(1, 17)), True)
    assert unpack(link_frame(bytes(range(250)))) == (bytes(range(1, 250)), True)
    assert unpack(REQUEST_LINK_STATUS) == (b"", True)


@pytest.mark.parametrize("at", [3, 8, 10, 12, 26, 27, 30])
def test_a_wrong_crc_anywhere_marks_the_frame_and_drops_nothing(at):
    data = broken(TWO_BLOCKS, at)
    segment, good = unpack(data)
    assert not good
    assert len(segment) == 16


def test_a_cut_frame_gives_what_is_there():
    assert unpack(TWO_BLOCKS[:20]) == (bytes(range(1, 10)), False)
    assert unpack(TWO_BLOCKS[:11]) == (b"", False)
    assert unpack(TWO_BLOCKS[:7]) == (b"", False)


def test_a_full_buffer_takes_what_fits():
    segment, good = unpack(READ_CLASSES, room=4)
    assert segment == SEGMENT[:4]
    assert good


@pytest.mark.parametrize(
    ("header", "begun", "expected", "step"),
    [
        (link.FIR | 7, False, 0, link.BEGIN),
        (link.FIR | 7, True, 3, link.BEGIN),
        (9, True, 9, link.APPEND),
        (link.FIN | 0, True, 0, link.APPEND),
        (9, False, 9, link.DISCARD),
        (8, True, 9, link.DISCARD),
        (10, True, 9, link.DISCARD),
    ],
)
def test_a_segment_begins_continues_or_is_discarded(header, begun, expected, step):
    assert link.step(header, begun, expected) == step


@given(data=st.binary(max_size=320), at=st.integers(0, 8), room=st.integers(0, 260), out_at=st.integers(0, 8))
@settings(max_examples=600, deadline=None)
@example(data=TWO_BLOCKS, at=0, room=12, out_at=5)
@example(data=TWO_BLOCKS[:13], at=0, room=0, out_at=8)
@example(data=link_frame(bytes(250)), at=0, room=260, out_at=0)
def test_any_octets_stay_in_bounds_and_the_readable_form_agrees(data, at, room, out_at):
    at, out_at = min(at, len(data)), min(out_at, room)
    answers = []
    for form in (lambda kernel: kernel, lambda kernel: getattr(kernel, "py_func", kernel)):
        buffer, out = octets(data), np.full(room, 0xEE, np.uint8)
        count, good = form(link.unpack)(buffer, at, len(data), out, out_at)
        assert 0 <= count <= room - out_at
        found = form(link.sync)(buffer, at, len(data))
        assert at <= found <= len(data)
        size = form(link.frame)(buffer, at, len(data))
        assert size < 0 or size == 0 or 10 <= size <= link.MAX_FRAME_OCTETS
        transport = form(link.transport)(buffer, at, len(data))
        answers.append((count, bool(good), out.tobytes(), found, size, transport))
    assert answers[0] == answers[1]
