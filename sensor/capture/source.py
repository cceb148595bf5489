"""Open a capture, whatever its format: `open_capture(path)` iterates FrameBatches.

The format is told by the first bytes, never by the name: classic pcap files are often named .pcapng.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from io import FileIO

from sensor.capture.frames import FrameBatch
from sensor.capture.pcap import (
    BLOCK_LENGTH,
    BYTE_ORDER,
    FULL,
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    OVERSIZE,
    PcapIndex,
    Spare,
    is_pcap,
    parse_header,
)
from sensor.capture.pcapng import PcapngIndex, has_byte_order, is_pcapng
from sensor.capture.windows import (
    GZIP_MAGIC,
    Inflated,
    MappedWindows,
    Plain,
    StreamedWindows,
    Windows,
)
from sensor.text import printable

# With WINDOW_BYTES this bounds a batch: columns of 7 MB, and what a decoder makes of them.
MAX_BATCH_FRAMES = 250_000
SMALLEST_RECORD_BYTES = 16  # of a pcap record and of a pcapng packet block

_SECTION_BYTES = 12  # of a pcapng section header, up to its byte-order mark

_DAMAGE = {
    OVERSIZE: f"claims more than {MAX_FRAME_BYTES} bytes",
    BLOCK_LENGTH: "or its block has a length that cannot be",
    BYTE_ORDER: "follows a section header that tells no byte order",
}

# What people hand in instead of a capture: (first bytes, what it is, what to do).
_LOOKS_LIKE = (
    (b"PK\x03\x04", "a zip archive", "unpack it and give the capture inside"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it with `xz -d`"),
    (b"BZh", "a bzip2 file", "unpack it with `bzip2 -d`"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with `zstd -d`"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it with `lz4 -d`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and give the capture inside"),
    (b"snoop\x00\x00\x00", "a snoop capture", "convert it with `editcap -F pcap`"),
    (b"GMBU", "a Microsoft Network Monitor capture", "convert it with `editcap -F pcap`"),
    (b"RTSS", "a Microsoft Network Monitor capture", "convert it with `editcap -F pcap`"),
    (b"TRSNIFF", "a Sniffer capture", "convert it with `editcap -F pcap`"),
    (b"\xd4\xc3\xb2\xa0", "a damaged pcap file", "fetch it again in binary mode"),
    (b"\n\n", "a pcapng file that was transferred as text", "fetch it again in binary mode"),
    (b"%PDF", "a PDF document", ""),
    (b"\x7fELF", "a program", ""),
    (b"SQLite format 3", "a SQLite database", ""),
    (b"\x1f\x8b", "gzip inside gzip", "unpack it once with `gzip -d`"),
)
_ADVICE = "give a pcap or pcapng file, also gzipped"


class CaptureError(Exception):
    """A capture of which nothing can be read.

    path: as it was given; why: what is the matter; advice: what to do about it, "" where nobody could know. As a string
    it is one line, with control characters escaped.
    """

    def __init__(self, path: str | os.PathLike[str], why: str, advice: str = "") -> None:
        self.path = os.fspath(path)
        self.why = why
        self.advice = advice
        super().__init__(f"{printable(self.path)}: {why}" + (f"; {advice}" if advice else ""))


class Capture(Iterator[FrameBatch]):
    """An open capture: iterate it once for its frames.

    path: as it was given. warnings: what a person must be told, each one line with the path; complete when the
    iteration has ended. damage: why the file ended before its time, "" when it did not. frames: how many were read so
    far.
    """

    def __init__(self, path: str | os.PathLike[str], windows: Windows, index: PcapIndex | PcapngIndex) -> None:
        self.path = os.fspath(path)
        self.warnings: list[str] = []
        self.damage = ""
        self.frames = 0
        self._windows = windows
        self._index = index
        self._batches = self._read()

    def __iter__(self) -> Iterator[FrameBatch]:
        return self

    def __next__(self) -> FrameBatch:
        return next(self._batches)

    def close(self) -> None:
        """Stop reading and let go of the file; batches that were given out stay valid."""
        self._batches.close()
        self._windows.close()

    def _read(self) -> Generator[FrameBatch]:
        at = self._index.start
        spare: Spare | None = None
        while True:
            window, base, last = self._windows.window(at)
            spare = spare or Spare(min(MAX_BATCH_FRAMES, len(window) // SMALLEST_RECORD_BYTES + 1))
            columns = spare.take()
            after, frames, status = self._index.index(window, at - base, columns)
            first = self.frames + 1
            self.frames += frames
            if frames:
                yield FrameBatch(
                    data=window[:after],
                    ts_ns=columns.ts_ns[:frames],
                    offset=columns.offset[:frames],
                    captured=columns.captured[:frames],
                    wire=columns.wire[:frames],
                    link=columns.link[:frames],
                    first=first,
                )
            at = base + after
            if status in _DAMAGE:
                self._end_early(f"damaged from byte {at} on: the next frame {_DAMAGE[status]}")
                break
            if last and status != FULL:
                if self._windows.trouble:
                    self._end_early(self._windows.trouble)
                elif after < len(window):
                    self._end_early(f"cut off: it ends {len(window) - after} bytes after the beginning of a record")
                break
        if self._index.strange_interfaces:
            self._warn(f"{self._index.strange_interfaces} frames are of interfaces that the file does not describe")
        self._windows.close()

    def _end_early(self, why: str) -> None:
        self.damage = why
        self._warn(why)

    def _warn(self, what: str) -> None:
        self.warnings.append(f"{printable(self.path)}: {what}; {self.frames} frames were read")


def open_capture(path: str | os.PathLike[str]) -> Capture:
    """Open a pcap or pcapng file, plain or gzipped, or a pipe that carries one; CaptureError where that cannot be."""
    try:
        file = FileIO(os.fspath(path))
    except FileNotFoundError:
        raise CaptureError(path, "no such file", "check the path") from None
    except IsADirectoryError:
        raise CaptureError(path, "a directory, not a capture", "give the captures inside it") from None
    except PermissionError:
        raise CaptureError(path, "may not be read", "check who owns the file and its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise CaptureError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    try:
        return _open(path, file)
    except OSError as error:
        file.close()
        raise CaptureError(path, f"cannot be read ({error.strerror})") from None
    except CaptureError:
        file.close()
        raise


def _open(path: str | os.PathLike[str], file: FileIO) -> Capture:
    plain = Plain(file)
    head = _head(plain)
    windows: Windows
    if not head:
        raise CaptureError(path, "the file is empty", "the capture may have been stopped before its first packet")
    if head.startswith(GZIP_MAGIC):
        inflated = Inflated(file, head)
        head = _head(inflated)
        if not head:
            raise CaptureError(path, inflated.trouble or "the gzip file holds nothing", _ADVICE)
        windows = StreamedWindows(inflated, head)
    elif stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        windows = MappedWindows(file, os.fstat(file.fileno()).st_size)
    else:
        windows = StreamedWindows(plain, head)
    return Capture(path, windows, _index(path, head))


def _head(stream: Plain | Inflated) -> bytes:
    """The first bytes, as many as tell the format, fewer where there are no more."""
    head = bytearray(HEADER_BYTES)
    filled = 0
    while filled < len(head) and (more := stream.readinto(memoryview(head)[filled:])):
        filled += more
    return bytes(head[:filled])


def _index(path: str | os.PathLike[str], head: bytes) -> PcapIndex | PcapngIndex:
    """The reader for the format that a file with this head has."""
    if is_pcap(head):
        if len(head) < HEADER_BYTES:
            raise CaptureError(path, f"a pcap file whose header is cut off after {len(head)} bytes")
        header = parse_header(head)
        if header.major != 2:
            raise CaptureError(path, f"a pcap file of unknown version {header.major}.{header.minor}", _ADVICE)
        return PcapIndex(header)
    if is_pcapng(head):
        if len(head) < _SECTION_BYTES:
            raise CaptureError(path, f"a pcapng file whose header is cut off after {len(head)} bytes")
        if not has_byte_order(head):
            raise CaptureError(path, "begins like pcapng, but tells no byte order", _ADVICE)
        return PcapngIndex()
    for magic, what, advice in _LOOKS_LIKE:
        if head.startswith(magic):
            raise CaptureError(path, f"not a capture but {what}", advice or _ADVICE)
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise CaptureError(path, f'not a capture: text that begins "{printable(head[:20].decode())}"', _ADVICE)
    raise CaptureError(path, f"not a capture: it begins with the bytes {head[:8].hex(' ')}", _ADVICE)
