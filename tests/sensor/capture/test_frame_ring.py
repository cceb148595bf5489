"""The ring of raw frames on disk: bounded, readable after a crash, and never in the way of capturing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.frame_ring import LEAST_BYTES, FrameRing, FrameRingError
from sensor.capture.frames import FrameBatch
from sensor.capture.pack import file_header, pack_records
from sensor.capture.source import open_capture

BEGINS_NS = 1_700_000_000_123_456_789
ROOT = Path(__file__).resolve().parents[3]


def batch(first: int, frames: list[bytes], link: int = 1) -> FrameBatch:
    lengths = np.array([len(frame) for frame in frames], np.int32)
    return FrameBatch(
        data=np.frombuffer(bytearray(b"".join(frames)), np.uint8),
        ts_ns=BEGINS_NS + 1000 * np.arange(first, first + len(frames), dtype=np.int64),
        offset=np.cumsum(lengths, dtype=np.int64) - lengths,
        captured=lengths,
        wire=lengths + np.int32(4),
        link=np.full(len(frames), link, np.int32),
        first=first,
    )


def random_frames(count: int, size: int = 1400) -> list[bytes]:
    return [n.to_bytes(8, "big") + os.urandom(8) + bytes(size) for n in range(count)]


def frames_in(path: Path) -> list[bytes]:
    return [
        part.data[at : at + length].tobytes()
        for part in open_capture(path)
        for at, length in zip(part.offset.tolist(), part.captured.tolist(), strict=True)
    ]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=12), st.integers(320, 2000))
def test_packed_frames_are_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], room: int
) -> None:
    whole, out, content, row = batch(1, frames), np.empty(room, np.uint8), file_header(1), 0
    while row < len(frames):
        row, filled = pack_records(
            whole.data, whole.ts_ns, whole.offset, whole.captured, whole.wire, whole.link, row, out
        )
        content += out[:filled].tobytes()
    path = tmp_path_factory.getbasetemp() / "packed.pcap"
    path.write_bytes(content)
    (got,) = list(open_capture(path))
    assert frames_in(path) == frames
    assert got.ts_ns.tolist() == whole.ts_ns.tolist()
    assert got.wire.tolist() == whole.wire.tolist()


def test_frames_are_cut_by_number_while_it_goes_on(tmp_path: Path) -> None:
    frames = random_frames(3000)
    ring = FrameRing(tmp_path, LEAST_BYTES)
    for at in range(0, 3000, 500):
        ring.append(batch(1 + at, frames[at : at + 500]))
    got = ring.cut([1, 700, 701, 3000, 3001])
    assert {number: (link, it.data) for number, (link, it) in got.items()} == {
        number: (1, frames[number - 1]) for number in (1, 700, 701, 3000)
    }
    assert got[700][1].ts_ns == BEGINS_NS + 700_000
    assert got[700][1].wire == len(frames[699]) + 4
    ring.close()
    assert (ring.recorded, ring.skipped) == (3000, 0)


def test_the_size_is_never_exceeded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    ring = FrameRing(tmp_path, LEAST_BYTES)
    seen: list[int] = []
    for n in range(40):
        frames = random_frames(1000)
        ring.append(batch(1 + 1000 * n, frames))
        assert set(ring.cut([1000 * (n + 1)])) == {1000 * (n + 1)}  # the latest is always there
        seen.append(size_of(tmp_path))
    ring.close()
    assert max(seen) <= LEAST_BYTES
    assert min(seen[20:]) > LEAST_BYTES * 3 // 4  # and what it may have is used
    numbers = sorted(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("*.pcap"))
    kept = [frame for path in sorted(tmp_path.glob("*.pcap")) for frame in frames_in(path)]
    assert numbers[0] > 20_000
    assert numbers[0] + len(kept) == 40_001  # without a hole
    assert not ring.cut([1])


def test_what_a_run_before_left_counts_and_is_removed_first(tmp_path: Path) -> None:
    for run in range(3):
        ring = FrameRing(tmp_path, LEAST_BYTES)
        for n in range(6):
            later = batch(1 + 1000 * n, random_frames(1000))
            ring.append(later._replace(ts_ns=later.ts_ns + run * 10**12))
            ring.cut([1000 * (n + 1)])
            assert size_of(tmp_path) <= LEAST_BYTES
        ring.close()
    oldest = min(tmp_path.glob("*.pcap"))
    assert next(iter(open_capture(oldest))).ts_ns[0] >= BEGINS_NS + 10**12  # the first run's are gone


def test_another_link_type_and_missing_frames_begin_a_new_segment(tmp_path: Path) -> None:
    ring = FrameRing(tmp_path, LEAST_BYTES)
    ring.append(batch(1, [b"one", b"two"]))
    ring.append(batch(5, [b"five"]))  # 3 and 4 came when the queue was full
    mixed = batch(6, [b"six", b"seven"])
    ring.append(mixed._replace(link=np.array([1, 101], np.int32)))
    got = ring.cut(range(1, 9))
    ring.close()
    assert {number: (link, it.data) for number, (link, it) in got.items()} == {
        1: (1, b"one"), 2: (1, b"two"), 5: (1, b"five"), 6: (1, b"six"), 7: (101, b"seven"),
    }  # fmt: skip
    assert len(list(tmp_path.glob("*.pcap"))) == 3


def test_after_a_crash_everything_but_the_last_record_can_be_read(tmp_path: Path) -> None:
    ring = FrameRing(tmp_path, LEAST_BYTES)
    frames = random_frames(100)
    ring.append(batch(1, frames))
    ring.close()
    (path,) = tmp_path.glob("*.pcap")
    path.write_bytes(path.read_bytes()[:-700])
    again = FrameRing(tmp_path, LEAST_BYTES)
    later = batch(1, [b"later"])
    again.append(later._replace(ts_ns=later.ts_ns + 10**9))
    again.close()
    assert frames_in(path) == frames[:-1]
    assert [frames_in(it) for it in tmp_path.glob("*.pcap") if it != path] == [[b"later"]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk of one's own can be made: {mounted.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def free_on(disk: Path) -> int:
    return os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize


NEEDS_ROOT = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="making a small disk needs root"
)


@NEEDS_ROOT
def test_on_a_disk_that_fills_up_the_ring_shrinks_and_leaves_space_for_findings(small_disk: Path) -> None:
    ring = FrameRing(small_disk / "ring", LEAST_BYTES)
    (small_disk / "others").write_bytes(bytes(15 * 1024 * 1024))
    for n in range(10):  # 14 MB, where 8 are left
        ring.append(batch(1 + 1000 * n, random_frames(1000)))
        assert set(ring.cut([1000 * (n + 1)])) == {1000 * (n + 1)}
        assert free_on(small_disk) > 1024 * 1024
    ring.close()
    assert (ring.recorded, ring.skipped) == (10_000, 0)


@NEEDS_ROOT
def test_on_a_full_disk_what_is_not_recorded_is_counted_until_there_is_space_again(small_disk: Path) -> None:
    ring = FrameRing(small_disk / "ring", LEAST_BYTES)
    others = small_disk / "others"
    others.write_bytes(bytes(23 * 1024 * 1024))
    ring.append(batch(1, random_frames(1000)))
    assert ring.cut([1000]) == {}
    assert (ring.recorded, ring.skipped) == (0, 1000)
    others.unlink()
    number = 1001
    while not ring.recorded:
        ring.append(batch(number, [b"frame"]))
        ring.cut([number])
        number += 1
    ring.close()
    assert ring.recorded + ring.skipped == number - 1


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FrameRingError, match=r"file cannot be used: (File exists|Not a directory)"):
        FrameRing(tmp_path / "file", LEAST_BYTES)
    with pytest.raises(FrameRingError, match="too small"):
        FrameRing(tmp_path / "ring", 1000)
    ring = FrameRing(tmp_path / "ring", LEAST_BYTES)
    with pytest.raises(FrameRingError, match="in use"):
        FrameRing(tmp_path / "ring", LEAST_BYTES)
    ring.close()
