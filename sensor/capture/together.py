"""Several captures as one stream of time: what two sensors saw of one plant, or the files of a rotating capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.capture.source import Capture


class Together:
    """Merges open captures by time. Frames of the merged stream are numbered from 1; `place` leads back to the file.

    Memory is that of one batch of each capture, and 12 bytes for each frame.
    """

    def __init__(self, captures: Sequence[Capture]) -> None:
        self._captures = captures
        self._capture: list[npt.NDArray[np.int32]] = []
        self._frame: list[npt.NDArray[np.int64]] = []
        self._ends: list[int] = []

    def place(self, frame: int) -> tuple[str, int]:
        """(path of the capture, number of the frame in it) of a frame of the merged stream."""
        part = int(np.searchsorted(self._ends, frame))
        at = frame - 1 - (self._ends[part - 1] if part else 0)
        return self._captures[int(self._capture[part][at])].path, int(self._frame[part][at])

    def __iter__(self) -> Iterator[FrameBatch]:
        sources = [iter(capture) for capture in self._captures]
        waiting = [_Rest(next(source, None)) for source in sources]
        while any(rest.batch is not None for rest in waiting):
            # Everything up to the earliest end of the batches at hand is complete.
            horizon = min(int(rest.times()[-1]) for rest in waiting if rest.batch is not None)
            pieces = []
            for k, rest in enumerate(waiting):
                if rest.batch is None:
                    continue
                rows = rest.take(horizon)
                if len(rows):
                    pieces.append((k, rest.batch, rows))
                if rest.empty():
                    waiting[k] = _Rest(next(sources[k], None))
            yield self._merge(pieces)

    def _merge(self, pieces: list[tuple[int, FrameBatch, npt.NDArray[np.int64]]]) -> FrameBatch:
        base, datas, columns = 0, [], []
        for k, batch, rows in pieces:
            low = int(batch.offset[rows].min())
            high = int((batch.offset[rows] + batch.captured[rows]).max())
            datas.append(batch.data[low:high])
            columns.append(
                (
                    batch.ts_ns[rows],
                    batch.offset[rows] - low + base,
                    batch.captured[rows],
                    batch.wire[rows],
                    batch.link[rows],
                    np.full(len(rows), k, np.int32),
                    rows + batch.first,
                )
            )
            base += high - low
        ts_ns, offset, captured, wire, link, capture, frame = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        order = np.argsort(ts_ns, kind="stable")
        first = (self._ends[-1] if self._ends else 0) + 1
        self._capture.append(capture[order])
        self._frame.append(frame[order])
        self._ends.append(first - 1 + len(order))
        return FrameBatch(
            np.concatenate(datas), ts_ns[order], offset[order], captured[order], wire[order], link[order], first
        )


class _Rest:
    """What is left of a capture's batch, by time; its clock may jump back, so rows are chosen by running maximum."""

    def __init__(self, batch: FrameBatch | None) -> None:
        self.batch = batch
        self._times = np.zeros(0, np.int64) if batch is None else np.maximum.accumulate(batch.ts_ns)
        self._at = 0

    def times(self) -> npt.NDArray[np.int64]:
        """Times of all rows of the batch, never falling."""
        return self._times

    def take(self, horizon: int) -> npt.NDArray[np.int64]:
        """Rows not taken yet whose time is not after `horizon`."""
        end = int(np.searchsorted(self._times, horizon, side="right"))
        rows = np.arange(self._at, end, dtype=np.int64)
        self._at = max(self._at, end)
        return rows

    def empty(self) -> bool:
        """Whether every row was taken."""
        return self._at >= len(self._times)
