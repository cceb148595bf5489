"""Frames that a worker died of, on disk: a pcap for each link type, and beside it why, in JSON.

    20261122T124500.123456Z-frame-000000004711-hang.pcap
    20261122T124500.123456Z-frame-000000004711-hang.json

Any tool opens them; what they do to a decoder is for people to find out, on another machine. The folder is bounded: the
oldest go first. What cannot be written is told and counted, and nothing waits for it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detectors.carving.store import write_whole
from sensor.capture.frames import FrameBatch
from sensor.capture.write import frame_of, small_pcap

log = logging.getLogger(__name__)

QUOTA_BYTES = 256 * 1024 * 1024
MAX_FILES = 512


@dataclass(frozen=True, slots=True)
class Fault:
    """What a worker died of. kind: hang, crash, memory, exception or start. seen: for people, no more than a line.

    at: file and line of ours where that is known. frames: how many were set aside with it; first: number of the first.
    """

    kind: str
    seen: str
    at: str = ""
    frames: int = 0
    first: int = 0
    capture: str = ""


class Quarantine:
    """See the module. kept, unwritten, removed: batches that were set aside since the start, that could not be
    written, that were removed to make room."""

    def __init__(self, folder: Path, quota_bytes: int = QUOTA_BYTES) -> None:
        self._folder, self._quota = folder, quota_bytes
        self.kept = self.unwritten = self.removed = 0

    def keep(self, frames: FrameBatch, fault: Fault) -> Path | None:
        """Write a batch; its pcap, None where that failed."""
        moment = datetime.fromtimestamp(time.time(), UTC)
        name = f"{moment:%Y%m%dT%H%M%S.%f}Z-frame-{frames.first:012d}-{fault.kind}"
        first = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            links = sorted(set(frames.link.tolist()))
            for link in links:
                numbers = [frames.first + row for row in (frames.link == link).nonzero()[0].tolist()]
                path = self._folder / f"{name}{'' if len(links) == 1 else f'-link{link}'}.pcap"
                write_whole(path, small_pcap(link, [frame_of(frames, number) for number in numbers]))
                first = first or path
            write_whole(self._folder / f"{name}.json", self._why(frames, fault, moment))
            self._bound()
            self.kept += 1
        except OSError as error:
            self.unwritten += 1
            log.error("frames that the decoder died of cannot be set aside in %s: %s", self._folder, error.strerror)
            return None
        return first

    def _why(self, frames: FrameBatch, fault: Fault, moment: datetime) -> bytes:
        said: dict[str, Any] = {
            "@timestamp": moment.isoformat(),
            "fault": fault.kind,
            "seen": fault.seen,
            "at": fault.at,
            "capture": fault.capture,
            "frames": [frames.first, frames.first + frames.size - 1],
            "count": frames.size,
        }
        return json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"

    def _bound(self) -> None:
        """Remove the oldest until the folder is within its bounds."""
        files = sorted(path for path in self._folder.iterdir() if path.suffix in (".pcap", ".json"))
        sizes = {path: path.stat().st_size for path in files}
        while sizes and (sum(sizes.values()) > self._quota or len(sizes) > MAX_FILES):
            batch = _batch_of(next(iter(sizes)))
            for path in [path for path in sizes if _batch_of(path) == batch]:
                sizes.pop(path)
                path.unlink(missing_ok=True)
            self.removed += 1

    @property
    def bytes(self) -> int:
        """What the folder holds."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self._folder) if entry.is_file())
        except OSError:
            return 0


def _batch_of(path: Path) -> str:
    """What the files of one batch have in common: time, frame and kind."""
    return "-".join(path.stem.split("-")[:4])
