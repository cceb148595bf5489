"""The command `fenghuo` as real processes: short calls, and programs that stay until they are ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
FENGHUO = Path(sys.executable).with_name("fenghuo")
PATIENCE_S = 120.0  # a machine that is busy
T = TypeVar("T")


def environment(**settings: object) -> dict[str, str]:
    """The environment of a program: ours without what is set for Fenghuo in it, and with these FENGHUO_* settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FENGHUO_")}
    return kept | {f"FENGHUO_{name.upper()}": str(value) for name, value in settings.items()}


def fenghuo(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One call, output captured."""
    command = [str(FENGHUO), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT, env=env, check=False)
    assert "Traceback" not in done.stderr
    return done


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE_S) -> T:
    """What `condition` gives as soon as it gives something true; AssertionError with `what` when it never does."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
    return found


class Program:
    """A command of Fenghuo that runs until `end`; what it says goes to a file."""

    def __init__(self, log: Path, *arguments: object, env: dict[str, str]) -> None:
        self._log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(FENGHUO), *map(str, arguments)],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def said(self) -> str:
        """All that it has written so far."""
        return self._log.read_text("utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def end(self) -> int:
        """Ask it to end (SIGTERM), kill it where it does not; gives its exit code."""
        if self.runs:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()
