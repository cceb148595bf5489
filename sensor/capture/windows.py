"""Bytes of a capture file, window by window: mapped from a plain file, or streamed from gzip or a pipe.

A window is a writable, contiguous uint8 array, wherever it comes from: so the compiled kernels see one type and are
compiled once. It lives as long as somebody holds a view on it, and memory stays bounded by the windows that are held.
"""

from __future__ import annotations

import mmap
import zlib
from io import FileIO
from typing import Protocol

import numpy as np
import numpy.typing as npt

WINDOW_BYTES = 8 * 1024 * 1024

# Deflate can expand a thousandfold; captures of the most monotonous polling stay below a hundred. What expands more,
# after so many bytes, was made to keep a reader busy for hours.
MAX_GZIP_RATIO = 250
RATIO_COUNTS_FROM_BYTES = 64 * 1024 * 1024

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 64 * 1024


class Windows(Protocol):
    """Where the bytes come from.

    trouble: why the bytes ended before their time, "" when they did not.
    """

    trouble: str

    def window(self, at: int) -> tuple[npt.NDArray[np.uint8], int, bool]:
        """(bytes, position of the first of them, nothing follows them); covers `at` and up to WINDOW_BYTES after it.

        `at` never goes backwards.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Windows that were given out stay valid."""
        ...


class MappedWindows:
    """A plain file, mapped privately without copying.

    Each window is a mapping of its own, so that memory in use does not grow with the file. A file that is cut shorter
    by somebody else while it is read ends the process with SIGBUS, as with every reader that maps.
    """

    def __init__(self, file: FileIO, size: int) -> None:
        self.trouble = ""
        self._file = file
        self._size = size

    def window(self, at: int) -> tuple[npt.NDArray[np.uint8], int, bool]:
        """See Windows."""
        first = at - at % mmap.ALLOCATIONGRANULARITY
        length = min(at - first + WINDOW_BYTES, self._size - first)
        if length <= 0:
            return np.empty(0, dtype=np.uint8), at, True
        access = mmap.PROT_READ | mmap.PROT_WRITE  # writable for one array type; nobody writes, so nothing is copied
        try:
            mapping = mmap.mmap(self._file.fileno(), length, flags=mmap.MAP_PRIVATE, prot=access, offset=first)
        except (OSError, ValueError) as error:  # ValueError: the file has become shorter
            self.trouble = f"reading failed: {error}"
            return np.empty(0, dtype=np.uint8), at, True
        return np.frombuffer(mapping, dtype=np.uint8), first, first + length == self._size

    def close(self) -> None:
        """See Windows."""
        self._file.close()


class StreamedWindows:
    """A pipe or the contents of a gzip file, read forward once; `head` is what was already read of it."""

    def __init__(self, stream: Plain | Inflated, head: bytes) -> None:
        self.trouble = ""
        self._stream = stream
        self._held = np.frombuffer(bytearray(head), dtype=np.uint8)
        self._first = 0
        self._ended = False

    def window(self, at: int) -> tuple[npt.NDArray[np.uint8], int, bool]:
        """See Windows."""
        kept = self._held[at - self._first :]
        if self._ended:
            return kept, at, True
        buffer = np.empty(len(kept) + WINDOW_BYTES, dtype=np.uint8)
        buffer[: len(kept)] = kept
        filled = len(kept)
        view = memoryview(buffer.data)
        while filled < len(buffer):
            try:
                more = self._stream.readinto(view[filled:])
                self.trouble = self._stream.trouble
            except OSError as error:
                more = 0
                self.trouble = f"reading failed: {error.strerror}"
            if more == 0:
                self._ended = True
                break
            filled += more
        self._held, self._first = buffer[:filled], at
        return self._held, at, self._ended

    def close(self) -> None:
        """See Windows."""
        self._stream.close()


class Plain:
    """A pipe or device as it is."""

    trouble = ""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def readinto(self, view: memoryview) -> int:
        """Put bytes into `view`; 0 when there are no more."""
        return self._file.readinto(view) or 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Inflated:
    """The contents of a gzip file (RFC 1952), of one member or several, with all that can be had of a damaged one.

    Not the standard library's GzipFile, which throws away what it has inflated when it meets damage. `start` is what
    was already read of the file.
    """

    def __init__(self, file: FileIO, start: bytes) -> None:
        self.trouble = ""
        self._file = file
        self._pending = start
        self._taken = len(start)
        self._given = 0
        self._member: zlib._Decompress | None = None

    def readinto(self, view: memoryview) -> int:
        """Put inflated bytes into `view`; 0 when there are no more, and `trouble` says why if that is too early."""
        while not self.trouble:
            if not self._pending:
                self._read_more()
            at_end = not self._pending
            if self._member is None and not self._begin_member():
                if at_end:
                    return 0
                continue
            assert self._member is not None
            if self._given > RATIO_COUNTS_FROM_BYTES and self._given > MAX_GZIP_RATIO * self._taken:
                self.trouble = f"the gzip data expand more than {MAX_GZIP_RATIO} times, as no capture does"
                break
            try:
                inflated = self._member.decompress(self._pending, len(view))
            except zlib.error:
                self.trouble = "the gzip data are damaged"
                break
            self._pending = self._member.unconsumed_tail
            if self._member.eof:
                self._pending = self._member.unused_data
                self._member = None
            if inflated:
                view[: len(inflated)] = inflated
                self._given += len(inflated)
                return len(inflated)
            if at_end and self._member is not None:
                self.trouble = "the gzip data end early"
        return 0

    def _begin_member(self) -> bool:
        """Begin the member that `_pending` starts with; false when it starts with none."""
        self._pending = self._pending.lstrip(b"\0")  # tapes and block devices pad with zeros
        if len(self._pending) == 1:
            self._read_more()
        if not self._pending:
            return False
        if not self._pending.startswith(GZIP_MAGIC):
            self.trouble = "something that is not gzip follows the gzip data"
            return False
        self._member = zlib.decompressobj(wbits=31)
        return True

    def _read_more(self) -> None:
        more = self._file.read(_CHUNK_BYTES) or b""
        self._taken += len(more)
        self._pending += more

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
