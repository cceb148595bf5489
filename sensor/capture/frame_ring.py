"""Raw frames on disk in a ring of bounded size, from which the frames behind a finding are cut.

The ring is a folder of classic pcap files, the segments, named by the time and the number of their first frame:
`20261122T124500.123456789Z-00000000000000000001.pcap`. Any tool opens them. The oldest are removed first, before the
size would be exceeded, and when the disk is nearly full: findings need it more. A crash or a disk that fails leaves at
most a torn record at the end of a segment, which readers skip.

Writing is done by a thread of its own, so that a slow disk does not keep frames waiting. What it cannot take (a queue
that is full, a disk that is full or fails) is counted and said, and capturing goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sensor.capture.frames import FrameBatch
from sensor.capture.pack import RECORD_BYTES, file_header, pack_records
from sensor.capture.pcap import HEADER_BYTES, MAX_FRAME_BYTES
from sensor.capture.source import CaptureError, open_capture
from sensor.capture.write import Frame, frame_of

log = logging.getLogger(__name__)

LEAST_BYTES = 16 * 1024 * 1024  # of a ring: eight segments, each of which takes several of the longest frames
SEGMENTS = 8  # at least: removing the oldest loses no more than this share
SEGMENT_BYTES = 64 * 1024 * 1024
QUEUE_BYTES = 64 * 1024 * 1024  # of frames that wait to be written
RESERVE_BYTES = 256 * 1024 * 1024  # that stay free on the disk, or a twentieth of it where that is less
CHUNK_BYTES = 1024 * 1024  # packed and written at one time
PAUSE_S = 1.0  # after the disk refused, before it is tried again
CATCH_UP_S = 0.5  # how long `cut` waits for frames that are still to be written
_NAME = "????????T??????.?????????Z-????????????????????.pcap"


class FrameRingError(Exception):
    """A folder that cannot be used; one clear line."""


@dataclass
class _Segment:
    """One file. first: number of its first frame of this run, 0 for what an earlier run left; frames: how many."""

    path: Path
    size: int
    first: int = 0
    frames: int = 0
    link: int = 0


class FrameRing:
    """See the module. recorded, skipped: frames of this run that were written, and that could not be."""

    def __init__(self, folder: str | os.PathLike[str], size: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """size: bytes that the files in `folder` may have together. FrameRingError where it cannot be used."""
        self._folder = Path(folder)
        if size < LEAST_BYTES:
            raise FrameRingError(f"a ring of {size} bytes is too small; give at least {LEAST_BYTES}")
        self._size = size
        self._segment_bytes = min(segment_bytes, size // SEGMENTS)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = sorted(self._folder.glob(_NAME))
            self._segments = deque(_Segment(path, path.stat().st_size) for path in found)
            probe = self._folder / ".writable"
            probe.touch()
            probe.unlink()
        except BlockingIOError:
            raise FrameRingError(f"the ring {self._folder} is in use by another sensor process") from None
        except OSError as error:
            raise FrameRingError(f"the ring {self._folder} cannot be used: {error.strerror}") from error
        self.recorded = self.skipped = 0
        self._file = -1
        self._chunk = np.empty(CHUNK_BYTES, np.uint8)
        self._retry_at = 0.0
        self._trouble = ""
        self._queue: deque[FrameBatch] = deque()
        self._queued_bytes = 0
        self._done = 0  # number of the last frame that was written or skipped
        self._closing = False
        self._change = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="frame ring", daemon=True)
        self._writer.start()

    @property
    def bytes(self) -> int:
        """What the files have together."""
        return sum(segment.size for segment in list(self._segments))

    def append(self, frames: FrameBatch) -> None:
        """Take a batch to be written; never waits. The caller leaves its arrays as they are."""
        if not frames.size:
            return
        with self._change:
            if self._queued_bytes + frames.data.nbytes > QUEUE_BYTES and self._queue:
                self.skipped += frames.size
                self._tell("the disk is too slow")
                return
            self._queue.append(frames)
            self._queued_bytes += frames.data.nbytes
            self._change.notify_all()

    def cut(self, numbers: Iterable[int]) -> dict[int, tuple[int, Frame]]:
        """Frames of this run by their numbers: (link type, frame); those that are not there any more are left out."""
        wanted = sorted(set(numbers))
        if not wanted:
            return {}
        with self._change:
            self._change.wait_for(lambda: self._done >= wanted[-1] or not self._queue, CATCH_UP_S)
            segments = [
                (segment.path, segment.first, mine)
                for segment in self._segments
                if (mine := [n for n in wanted if segment.first and 0 <= n - segment.first < segment.frames])
            ]
        found: dict[int, tuple[int, Frame]] = {}
        for path, first, mine in segments:
            with contextlib.suppress(CaptureError):  # removed in the meantime
                for batch in open_capture(path):
                    renumbered = batch._replace(first=batch.first + first - 1)
                    for number in mine:
                        row = number - renumbered.first
                        if 0 <= row < batch.size:
                            found[number] = int(batch.link[row]), frame_of(renumbered, number)
        return found

    def close(self) -> None:
        """Write what waits, sync, and end the thread."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._writer.join()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def counters(self) -> dict[str, int]:
        """For the heartbeat."""
        return {"ring.bytes": self.bytes, "ring.recorded": self.recorded, "ring.skipped": self.skipped}

    # --- the writing thread

    def _write(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                frames = self._queue[0]
            self._record(frames)
            with self._change:
                self._queue.popleft()
                self._queued_bytes -= frames.data.nbytes
                self._done = frames.first + frames.size - 1
                self._change.notify_all()
        self._end_segment(sync=True)

    def _record(self, frames: FrameBatch) -> None:
        row = 0
        while row < frames.size:
            if time.monotonic() < self._retry_at:
                self.skipped += frames.size - row
                return
            columns = (frames.ts_ns, frames.offset, frames.captured, frames.wire, frames.link)
            after, filled = (int(it) for it in pack_records(frames.data, *columns, row, self._chunk))
            if after == row:  # longer than any frame can be
                self.skipped += 1
                row += 1
                continue
            try:
                self._put(self._chunk[:filled].data, frames, row, after - row)
                self.recorded += after - row
                self._tell("")
            except OSError as error:
                self.skipped += after - row
                self._retry_at = time.monotonic() + PAUSE_S
                self._tell(error.strerror or str(error))
            row = after

    def _put(self, records: memoryview, frames: FrameBatch, row: int, count: int) -> None:
        """Append records to the segment, or to a new one; what a failure leaves is taken off again."""
        number, link = frames.first + row, int(frames.link[row])
        current = self._segments[-1] if self._file >= 0 else None
        if current is not None and (
            current.size + len(records) > self._segment_bytes
            or current.link != link
            or current.first + current.frames != number
        ):
            self._end_segment()
            current = None
        self._make_room(len(records) + (0 if current else HEADER_BYTES))
        if current is None:
            current = self._begin_segment(int(frames.ts_ns[row]), number, link)
        written = 0
        try:
            while written < len(records):
                written += os.write(self._file, records[written:])
        except OSError:
            current.size += written  # not taken off again: somebody may have the file mapped
            self._end_segment()
            raise
        with self._change:
            current.size += len(records)
            current.frames += count

    def _begin_segment(self, ts_ns: int, number: int, link: int) -> _Segment:
        seconds, ns = divmod(max(ts_ns, 0), 1_000_000_000)
        name = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}.{ns:09d}Z-{number:020d}.pcap"
        path = self._folder / name
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            os.write(file, file_header(link))
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        segment = _Segment(path, HEADER_BYTES, number, 0, link)
        with self._change:
            self._file = file
            self._segments.append(segment)
        return segment

    def _end_segment(self, *, sync: bool = False) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if sync:
                    os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _make_room(self, more: int) -> None:
        """Remove the oldest segments until `more` bytes fit; OSError where one cannot be removed."""
        while self.bytes + more > self._size or self._disk_is_full(more):
            if not self._segments:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._file >= 0 and len(self._segments) == 1:
                self._end_segment()
            self._segments[0].path.unlink(missing_ok=True)
            with self._change:
                self._segments.popleft()

    def _disk_is_full(self, more: int) -> bool:
        disk = os.statvfs(self._folder)
        reserve = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 20)
        return disk.f_bavail * disk.f_frsize < reserve + more

    def _tell(self, trouble: str) -> None:
        """Say trouble when it begins and ends; not for every frame."""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                log.error("raw frames are not recorded in %s: %s", self._folder, trouble)
            else:
                log.info("raw frames are recorded in %s again", self._folder)


assert CHUNK_BYTES >= MAX_FRAME_BYTES + RECORD_BYTES
assert LEAST_BYTES // SEGMENTS > CHUNK_BYTES
