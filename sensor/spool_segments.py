"""The segments of a spool's directory: which there are, what stands in them, and what cannot be read set aside.

What is set aside goes to the folder `quarantine` beside the segments, with a note that says why and which sequences it
held: nothing there is ever read again, it is kept for whoever looks for the cause. The latest KEPT_ASIDE stay.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensor.failpoints import failpoint
from sensor.spool_files import (
    HIGH,
    SEGMENT_HEADER,
    Record,
    blocks,
    encode,
    records_of,
    segment_epoch,
    segment_header,
    write_all,
)

log = logging.getLogger(__name__)

SUFFIX = ".segment"
QUARANTINE = "quarantine"
NOT_OURS = "it is no segment of this version, or damaged from its beginning on"
KEPT_ASIDE = 16  # files; each is at most as large as a segment


@dataclass(slots=True)
class Segment:
    """One segment. first: the sequence that names it; last: the last sequence in it, first - 1 where it has none.

    size: bytes on disk. counts: records of each severity, losses first, as the blocks' headers tell.
    """

    path: Path
    first: int
    last: int
    size: int
    counts: list[int] = field(default_factory=lambda: [0] * 6)


def found(directory: Path) -> list[tuple[int, Path]]:
    """First sequence and path of every segment, oldest first."""
    paths = (path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())
    return sorted((int(path.stem), path) for path in paths)


def survey(path: Path, first: int) -> Segment:
    """What the headers of a segment tell. OSError."""
    with path.open("rb") as file:
        segment = Segment(path, first, first - 1, os.fstat(file.fileno()).st_size)
        for block, _ in blocks(file):
            segment.last = max(segment.last, block.last)
            segment.counts = [a + b for a, b in zip(segment.counts, block.counts, strict=True)]
    return segment


def repair_end(path: Path) -> int:
    """Cut a torn block off the end of a segment; returns how many bytes that were. OSError.

    Nothing is ever appended to this segment again. One that holds nothing whole is deleted.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = 0
        for block, at in blocks(file):
            if records_of(file, block, at) is not None:
                end = at + block.length
    if end == 0:
        failpoint("spool.before_repair_unlink")
        path.unlink()
        failpoint("spool.after_repair_unlink")
    elif end < size:
        with path.open("r+b") as file:
            failpoint("spool.before_repair_truncate")
            file.truncate(end)
            failpoint("spool.after_repair_truncate")
            os.fsync(file.fileno())
            failpoint("spool.after_repair_sync")
    return size - end


def read(segment: Segment, sequence: int, *, grave: bool = False) -> Iterator[Record]:
    """Records that stand for `sequence` or later ones, in order, each sequence once; damage is left out. OSError.

    grave: only those of blocks that hold grave findings.
    """
    with segment.path.open("rb") as file:
        for block, at in blocks(file, segment.size):
            if block.last < sequence or (grave and not any(block.counts[HIGH:])):
                continue
            for record in records_of(file, block, at) or ():
                if record.sequence >= sequence:
                    yield record
                    sequence = record.sequence + 1


def set_aside(path: Path, why: str, first: int, last: int, *, copy: bool = False) -> None:
    """Move a file to the quarantine with a note; `copy`: leave it where it is, too. Trouble is logged, never raised."""
    what = f"{path.name}: {why}" + (f"; sequences {first} to {last}" if last >= first > 0 else "")
    log.error("the spool sets aside %s", what)
    folder = path.parent / QUARANTINE
    target = folder / f"{path.name}.{os.stat(path).st_mtime_ns if path.exists() else 0}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _make_room(folder)
        failpoint("spool.before_set_aside")
        if copy:
            target.unlink(missing_ok=True)
            os.link(path, target)
        else:
            path.rename(target)
        failpoint("spool.after_set_aside")
        target.with_name(target.name + ".why").write_text(what + "\n", "utf-8")
    except OSError as error:
        log.error("%s cannot be set aside: %s", path, error.strerror)
        if not copy:  # out of the way at least: what cannot be moved must not be met again and again
            with contextlib.suppress(OSError):
                path.unlink()


class Segments:
    """All segments of a spool, and the writing of them. Every method may raise OSError; then nothing was promised."""

    def __init__(self, directory: Path, directory_file: int, segment_bytes: int) -> None:
        """directory_file: a descriptor of the directory, to sync it."""
        self._directory = directory
        self._directory_file = directory_file
        self._segment_bytes = segment_bytes
        self._file = -1  # descriptor of the last of `items`, while it is written
        self.items: list[Segment] = []  # oldest first
        self.torn_bytes = 0  # cut off at start

    @property
    def used(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.items)

    @property
    def last(self) -> int:
        """The last sequence that stands in any of them; 0 where there are none."""
        return max((max(segment.last, segment.first - 1) for segment in self.items), default=0)

    def open(self, epoch: int | None) -> int | None:
        """Take up what is there, repaired; returns the epoch that the segments tell where `epoch` is None.

        What cannot be read, or belongs to another spool, is set aside.
        """
        for partial in self._directory.glob(f"*{SUFFIX}.new"):
            partial.unlink()
        paths = found(self._directory)
        told: int | None = None
        for i, (first, path) in enumerate(paths):
            following = paths[i + 1][0] if i + 1 < len(paths) else 0
            try:
                its = segment_epoch(path)
                if its is not None and epoch not in (None, its):
                    why = f"it belongs to the spool of {its}, not to this one of {epoch}"
                    set_aside(path, why, 0, 0)
                    continue
                if its is None and not any(survey(path, first).counts) and path.stat().st_size > SEGMENT_HEADER.size:
                    set_aside(path, NOT_OURS, first, following - 1)
                    continue
                if i + 1 == len(paths):
                    self.torn_bytes += repair_end(path)
                if path.exists():
                    self.items.append(survey(path, first))
                told = its if its is not None else told
            except OSError as error:
                set_aside(path, f"it cannot be read ({error.strerror})", first, following - 1)
        return told

    def write(self, records: Sequence[Record], data: bytes, epoch: int) -> None:
        """Put records, encoded as `data`, behind all others, and sync; in a new segment where the last one is full."""
        try:
            if self._file >= 0 and self.items[-1].size >= self._segment_bytes:
                self.end()
            if self._file < 0:
                self._begin(records[0].first, epoch)
            failpoint("spool.before_write")
            write_all(self._file, data)
            failpoint("spool.after_write")
            os.fsync(self._file)
            failpoint("spool.after_sync")
        except OSError:
            self._abandon()
            raise
        segment = self.items[-1]
        segment.size += len(data)
        segment.last = records[-1].sequence
        _count(segment, records)

    def end(self) -> None:
        """Write no more into the last segment."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def rewrite(self, segment: Segment, records: Sequence[Record], epoch: int) -> None:
        """Replace what stands in a segment, so that after a crash the old or the new one is there, whole."""
        if segment is self.items[-1]:
            self.end()
        data = segment_header(epoch) + encode(records)
        partial = segment.path.with_name(segment.path.name + ".new")
        try:
            file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                failpoint("spool.before_rewrite")
                write_all(file, data)
                failpoint("spool.after_rewrite")
                os.fsync(file)
                failpoint("spool.after_rewrite_sync")
            finally:
                os.close(file)
            partial.replace(segment.path)
            failpoint("spool.after_rewrite_rename")
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        segment.size, segment.counts = len(data), [0] * 6
        _count(segment, records)
        os.fsync(self._directory_file)
        failpoint("spool.after_rewrite_directory_sync")

    def merge(self, segment: Segment, following: Segment, records: Sequence[Record], epoch: int) -> None:
        """Replace two segments that follow each other by one. After a crash in between, both hold the same."""
        if following is self.items[-1]:
            self.end()
        last = following.last
        self.rewrite(segment, records, epoch)
        segment.last = last
        failpoint("spool.before_merge_unlink")
        following.path.unlink(missing_ok=True)
        failpoint("spool.after_merge_unlink")
        self.items.remove(following)

    def release(self, sequence: int) -> None:
        """Delete the segments that hold nothing beyond `sequence`; what cannot be deleted is tried again."""
        while self.items and self.items[0].last <= sequence:
            if len(self.items) == 1 and self._file >= 0:
                return
            failpoint("spool.before_unlink")
            try:
                self.items[0].path.unlink(missing_ok=True)
            except OSError:
                return
            failpoint("spool.after_unlink")
            del self.items[0]

    def drop(self, segment: Segment, why: str) -> None:
        """Set a segment aside that cannot be read; others have their sequences up to its neighbour's first."""
        if segment is self.items[-1]:
            self.end()
        self.items.remove(segment)
        set_aside(segment.path, why, segment.first, segment.last)

    def _begin(self, first: int, epoch: int) -> None:
        # Named by a sequence that is not safe yet: whatever stands in a file of that name is worth nothing.
        path = self._directory / f"{first:020d}{SUFFIX}"
        self.items = [segment for segment in self.items if segment.path != path]
        failpoint("spool.before_create")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.items.append(Segment(path, first, first - 1, 0))
        failpoint("spool.after_create")
        write_all(self._file, segment_header(epoch))
        self.items[-1].size = SEGMENT_HEADER.size
        failpoint("spool.after_header")
        os.fsync(self._directory_file)
        failpoint("spool.after_create_sync")

    def _abandon(self) -> None:
        """Never touch this file again, but for taking off what is not safe, if that still works."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        segment = self.items[-1]
        try:
            if segment.size <= SEGMENT_HEADER.size:
                self.items.pop()
                segment.path.unlink(missing_ok=True)
            else:
                os.ftruncate(file, segment.size)
        except OSError:
            pass  # what is left is never read by this process
        finally:
            os.close(file)


def _count(segment: Segment, records: Sequence[Record]) -> None:
    for record in records:
        segment.counts[record.severity] += 1


def _make_room(folder: Path) -> None:
    files = (path for path in folder.iterdir() if path.suffix != ".why")
    kept = sorted(files, key=lambda path: path.stat().st_mtime_ns)
    for path in kept[: max(0, len(kept) - KEPT_ASIDE + 1)]:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".why").unlink(missing_ok=True)
