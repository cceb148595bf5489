"""When nothing at all came in: spans of time without a single frame, whatever it carried."""

from __future__ import annotations

import numpy as np

from sensor.capture.frames import FrameBatch

DARK_NS = 30 * 10**9  # a shorter pause is not remembered
MAX_DARK = 256  # spans remembered, the latest


class Darkness:
    """spans: (begin, end) in capture time, in order. last_ns: when the last frame was captured, -1 before the first."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.last_ns = -1

    def look(self, frames: FrameBatch) -> None:
        """Take note of a batch of frames."""
        if not frames.size:
            return
        times = frames.ts_ns
        first = self.last_ns if self.last_ns >= 0 else int(times[0])
        if int(times[0]) - first > DARK_NS:
            self._add(first, int(times[0]))
        for at in np.flatnonzero(np.diff(times) > DARK_NS).tolist():
            self._add(int(times[at]), int(times[at + 1]))
        self.last_ns = max(self.last_ns, int(times[-1]))

    def _add(self, begin_ns: int, end_ns: int) -> None:
        self.spans = [*self.spans[-MAX_DARK + 1 :], (begin_ns, end_ns)]

    def within(self, begin_ns: int, end_ns: int, now_ns: int) -> tuple[int, tuple[int, int]]:
        """(how long it was dark between two times, the longest of those spans, (0, 0) for none)."""
        spans = [*self.spans, (self.last_ns, now_ns)] if self.now(now_ns) else self.spans
        parts = [(min(end, end_ns) - max(begin, begin_ns), (begin, end)) for begin, end in spans]
        parts = [part for part in parts if part[0] > 0]
        return sum(length for length, _ in parts), max(parts)[1] if parts else (0, 0)

    def now(self, now_ns: int) -> bool:
        """Whether it is dark, on a live link."""
        return 0 <= self.last_ns < now_ns - DARK_NS
