"""Frames in memory that the sensor writes and the worker can only read.

A ring of octets in a memory file. Each batch lies in it in one piece, columns first, until the worker is done with it,
so that the frames of a batch that a worker died of are still there, as they came in. The file is sealed before a worker
sees it: nothing that happens there can alter a frame. The worker copies a batch out before it begins, for detectors
remember frames longer than a ring can wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sensor.capture.frames import FrameBatch

RING_BYTES = 32 * 1024 * 1024
# Of one batch: what one fault costs at most. Still so large that detectors, which look at events by columns, and the
# passage itself cost next to nothing a frame.
MAX_FRAMES = 32_768
MAX_DATA_BYTES = 8 * 1024 * 1024
MAX_WAITING = 1024  # batches: those of a silent link hold nothing
_COLUMNS = (("ts_ns", np.int64), ("offset", np.int64), ("captured", np.int32), ("wire", np.int32), ("link", np.int32))
_ROW_BYTES = sum(np.dtype(kind).itemsize for _, kind in _COLUMNS)
_SEALS = 0x0001 | 0x0002 | 0x0004 | 0x0010  # F_SEAL_SEAL, _SHRINK, _GROW, _FUTURE_WRITE (linux/fcntl.h; 5.1)
_SEALS_BEFORE = 0x0001 | 0x0002 | 0x0004


class Place(NamedTuple):
    """Where a batch lies: `at` in the ring, so many frames and octets of data; first, clock_ns as of FrameBatch."""

    number: int
    at: int
    frames: int
    data_bytes: int
    first: int
    clock_ns: int

    @property
    def size(self) -> int:
        """Octets in the ring."""
        return (self.frames * _ROW_BYTES + self.data_bytes + 7) & ~7


def pieces(batch: FrameBatch) -> Iterator[FrameBatch]:
    """The batch in parts of at most MAX_FRAMES and MAX_DATA_BYTES, each with no more data than its frames lie in."""
    if not batch.size:
        yield batch._replace(data=batch.data[:0])
        return
    row = 0
    while row < batch.size:
        rows = min(MAX_FRAMES, batch.size - row)
        while True:
            part = slice(row, row + rows)
            begin = int(batch.offset[part].min())
            end = int((batch.offset[part] + batch.captured[part]).max())
            if end - begin <= MAX_DATA_BYTES or rows == 1:
                break
            rows = (rows + 1) // 2
        yield FrameBatch(
            batch.data[begin:end], batch.ts_ns[part], batch.offset[part] - begin, batch.captured[part],
            batch.wire[part], batch.link[part], batch.first + row, batch.clock_ns,
        )  # fmt: skip
        row += rows


class Ring:
    """The sensor's end. Use it under the lock of its owner."""

    def __init__(self, size: int = RING_BYTES) -> None:
        self.size = size
        self.file = os.memfd_create("fenghuo-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.file, size)
        self._memory = mmap.mmap(self.file, size)
        try:
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:  # a kernel before 5.1: a worker that was taken over could alter what is set aside
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEALS_BEFORE)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self.waiting: deque[Place] = deque()
        self._number = 0

    def close(self) -> None:
        """Let go of the memory."""
        del self._bytes
        with contextlib.suppress(BufferError):  # somebody still looks at a batch
            self._memory.close()
        os.close(self.file)

    def put(self, piece: FrameBatch) -> Place | None:
        """Copy a piece into the ring; None where there is no room for it now."""
        place = Place(self._number + 1, 0, piece.size, len(piece.data), piece.first, piece.clock_ns)
        at = self._room(place.size)
        if at is None:
            return None
        place = place._replace(at=at)
        self._number += 1
        end = at
        for name, kind in _COLUMNS:
            begin, end = end, end + piece.size * np.dtype(kind).itemsize
            self._bytes[begin:end].view(kind)[:] = getattr(piece, name)
        self._bytes[end : end + len(piece.data)] = piece.data
        self.waiting.append(place)
        return place

    def _room(self, size: int) -> int | None:
        if len(self.waiting) >= MAX_WAITING:
            return None
        if not self.waiting:
            return 0 if size <= self.size else None
        begin, last = self.waiting[0].at, self.waiting[-1]
        end = last.at + last.size
        if end > begin or (end == begin and not last.size):
            if size <= self.size - end:
                return end
            return 0 if size < begin else None
        return end if size < begin - end else None

    def done(self, number: int) -> list[Place]:
        """Let go of all batches up to `number`; those that were let go of."""
        gone = []
        while self.waiting and self.waiting[0].number <= number:
            gone.append(self.waiting.popleft())
        return gone

    def view(self, place: Place) -> FrameBatch:
        """A batch where it lies: valid until it is done."""
        return _view(self._bytes, place)


class Window:
    """The worker's end."""

    def __init__(self, file: int, size: int) -> None:
        self._memory = mmap.mmap(file, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._bytes = np.frombuffer(self._memory, np.uint8)

    def copy(self, place: Place) -> FrameBatch:
        """A batch, copied."""
        seen = _view(self._bytes, place)
        columns = {name: getattr(seen, name).copy() for name, _ in _COLUMNS}
        return seen._replace(data=seen.data.copy(), **columns)


def _view(octets: Any, place: Place) -> FrameBatch:
    columns: dict[str, Any] = {}
    end = place.at
    for name, kind in _COLUMNS:
        begin, end = end, end + place.frames * np.dtype(kind).itemsize
        columns[name] = octets[begin:end].view(kind)
    data = octets[end : end + place.data_bytes]
    return FrameBatch(data=data, **columns, first=place.first, clock_ns=place.clock_ns)
