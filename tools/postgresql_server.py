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


@contextmanager
def running(options: tuple[str, ...] = FAST) -> Iterator[Callable[[str], str]]:
    """A server; gives a function from a database's name to its SQLAlchemy URL. ServerError where it does not start.

    The database "postgres" is there; others are the caller's to make.
    """
    bin_folder = programs()
    if bin_folder is None:
        raise ServerError(why_not())
    folder = Path(tempfile.mkdtemp(prefix="fenghuo-pg-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data = folder / "data"
        initdb = [str(bin_folder / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8"]
        _run([*initdb, "--locale=C.UTF-8", "--no-sync"], folder)
        log = (folder / "log").open("wb")
        server = subprocess.Popen(  # type: ignore[call-overload]
            [str(bin_folder / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", *options],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_parent, **_as_nobody(),  # noqa: PLW1509  (it only asks the kernel)
        )  # fmt: skip
        log.close()
        assert server is not None
        _await(server, bin_folder, folder)
        yield lambda name: f"postgresql+psycopg://{USER}@/{name}?host={quote(str(folder), safe='')}"
    finally:
        if server is not None and server.poll() is None:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await(server: subprocess.Popen[bytes], bin_folder: Path, folder: Path) -> None:
    ready = [str(bin_folder / "pg_isready"), "-q", "-h", str(folder), "-U", USER, "-d", "postgres"]
    until = time.monotonic() + PATIENCE_S
    while subprocess.run(ready, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise ServerError(f"the server does not answer: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.05)
