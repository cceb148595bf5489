"""Captures of every format, built byte by byte; damaged, hostile and wrong ones."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture import pcap, pcapng, source, windows
from sensor.capture.source import CaptureError, open_capture

ETHERNET = 1
RAW_IP = 101
SHARED = Path(__file__).parents[4] / "shared" / "captures"


class Row(NamedTuple):
    """One frame as the reader gave it."""

    number: int
    ts_ns: int
    data: bytes
    wire: int
    link: int


def read(path):
    """All frames of a capture, and what the reader warned of."""
    capture = open_capture(path)
    rows = []
    for batch in capture:
        assert batch.data.flags.writeable, "one array type for the compiled kernels"
        assert batch.data.flags.c_contiguous
        for i in range(batch.size):
            at = int(batch.offset[i])
            data = batch.data[at : at + int(batch.captured[i])].tobytes()
            assert len(data) == batch.captured[i]
            rows.append(Row(batch.first + i, int(batch.ts_ns[i]), data, int(batch.wire[i]), int(batch.link[i])))
    assert capture.frames == len(rows)
    return rows, capture.warnings


def read_or_refuse(path):
    """As `read`; a capture that is refused has no frames and the one line that says why."""
    try:
        return read(path)
    except CaptureError as error:
        refusal = str(error)
    assert refusal.isprintable()
    return [], [refusal]


def pcap_file(frames, order="<", magic=0xA1B2C3D4, link=ETHERNET, extra=b"", snaplen=65535, version=(2, 4)):
    """Classic pcap: frames are (seconds, fraction, bytes, wire length)."""
    out = struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, link)
    for seconds, fraction, data, wire in frames:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), wire) + extra + data
    return out


def block(kind, body, order="<"):
    """One pcapng block, padded, with its length on both ends."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link=ETHERNET, order="<", snaplen=0, options=b""):
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(ts, data, order="<", interface_id=0, wire=None):
    head = struct.pack(order + "IIIII", interface_id, ts >> 32, ts & 0xFFFFFFFF, len(data), wire or len(data))
    return block(6, head + data, order)


def obsolete(ts, data, order="<", interface_id=0):
    head = struct.pack(order + "HHIIII", interface_id, 0xFFFF, ts >> 32, ts & 0xFFFFFFFF, len(data), len(data))
    return block(2, head + data, order)


def simple(data, order="<", wire=None):
    return block(3, struct.pack(order + "I", wire or len(data)) + data, order)


FRAMES = [
    (1_700_000_000, 5, b"first frame", 11),
    (1_700_000_001, 999_999, b"", 60),
    (1_700_000_002, 0, b"x" * 70, 1514),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "unit_ns", "extra"),
    [(0xA1B2C3D4, 1000, b""), (0xA1B23C4D, 1, b""), (0xA1B2CD34, 1000, b"\x01\x02\x03\x04\x05\x06\x07\x08")],
    ids=["microseconds", "nanoseconds", "modified"],
)
def test_classic_pcap_is_read_in_both_byte_orders_and_all_variants(tmp_path, order, magic, unit_ns, extra):
    path = tmp_path / "c"
    path.write_bytes(pcap_file(FRAMES, order, magic, RAW_IP, extra))
    rows, warnings = read(path)
    assert rows == [
        Row(i, seconds * 10**9 + fraction * unit_ns, data, wire, RAW_IP)
        for i, (seconds, fraction, data, wire) in enumerate(FRAMES, 1)
    ]
    assert warnings == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcap_link_type_is_told_apart_from_the_frame_check_sequence_bits(tmp_path, order):
    path = tmp_path / "c"
    path.write_bytes(pcap_file(FRAMES, order, link=0x24000000 | 113))
    assert {row.link for row in read(path)[0]} == {113}


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_gives_every_kind_of_packet_block(tmp_path, order):
    path = tmp_path / "c"
    path.write_bytes(
        section(order)
        + interface(order=order)
        + block(0x0BAD, b"a custom block", order)
        + enhanced(1_700_000_000_000_001, b"one", order, wire=99)
        + block(5, b"\0" * 12, order)
        + simple(b"twos", order)
        + obsolete(1_700_000_000_000_002, b"three", order)
    )
    rows, warnings = read(path)
    assert rows == [
        Row(1, 1_700_000_000_000_001_000, b"one", 99, ETHERNET),
        Row(2, 1_700_000_000_000_001_000, b"twos", 4, ETHERNET),  # has no time: takes that of the frame before
        Row(3, 1_700_000_000_000_002_000, b"three", 5, ETHERNET),
    ]
    assert warnings == []


def test_pcapng_sections_have_their_own_byte_order_and_interfaces(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(
        section("<")
        + interface(ETHERNET, "<")
        + interface(RAW_IP, "<")
        + enhanced(1, b"a", "<", interface_id=1)
        + section(">")
        + interface(113, ">")
        + enhanced(2, b"b", ">")
    )
    rows, warnings = read(path)
    assert [(row.ts_ns, row.data, row.link) for row in rows] == [(1000, b"a", RAW_IP), (2000, b"b", 113)]
    assert warnings == []


def test_simple_packet_is_cut_at_its_interface_snapshot_length(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(section() + interface(snaplen=5) + simple(b"12345\0\0\0", wire=1000))
    rows, _ = read(path)
    assert (rows[0].data, rows[0].wire) == (b"12345", 1000)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks", "expected_ns"),
    [
        (6, 0, 1_500_000, 1_500_000_000),
        (9, 0, 1_234_567_891, 1_234_567_891),
        (3, 0, 1500, 1_500_000_000),
        (0, 0, 7, 7_000_000_000),
        (12, 0, 1_999_999_999_999, 1_999_999_999),
        (19, 0, 10**19 + 10**18, 1_100_000_000),
        (28, 0, 2**64 - 1, 1),
        (127, 0, 2**64 - 1, 0),
        (0x80 | 10, 0, 1024 + 512, 1_500_000_000),
        (0x80 | 32, 0, (7 << 32) | (1 << 31), 7_500_000_000),
        (0x80 | 40, 0, (7 << 40) | (1 << 39), 7_500_000_000),
        (0x80 | 63, 0, (1 << 63) | (1 << 62), 1_500_000_000),
        (0x80 | 64, 0, 1 << 63, 500_000_000),
        (0x80 | 127, 0, 2**64 - 1, 0),
        (6, 100, 1_500_000, 101_500_000_000),
        (6, -1, 1_500_000, 500_000_000),
        (6, -(2**63), 0, -9_223_372_035_000_000_000),
        (0, 2**63 - 1, 2**64 - 1, 9_223_372_035_000_000_000),
    ],
)
def test_interface_time_resolution_and_offset(tmp_path, order, resolution, offset_s, ticks, expected_ns):
    options = (
        option(2, b"eth0", order)
        + option(9, bytes([resolution]), order)
        + option(14, struct.pack(order + "q", offset_s), order)
        + option(0, b"", order)
    )
    path = tmp_path / "c"
    path.write_bytes(section(order) + interface(order=order, options=options) + enhanced(ticks, b"x", order))
    assert [row.ts_ns for row in read(path)[0]] == [expected_ns]


@given(ticks=st.integers(0, 2**64 - 1), resolution=st.integers(0, 255), offset_s=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=300, deadline=None)
def test_time_stamps_agree_with_exact_arithmetic(ticks, resolution, offset_s):
    exponent = resolution & 0x7F
    unit = 2**exponent if resolution & 0x80 else 10**exponent
    latest = 9_223_372_035
    seconds = min(ticks // unit, latest)
    seconds = min(max(seconds + min(max(offset_s, -latest), latest), -latest), latest)
    exact = seconds * 10**9 + ticks % unit * 10**9 // unit
    high, low = np.int64(ticks >> 32), np.int64(ticks & 0xFFFFFFFF)
    compiled = pcapng.time_ns(high, low, np.int64(resolution), np.int64(offset_s))
    with np.errstate(over="raise"):
        plain = pcapng.time_ns.py_func(high, low, np.int64(resolution), np.int64(offset_s))
    assert int(compiled) == int(plain)
    assert abs(int(compiled) - exact) <= (1 if resolution & 0x80 and exponent > 34 else 0)


def test_packet_on_an_undescribed_interface_is_kept_and_told(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(
        section() + interface() + enhanced(1, b"a", interface_id=7) + simple(b"b") + section() + simple(b"c")
    )
    rows, warnings = read(path)
    assert [(row.data, row.link) for row in rows] == [(b"a", -1), (b"b\0\0\0"[:1], ETHERNET), (b"c", -1)]
    assert len(warnings) == 1
    assert "2 frames are of interfaces that the file does not describe" in warnings[0]


def test_more_interfaces_than_anybody_has_are_counted_as_undescribed(tmp_path):
    path = tmp_path / "c"
    count = pcapng.MAX_INTERFACES
    path.write_bytes(
        section()
        + interface(RAW_IP) * (count + 1)
        + enhanced(1, b"a", interface_id=count - 1)
        + enhanced(1, b"b", interface_id=count)
    )
    rows, warnings = read(path)
    assert [row.link for row in rows] == [RAW_IP, -1]
    assert len(warnings) == 1


@pytest.mark.parametrize("content", [pcap_file(FRAMES), section() + interface() + enhanced(1, b"abc") + simple(b"d")])
def test_gzip_is_told_by_content_and_gives_the_same_frames(tmp_path, content):
    plain, packed, members = tmp_path / "plain.gz", tmp_path / "packed.pcap", tmp_path / "members"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    half = len(content) // 2
    members.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]) + bytes(1000))
    assert read(plain) == read(packed) == read(members)
    assert len(read(plain)[0]) >= 2


def test_a_pipe_is_read_like_a_file(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(pcap_file(FRAMES),))
    writer.start()
    rows, warnings = read(path)
    writer.join()
    assert [row.data for row in rows] == [data for _, _, data, _ in FRAMES]
    assert warnings == []


@pytest.mark.parametrize("packed", [False, True], ids=["mapped", "gzip"])
@pytest.mark.parametrize("ng", [False, True], ids=["pcap", "pcapng"])
def test_large_captures_come_in_bounded_batches_with_no_frame_lost_between(tmp_path, monkeypatch, packed, ng):
    monkeypatch.setattr(windows, "WINDOW_BYTES", 10_000)
    monkeypatch.setattr(source, "MAX_BATCH_FRAMES", 50)
    rng = np.random.default_rng(7)
    frames = [(i, 0, bytes([i % 256]) * int(size), 2000) for i, size in enumerate(rng.integers(0, 900, 700))]
    content = pcap_file(frames)
    if ng:
        content = section() + interface() + b"".join(enhanced(i * 10**6, data, wire=2000) for i, _, data, _ in frames)
    path = tmp_path / "c"
    path.write_bytes(gzip.compress(content) if packed else content)
    rows, warnings = read(path)
    assert [(row.number, row.ts_ns, row.data) for row in rows] == [
        (i + 1, i * 10**9, data) for i, (_, _, data, _) in enumerate(frames)
    ]
    assert warnings == []
    sizes = [(batch.size, len(batch.data)) for batch in open_capture(path)]
    assert len(sizes) > 20
    assert max(size for size, _ in sizes) <= 50
    assert max(length for _, length in sizes) <= 10_000 + 4096 + 2000


def test_columns_are_used_again_only_when_nobody_holds_what_was_made_of_them(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(windows, "WINDOW_BYTES", 10_000)
    monkeypatch.setattr(pcap, "empty_columns", lambda rows, make=pcap.empty_columns: made.append(rows) or make(rows))
    path = tmp_path / "c"
    path.write_bytes(pcap_file([(i, 0, bytes([i % 251]) * 200, 200) for i in range(600)]))
    sizes = [batch.size for batch in open_capture(path)]
    assert len(sizes) > 3 * pcap.SPARE
    assert len(made) <= 2
    made.clear()
    held = [batch.ts_ns[1:3] for batch in open_capture(path)]
    assert len(made) == len(sizes)
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    assert [part[0] for part in held] == [(first + 1) * 10**9 for first in firsts]


def test_batches_stay_valid_after_the_capture_is_closed(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(pcap_file(FRAMES))
    capture = open_capture(path)
    batch = next(capture)
    capture.close()
    del capture
    at = int(batch.offset[0])
    assert batch.data[at : at + 11].tobytes() == b"first frame"


WHOLE = {
    "pcap": pcap_file(FRAMES),
    "pcap big endian nanoseconds": pcap_file(FRAMES, ">", 0xA1B23C4D),
    "pcapng": section() + interface() + enhanced(1, b"abc") + simple(b"defg") + obsolete(2, b"h") + block(4, b"\0" * 9),
    "gzip": gzip.compress(pcap_file(FRAMES), mtime=0),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_capture_cut_at_any_byte_gives_a_prefix_and_at_most_one_warning(tmp_path, name):
    path = tmp_path / "c"
    path.write_bytes(WHOLE[name])
    whole, _ = read(path)
    seen = set()
    for size in range(len(WHOLE[name])):
        path.write_bytes(WHOLE[name][:size])
        rows, warnings = read_or_refuse(path)
        assert rows == whole[: len(rows)]
        assert len(warnings) <= 1
        if warnings and size >= 60:
            assert f"{len(rows)} frames were read" in warnings[0]
        seen.add(len(rows))
    assert len(whole) - 1 in seen
    assert 0 in seen


def test_a_cut_in_the_middle_of_a_record_is_told_and_at_a_boundary_it_is_not(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(pcap_file(FRAMES)[:-1])
    rows, warnings = read(path)
    assert len(rows) == 2
    assert len(warnings) == 1
    assert "cut off" in warnings[0]
    path.write_bytes(pcap_file(FRAMES[:2]))
    assert read(path)[1] == []


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_damage_anywhere_never_raises_anything_but_capture_error(tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(max_size=5))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content))
    rows, warnings = read_or_refuse(path)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert sum(len(row.data) for row in rows) <= max(len(content), 200)
    assert len(warnings) <= 2


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_compiled_and_plain_pcapng_walk_agree_on_any_bytes(body):
    content = np.frombuffer(bytearray(section() + interface() + body), dtype=np.uint8)
    results = []
    for walk in (pcapng.index_pcapng, pcapng.index_pcapng.py_func):
        state = np.zeros(4, dtype=np.int64)
        tables = [np.zeros(20, dtype=kind) for kind in ("i4", "i8", "u1", "i8")]
        columns = pcap.empty_columns(30)
        after, frames, status = walk(content, 0, state, *tables, *columns)
        results.append((int(after), int(frames), int(status), [column[:frames].tolist() for column in columns]))
    assert results[0] == results[1]


HOSTILE = {
    "pcap length of all ones": pcap_file(FRAMES) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 1) + b"rest",
    "pcapng block length zero": section() + interface() + enhanced(1, b"a") * 3 + struct.pack("<II", 6, 0) + bytes(400),
    "pcapng block length of all ones": section() + interface() + enhanced(1, b"a") * 3 + b"\x06\0\0\0" + b"\xff" * 60,
    "pcapng packet longer than its block": section()
    + interface()
    + enhanced(1, b"a") * 3
    + block(6, struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + b"short"),
    "pcapng packet block without room for its header": section()
    + interface()
    + enhanced(1, b"a") * 3
    + block(6, b"1234"),
    "pcapng lengths that disagree": section()
    + interface()
    + enhanced(1, b"a") * 3
    + enhanced(1, b"a")[:-4]
    + b"\x0c\0\0\0",
    "pcapng section without byte order": section()
    + interface()
    + enhanced(1, b"a") * 3
    + block(0x0A0D0D0A, b"1234" * 4),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", [False, True], ids=["mapped", "gzip"])
def test_hostile_lengths_end_the_reading_with_one_warning(tmp_path, name, packed):
    path = tmp_path / "c"
    path.write_bytes(gzip.compress(HOSTILE[name]) if packed else HOSTILE[name])
    rows, warnings = read(path)
    assert len(rows) == 3
    assert len(warnings) == 1
    assert "damaged" in warnings[0]
    assert "3 frames were read" in warnings[0]


def test_snapshot_length_of_the_file_header_is_not_believed(tmp_path):
    path = tmp_path / "c"
    for snaplen in (0, 4, 0xFFFFFFFF):
        path.write_bytes(pcap_file(FRAMES, snaplen=snaplen))
        assert [row.data for row in read(path)[0]] == [data for _, _, data, _ in FRAMES]


def test_wire_length_is_never_less_than_what_was_captured_and_fits_its_column(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(pcap_file([(0, 0, b"12345", 2), (0, 0, b"12345", 0xFFFFFFFF)]))
    assert [row.wire for row in read(path)[0]] == [5, 0x7FFFFFFF]


def test_damaged_gzip_gives_what_was_inflated_before_the_damage(tmp_path):
    rng = np.random.default_rng(3)
    frames = [(i, 0, rng.bytes(500), 500) for i in range(2000)]
    content = bytearray(gzip.compress(pcap_file(frames)))
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    path = tmp_path / "c"
    path.write_bytes(content)
    rows, warnings = read(path)
    assert 0 < len(rows) < 2000
    assert all(row.data == frames[row.number - 1][2] for row in rows[: len(rows) - 2])
    assert len(warnings) == 1


def test_bytes_after_the_gzip_data_are_told(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(gzip.compress(pcap_file(FRAMES)) + b"trailing rubbish")
    rows, warnings = read(path)
    assert len(rows) == 3
    assert len(warnings) == 1
    assert "not gzip" in warnings[0]


def test_a_gzip_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "RATIO_COUNTS_FROM_BYTES", 1 << 20)
    path = tmp_path / "c"
    path.write_bytes(gzip.compress(pcap_file([]) + bytes(64 << 20)))
    capture = open_capture(path)
    rows = sum(batch.size for batch in capture)
    assert rows < (40 << 20) // 16
    assert len(capture.warnings) == 1
    assert "expand more than" in capture.warnings[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "header is cut off after 6 bytes"),
        (b"\n\r\r\n\x1c\0\0\0", "header is cut off after 8 bytes"),
        (b"\n\r\r\n\x1c\0\0\0MARK" + bytes(30), "tells no byte order"),
        (pcap_file([], version=(7, 1)), "unknown version 7.1"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(30), "unpack it with `zstd -d`"),
        (gzip.compress(b"", mtime=0), "the gzip file holds nothing"),
        (gzip.compress(gzip.compress(pcap_file(FRAMES), mtime=0), mtime=0), "gzip inside gzip"),
        (b"\x1f\x8b rubbish", "the gzip data are damaged"),
        (b"time,source\n\x1b", "begins with the bytes 74 69 6d 65"),
        (b"time,source\n1,2", 'text that begins "time,source\\n1,2"'),
        (b"\x00\x01\x02", "begins with the bytes 00 01 02"),
    ],
)
def test_what_is_not_a_capture_gives_one_clear_line(tmp_path, content, expected):
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as caught:
        open_capture(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.path == str(path)
    assert caught.value.why in str(caught.value)


def test_missing_files_directories_and_impossible_names_give_one_clear_line(tmp_path):
    for path, expected in [
        (tmp_path / "none", "no such file"),
        (tmp_path, "a directory"),
        ("a\0b", "cannot be opened"),
        (tmp_path / "none" / "\x1b[31m\n", "no such file"),
    ]:
        with pytest.raises(CaptureError) as caught:
            open_capture(path)
        assert expected in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_file_without_permission_gives_one_clear_line(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(pcap_file(FRAMES))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: step down for this one call
        os.seteuid(65534)
    try:
        with pytest.raises(CaptureError, match="may not be read"):
            open_capture(path)
    finally:
        os.seteuid(user)


def test_no_file_stays_open_after_reading_or_failing(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pcap_file(FRAMES))
    bad.write_bytes(b"not a capture")
    before = len(os.listdir("/proc/self/fd"))
    read(good)
    with pytest.raises(CaptureError):
        open_capture(bad)
    assert len(os.listdir("/proc/self/fd")) == before


def test_kernels_run_as_plain_python_too(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(WHOLE["pcapng"])
    program = (
        "import sys; from sensor.capture.source import open_capture;"
        "print(sum(batch.size for batch in open_capture(sys.argv[1])))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    assert run.stdout == "3\n"


@pytest.mark.captures
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository")
def test_every_shared_capture_has_the_frames_that_others_counted():
    differences = {}
    manifest = json.loads((SHARED / "manifest.json").read_text())
    for entry in manifest:
        batches = list(open_capture(SHARED / entry["file"]))
        assert all(after.first == before.first + before.size for before, after in pairwise(batches))
        frames = sum(batch.size for batch in batches)
        if frames != entry["packets"]:
            differences[entry["file"]] = (frames, entry["packets"])
    assert len(manifest) > 300
    assert differences == {}
