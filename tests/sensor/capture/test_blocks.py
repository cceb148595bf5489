"""Blocks of a packet ring: what stands in them comes out, and no content makes the walk leave the block."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.blocks import STATUS_VLAN_TPID_VALID, STATUS_VLAN_VALID, copy_frames, unpack_block
from sensor.capture.pcap import empty_columns

SIZE = 4096
FRAMES = st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 10**9 - 1)), max_size=9)


def block(frames: list[tuple[bytes, int, int]], status: int = 0, tci: int = 0, tpid: int = 0) -> bytearray:
    """As the kernel lays it out: (frame, seconds, nanoseconds)."""
    body = b""
    for n, (frame, seconds, ns) in enumerate(frames):
        whole = (48 + 34 + len(frame) + 7) & ~7
        step = whole if n + 1 < len(frames) else 0
        header = struct.pack(
            "=6I2H2I2H8x", step, seconds, ns, len(frame), len(frame) + 5, status, 82, 96, 0, tci, tpid, 0
        )
        body += (header + bytes(34) + frame).ljust(whole, b"\0")
    head = struct.pack("=6I", 1, 0, 1, len(frames), 48, 48 + len(body)).ljust(48, b"\0")
    return bytearray((head + body).ljust(SIZE, b"\0"))


def unpack(content: bytearray, before: int = 0, linktype: int = 1, rows: int = 64) -> list[tuple[int, bytes, int]]:
    """(time, frame, wire length) of every frame; the block stands behind `before` others in its ring."""
    octets = np.frombuffer(bytearray(before * SIZE) + content + bytearray(SIZE), np.uint8)
    data, columns = np.empty(SIZE, np.uint8), empty_columns(rows)
    filled, rows = unpack_block(
        octets, octets.view(np.uint16), octets.view(np.uint32), before * SIZE, SIZE, linktype, data, 0, 0, *columns
    )
    assert filled == columns.captured[:rows].sum()
    return [
        (int(columns.ts_ns[n]), data[columns.offset[n] :][: columns.captured[n]].tobytes(), int(columns.wire[n]))
        for n in range(rows)
    ]


@settings(deadline=None)
@given(FRAMES, st.integers(0, 2))
def test_every_frame_comes_out_with_its_time_and_its_length_on_the_wire(
    frames: list[tuple[bytes, int, int]], before: int
) -> None:
    wanted = [(seconds * 10**9 + ns, frame, len(frame) + 5) for frame, seconds, ns in frames]
    assert unpack(block(frames), before) == wanted


@settings(deadline=None)
@given(st.integers(0, 65535), st.integers(0, 65535), st.booleans(), st.binary(max_size=60))
def test_a_tag_that_was_taken_off_is_put_back_behind_the_addresses(
    tci: int, tpid: int, named: bool, frame: bytes
) -> None:
    status = STATUS_VLAN_VALID | (STATUS_VLAN_TPID_VALID if named else 0)
    ((_, got, wire),) = unpack(block([(frame, 1, 2)], status, tci, tpid))
    tag = struct.pack("!HH", tpid if named else 0x8100, tci)
    assert got == (frame[:12] + tag + frame[12:] if len(frame) >= 12 else frame)
    assert wire == len(got) + 5


def test_an_interface_without_ethernet_has_no_tags() -> None:
    ((_, got, _),) = unpack(block([(bytes(40), 1, 2)], STATUS_VLAN_VALID, 7), linktype=101)
    assert got == bytes(40)


def test_no_more_frames_come_out_than_there_is_room_for() -> None:
    assert len(unpack(block([(b"abc", 1, 2)] * 9), rows=4)) == 4


@settings(deadline=None)
@given(FRAMES, st.lists(st.tuples(st.integers(0, SIZE // 4 - 1), st.integers(0, 2**32 - 1)), max_size=12))
def test_no_content_makes_the_walk_fail_or_leave_the_block(
    frames: list[tuple[bytes, int, int]], lies: list[tuple[int, int]]
) -> None:
    content = block(frames)
    for word, value in lies:
        content[4 * word : 4 * word + 4] = struct.pack("=I", value)
    for _, frame, wire in unpack(content):
        assert len(frame) <= SIZE
        assert wire >= len(frame)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=8))
def test_frames_are_copied_in_the_order_asked_for(frames: list[bytes]) -> None:
    source = np.frombuffer(b"".join(frames), np.uint8).copy()
    captured = np.array([len(frame) for frame in frames], np.int32)
    offset = np.cumsum(captured, dtype=np.int64) - captured
    order = np.random.default_rng(len(source)).permutation(len(frames))
    data, placed = np.full(len(source) + 3, 255, np.uint8), np.empty(len(frames), np.int64)
    filled = copy_frames(source, offset[order], captured[order], data, 3, placed)
    assert data[:3].tolist() == [255] * 3
    assert data[3:filled].tobytes() == b"".join(frames[n] for n in order)
    assert placed.tolist() == (3 + np.cumsum(captured[order]) - captured[order]).tolist()
