"""Whether a worker still gets on: by what it says of its progress and by the processor time that it uses.

The clock on the wall says nothing where a machine is busy or was stopped. So a hang is so much processor time without
progress; or, of a process that sleeps or was stopped and uses none, much longer by the clock, of which only the time
counts in which this watchdog itself was awake.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

STALL_CPU_S = 0.8  # without progress, beyond what the batch at hand may take,
FRAME_CPU_S = 10e-6  # for each of its frames: twenty times what decoding one costs
END_CPU_S = 20.0  # at the end, when all detectors say what they have
STALL_CLOCK_S = 10.0  # without progress and without using the processor
LOOK_S = 0.05  # between two looks
_AWAKE_S = 0.5  # two looks further apart: the sensor itself was not running


@dataclass(slots=True)
class _Mark:
    step: int
    cpu: float
    awake: float


class Watchdog:
    """Over one worker."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._mark = _Mark(-1, self.cpu(), 0.0)
        self._awake = 0.0
        self._looked = time.monotonic()

    def cpu(self) -> float:
        """Processor time that the worker has used, in seconds; that of its start where it is gone."""
        try:
            return time.clock_gettime((~self._pid << 3) | 2)  # CPUCLOCK_SCHED of a process, linux/posix-timers.h
        except OSError:
            return 0.0

    def look(self, step: int, busy: bool, frames: int | None) -> str:
        """Why the worker must be cut, "" while it need not.

        step: what it says of its progress. busy: whether it has something to do. frames: of the batch at hand, None at
        the end.
        """
        now = time.monotonic()
        self._awake += min(now - self._looked, _AWAKE_S)
        self._looked = now
        if step != self._mark.step or not busy:
            self._mark = _Mark(step, self.cpu(), self._awake)
            return ""
        used = self.cpu() - self._mark.cpu
        allowed = END_CPU_S if frames is None else STALL_CPU_S + frames * FRAME_CPU_S
        if used > allowed:
            return f"no progress in {used:.1f} s of processor time"
        if self._awake - self._mark.awake > STALL_CLOCK_S and used < allowed / 2 and not self._runs():
            return f"no progress in {self._awake - self._mark.awake:.0f} s, without using the processor"
        return ""

    def _runs(self) -> bool:
        """Whether it waits for a processor only."""
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_bytes()
        except OSError:
            return False
        return stat.rpartition(b") ")[2][:1] == b"R"
