"""Frames of several rings in the order of their times, although each ring is handed over block by block.

A frame can be given out once no ring can still come with an earlier one. So the latest frames wait: a ring that has
nothing more to hand over may hold frames as young as its blocks take to be handed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.capture.blocks import copy_frames
from sensor.capture.pcap import Columns, empty_columns


class Piece:
    """Frames of one or more rings in one buffer: `data` up to `filled`, the first `rows` rows of `columns`."""

    def __init__(self, size: int, frames: int) -> None:
        """Room for `frames` frames of `size` bytes together."""
        self.data = np.empty(size, np.uint8)
        self.columns = empty_columns(frames)
        self.filled = self.rows = 0


class Interleaver:
    """Puts frames in order, and holds back those that cannot be given out yet."""

    def __init__(self) -> None:
        self._data, self._held = np.zeros(0, np.uint8), empty_columns(0)

    def piece(self, size: int, frames: int) -> Piece:
        """Room for new frames behind those that were held back."""
        held = len(self._held.ts_ns)
        piece = Piece(size + len(self._data), frames + held)
        piece.filled, piece.rows = len(self._data), held
        piece.data[: piece.filled] = self._data
        columns: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = zip(piece.columns, self._held, strict=True)
        for column, kept in columns:
            column[:held] = kept
        return piece

    def release(self, piece: Piece, before_ns: int | None) -> Columns:
        """The frames of `piece` that are earlier than `before_ns`, in order; all where that is None.

        The others are in the next piece again.
        """
        columns = piece.columns.pick(slice(piece.rows))
        order = np.argsort(columns.ts_ns, kind="stable")
        given = piece.rows
        if before_ns is not None:
            given = int(np.searchsorted(columns.ts_ns, before_ns, sorter=order))
        self._hold(piece.data, columns.pick(order[given:]))
        return columns.pick(order[:given])

    def _hold(self, data: npt.NDArray[np.uint8], columns: Columns) -> None:
        self._data = np.empty(int(columns.captured.sum()), np.uint8)
        placed = np.empty_like(columns.offset)
        copy_frames(data, columns.offset, columns.captured, self._data, 0, placed)
        self._held = columns._replace(offset=placed)
