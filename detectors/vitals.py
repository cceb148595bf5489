"""How a sensor is: versions, clocks, memory, what it found. For the heartbeat; docs/sensor.md has the table."""

from __future__ import annotations

import os
import platform
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from detectors.finding import Finding, Severity

JUMP_S = 1.0  # by so much the wall clock was set, against the one that only goes on


class Vitals:
    """See the module. wall, steady: clocks in seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._started = wall()
        self._begun = steady()
        self._offset = self._started - self._begun
        self._jumps = 0
        self._last_jump_s = 0.0
        self._lock = threading.Lock()
        self._found: Counter[Severity] = Counter()
        try:
            self._version = version("fenghuo")
        except PackageNotFoundError:  # run from its sources without being installed
            self._version = "unknown"

    def found(self, finding: Finding) -> None:
        """Count a finding; may be called from any thread."""
        with self._lock:
            self._found[finding.severity] += 1

    def counters(self) -> dict[str, Any]:
        """For the heartbeat. Looks at the clocks: call it regularly."""
        offset = self._wall() - self._steady()
        if abs(offset - self._offset) >= JUMP_S:
            self._jumps += 1
            self._last_jump_s = round(offset - self._offset, 3)
        self._offset = offset
        with self._lock:
            found = dict(self._found)
        return {
            "sensor.version": self._version,
            "sensor.python": platform.python_version(),
            "sensor.kernel": platform.release(),
            "sensor.started": int(self._started),
            "sensor.uptime_s": int(self._steady() - self._begun),
            "sensor.cpu_s": int(sum(os.times()[:2])),
            "sensor.memory_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "clock.wall": round(self._wall(), 3),
            "clock.jumps": self._jumps,
            "clock.last_jump_s": self._last_jump_s,
            **{f"findings.{severity.word}": found.get(severity, 0) for severity in Severity},
        }
