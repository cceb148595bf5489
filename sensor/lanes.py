"""What is sent next: grave findings ahead of their turn while many wait, everything else in order.

The console stores by sequence, whatever the order, and acknowledges up to the first gap. So a critical finding of now
may overtake a million old ones; it stays in the spool until its turn has come, and is passed over then, for the console
has it. What went ahead is remembered in memory only: after a restart it is sent again, and the console knows it.

While the console is silent, only what it may have already is sent once more: whatever it cannot have seen, the spool
may still give up for something graver.

Every second parcel at most goes ahead, so that a flood of grave findings does not keep the queue from draining.
"""

from __future__ import annotations

from typing import NamedTuple

from sensor.spool import Spool
from sensor.spool_files import Record

MAX_SENT_AHEAD = 50_000  # sequences remembered; those beyond are sent twice
WAITING_IN_PARCELS = 2  # when more than these wait, it is worth while to send something ahead
MAX_UNACKNOWLEDGED = 8_000  # sequences sent in order beyond the acknowledged ones; then something is wrong


class Parcel(NamedTuple):
    """What one request carries. ahead: whether these overtake others."""

    records: list[Record]
    ahead: bool


class Lanes:
    """See the module. Use it from one thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._after = spool.acknowledged  # sent in order up to here
        self._sent_ahead: set[int] = set()
        self._ahead_last = False
        self._heard = False  # whether the console answered the last time, if it was ever asked

    @property
    def unacknowledged(self) -> int:
        """How many sequences were sent in order that the console has not acknowledged."""
        return max(0, self._after - self._spool.acknowledged)

    def take(self, most: int, most_bytes: int) -> Parcel | None:
        """The next parcel, None where nothing is to be sent now. SpoolError."""
        after = self._after = max(self._after, self._spool.acknowledged)
        if not self._ahead_last and self._spool.safe - after > WAITING_IN_PARCELS * most:
            grave = self._spool.grave(most, most_bytes, after)
            if grave:
                self._ahead_last = True
                return Parcel(grave, True)
        self._ahead_last = False
        if self.unacknowledged > MAX_UNACKNOWLEDGED:
            return None
        records = self._spool.batch(most, most_bytes, after, self._sent_ahead, again=not self._heard)
        if not records:
            return None
        self._after = records[-1].sequence
        return Parcel(records, False)

    def arrived(self, parcel: Parcel, acknowledged: int) -> None:
        """The console has a parcel, and everything up to `acknowledged`. SpoolError."""
        self._heard = True
        if parcel.ahead:
            room = MAX_SENT_AHEAD - len(self._sent_ahead)
            self._sent_ahead.update(record.sequence for record in parcel.records[-room:] if room > 0)
        self._spool.acknowledge(acknowledged)
        if len(self._sent_ahead) > MAX_SENT_AHEAD // 2:
            self._sent_ahead = {number for number in self._sent_ahead if number > acknowledged}

    def failed(self, parcel: Parcel) -> None:
        """A parcel did not arrive; what overtakes others is tried again as such."""
        self._heard = False
        if parcel.ahead:
            self._spool.grave_again(parcel.records)

    def again(self) -> bool:
        """Go back to what the console has not acknowledged; gives whether anything had been passed over."""
        passed_over = bool(self._sent_ahead)
        self._sent_ahead.clear()
        self._after = self._spool.acknowledged
        return passed_over
