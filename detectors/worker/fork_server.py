"""Forks workers that begin at once: what takes seconds, loading numba, the kernels and the rules, is done here once.

    python -m detectors.worker.fork_server FILE       FILE: number of an open socket to the sensor

One thread and no frames: nothing here can fail because of what is on the wire. It ends with its sensor. Requests and
answers are JSON over a socket that keeps messages apart; a worker's open files come along with the request.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_S = 1800.0  # that the first start of a version may take, with a compiler at work on a busy machine
GRACE_S = 0.5  # that a worker whose socket is closed has to be gone
MAX_REQUEST = 4096


class ForkServerError(Exception):
    """It is gone, or did not start; says why."""


class ForkServer:
    """The sensor's end. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._loaded = threading.Event()
        self._failure = ""

    def start(self) -> None:
        """Begin to load; may be called again after `close`."""
        self._closing, self._failure, self._loaded = False, "", threading.Event()
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # No key of the sensor comes with it, and the packages are those of this program wherever it was started.
        env = {name: value for name, value in os.environ.items() if not name.startswith("FENGHUO_")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH", ""))))
        command = [sys.executable, "-m", __spec__.name, str(there.fileno())]
        with there:
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=(there.fileno(),))
        self._socket = here
        here.settimeout(1.0)
        threading.Thread(target=self._await, args=(self._loaded,), name="fork server", daemon=True).start()

    def _await(self, loaded: threading.Event) -> None:
        process, end = self._process, self._socket
        assert process is not None
        assert end is not None
        give_up = time.monotonic() + START_S
        while not self._closing and time.monotonic() < give_up:
            try:
                if not end.recv(MAX_REQUEST):
                    self._failure = f"it ended at its start (exit code {process.wait()})"
            except TimeoutError:
                continue
            except OSError as error:
                self._failure = str(error)
            break
        else:
            self._failure = "it did not start in time"
        loaded.set()

    def ready(self, wait_s: float) -> bool:
        """Whether workers can be forked; waits so long for it. ForkServerError where they never will."""
        if not self._loaded.wait(wait_s):
            return False
        if self._failure:
            raise ForkServerError(f"the process that decodes cannot be started: {self._failure}")
        return True

    def fork(self, files: list[int], ring_bytes: int, hook: str) -> int:
        """A worker's process id. files: its socket, the frames, the page of progress."""
        return int(self._ask({"do": "fork", "ring": ring_bytes, "hook": hook}, files)["pid"])

    def end(self, pid: int, *, kill: bool) -> tuple[int, float]:
        """(how a worker ended, as of waitpid; processor time that it took, in seconds). kill: at once."""
        answer = self._ask({"do": "end", "pid": pid, "kill": kill}, [])
        return int(answer["status"]), float(answer["cpu"])

    def _ask(self, request: dict[str, Any], files: list[int]) -> dict[str, Any]:
        with self._lock:
            if self._socket is None:
                raise ForkServerError("the process that decodes is not there")
            try:
                self._socket.settimeout(30.0)
                socket.send_fds(self._socket, [json.dumps(request).encode()], files)
                answer = json.loads(self._socket.recv(MAX_REQUEST))
            except (OSError, ValueError) as error:
                raise ForkServerError(f"the process that decodes is gone: {error}") from None
        if not isinstance(answer, dict) or "error" in answer:
            raise ForkServerError(f"no worker can be had: {answer}")
        return answer

    def close(self) -> None:
        """End it and all its workers."""
        self._closing = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# --- the other process


def _serve(end: socket.socket) -> None:
    from detectors.worker import child, confinement
    from detectors.worker.channel import Channel
    from detectors.worker.warm import warm_up
    from sensor.kernel_cache import keep_nothing

    warm_up()
    keep_nothing()
    gc.collect()
    gc.freeze()
    workers: set[int] = set()
    try:
        end.send(b"{}")
    except BrokenPipeError:  # the sensor ended before this was ready
        return
    me = os.getpid()
    while True:
        content, files, _, _ = socket.recv_fds(end, MAX_REQUEST, 8)
        if not content:
            break
        request = json.loads(content)
        if request["do"] == "fork":
            pid = os.fork()
            if pid == 0:
                end.close()
                confinement.die_with_parent()
                if os.getppid() != me:
                    os._exit(1)
                with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
                    score.write("500")  # where memory is short, the sensor is not the first to go
                channel = Channel(socket.socket(fileno=files[0]))
                child.run(channel, files[1], request["ring"], files[2], request["hook"])
            workers.add(pid)
            for file in files:
                os.close(file)
            end.send(json.dumps({"pid": pid}).encode())
        elif request["pid"] in workers:
            status, cpu = _ended(request["pid"], kill=request["kill"])
            workers.discard(request["pid"])
            end.send(json.dumps({"status": status, "cpu": cpu}).encode())
        else:
            end.send(b'{"error": "no such worker"}')
    for pid in workers:
        _ended(pid, kill=True)


def _ended(pid: int, *, kill: bool) -> tuple[int, float]:
    deadline = time.monotonic() + GRACE_S
    while not kill:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return status, usage.ru_utime + usage.ru_stime
        kill = time.monotonic() > deadline
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the sensor's to understand
    _serve(socket.socket(fileno=int(sys.argv[1])))
