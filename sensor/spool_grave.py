"""The latest grave findings of a spool, in memory, so that they can be sent ahead of their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sensor.spool_files import HIGH, Record
from sensor.spool_segments import Segment, read

MAX_GRAVE = 2_000  # kept;
MAX_GRAVE_BYTES = 8 * 1024 * 1024  # those that do not fit are sent in their turn


class Grave:
    """Findings of high and critical severity that are safe, the newest last."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._bytes = 0

    def keep(self, records: Iterable[Record]) -> None:
        """Remember the grave ones of these, which are newer than all before."""
        for record in records:
            if record.severity >= HIGH:
                self._records.append(record)
                self._bytes += len(record.line)
        while len(self._records) > MAX_GRAVE or self._bytes > MAX_GRAVE_BYTES:
            self._bytes -= len(self._records.popleft().line)

    def take(self, most: int, most_bytes: int, after: int) -> list[Record]:
        """The newest beyond the sequence `after`, in order: at most `most`, lines of at most `most_bytes`, or one."""
        chosen: list[Record] = []
        size = 0
        while self._records and len(chosen) < most:
            record = self._records[-1]
            size += len(record.line)
            if record.sequence <= after:
                self._replace(())  # nor are those before it
                break
            if chosen and size > most_bytes:
                break
            chosen.append(self._records.pop())
            self._bytes -= len(record.line)
        return chosen[::-1]

    def again(self, records: Iterable[Record]) -> None:
        """Take back what was taken."""
        self._replace(sorted({*self._records, *records}))

    def forget(self, severity: int, first: int, last: int) -> None:
        """Those of this severity among these sequences are not to be sent any more."""
        self._replace([it for it in self._records if it.severity != severity or not first <= it.sequence <= last])

    def find(self, segments: Iterable[Segment], after: int) -> None:
        """Remember the latest that stand in these segments, the newest of which comes first."""
        found: list[Record] = []
        for segment in segments:
            if not any(segment.counts[HIGH:]) or segment.last <= after:
                continue
            try:
                found = [it for it in read(segment, after + 1, grave=True) if it.severity >= HIGH] + found
            except OSError:  # it is met again, and set aside, when it is its turn
                continue
            if len(found) >= MAX_GRAVE:
                break
        self.keep(found)

    def _replace(self, records: Iterable[Record]) -> None:
        self._records.clear()
        self._bytes = 0
        self.keep(records)
