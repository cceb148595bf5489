"""Who takes rows into an archive: its folder, or somebody who may write there."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pyarrow as pa

from sensor.archive.origin import Origin
from sensor.archive.store import Archive, Intake


class Taking(Protocol):
    """Rows of one origin: nothing counts before `commit`. ArchiveError where that fails."""

    def add(self, kind: str, table: pa.Table, unfit: int = 0) -> None:
        """See Intake."""
        ...

    def commit(self, *, records: int, archived: int, rejected: int = 0, left_out: int = 0) -> None:
        """See Intake."""
        ...

    def end(self) -> None:
        """Let go; what was not committed is removed."""
        ...


class Taker(Protocol):
    """ArchiveError where the archive cannot be used."""

    def taken(self, origin: Origin) -> bool:
        """Whether this origin was taken before."""
        ...

    def begin(self, origin: Origin) -> Taking:
        """Begin to take rows of it."""
        ...


class Folder:
    """An archive on this machine, made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def taken(self, origin: Origin) -> bool:
        """See Taker."""
        return Archive(self._folder, create=True).catalogue.taken(origin)

    def begin(self, origin: Origin) -> FolderTaking:
        """See Taker."""
        return FolderTaking(Intake(Archive(self._folder, create=True), origin))


class FolderTaking:
    """See Taking."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake.__enter__()

    def add(self, kind: str, table: pa.Table, unfit: int = 0) -> None:
        """See Taking."""
        self._intake.add(kind, table, unfit)

    def commit(self, *, records: int, archived: int, rejected: int = 0, left_out: int = 0) -> None:
        """See Taking."""
        self._intake.commit(records=records, archived=archived, rejected=rejected, left_out=left_out)

    def end(self) -> None:
        """See Taking."""
        self._intake.__exit__(None)
