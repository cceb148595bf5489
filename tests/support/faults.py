"""What a decoder might do to its process, on demand: a frame that carries one of these words sets it off.

Given to a worker as its hook: "support.faults:trip".
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from pathlib import Path

from sensor.capture.frames import FrameBatch

HELD: list[bytearray] = []
MARK = b"FENGHUO-TEST:"


def _loop() -> None:
    while True:
        pass


def _allocate() -> None:
    HELD.append(bytearray(2 * 1024**3))


def _segv() -> None:
    ctypes.string_at(0)


def _raise() -> None:
    raise KeyError("no such protocol")


def _sleep() -> None:
    time.sleep(3600)


def _escape() -> None:
    """Try what no worker may do; what was possible comes out as an exception."""
    possible = []
    for name, attempt in (
        ("write", lambda: Path("/tmp/fenghuo-escaped").write_text("x")),
        ("read", lambda: Path("/etc/passwd").read_text()),
        ("remove", lambda: Path("/tmp/fenghuo-escape-me").unlink()),
        ("socket", lambda: socket.socket()),
        ("unix", lambda: socket.socket(socket.AF_UNIX)),
        ("run", lambda: os.execv("/bin/true", ["true"])),
        ("fork", lambda: os.fork()),
        ("kill", lambda: os.kill(os.getppid(), 0)),
    ):
        try:
            attempt()
        except OSError:
            continue
        possible.append(name)
    raise RuntimeError(f"possible: {possible}")


ACTS = {b"loop": _loop, b"allocate": _allocate, b"segv": _segv, b"raise": _raise, b"sleep": _sleep, b"escape": _escape}


def trip(frames: FrameBatch) -> None:
    """Do what the frames say."""
    data = frames.data.tobytes()
    for word, act in ACTS.items():
        if MARK + word in data:
            act()
