"""Artifacts on disk, named by their content, and the history of each block and file.

    DIR/objects/3f/3f2a...e1     the octets, once, however often they crossed the wire
    DIR/history.jsonl            one line for each version of a name in a device, in the order seen

Writing is atomic: a crash leaves the old or the new. Names come from the wire and never become part of a path. What the
quota leaves no room for is counted and told, not kept; history goes on without the octets.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from detectors.carving.artifact import Artifact
from detectors.finding import rfc3339

log = logging.getLogger(__name__)

QUOTA_BYTES = 1024 * 1024 * 1024  # of the octets in a folder
MAX_NAMES = 1 << 14  # blocks and files of which the last version is remembered
MAX_HISTORY_BYTES = 64 * 1024 * 1024
MAX_LINE = 1 << 16

Place = tuple[str, str, str, str]


class Version(NamedTuple):
    """What is known of the last version of a name: hash of what tells versions apart, of all octets, and when."""

    version: str
    sha256: str
    size: int
    seen: str


class History:
    """The last version of each block and file. Without a folder it lasts as long as the run."""

    def __init__(self) -> None:
        self._last: dict[Place, Version] = {}
        self.refused = 0

    def note(self, artifact: Artifact) -> Version | None:
        """Remember an artifact; gives the version before, None where there was none or it was the same."""
        known = self._last.get(artifact.place)
        digest = artifact.sha256
        version = digest if artifact.body is None else artifact.version
        described = Version(version, digest, len(artifact.data), rfc3339(artifact.last_ns))
        if known is None and len(self._last) >= MAX_NAMES:
            self.refused += 1
            return None
        self._last[artifact.place] = described
        return known if known is not None and known.version != described.version else None

    def recall(self, line: dict[str, Any]) -> None:
        """Take up what was written in an earlier run."""
        if not line.get("complete"):
            return
        place = tuple(
            "" if line.get(name) is None else str(line[name]) for name in ("device.ip", "station", "kind", "name")
        )
        if len(self._last) < MAX_NAMES or place in self._last:
            self._last[place] = Version(  # type: ignore[index]
                str(line.get("version", "")), str(line.get("sha256", "")), int(line.get("size", 0)),
                str(line.get("last_seen", "")),
            )  # fmt: skip

    def knows(self, artifact: Artifact) -> bool:
        """Whether the last version of its name has just these octets."""
        known = self._last.get(artifact.place)
        return known is not None and known.sha256 == artifact.sha256


class Keeper(Protocol):
    """What keeps artifacts: a folder, or somebody who may write into one."""

    history: History
    refused: int

    def keep(self, artifact: Artifact) -> object:
        """Keep an artifact and its line of history; OSError where that fails."""
        ...


class Store:
    """A folder of artifacts. OSError where it cannot be made."""

    def __init__(self, folder: Path, quota_bytes: int = QUOTA_BYTES) -> None:
        self._folder, self._quota = folder, quota_bytes
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        self._bytes = sum(path.stat().st_size for path in (folder / "objects").glob("??/*") if path.is_file())
        self.refused = 0
        self.history = History()
        for line in self._lines():
            self.history.recall(line)

    def _lines(self) -> Iterator[dict[str, Any]]:
        """What history holds; a line that was cut by a crash is left out."""
        try:
            with open(self._folder / "history.jsonl", "rb") as file:
                while raw := file.readline(MAX_LINE):
                    try:
                        line = json.loads(raw)
                    except ValueError:
                        continue
                    if isinstance(line, dict):
                        yield line
        except FileNotFoundError:
            return

    def keep(self, artifact: Artifact) -> Path | None:
        """Write an artifact and its line of history; the path of its octets, None where there is no room."""
        path = self.path(artifact.sha256)
        kept: Path | None = path
        if not path.exists():
            if self._bytes + len(artifact.data) > self._quota:
                self.refused += 1
                kept = None
            else:
                write_whole(path, artifact.data)
                self._bytes += len(artifact.data)
        if not self.history.knows(artifact):
            self._append(artifact)
        return kept

    def path(self, sha256: str) -> Path:
        """Where the octets of an artifact stand."""
        return self._folder / "objects" / sha256[:2] / sha256

    def octets(self, sha256: str) -> bytes | None:
        """The octets of an artifact, where they are kept."""
        try:
            return self.path(sha256).read_bytes()
        except OSError:
            return None

    def _append(self, artifact: Artifact) -> None:
        path = self._folder / "history.jsonl"
        line = json.dumps(artifact.describe(), ensure_ascii=False, separators=(",", ":"), default=str).encode()
        if len(line) >= MAX_LINE or (path.exists() and path.stat().st_size + len(line) > MAX_HISTORY_BYTES):
            self.refused += 1
            return
        with open(path, "ab") as file:
            file.write(b"\n" + line + b"\n" if _torn(path) else line + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _torn(path: Path) -> bool:
    """Whether a crash cut the last line."""
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
