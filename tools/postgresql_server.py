"""A real PostgreSQL server for tests: a cluster in a folder of its own, reached by a Unix socket, gone afterwards.

It needs the server's programs (Debian: the package `postgresql`); nothing that is installed or runs already is touched.
PostgreSQL refuses to run as root: for root it runs as `nobody`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

NOBODY = 65534
PATIENCE_S = 60
USER = "fenghuo"
PR_SET_PDEATHSIG = 1
# Tests are about what SQL does, not about loss of power: no sync, so that a database is made in milliseconds.
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "shared_buffers=64MB")


class ServerError(Exception):
    """The server does not start; the text says why."""


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest version's; None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    folders += [Path(found).parent for found in [shutil.which("initdb")] if found]
    return next((folder for folder in folders if (folder / "postgres").is_file()), None)


def why_not() -> str:
    """Why no server can be started here; "" where one can."""
    return "" if programs() else "no PostgreSQL server is installed (Debian: apt install postgresql)"


def _end_with_parent() -> None:
    """In the child, before it becomes the server: SIGINT, a fast shutdown, when whoever started it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _as_nobody() -> dict[str, object]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **_as_nobody())  # type: ignore[call-overload]
    if done.returncode != 0:
        raise ServerError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")


class Server:
    """A cluster of its own in a folder of its own; a context manager. `kill` and `start` as often as wanted."""

    def __init__(self, options: tuple[str, ...] = FAST) -> None:
        """ServerError where it cannot be made."""
        found = programs()
        if found is None:
            raise ServerError(why_not())
        self._programs, self._options = found, options
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="fenghuo-pg-"))
        try:
            if os.geteuid() == 0:
                os.chown(self._folder, NOBODY, NOBODY)
            initdb = [str(found / "initdb"), "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8"]
            _run([*initdb, "--locale=C.UTF-8", "--no-sync"], self._folder)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database. "postgres" is there; others are the caller's to make."""
        return f"postgresql+psycopg://{USER}@/{name}?host={quote(str(self._folder), safe='')}"

    def start(self) -> None:
        """Start it and wait until it answers; after `kill` it goes on with what it has on disk. ServerError."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                [*command, "-c", "listen_addresses=", *self._options],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_parent, **_as_nobody(),  # noqa: E501, PLW1509  (it only asks the kernel)
            )  # fmt: skip
        assert self._process is not None
        _await(self._process, self._programs, self._folder)

    def kill(self) -> None:
        """End it at once, all its processes, without a last word on disk (an immediate shutdown)."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End it and remove what it kept."""
        self._end(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(options: tuple[str, ...] = FAST) -> Iterator[Callable[[str], str]]:
    """A server; gives a function from a database's name to its SQLAlchemy URL. ServerError where it does not start."""
    server = Server(options)
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


def _await(server: subprocess.Popen[bytes], bin_folder: Path, folder: Path) -> None:
    ready = [str(bin_folder / "pg_isready"), "-q", "-h", str(folder), "-U", USER, "-d", "postgres"]
    until = time.monotonic() + PATIENCE_S
    while subprocess.run(ready, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise ServerError(f"the server does not answer: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.05)
