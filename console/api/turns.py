"""Who may store a batch now: bounded in all, shared fairly among sensors and among organisations.

While nobody else waits, one sensor may use every place. As soon as somebody was told to wait, whoever has more than a
fair share gets nothing new until the others were served: a noisy sensor slows down itself.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WAITS_S = 5.0  # for so long it counts as waiting who was told to come back in a second
MAX_WAITING = 10_000  # that are remembered


class Turns:
    """Places for batches. All methods may be called from any thread."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, only forward."""
        self._places = places
        self._clock = clock
        self._mutex = threading.Lock()
        self._held: Counter[tuple[int, int]] = Counter()  # (organisation, sensor)
        self._waiting: dict[tuple[int, int], float] = {}

    @contextmanager
    def turn(self, organisation_id: int, sensor_id: int) -> Iterator[bool]:
        """Whether there is a place; it is held until the end of the block."""
        caller = organisation_id, sensor_id
        with self._mutex:
            granted = self._may(caller)
            if granted:
                self._held[caller] += 1
                self._waiting.pop(caller, None)
            elif len(self._waiting) < MAX_WAITING or caller in self._waiting:
                self._waiting[caller] = self._clock()
        try:
            yield granted
        finally:
            if granted:
                with self._mutex:
                    self._held[caller] -= 1
                    if not self._held[caller]:
                        del self._held[caller]

    def _may(self, caller: tuple[int, int]) -> bool:
        if self._held.total() >= self._places:
            return False
        now = self._clock()
        for other, since in list(self._waiting.items()):
            if now - since > WAITS_S:
                del self._waiting[other]
        if not self._waiting.keys() - {caller}:
            return True
        contenders = self._held.keys() | self._waiting.keys() | {caller}
        own = caller[0]
        mates = [it for it in contenders if it[0] == own]
        of_organisation = sum(number for it, number in self._held.items() if it[0] == own)
        if len(mates) < len(contenders) and of_organisation >= self._share(len({it[0] for it in contenders})):
            return False
        others_wait = any(it != caller and it in self._waiting for it in mates) or len(mates) < len(contenders)
        return not (others_wait and self._held[caller] >= self._share(len(contenders)))

    def _share(self, contenders: int) -> int:
        return max(1, self._places // contenders)
