"""The process that looks into artifacts with YARA, seen from outside: started with the first artifact, killed when it
takes too long, started anew for the next.

Whatever an artifact does to the parser costs that artifact and nothing else: nobody waits for it but a thread, and what
waits behind it is bounded.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("yara_child.py")
SCAN_S = 10.0  # that one artifact may take; YARA itself is told to stop a little sooner
START_S = 30.0  # for the child to load YARA and compile the rules, on a busy machine
MAX_WAITING = 64  # artifacts
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_REPLY = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one artifact. matches: (rule, ((string, offset), ...)); more: how many were left out.

    failure: why nothing came of it, "" where something did.
    """

    ticket: int
    matches: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    more: int = 0
    failure: str = ""


class _DeadError(Exception):
    """The child gave no answer."""


class Jail:
    """See the module. `submit` never waits; `verdicts` gives what is done."""

    def __init__(
        self, sources: Mapping[str, str], scan_s: float = SCAN_S, start_s: float = START_S, child: Path = CHILD
    ) -> None:
        """sources: of rules, by name."""
        self._rules = json.dumps({"sources": dict(sources), "timeout": max(int(scan_s) - 1, 1)}).encode()
        self._scan_s, self._start_s, self._child = scan_s, start_s, child
        self._work: queue.Queue[tuple[int, Mapping[str, Any], bytes] | None] = queue.Queue()
        self._done: queue.Queue[Verdict] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._waiting = self._bytes = 0
        self._lock = threading.Lock()
        self.confined: tuple[str, ...] = ()  # what the last child gave up
        self.started = 0

    def submit(self, ticket: int, externals: Mapping[str, Any], data: bytes) -> bool:
        """Let an artifact be looked into; False where too many wait."""
        with self._lock:
            if self._waiting >= MAX_WAITING or self._bytes + len(data) > MAX_WAITING_BYTES:
                return False
            self._waiting += 1
            self._bytes += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="yara", daemon=True)
            self._thread.start()
        self._work.put((ticket, externals, data))
        return True

    def verdicts(self, wait_s: float = 0.0) -> list[Verdict]:
        """What is done; waits at most so long for all that was submitted."""
        found: list[Verdict] = []
        deadline = time.monotonic() + wait_s
        while True:
            try:
                left = deadline - time.monotonic()
                wait = left > 0 and (self._waiting > 0 or not self._done.empty())
                found.append(self._done.get(timeout=left) if wait else self._done.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        """End the child and the thread."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join(timeout=self._scan_s + self._start_s)
            self._thread = None

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            ticket, externals, data = item
            try:
                verdict = self._scan(ticket, externals, data)
            except (_DeadError, OSError, ValueError) as error:
                verdict = Verdict(ticket, failure=str(error))
                self._end()
            with self._lock:
                self._done.put(verdict)
                self._waiting -= 1
                self._bytes -= len(data)
        self._end()

    def _scan(self, ticket: int, externals: Mapping[str, Any], data: bytes) -> Verdict:
        if self._process is None:
            self._start()
        deadline = time.monotonic() + self._scan_s
        for message in (json.dumps(dict(externals)).encode(), data):
            self._send(message, deadline)
        reply = self._receive(deadline)
        matches = tuple(
            (str(rule), tuple((str(name), int(at)) for name, at in strings)) for rule, strings in reply["matches"]
        )
        return Verdict(ticket, matches, int(reply["more"]))

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(self._child)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env={}, close_fds=True,
        )  # fmt: skip
        self.started += 1
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        deadline = time.monotonic() + self._start_s
        self._send(self._rules, deadline)
        self.confined = tuple(map(str, self._receive(deadline)["jail"]))

    def _end(self) -> None:
        """Kill the child, whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the pipe to a killed child was not empty")

    def _send(self, message: bytes, deadline: float) -> None:
        pipe = _pipe(self._process.stdin if self._process else None)
        rest = memoryview(struct.pack(">I", len(message)) + message)
        while rest:
            self._wait(pipe, deadline, write=True)
            try:
                rest = rest[os.write(pipe, rest[: 1 << 16]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise _DeadError("crashed") from None

    def _receive(self, deadline: float) -> dict[str, Any]:
        (size,) = struct.unpack(">I", self._read(4, deadline))
        if size > MAX_REPLY:
            raise _DeadError("answered too much")
        reply = json.loads(self._read(size, deadline))
        if not isinstance(reply, dict):
            raise _DeadError("answered nonsense")
        return reply

    def _read(self, size: int, deadline: float) -> bytes:
        pipe = _pipe(self._process.stdout if self._process else None)
        parts = b""
        while len(parts) < size:
            self._wait(pipe, deadline, write=False)
            try:
                part = os.read(pipe, size - len(parts))
            except BlockingIOError:
                continue
            if not part:
                raise _DeadError("crashed")
            parts += part
        return parts

    def _wait(self, pipe: int, deadline: float, *, write: bool) -> None:
        left = deadline - time.monotonic()
        ready = select.select([] if write else [pipe], [pipe] if write else [], [], max(left, 0))
        if not ready[0] and not ready[1]:
            raise _DeadError("took too long")


def _pipe(end: IO[bytes] | None) -> int:
    if end is None:
        raise _DeadError("crashed")
    return end.fileno()
