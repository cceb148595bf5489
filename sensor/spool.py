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

**When there is no room** (the quota is reached, the disk is full, too much waits in memory), findings are given up: the
oldest ones of the lowest severity that there is, and so on upwards; a tenth of the quota is for critical ones alone.
What is given up keeps its sequence: a Loss stands in its place and counts it by rule and severity, in the same file, by
the same rename. So the ledger is exact at every moment at which a crash can come, and reaches the console in order.

At start a torn end of the last segment is cut off. A record that is damaged elsewhere is counted as lost, a Loss is
sent under its sequence, and the rest is delivered. What cannot be read at all is set aside, in `quarantine`. A spool
belongs to one process at a time, which a lock on the directory sees to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any

from sensor.failpoints import failpoint
from sensor.spool_ballast import Ballast
from sensor.spool_files import (
    CRITICAL,
    HIGH,
    LOSS,
    MAX_RECORD_BYTES,
    MAX_RULE_BYTES,
    MEDIUM,
    SEVERITIES,
    Record,
    State,
    encode,
    encode_state,
    make_directory,
    read_state,
    with_loss,
    write_all,
)
from sensor.spool_grave import Grave
from sensor.spool_loss import DAMAGED, MAX_SPAN, Loss, Shedding, joined_losses, loss_of, record_of, without
from sensor.spool_segments import Segment, Segments, read, set_aside

QUOTA_BYTES = 2 * 1024**3
LEAST_QUOTA_BYTES = 64 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024  # a segment is deleted as a whole, and rewritten as a whole to give findings up
MERGED_BYTES = 64 * 1024  # two segments of which not more is left become one
SLICE_BYTES = 8 * 1024 * 1024  # of findings written and synced at a time
PROBE_BYTES = 256 * 1024  # the same, while the disk refuses: each try is cheap
MAX_WAITING_BYTES = 64 * 1024 * 1024  # of findings in memory, while the disk takes none
HAND_OUT_AHEAD = 2_000  # sequences noted as handed out at a time, for each note is two syncs
_RESERVED = 10  # one tenth of the quota is for critical findings
MAX_SEQUENCE = 2**63 - 1
_STATE = "state.json"


class SpoolError(Exception):
    """The spool cannot do what was asked; one clear line. Nothing that was flushed is lost by it."""


Build = Callable[[int], Mapping[str, Any]]  # a finding's JSON object, given the sequence for its id
BuildLoss = Callable[[Loss], Mapping[str, Any]]  # the JSON object that is sent for lost findings


class Spool:
    """See the module. All methods may be called from any thread."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        build_loss: BuildLoss,
        clock: Callable[[], float] = time.time,
        segment_bytes: int = SEGMENT_BYTES,
        quota_bytes: int = QUOTA_BYTES,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        epoch: int | None = None,
    ) -> None:
        """Open the spool in `directory`, or make one. SpoolError where it cannot be used or is in use.

        build_loss: builds what is sent in place of findings that are lost, under the last of their sequences: so that
        these stay without gaps, and people see what happened. quota_bytes: what the directory may need on disk.
        max_waiting_bytes: findings in memory, while the disk takes none. epoch: of a spool that is made; None: now.
        """
        self._directory = Path(directory)
        self._build_loss = build_loss
        self._clock = clock
        self._quota = max(quota_bytes, LEAST_QUOTA_BYTES)
        self._segment_bytes = min(segment_bytes, self._quota // 16)
        self._max_waiting = max_waiting_bytes
        self._mutex = threading.RLock()
        self._state = State(epoch=0)
        self._safe = 0
        self._next = 1  # the sequence of the next finding
        self._unsafe: list[Record] = []  # taken, not yet on disk
        self._waiting = 0  # bytes of their lines
        self._refused = False  # the disk took nothing the last time
        self._given = 0  # the highest sequence that was handed out
        self._reading: tuple[int, Iterator[Record]] | None = None  # the next sequence, and what is read from there on
        self._grave = Grave()
        self.shed = 0  # findings given up since the start
        try:
            make_directory(self._directory)
            self._directory_file = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SpoolError(f"the spool {self._directory} cannot be opened: {error.strerror}") from error
        self._segments = Segments(self._directory, self._directory_file, self._segment_bytes)
        self._ballast = Ballast(self._directory, self._segment_bytes)
        try:
            try:
                fcntl.flock(self._directory_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolError(f"the spool {self._directory} is in use by another sensor process") from None
            self._open(epoch)
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
    def taken(self) -> int:
        """The highest sequence that was given to a finding."""
        return self._next - 1

    @property
    def depth(self) -> int:
        """How many sequences wait: on disk and not acknowledged, or still in memory."""
        with self._mutex:
            return self._next - 1 - self._state.acknowledged

    @property
    def used_bytes(self) -> int:
        """What it needs on disk."""
        with self._mutex:
            return self._segments.used + self._ballast.bytes

    @property
    def lost_count(self) -> int:
        """How many findings were damaged on disk, since the spool was made."""
        return self._state.lost_count

    @property
    def lost(self) -> tuple[tuple[int, int], ...]:
        """The latest damaged findings as ranges of sequences, both ends included."""
        return self._state.lost

    @property
    def torn_bytes(self) -> int:
        """What was cut off at start: it was never promised."""
        return self._segments.torn_bytes

    # --- in

    def append(self, build: Build) -> int:
        """Take a finding; returns its sequence. `build` makes its JSON object, given that sequence.

        ValueError or TypeError where the object is no JSON or longer than MAX_RECORD_BYTES; then nothing was taken.
        """
        with self._mutex:
            record = _record(self._next, build)
            self._take(record)
            if self._waiting > self._max_waiting:
                self._shed_waiting()
            return record.sequence

    @staticmethod
    def fits(build: Build) -> bool:
        """Whether `append` would take this."""
        try:
            _record(MAX_SEQUENCE, build)
        except (ValueError, TypeError):
            return False
        return True

    def append_all(self, builds: Sequence[Build], note: Callable[[int], None]) -> None:
        """Take these, which fit, under sequences side by side. note: called with the first one before any of them can
        get onto disk; what it raises comes out, and nothing was taken.
        """
        with self._mutex:
            note(self._next)
            for build in builds:
                self.append(build)
                if self._waiting > self._max_waiting // 2:
                    with contextlib.suppress(SpoolError):  # it stays in memory, and what has no room there is counted
                        self.flush()

    def relay(self, record: Record) -> None:
        """Take what another spool gave, under the sequence that it has there. ValueError where that is not the next."""
        with self._mutex:
            if record.first != self._next:
                raise ValueError(f"sequence {self._next} is the next, not {record.first}")
            self._take(record)
            if self._waiting > self._max_waiting:
                self._shed_waiting()

    def skip(self, span: int, why: str) -> int:
        """Take `span` findings as lost, nobody knows of which rules; returns the last of their sequences."""
        with self._mutex:
            now = self._clock()
            while span > 0:
                last = self._next + min(span, MAX_SPAN) - 1
                span -= last - self._next + 1
                self._take(record_of(Loss(self._next, last, why, now, now, {})))
            return self._next - 1

    def flush(self) -> int:
        """Put on disk what was taken; returns the highest sequence that is safe now.

        SpoolError where that fails (disk full, I/O error): everything is kept in memory, and the next flush tries
        again in a new segment.
        """
        with self._mutex:
            while self._unsafe:
                self._flush_slice()
            return self._safe

    # --- out

    def batch(
        self,
        most: int,
        most_bytes: int,
        after: int | None = None,
        skip: Set[int] = frozenset(),
        *,
        finish: bool = True,
        again: bool = False,
    ) -> list[Record]:
        """The oldest findings that are safe and not acknowledged: at most `most`, lines of at most `most_bytes`.

        The first one is given even where it alone is longer. The same findings come again until they are acknowledged.
        after: only those of higher sequences. skip: sequences that are left out. finish: give losses as they are sent
        to a console; otherwise as records that another spool takes with `relay`. again: where some were handed out that
        nobody has acknowledged, only those: what the console cannot have seen may still be given up for graver ones.
        """
        with self._mutex:
            state = self._state
            last_one = state.handed_out if again and state.handed_out > state.acknowledged else self._safe
            sequence = max(state.acknowledged, after or 0) + 1
            if self._reading is None or self._reading[0] != sequence:
                self._reading = (sequence, self._due(sequence))
            due = self._reading[1]
            self._reading = None
            records: list[Record] = []
            size = 0
            for record in due:
                if record.first > last_one:
                    break
                if record.sequence not in skip:
                    whole = self._finished(record) if finish and record.severity == LOSS else record
                    size += len(whole.line)
                    if len(records) == most or (records and size > most_bytes):
                        self._reading = (sequence, chain((record,), due))
                        break
                    if record.rule == DAMAGED and record.severity == LOSS:
                        state = with_loss(state, record.first, record.sequence)
                    records.append(whole)
                sequence = record.sequence + 1
            last = records[-1].sequence if records else 0
            if last > state.handed_out:
                state = state._replace(handed_out=max(last, min(self._safe, last + HAND_OUT_AHEAD)))
            self._store(state)
            self._given = max(self._given, last)
            return records

    def grave(self, most: int, most_bytes: int, after: int) -> list[Record]:
        """The newest findings of high and critical severity beyond the sequence `after`, to be sent ahead of their
        turn; each is given once, and comes again in its turn until it is acknowledged.
        """
        with self._mutex:
            chosen = self._grave.take(most, most_bytes, after)
            if chosen:
                last = chosen[-1].sequence
                if last > self._state.ahead:
                    self._store(self._state._replace(ahead=self._safe))
                self._given = max(self._given, last)
            return chosen

    def grave_again(self, records: Iterable[Record]) -> None:
        """Those that `grave` gave did not arrive: it will give them again."""
        with self._mutex:
            self._grave.again(records)

    def acknowledge(self, sequence: int) -> None:
        """The console has everything up to `sequence`: never send it again. Older acknowledgements change nothing.

        SpoolError where that was never handed out: then somebody else sends under this spool's epoch.
        """
        with self._mutex:
            if sequence > self._given:
                raise SpoolError(
                    f"the console has findings up to {sequence} of this spool, which has sent {self._given}:"
                    " another sensor uses a copy of it, or an old copy was put back"
                )
            if sequence <= self._state.acknowledged:
                return
            self._store(self._state._replace(acknowledged=sequence))
            self._segments.release(sequence)

    def close(self) -> None:
        """Flush, and let go of the directory."""
        with self._mutex:
            try:
                self.flush()
            finally:
                self._reading = None
                self._segments.end()
                if self._directory_file >= 0:
                    os.close(self._directory_file)
                    self._directory_file = -1

    # --- taking

    def _take(self, record: Record) -> None:
        self._unsafe.append(record)
        self._waiting += len(record.line)
        self._next = record.sequence + 1

    def _flush_slice(self) -> None:
        """Put the oldest part of what waits on disk."""
        most = PROBE_BYTES if self._refused else SLICE_BYTES
        end, size = 1, len(self._unsafe[0].line)
        while end < len(self._unsafe) and size + len(self._unsafe[end].line) <= most:
            size += len(self._unsafe[end].line)
            end += 1
        part = self._unsafe[:end]
        try:
            while True:
                records, data = self._made_room(part)
                try:
                    self._segments.write(records, data, self.epoch)
                    break
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._shed_on_full_disk(records):
                        raise
        except OSError as error:
            self._refused = True
            raise SpoolError(f"the spool {self._directory} cannot be written: {error.strerror}") from error
        self._refused = False
        del self._unsafe[:end]
        self._waiting = sum(len(record.line) for record in self._unsafe)
        self._safe = records[-1].sequence
        self._grave.keep(records)
        self._ballast.put()

    # --- giving up

    def _made_room(self, part: list[Record]) -> tuple[list[Record], bytes]:
        """What of `part` is to be written, and as which bytes, after giving up what the quota has no room for."""
        while True:
            data = encode(part)
            only_critical = all(record.severity in (LOSS, CRITICAL) for record in part)
            room = self._quota if only_critical else self._quota - self._quota // _RESERVED
            excess = self.used_bytes + len(data) - room
            if excess <= 0:
                return part, data
            lowest = _lowest(part)
            if self._shed_oldest(lowest):
                continue
            if lowest is None:  # the ledger itself: it is small, and never given up
                return part, data
            raw = sum(len(record.line) for record in part)
            part = self._shed_of(part, lowest, 1 + excess * raw // len(data))

    def _shed_oldest(self, at_most: int | None) -> bool:
        """Give up the findings of the lowest severity in the oldest segment that has any, unless they are graver than
        `at_most`; False where there are none, or where that segment cannot be rewritten.
        """
        open_to_it = [segment for segment in self._segments.items if segment.first > self._state.handed_out]
        for severity in range(1, (at_most or CRITICAL) + 1):
            for segment in open_to_it:
                if segment.counts[severity]:
                    return self._rewrite_without(segment, severity)
        return False

    def _rewrite_without(self, segment: Segment, severity: int) -> bool:
        try:
            records = list(read(segment, segment.first))
        except OSError as error:
            self._segments.drop(segment, f"it cannot be read ({error.strerror})")
            self._reading = None
            return True
        self._reading = None
        kept = without(records, Shedding(severity, self._clock(), self._state.ahead))
        if not kept:
            self._segments.drop(segment, "nothing in it can be read")
            return True
        if severity >= HIGH:  # what is counted as lost is not sent any more
            self._grave.forget(severity, segment.first, segment.last)
        try:
            self._segments.rewrite(segment, kept, self.epoch)
        except OSError:
            return False
        self.shed += sum(record.severity == severity for record in records)
        if segment.size <= MERGED_BYTES:
            self._merge_into_previous(segment)
        return True

    def _merge_into_previous(self, segment: Segment) -> None:
        """What is left of two segments goes into one; or days without a console would leave thousands of them."""
        at = self._segments.items.index(segment)
        before = self._segments.items[at - 1] if at else segment
        if before is segment or before.first <= self._state.handed_out or before.size > MERGED_BYTES:
            return
        with contextlib.suppress(OSError):  # then they stay two
            records = joined_losses([*read(before, before.first), *read(segment, segment.first)], self._state.ahead)
            self._segments.merge(before, segment, records, self.epoch)

    def _shed_on_full_disk(self, records: list[Record]) -> bool:
        """Make room on a disk that is full, though the quota is not reached: others fill it. False where that fails."""
        self._ballast.drop()
        return self._shed_oldest(_lowest(records))

    def _shed_waiting(self) -> None:
        """Give up the oldest of the lowest severity among what waits in memory, until an eighth of the room is free."""
        while self._waiting > self._max_waiting - self._max_waiting // 8:
            lowest = _lowest(self._unsafe)
            if lowest is None:
                return
            excess = self._waiting - (self._max_waiting - self._max_waiting // 8)
            self._unsafe = self._shed_of(self._unsafe, lowest, excess)
            self._waiting = sum(len(record.line) for record in self._unsafe if record.severity != LOSS)

    def _shed_of(self, records: list[Record], severity: int, least_bytes: int) -> list[Record]:
        """Records that are in memory, without the oldest of this severity."""
        kept = without(records, Shedding(severity, self._clock(), 0, least_bytes))
        self.shed += sum(it.severity == severity for it in records) - sum(it.severity == severity for it in kept)
        return kept

    # --- reading

    def _due(self, sequence: int) -> Iterator[Record]:
        """What stands for every sequence from `sequence` to the last one that is safe now, without a gap."""
        safe, read_up_to = self._safe, -1
        while sequence <= safe:
            left = [it for it in self._segments.items if it.last >= sequence and it.first > read_up_to]
            if not left:
                break
            segment = left[0]
            read_up_to = segment.first
            before = max(sequence, segment.first)
            yield from _missing(sequence, min(segment.first - 1, safe), self._clock())
            sequence = before
            whole = True
            try:
                for record in read(segment, sequence):
                    if record.sequence > safe:
                        return
                    if record.first > sequence:
                        whole = False
                        yield from _missing(sequence, record.first - 1, self._clock())
                    yield record
                    sequence = record.sequence + 1
            except OSError as error:
                self._segments.drop(segment, f"it cannot be read ({error.strerror})")
                continue
            # Behind the end of what could be written, a segment may hold rubbish; the next one begins there anew.
            end = min(segment.last, safe, *(it.first - 1 for it in left[1:2]))
            if sequence <= end:
                whole = False
                yield from _missing(sequence, end, self._clock())
                sequence = end + 1
            if not whole:
                set_aside(segment.path, "some of it is damaged", before, segment.last, copy=True)
        yield from _missing(sequence, safe, self._clock())

    def _finished(self, record: Record) -> Record:
        """A loss as it is sent."""
        line = _line(self._build_loss(loss_of(record)))
        return record._replace(line=line)

    # --- on disk

    def _open(self, epoch: int | None) -> None:
        (self._directory / (_STATE + ".new")).unlink(missing_ok=True)
        try:
            state = read_state(self._directory / _STATE)
        except (ValueError, OSError) as error:
            set_aside(self._directory / _STATE, f"it cannot be read ({error})", 0, 0)
            state = None
        told = self._segments.open(None if state is None else state.epoch)
        items = self._segments.items
        self._safe = self._segments.last
        if state is None:
            # Made new, or the state was damaged. Then the segments tell the epoch; the console may have seen any of
            # what they hold, and all of it is sent again.
            before = items[0].first - 1 if items else 0
            made = int(self._clock()) if epoch is None else epoch
            state = State(made if told is None else told, before, self._safe, before, ahead=self._safe)
        self._safe = max(self._safe, state.acknowledged, state.handed_out, state.ahead)
        self._given = max(state.handed_out, state.ahead)
        self._next = self._safe + 1
        self._store(state)
        self._segments.release(state.acknowledged)
        self._grave.find(reversed(self._segments.items), state.acknowledged)

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
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and self._ballast.drop():
                self._store(state)  # or a full disk could never be drained
                return
            raise SpoolError(f"the spool {self._directory} cannot be written: {error.strerror}") from error
        self._state = state


def _lowest(records: Iterable[Record]) -> int | None:
    """The lowest severity of findings; None where there are losses only."""
    return min((record.severity for record in records if record.severity != LOSS), default=None)


def _missing(first: int, last: int, now_s: float) -> Iterator[Record]:
    """Losses in the place of findings that cannot be read."""
    while first <= last:
        end = min(last, first + MAX_SPAN - 1)
        yield record_of(Loss(first, end, DAMAGED, now_s, now_s, {}))
        first = end + 1


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes the JSON escape for it


def _record(sequence: int, build: Build) -> Record:
    value = build(sequence)
    line = _line(value)
    if len(line) > MAX_RECORD_BYTES:
        raise ValueError(f"a finding of {len(line)} bytes is longer than {MAX_RECORD_BYTES}")
    rule, events = value.get("rule.id"), value.get("finding.count")
    return Record(
        sequence,
        line,
        SEVERITIES.get(str(value.get("rule.severity")), MEDIUM),
        rule[:MAX_RULE_BYTES] if isinstance(rule, str) and rule.isascii() else "",
        events if type(events) is int and 0 < events < 1 << 63 else 1,
    )
