"""FrameBatch: a run of captured frames as one buffer and columns. No object for each packet."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class FrameBatch(NamedTuple):
    """n frames of one capture.

    data: (bytes,) uint8, the buffer that holds them; may hold headers between them.
    ts_ns: (n,) int64, capture time in ns since 1970 UTC.
    offset: (n,) int64, where each frame begins in `data`.
    captured: (n,) int32, bytes of it that are there; wire: (n,) int32, bytes it had on the wire.
    link: (n,) int32, LINKTYPE_ value of its interface (1 Ethernet, 101 raw IP, 113 Linux cooked, ...).
    first: number of the first frame, from 1 in a capture.
    clock_ns: on a live link what the clock showed when the batch was closed, so that also silence lets time pass: such
        a batch may hold no frames at all. -1 in a capture, where time is that of its frames.
    """

    data: npt.NDArray[np.uint8]
    ts_ns: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    captured: npt.NDArray[np.int32]
    wire: npt.NDArray[np.int32]
    link: npt.NDArray[np.int32]
    first: int
    clock_ns: int = -1

    @property
    def size(self) -> int:
        """Number of frames."""
        return len(self.ts_ns)
