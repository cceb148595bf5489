"""Several captures as one stream of time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.frames import FrameBatch
from sensor.capture.together import Together


class Fake:
    """A capture of frames that hold their own number, in batches."""

    def __init__(self, path: str, times: list[int], size: int) -> None:
        self.path, self._times, self._size = path, times, size

    def __iter__(self):
        for at in range(0, len(self._times), self._size):
            times = np.array(self._times[at : at + self._size], np.int64)
            count = len(times)
            data = np.frombuffer(
                b"".join(b"%s%05d" % (self.path.encode(), at + i + 1) for i in range(count)), np.uint8
            ).copy()
            width = len(self.path) + 5
            sizes = np.full(count, width, np.int32)
            yield FrameBatch(data, times, np.arange(count) * width, sizes, sizes, np.ones(count, np.int32), at + 1)


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4),
    st.integers(1, 7),
)
def test_every_frame_comes_once_leads_back_to_its_file_and_keeps_its_bytes(captures, size):
    # Clocks of captures do not jump back here; that case is looked at below.
    captures = [sorted(times) for times in captures]
    merged = Together([Fake("abcd"[k], times, size) for k, times in enumerate(captures)])
    seen, number = [], 0
    for batch in merged:
        assert batch.first == number + 1
        for row in range(batch.size):
            number += 1
            path, frame = merged.place(number)
            at, length = int(batch.offset[row]), int(batch.captured[row])
            assert batch.data[at : at + length].tobytes() == b"%s%05d" % (path.encode(), frame)
            assert batch.ts_ns[row] == captures["abcd".index(path)][frame - 1]
            seen.append((int(batch.ts_ns[row]), path, frame))
    assert sorted(seen, key=lambda it: it[1:]) == [
        (time, "abcd"[k], i + 1) for k, times in enumerate(captures) for i, time in enumerate(times)
    ]
    assert [time for time, _, _ in seen] == sorted(time for time, _, _ in seen)


def test_a_clock_that_jumps_back_loses_no_frame():
    merged = Together([Fake("a", [10, 20, 5, 30], 2), Fake("b", [1, 25], 2)])
    places = []
    for batch in merged:
        places += [merged.place(batch.first + row) for row in range(batch.size)]
    assert sorted(places) == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1), ("b", 2)]
