"""A sensor looks after its archive by itself: small files become day files, and what is over the limits goes.

The work is done in a process of its own at the lowest priority (`python -m sensor.archive.upkeep DIR`), so that reading
and writing a day of rows keeps no frames waiting and its memory is given back. It may die at any step: see store.py. It
may also run while others compact, prune, hunt or verify.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
FIRST_S = 120.0  # after the start of the sensor, which has other things to do then
EVERY_S = 3600.0
PATIENCE_S = 1800.0  # for one round; the next one goes on where it was ended
DAY_NS = 86_400 * 10**9
DONE = ("archive.compacted", "archive.removed", "archive.removed_events")
SIZE = ("archive.files", "archive.bytes")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive keeps; None: all."""

    days: int | None = None
    bytes: int | None = None


ALL = Limits()


class ArchiveUpkeep:
    """Rounds in a thread until `close`. say: takes a line when a round fails otherwise than the one before, and when it
    works again. first_s, every_s: seconds until the first round and between two.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        say: Callable[[str], None] = log.info,
        first_s: float = FIRST_S,
        every_s: float = EVERY_S,
    ) -> None:
        self._folder, self._limits, self._say = folder, limits, say
        self._every_s = every_s
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._done = dict.fromkeys(DONE, 0)
        self._size = dict.fromkeys(SIZE, 0)
        self._failures = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, args=(first_s,), name="archive-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; a round that goes on is cut off, which harms nothing."""
        self._stop.set()
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join(timeout=5)

    def counters(self) -> dict[str, int]:
        """For the heartbeat: what was done since the start, and how large the archive was after the latest round."""
        return {**self._done, **self._size, "archive.upkeep_failed": self._failures}

    def _run(self, first_s: float) -> None:
        pause = first_s
        while not self._stop.wait(pause):
            pause = self._every_s
            trouble = self._round()
            if self._stop.is_set():
                return
            self._failures += bool(trouble)
            if trouble != self._trouble:
                self._trouble = trouble
                told = (
                    f"the archive cannot be looked after: {trouble}" if trouble else "the archive is looked after again"
                )
                self._say(told)

    def _round(self) -> str:
        """Compact and prune once; what went wrong."""
        command = [sys.executable, "-m", __name__, str(self._folder.resolve())]
        for option, value in (("--days", self._limits.days), ("--bytes", self._limits.bytes)):
            command += [option, str(value)] if value is not None else []
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
                self._process = process
                try:
                    out, error = process.communicate(timeout=PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    return f"it took longer than {PATIENCE_S:.0f} s"
                finally:
                    self._process = None
            if process.returncode:
                lines = str(error).strip().splitlines()
                return lines[-1][:300] if lines else f"exit code {process.returncode}"
            done: dict[str, Any] = json.loads(out)
            self._done = {name: value + int(done[name]) for name, value in self._done.items()}
            self._size = {name: int(done[name]) for name in SIZE}
        except (OSError, ValueError, KeyError, TypeError) as error:
            return str(error)[:300]
        return "; ".join(str(it) for it in done["faults"])[:300]


def look_after(folder: Path, limits: Limits, now_ns: int) -> dict[str, Any]:
    """One round; what was done, under the names of the counters, and faults. ArchiveError where nothing can be."""
    from sensor.archive.compaction import compact
    from sensor.archive.retention import outdated, prune
    from sensor.archive.store import Archive

    archive, today, faults = Archive(folder), now_ns // DAY_NS, list[str]()
    first_day = None if limits.days is None else today - limits.days + 1
    removal = outdated(archive.catalogue.files(), first_day=first_day, max_bytes=limits.bytes)
    prune(archive, removal)  # first: what goes need not be rewritten, and a full disk gets room
    gone = [it for entries in removal.values() for it in entries]
    became = list(compact(archive, today, lambda error: faults.append(str(error))))
    left = archive.catalogue.files()
    return {
        "archive.compacted": sum(it.old for it in became),
        "archive.removed": len(gone),
        "archive.removed_events": sum(it.events for it in gone),
        "archive.files": len(left),
        "archive.bytes": sum(it.bytes for it in left),
        "faults": faults[:10],
    }


def main() -> int:
    """The process; one JSON object to standard output. Exit code 2 with a line where the archive cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m sensor.archive.upkeep", description="Looks after an archive once.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int)
    parser.add_argument("--bytes", type=int)
    chosen = parser.parse_args()
    os.nice(19)
    from sensor.archive.origin import ArchiveError

    try:
        done = look_after(chosen.folder, Limits(chosen.days, chosen.bytes), time.time_ns())
    except ArchiveError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    json.dump(done, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
