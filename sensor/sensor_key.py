"""A sensor's key: in a file, or given. It is changed for a new one without losing anything.

The new key stands beside the old one (`<file>.next`, synced) before the console hears of it, and takes its place when
the console has accepted it. Whatever dies in between, one of the two is valid, and both are tried.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import httpx

from sensor.notes import sync_folder

PREFIX = "fhs_"
HINT = 8  # first characters, by which people tell keys apart
NEXT = ".next"


class KeyFileError(Exception):
    """The key's file cannot be used; one clear line."""


class SensorKey(httpx.Auth):
    """Puts the key on every request. Where it is refused, the one that the file holds by now is tried."""

    def __init__(self, key: str, path: Path | None = None) -> None:
        """path: the file that holds it, None where it was given otherwise and cannot be changed here."""
        self.key = key
        self._path = path
        self._mutex = threading.Lock()

    @classmethod
    def of_file(cls, path: Path) -> SensorKey:
        """The key in a file, or the newer one beside it that was not accepted for certain. KeyFileError."""
        try:
            found = [text for text in (_read(_beside(path)), path.read_text("ascii").strip()) if text]
        except FileNotFoundError:
            raise KeyFileError(f"there is no key file {path}; `fenghuo sensor enrol` makes one") from None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"the key file {path} cannot be read: {_why(error)}") from error
        if not found:
            raise KeyFileError(f"the key file {path} is empty; enrol this sensor again")
        return cls(found[0], path)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """With the key; once more with another where it is refused and there is another."""
        tried = self.key
        request.headers["Authorization"] = f"Bearer {tried}"
        response = yield request
        other = self._other(tried) if response.status_code == 401 else None
        if other is not None:
            request.headers["Authorization"] = f"Bearer {other}"
            response = yield request
            if response.status_code != 401:
                self.key = other
        if response.status_code < 400:
            self._settle()

    def change(self, tell: Callable[[str, str], object]) -> None:
        """Make a new key, let the console know (hash, first characters), and use it from then on.

        What `tell` raises goes through; the new key then waits beside the old one and is told again the next time.
        KeyFileError where there is no file, or it cannot be written.
        """
        if self._path is None:
            raise KeyFileError("the key was not read from a file, so it cannot be changed: start with --key-file FILE")
        with self._mutex:
            key = _read(_beside(self._path)) or new_key()
            write_key(_beside(self._path), key)
            tell(*described(key))
            self._promote()
            self.key = key

    def forget_next(self) -> None:
        """The console does not want the new key."""
        if self._path is not None:
            _beside(self._path).unlink(missing_ok=True)

    def _other(self, tried: str) -> str | None:
        """A key on disk that is not the one that was tried: somebody or something has changed it."""
        if self._path is None:
            return None
        return next((key for key in (_read(self._path), _read(_beside(self._path))) if key and key != tried), None)

    def _settle(self) -> None:
        """The key in use was accepted: if it is the one that waits beside the other, it takes its place."""
        if self._path is None or self._mutex.locked() or not _beside(self._path).exists():
            return
        if _read(_beside(self._path)) == self.key:
            with contextlib.suppress(KeyFileError):  # it stays where it is, and is read from there the next time
                self._promote()

    def _promote(self) -> None:
        assert self._path is not None
        try:
            os.replace(_beside(self._path), self._path)
            sync_folder(self._path)
        except OSError as error:
            raise KeyFileError(f"the key file {self._path} cannot be written: {_why(error)}") from error


def new_key() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def described(key: str) -> tuple[str, str]:
    """What the console may know of a key: its SHA-256, hex, and its first characters."""
    return hashlib.sha256(key.encode()).hexdigest(), key[:HINT]


def write_key(path: Path, key: str) -> None:
    """On disk for certain, for its owner alone; never over a half-written one. KeyFileError."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, key.encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(partial, path)
        sync_folder(path)
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be written: {_why(error)}") from error


def _beside(path: Path) -> Path:
    return path.with_name(path.name + NEXT)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it holds no key"
