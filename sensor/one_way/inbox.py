"""What came over a one-way link, put in order into a spool of the receiver's; what did not come, proven missing.

The spool has the sensor's own epoch and sequences. Records that come too early wait in memory. When the sender says
that it will not send a sequence again, and a moment has passed for datagrams that overtook each other, what is not
there is lost: it becomes a Loss in the spool, exactly as long as the gap. So whatever was sent is delivered or counted
as missing, to the unit; what comes later still is left out, for it has been counted.
"""

from __future__ import annotations

from sensor.spool import Spool
from sensor.spool_files import Record
from sensor.spool_loss import MISSING

GRACE_S = 2.0  # for datagrams that are still on their way when the sender says that it was all
MAX_HELD_BYTES = 64 * 1024 * 1024  # of records that came too early


class Inbox:
    """One life of one sensor's queue; see the module. Use it from one thread."""

    def __init__(self, spool: Spool) -> None:
        """spool: with the sensor's epoch."""
        self.spool = spool
        self.missing = 0  # sequences proven missing since the start
        self.late = 0  # records that came after that, or a second time
        self._held: dict[int, Record] = {}  # by their first sequence
        self._held_bytes = 0
        self._released: list[tuple[float, int]] = []  # when we heard that up to here nothing will come any more

    def put(self, records: list[Record]) -> None:
        """Take the records of a parcel."""
        for record in records:
            if record.first <= self.spool.taken or record.first in self._held:
                self.late += 1
                continue
            self._held[record.first] = record
            self._held_bytes += len(record.line)
        self._settle()
        while self._held_bytes > MAX_HELD_BYTES:
            self._miss(min(self._held) - 1)

    def released(self, sequence: int, now_s: float) -> None:
        """The sender will send nothing up to `sequence` again. now_s: on a clock that never goes back."""
        if sequence > (self._released[-1][1] if self._released else self.spool.taken):
            self._released.append((now_s, sequence))
        while self._released and self._released[0][0] + GRACE_S <= now_s:
            self._give_up(self._released.pop(0)[1])

    def _give_up(self, sequence: int) -> None:
        """What has not come up to `sequence` is missing."""
        while self.spool.taken < sequence:
            following = min(self._held, default=sequence + 1)
            self._miss(min(following - 1, sequence))

    def _miss(self, last: int) -> None:
        """Everything from the next sequence to `last` is missing."""
        span = last - self.spool.taken
        if span > 0:
            self.missing += span
            self.spool.skip(span, MISSING)
        self._settle()

    def _settle(self) -> None:
        """Put what follows without a gap into the spool, and forget what can never follow."""
        while (record := self._held.pop(self.spool.taken + 1, None)) is not None:
            self._held_bytes -= len(record.line)
            self.spool.relay(record)
        for first in [first for first in self._held if first <= self.spool.taken]:
            self._held_bytes -= len(self._held.pop(first).line)
            self.late += 1
