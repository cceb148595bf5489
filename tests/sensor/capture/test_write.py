"""Small pcaps are read back as they were written."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.source import open_capture
from sensor.capture.write import frame_of, small_pcap

FRAME = st.tuples(st.integers(0, 4_294_967_295_999_999_999), st.binary(max_size=100), st.integers(100, 70_000))


@given(frames=st.lists(FRAME, max_size=8), link=st.sampled_from([1, 101, 113]))
def test_what_is_written_is_read_back(tmp_path_factory, frames, link):
    path = tmp_path_factory.getbasetemp() / "written"
    path.write_bytes(small_pcap(link, frames))
    capture = open_capture(path)
    batches = list(capture)
    back = [frame_of(batch, batch.first + i) for batch in batches for i in range(batch.size)]
    assert back == frames
    assert all((batch.link == link).all() for batch in batches)
    assert capture.warnings == []


def test_microseconds_are_written_where_they_are_enough():
    assert struct.unpack("<I", small_pcap(1, [(1_000, b"a", 1)])[:4]) == (0xA1B2C3D4,)
    assert struct.unpack("<I", small_pcap(1, [(1_001, b"a", 1)])[:4]) == (0xA1B23C4D,)


def test_times_that_the_format_cannot_say_become_the_nearest():
    late = small_pcap(1, [(-5, b"", 0), (2**62, b"", 0)])
    assert struct.unpack_from("<II", late, 24) == (0, 0)
    assert struct.unpack_from("<II", late, 40) == (0xFFFFFFFF, 999_999_999)


def test_a_frame_of_another_batch_is_refused(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(small_pcap(1, [(0, b"abc", 3), (0, b"def", 3)]))
    (batch,) = open_capture(path)
    assert frame_of(batch, 2).data == b"def"
    for number in (0, 3):
        with pytest.raises(IndexError, match="frames 1 to 2"):
            frame_of(batch, number)
