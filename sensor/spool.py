"""The durable queue of findings: on disk before they are sent, kept until the console has them.

A spool is a directory. Segment files hold checksummed records, numbered from 1 without gaps; a small state file holds
the epoch (when the spool was made) and how far the console has acknowledged. The order of things:

- `append` takes a finding into memory and gives it its sequence; `flush` writes what was taken and syncs it. Only then
  `batch` hands it out to be sent. What a crash takes before `flush` was never promised to anybody.
- `batch` first notes on disk how far it hands out. A sequence that the console may have seen is never given to another
  finding, whatever happens to the segment: the console would take the second finding for the first.
- `acknowledge` replaces the state file (temporary file, sync, rename, sync of the directory), and only then deletes the
  segments that nobody needs any more.
- After a failed write or sync nothing is tried again on that file, for a second sync may succeed and mean nothing: what
  is not safe yet is still in memory and goes to a new segment with the next `flush`.

At start a torn end of the last segment is cut off. A record that is damaged elsewhere is counted as lost, something
else is sent under its sequence, and the rest is delivered. A spool belongs to one process at a time, which a lock on
the directory sees to.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sensor.failpoints import failpoint
from sensor.spool_files import (
    MAX_RECORD_BYTES,
    SEGMENT_HEADER,
    Record,
    State,
    decode,
    encode,
    encode_state,
    read_state,
    segment_epoch,
    segment_header,
    with_loss,
    write_all,
)

SEGMENT_BYTES = 8 * 1024 * 1024  # a segment is read and deleted as a whole
_SUFFIX = ".segment"
_STATE = "state.json"


class SpoolError(Exception):
    """The spool cannot do what was asked; one clear line. Nothing that was flushed is lost by it."""


Build = Callable[[int], Mapping[str, Any]]  # a finding's JSON object, given the sequence for its id


class Spool:
    """See the module. All methods may be called from any thread."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        stand_in: Build,
        clock: Callable[[], float] = time.time,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Open the spool in `directory`, or make one. SpoolError where it cannot be used or is in use.

        stand_in: builds what is sent in place of a finding that was damaged on disk, given its sequence: so that the
        sequence stays without gaps, and people see what happened.
        """
        self._directory = Path(directory)
        self._build_stand_in = stand_in
        self._segment_bytes = segment_bytes
        self._mutex = threading.RLock()
        self._state = State(epoch=0)
        self._safe = 0
        self._unsafe: list[Record] = []  # taken, not yet on disk
        self._file = -1  # descriptor of the segment that is written
        self._path = Path()
        self._size = 0  # bytes of it that are safe
        self.torn_bytes = 0  # cut off at start
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory_file = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SpoolError(f"the spool {self._directory} cannot be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(self._directory_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolError(f"the spool {self._directory} is in use by another sensor process") from None
            self._open(clock)
        except OSError as error:
            os.close(self._directory_file)
            raise SpoolError(f"the spool {self._directory} cannot be read: {error.strerror}") from error
        except SpoolError:
            os.close(self._directory_file)
            raise

    # --- what stands in it

    @property
    def epoch(self) -> int:
        """When this spool was made, seconds since 1970: part of every finding's id."""
        return self._state.epoch

    @property
    def acknowledged(self) -> int:
        """The sequence up to which nothing has to be sent any more."""
        return self._state.acknowledged

    @property
    def safe(self) -> int:
        """The highest sequence that is on disk."""
        return self._safe

    @property
    def depth(self) -> int:
        """How many findings wait: on disk and not acknowledged, or still in memory."""
        with self._mutex:
            return self._safe - self._state.acknowledged + len(self._unsafe)

    @property
    def lost_count(self) -> int:
        """How many findings were damaged on disk, since the spool was made."""
        return self._state.lost_count

    @property
    def lost(self) -> tuple[tuple[int, int], ...]:
        """The latest damaged findings as ranges of sequences, both ends included."""
        return self._state.lost

    # --- in

    def append(self, build: Build) -> int:
        """Take a finding; returns its sequence. `build` makes its JSON object, given that sequence.

        ValueError or TypeError where the object is no JSON or longer than MAX_RECORD_BYTES; then nothing was taken.
        """
        with self._mutex:
            record = _record(self._safe + len(self._unsafe) + 1, build)
            self._unsafe.append(record)
            return record.sequence

    def flush(self) -> int:
        """Put on disk what was taken; returns the highest sequence that is safe now.

        SpoolError where that fails (disk full, I/O error): everything is kept in memory, and the next flush tries
        again in a new segment.
        """
        with self._mutex:
            if not self._unsafe:
                return self._safe
            data = b"".join(encode(record) for record in self._unsafe)
            try:
                if self._file >= 0 and self._size >= self._segment_bytes:
                    os.close(self._file)
                    self._file = -1
                if self._file < 0:
                    self._begin_segment()
                failpoint("spool.before_write")
                write_all(self._file, data)
                failpoint("spool.after_write")
                os.fsync(self._file)
                failpoint("spool.after_sync")
            except OSError as error:
                self._abandon_segment()
                raise SpoolError(f"the spool {self._directory} cannot be written: {error.strerror}") from error
            self._size += len(data)
            self._safe = self._unsafe[-1].sequence
            self._unsafe.clear()
            return self._safe

    # --- out

    def batch(self, most: int, most_bytes: int) -> list[Record]:
        """The oldest findings that are safe and not acknowledged: at most `most`, lines of at most `most_bytes`.

        The first one is given even where it alone is longer. The same findings come again until they are acknowledged.
        """
        with self._mutex:
            state = self._state
            records: list[Record] = []
            size = 0
            try:
                for record, lost in self._due(state.acknowledged + 1):
                    size += len(record.line)
                    if len(records) == most or (records and size > most_bytes):
                        break
                    if lost:
                        state = with_loss(state, record.sequence)
                    records.append(record)
            except OSError as error:
                raise SpoolError(f"the spool {self._directory} cannot be read: {error.strerror}") from error
            if records:
                state = state._replace(handed_out=max(state.handed_out, records[-1].sequence))
            self._store(state)
            return records

    def acknowledge(self, sequence: int) -> None:
        """The console has everything up to `sequence`: never send it again. Older acknowledgements change nothing.

        SpoolError where that was never handed out: then somebody else sends under this spool's epoch.
        """
        with self._mutex:
            if sequence > self._state.handed_out:
                raise SpoolError(
                    f"the console has findings up to {sequence} of this spool, which has sent {self._state.handed_out}:"
                    " another sensor uses a copy of it, or an old copy was put back"
                )
            if sequence <= self._state.acknowledged:
                return
            self._store(self._state._replace(acknowledged=sequence))
            segments = self._segments()
            for i, (_, path) in enumerate(segments):
                following = segments[i + 1][0] if i + 1 < len(segments) else self._safe + 1
                if following <= sequence + 1 and path != self._path:
                    failpoint("spool.before_unlink")
                    with contextlib.suppress(OSError):  # what stays is deleted with the next acknowledgement
                        path.unlink()
                    failpoint("spool.after_unlink")

    def close(self) -> None:
        """Flush, and let go of the directory."""
        with self._mutex:
            try:
                self.flush()
            finally:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1
                if self._directory_file >= 0:
                    os.close(self._directory_file)
                    self._directory_file = -1

    # --- on disk

    def _open(self, clock: Callable[[], float]) -> None:
        (self._directory / (_STATE + ".new")).unlink(missing_ok=True)
        state = read_state(self._directory / _STATE)
        if state is not None:
            self._set_foreign_aside(state.epoch)
        segments = self._segments()
        self._safe = segments[-1][0] - 1 if segments else 0
        for _, path in reversed(segments):
            last = self._repair_end(path)
            if last:
                self._safe = max(self._safe, last)
                break
        if state is None:
            # Made new, or the state was damaged. Then the segments tell the epoch; the console may have seen any of
            # what they hold, and all of it is sent again.
            epochs = [epoch for _, path in self._segments() if (epoch := segment_epoch(path)) is not None]
            before = segments[0][0] - 1 if segments else 0
            state = State(epochs[-1] if epochs else int(clock()), before, handed_out=self._safe, noted=before)
        self._safe = max(self._safe, state.acknowledged, state.handed_out)
        self._store(state)

    def _set_foreign_aside(self, epoch: int) -> None:
        """Rename segments of another spool that somebody put here: their sequences would be taken for ours."""
        for _, path in self._segments():
            if segment_epoch(path) not in (None, epoch):
                failpoint("spool.before_set_aside")
                path.rename(path.with_suffix(".foreign"))
                failpoint("spool.after_set_aside")

    def _segments(self) -> list[tuple[int, Path]]:
        """First sequence and path of every segment, oldest first."""
        found = []
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if path.stem.isdecimal():
                found.append((int(path.stem), path))
        return sorted(found)

    def _repair_end(self, path: Path) -> int:
        """Cut a torn record off the end of a segment; returns the last sequence in it, 0 if it was of no use.

        Nothing is ever appended to this segment again.
        """
        data = path.read_bytes()
        last, end = 0, 0
        for record, record_end in decode(data):
            last, end = record.sequence, record_end
        if last == 0:
            failpoint("spool.before_repair_unlink")
            path.unlink()
            failpoint("spool.after_repair_unlink")
            end = min(len(data), SEGMENT_HEADER.size)
        elif end < len(data):
            with path.open("r+b") as file:
                failpoint("spool.before_repair_truncate")
                file.truncate(end)
                failpoint("spool.after_repair_truncate")
                os.fsync(file.fileno())
                failpoint("spool.after_repair_sync")
        self.torn_bytes += len(data) - end
        return last

    def _read_from(self, sequence: int) -> Iterator[Record]:
        """Records from `sequence` on, each sequence once, as far as they are safe and whole."""
        segments = self._segments()
        for i, (_, path) in enumerate(segments):
            if i + 1 < len(segments) and segments[i + 1][0] <= sequence:
                continue
            for record, _ in decode(path.read_bytes()):
                if sequence <= record.sequence <= self._safe:
                    yield record
                    sequence = record.sequence + 1

    def _due(self, sequence: int) -> Iterator[tuple[Record, bool]]:
        """Every sequence from `sequence` to the last safe one: (what to send, whether it stands in for a lost one)."""
        for record in self._read_from(sequence):
            for missing in range(sequence, record.sequence):
                yield self._stand_in(missing), True
            yield record, False
            sequence = record.sequence + 1
        for missing in range(sequence, self._safe + 1):
            yield self._stand_in(missing), True

    def _begin_segment(self) -> None:
        # Named by a sequence that is not safe yet: whatever stands in a file of that name is worth nothing.
        self._path = self._directory / f"{self._safe + 1:020d}{_SUFFIX}"
        self._size = 0
        failpoint("spool.before_create")
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        failpoint("spool.after_create")
        write_all(self._file, segment_header(self.epoch))
        self._size = SEGMENT_HEADER.size
        failpoint("spool.after_header")
        os.fsync(self._directory_file)
        failpoint("spool.after_create_sync")

    def _abandon_segment(self) -> None:
        """Never touch this file again, but for taking off what is not safe, if that still works."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        path, self._path = self._path, Path()
        try:
            if self._size <= SEGMENT_HEADER.size:
                path.unlink(missing_ok=True)
            else:
                os.ftruncate(file, self._size)
        except OSError:
            pass  # what is left has the sequences of the records in memory, and is the same
        finally:
            os.close(file)

    def _store(self, state: State) -> None:
        """Replace the state file, so that after a crash the old or the new one is there, whole."""
        if state == self._state:
            return
        temporary = self._directory / (_STATE + ".new")
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                failpoint("spool.before_state_write")
                write_all(file, encode_state(state))
                failpoint("spool.after_state_write")
                os.fsync(file)
                failpoint("spool.after_state_sync")
            finally:
                os.close(file)
            temporary.replace(self._directory / _STATE)
            failpoint("spool.after_state_rename")
            os.fsync(self._directory_file)
            failpoint("spool.after_state_directory_sync")
        except OSError as error:
            raise SpoolError(f"the spool {self._directory} cannot be written: {error.strerror}") from error
        self._state = state

    def _stand_in(self, sequence: int) -> Record:
        return _record(sequence, self._build_stand_in)


def _record(sequence: int, build: Build) -> Record:
    text = json.dumps(build(sequence), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    line = text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes the JSON escape for it
    if len(line) > MAX_RECORD_BYTES:
        raise ValueError(f"a finding of {len(line)} bytes is longer than {MAX_RECORD_BYTES}")
    return Record(sequence, line)
