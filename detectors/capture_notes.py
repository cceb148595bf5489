"""Which captures were inspected, so that none is counted twice, whenever the sensor dies.

What a capture gave is noted whole (captures.pending) before the first finding of it can get onto the spool's disk, with
the sequence that this one will have. Sequences have no gaps, so after a crash the spool itself tells how many of them
it holds: the rest is taken from the note. Nothing is inspected anew, for then other rules might find something else.
Only then the capture counts as inspected (captures.json), and the note goes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.finding import FindingId
from sensor.failpoints import failpoint
from sensor.notes import load_note, write_note
from sensor.spool import Spool

log = logging.getLogger(__name__)

DONE, PENDING = "captures.json", "captures.pending"
Line = Mapping[str, Any]  # a finding as it is sent


@dataclass(frozen=True, slots=True)
class Pending:
    """What a capture gave. first: the sequence of the first line. epoch: of the spool that it is for."""

    digest: str
    epoch: int
    first: int
    lines: Sequence[Line]


class CaptureNotes:
    """See the module. folder: of the notes; there is one process at a time, for it holds the spool."""

    def __init__(self, folder: Path, spool: Spool) -> None:
        """Takes up what a crash left behind, before anybody else gives the spool something.

        OSError, SpoolError where that cannot be written: then it is still there at the next start.
        """
        self._folder, self._spool = folder, spool
        self._done = {str(digest) for digest in load_note(folder / DONE, list)}
        pending = self._pending()
        if pending is None:
            return
        if pending.epoch != spool.epoch:
            log.warning("%s is for another spool than the one that is here; it counts no more", folder / PENDING)
        elif pending.digest not in self._done:
            have = min(max(spool.taken - pending.first + 1, 0), len(pending.lines))
            log.info("a capture was being taken when the sensor ended: %d findings more", len(pending.lines) - have)
            self._finish(pending.digest, pending.lines[have:])
        (folder / PENDING).unlink(missing_ok=True)

    def inspected(self, digest: str) -> bool:
        """Whether the capture with this SHA-256 was."""
        return digest in self._done

    def take(self, digest: str, lines: Sequence[Line]) -> int:
        """Put what a capture gave on disk, once, and note that it was inspected; how many the spool does not take.

        lines: findings as they are sent, their finding.id with any sequence. OSError, SpoolError where that fails: the
        next start goes on with it.
        """
        fitting = [line for line in lines if self._spool.fits(lambda _sequence, line=line: line)]  # type: ignore[misc]
        self._finish(digest, fitting)
        return len(lines) - len(fitting)

    def _finish(self, digest: str, lines: Sequence[Line]) -> None:
        def note(first: int) -> None:
            failpoint("captures.before_pending")
            write_note(self._folder / PENDING, _text(Pending(digest, self._spool.epoch, first, lines)))
            failpoint("captures.after_pending")

        self._spool.append_all([_build(line) for line in lines], note)
        self._spool.flush()
        failpoint("captures.before_done")
        self._done.add(digest)
        write_note(self._folder / DONE, [json.dumps(sorted(self._done))])
        failpoint("captures.after_done")
        (self._folder / PENDING).unlink(missing_ok=True)
        failpoint("captures.after_pending_unlink")

    def _pending(self) -> Pending | None:
        path = self._folder / PENDING
        try:
            with path.open(encoding="utf-8") as file:
                head = json.loads(file.readline())
                found = Pending(head["digest"], head["epoch"], head["first"], [json.loads(line) for line in file])
                if len(found.lines) != head["count"]:
                    raise ValueError(f"it has {len(found.lines)} of {head['count']} lines")
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, OSError) as error:
            aside = path.with_suffix(".damaged")
            log.warning("%s cannot be used (%s): kept as %s; its capture is inspected again", path, error, aside)
            os.replace(path, aside)
            return None
        return found


def _build(line: Line) -> Callable[[int], Line]:
    """The finding under the sequence that it gets."""
    sensor, epoch, _ = str(line["finding.id"]).rsplit("/", 2)
    return lambda sequence: {**line, "finding.id": str(FindingId(sensor, int(epoch), sequence))}


def _text(pending: Pending) -> Iterator[str]:
    head = {
        "digest": pending.digest, "epoch": pending.epoch, "first": pending.first, "count": len(pending.lines),
    }  # fmt: skip
    yield json.dumps(head) + "\n"
    for line in pending.lines:
        yield json.dumps(line) + "\n"
