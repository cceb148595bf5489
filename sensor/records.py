"""Record dtypes that compiled code and plain Python read alike."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux on x86 and ARM; the module mmap has it from Python 3.13 on


def record(fields: Sequence[tuple[Any, ...]]) -> np.dtype[np.void]:
    """A structured dtype whose elements have attributes (`row.count`), in numba and without it, aligned as C would."""
    return np.dtype((np.record, np.dtype(list(fields), align=True)))


def untouched(count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """(count,) zeros whose memory the operating system gives page by page, when it is first written.

    numpy's own large arrays ask for pages of 2 MB: a table of which a few rows are used would then be zeroed by the
    megabyte, which took longer than decoding a hundred thousand frames. Memory of our own (private): to look at a page
    that nobody has written takes none. Not reserved: Linux would refuse more addresses than there is memory, also to a
    process that is forked.
    """
    room = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    room.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(room, dtype, count)


def as_octets(data: bytes) -> npt.NDArray[np.uint8]:
    """(n,) a copy that may be written: functions are compiled for such arrays, and would be once more for others."""
    return np.frombuffer(bytearray(data), np.uint8)


class Growing:
    """A column that grows where it stands, so that nothing is copied and the heap stays whole.

    Addresses are reserved for `most` rows; memory is taken as rows come. `values` holds `fill` where nothing was set.
    """

    def __init__(self, dtype: npt.DTypeLike, fill: int, most: int = 1 << 21) -> None:
        self._room = untouched(most, np.dtype(dtype))
        self._fill = fill
        self.values = self._room[:0]

    def grow(self, rows: int) -> npt.NDArray[Any]:
        """The values, with room for `rows` at least."""
        known = len(self.values)
        if known < rows:
            self._room[known:rows] = self._fill
            self.values = self._room[:rows]
        return self.values
