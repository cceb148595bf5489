"""Where rows of the archive come from: the way back to frames."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class ArchiveError(Exception):
    """The archive cannot be used; the text says what, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of rows. Frame numbers in rows count within it.

    kind: "capture", "live", "zeek" or "suricata". path: of the capture or log as it was given, or the interfaces.
    sha256: of the file's octets, "" of a live run. sensor, epoch: who saw it, where that is known. started_ns: of a
    live run, when its frames began to be counted. ring: folder in which its raw frames are kept, "" for none.
    """

    kind: str
    path: str = ""
    sha256: str = ""
    sensor: str = ""
    epoch: int = 0
    started_ns: int = 0
    ring: str = ""

    @property
    def id(self) -> str:
        """16 hex digits. A file is the same source whatever its name: its octets and who read it count."""
        same = asdict(self)
        if self.sha256:
            same = {"kind": self.kind, "sha256": self.sha256, "sensor": self.sensor}
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode("utf-8", "replace")).hexdigest()[:16]

    def fields(self) -> dict[str, Any]:
        """What is known, for the catalogue and for people."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run is archived, and what it adds to the origin of its rows: see Origin.

    sha256: of the capture, where somebody has worked it out before.
    """

    folder: Path
    sensor: str = ""
    epoch: int = 0
    ring: str = ""
    sha256: str = ""


def file_digest(path: str) -> str:
    """SHA-256 of a file's octets. OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
