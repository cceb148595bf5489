"""Room on disk that a spool keeps, as a file: on a full disk nothing could be rewritten or even drained without it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Ballast:
    """At most one file of `size` bytes in the spool's directory."""

    def __init__(self, directory: Path, size: int) -> None:
        self._path = directory / "reserve"
        self._size = size
        self._held = self._path.exists()

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return self._size if self._held else 0

    def put(self) -> None:
        """Take the room, where it is not held already and there is as much."""
        if self._held:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size)
                os.ftruncate(file, self._size)
            finally:
                os.close(file)
            self._held = True
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def drop(self) -> bool:
        """Give the room back; False where there was none."""
        held, self._held = self._held, False
        if held:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        return held
