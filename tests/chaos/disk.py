"""A disk that dies, loses power or fails at any one call, by standing before the functions of `os`.

`Disk(folder)` counts the calls that change what is in a folder, and those that sync it. At the call that it was told it

- kills: no call after it does anything (`Killed`, which no handler of errors takes), as SIGKILL would;
- tears: the same in the middle of a write;
- fails: OSError, for one call or for a while.

It also keeps a model of what a loss of power would leave: of every file what was synced through a descriptor of it, and
in every directory the names that stood there when the directory was synced. `after_power_loss` builds that folder.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NEVER = 1 << 60


class Killed(BaseException):
    """The process is dead; nothing in it runs any more."""


class Disk:
    """See the module. Calls are numbered from 1; `calls` says how many there were, `names` which."""

    def __init__(
        self,
        folder: Path,
        *,
        kill_at: int = NEVER,
        tear_at: int = NEVER,
        fail_at: int = NEVER,
        fail_for: int = 1,
        error: int = errno.EIO,
    ) -> None:
        """folder: exists, and survives everything. error: an errno. fail_for: how many calls in a row fail."""
        self._folder = folder.resolve()
        self._kill_at, self._tear_at = kill_at, tear_at
        self._failing = range(fail_at, fail_at + fail_for)
        self._error = error
        self._files: dict[int, Path] = {}  # open descriptors into the folder
        self._dead = False
        self._real: dict[str, Any] = {}
        self._content: dict[int, bytes] = {}  # inode of a file: what was synced of it
        self._entries: dict[int, dict[str, int]] = {}  # inode of a directory: names that stood there when it was synced
        self._held: list[int] = []  # descriptors that keep inodes from being given to other files
        self.calls = 0
        self.names: list[str] = []
        self.failed = 0

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """While this runs, `os` goes through here; what a killed process left open is closed at the end."""
        ours = {"open": self._do_open, "write": self._do_write, "close": self._do_close}
        ours |= {name: self._syncing(name) for name in ("fsync", "fdatasync")}
        changing = ("ftruncate", "truncate", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link")
        ours |= {name: self._changing(name) for name in changing}
        self._real = {name: getattr(os, name) for name in ours}
        for name, function in ours.items():
            setattr(os, name, function)
        try:
            yield self
        finally:
            for name in ours:
                setattr(os, name, self._real[name])
            for file in self._files:
                os.close(file)
            self._files.clear()

    def close(self) -> None:
        """Let go of the inodes that the model needs."""
        for file in self._held:
            os.close(file)
        self._held.clear()

    def after_power_loss(self, target: Path, chance: random.Random | None = None) -> None:
        """Build in `target`, which is new, what a loss of power leaves: only what was synced.

        chance: decides for each name and for the end of each file whether the disk had it although nobody had synced
        it; None: it never had.
        """
        there = {self._folder.stat().st_ino: self._folder}  # what stands now, by inode
        there |= {path.lstat().st_ino: path for path in self._folder.rglob("*")}

        def build(inode: int, place: Path) -> None:
            place.mkdir()
            entries = dict(self._entries.get(inode, {}))
            if chance is not None and inode in there:
                now = {path.name: path.lstat().st_ino for path in there[inode].iterdir()}
                for name in sorted(entries.keys() | now.keys()):
                    if entries.get(name) != now.get(name) and chance.random() < 0.5:
                        entries.pop(name, None)
                        entries |= {name: now[name]} if name in now else {}
            for name, child in entries.items():
                if child in self._entries or (child in there and there[child].is_dir()):
                    build(child, place / name)
                else:
                    (place / name).write_bytes(self._survives(child, there.get(child), chance))

        build(self._folder.stat().st_ino, target)

    def _survives(self, inode: int, path: Path | None, chance: random.Random | None) -> bytes:
        content = self._content.get(inode, b"")
        now = path.read_bytes() if path is not None and chance is not None else b""
        if chance is not None and now.startswith(content):
            return now[: chance.randint(len(content), len(now))]
        return content

    # --- before the functions of os

    def _step(self, name: str, at: Path) -> None:
        """One call more; kills or fails when its turn has come."""
        if self._dead:
            raise Killed
        self.calls += 1
        self.names.append(f"{name} {at.name}")
        if self.calls == self._kill_at:
            self._dead = True
            raise Killed
        if self.calls in self._failing:
            self.failed += 1
            raise OSError(self._error, os.strerror(self._error), str(at))

    def _ours(self, place: Any) -> Path | None:
        """The path of a path or descriptor that belongs to the folder; None for others."""
        if isinstance(place, int):
            return self._files.get(place)
        path = Path(os.path.abspath(os.fsdecode(place)))
        return path if path.is_relative_to(self._folder) else None

    def _changing(self, name: str) -> Callable[..., Any]:
        def call(place: Any, *args: Any, **kwargs: Any) -> Any:
            path = self._ours(place)
            if path is not None:
                self._step(name, path)
            return self._real[name](place, *args, **kwargs)

        return call

    def _syncing(self, name: str) -> Callable[..., Any]:
        def call(file: int) -> None:
            path = self._ours(file)
            if path is not None:
                self._step(name, path)
            self._real[name](file)
            if path is None:
                return
            status = os.fstat(file)
            if stat.S_ISDIR(status.st_mode):
                self._entries[status.st_ino] = {entry.name: entry.inode() for entry in os.scandir(file)}
            else:
                with open(f"/proc/self/fd/{file}", "rb") as again:
                    self._content[status.st_ino] = again.read()

        return call

    def _do_open(self, place: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        path = self._ours(place)
        if path is not None and flags & (os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR):
            self._step("open", path)
        file = int(self._real["open"](place, flags, *args, **kwargs))
        if path is not None:
            self._files[file] = path
            # by its path, not a duplicate: that would hold the lock of a spool on its folder, too
            self._held.append(self._real["open"](f"/proc/self/fd/{file}", os.O_PATH))
            if flags & os.O_TRUNC:
                self._content.pop(os.fstat(file).st_ino, None)
        return file

    def _do_write(self, file: int, data: Any) -> int:
        path = self._ours(file)
        if path is not None:
            if self.calls + 1 == self._tear_at:
                self._step("write", path)
                self._dead = True
                self._real["write"](file, bytes(data)[: len(data) // 2])
                raise Killed
            self._step("write", path)
        return int(self._real["write"](file, data))

    def _do_close(self, file: int) -> None:
        if self._dead and file in self._files:
            return  # `watched` closes it
        self._files.pop(file, None)
        self._real["close"](file)
