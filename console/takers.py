"""Processes beside the console that take batches of findings in, so that more than one core does.

While one stores, another reads, checks and prepares: only the writing takes turns, which the console gives. The console
hands over a batch as it came and waits for the outcome; a process that dies or hangs costs that batch, which its sensor
sends again, and never a finding.

They are forked by a nursery, itself forked before the console has threads or a database, so that a new one begins at
once and shares what was imported. Nursery and processes end with the console.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import queue
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from sqlalchemy.exc import IntegrityError, OperationalError

from console.services.actor import Clock
from console.services.batches import Caller, UnknownKeyError, take
from console.services.errors import InvalidError
from console.services.ingest import Outcome
from console.store.engine import open_store
from sensor import failpoints

log = logging.getLogger(__name__)

PATIENCE_S = 60.0  # for each step of a batch; it takes a fraction of a second
MAX_ANSWER = 4 * 1024 * 1024  # bytes: 500 reasons are a tenth of it


class TakerLostError(Exception):
    """The process that had the batch died or hung; whether the batch is stored, its repetition will show."""


class NoTakersError(Exception):
    """There are no such processes: the nursery is gone."""


class SameBatchError(Exception):
    """Another process stores the same findings at this moment."""


class StoreBusyError(Exception):
    """The database did not answer in time, or could not commit."""


def tune_collector() -> None:
    """A batch is tens of thousands of small objects without cycles: looking through them and through all that was
    imported every 700 of them took a third of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class Takers:
    """The console's end. `start` comes before any thread; `take` may be called from several."""

    def __init__(self, store_url: str, number: int) -> None:
        """number: of processes; each is begun when it is first needed."""
        self._idle: queue.SimpleQueue[_Taker] = queue.SimpleQueue()
        for _ in range(number):
            self._idle.put(_Taker(self._fork))
        self._store_url = store_url
        self._nursery: socket.socket | None = None
        self.nursery_pid = 0

    def start(self) -> None:
        """Fork the nursery."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console = os.getpid()
        self.nursery_pid = os.fork()
        if self.nursery_pid == 0:
            here.close()
            _end_after(lambda: _nurse(there, console, self._store_url))
        there.close()
        self._nursery = here

    def close(self) -> None:
        """Let them end: each does after the batch that it has."""
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
            os.waitpid(self.nursery_pid, 0)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def take(self, caller: Caller, body: bytes, writing: AbstractContextManager[Any], clock: Clock) -> Outcome:
        """As console.services.batches.take. writing: held while the batch is stored.

        Raises what that raises, or one of this file's errors.
        """
        taker = self._idle.get()
        try:
            return taker.take(caller, body, writing, clock)
        finally:
            self._idle.put(taker)

    def _fork(self) -> Connection:
        if self._nursery is None:
            raise NoTakersError
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            try:
                socket.send_fds(self._nursery, [b"fork"], [theirs.fileno()])
            except OSError:
                raise NoTakersError from None
            return Connection(ours.detach())


class _Taker:
    """One process, as the console sees it; begun with its first batch, and again after it died."""

    def __init__(self, fork: Callable[[], Connection]) -> None:
        self._fork = fork
        self._connection: Connection | None = None
        self._pid = 0

    def take(self, caller: Caller, body: bytes, writing: AbstractContextManager[Any], clock: Clock) -> Outcome:
        """See Takers.take."""
        if self._connection is None:
            self._connection = self._fork()
            self._pid = 0
        if not self._pid:
            try:
                self._pid = int(self._hear()["pid"])
            except (EOFError, OSError, ValueError):  # the nursery was about to die; nothing was handed over yet
                self.close()
                raise NoTakersError from None
        try:
            self._connection.send_bytes(
                json.dumps({"name": caller.name, "sensor": caller.sensor_id, "key": caller.key}).encode()
            )
            self._connection.send_bytes(body)
            answer = self._hear()
            if "ready" in answer:
                with writing:
                    self._connection.send_bytes(clock().isoformat().encode())
                    answer = self._hear()
        except (EOFError, OSError, ValueError) as error:
            self._give_up()
            raise TakerLostError(f"a process that takes findings in is lost: {type(error).__name__} {error}") from None
        return _outcome(answer)

    def _hear(self) -> dict[str, Any]:
        assert self._connection is not None
        if not self._connection.poll(PATIENCE_S):
            raise TimeoutError("it hangs")
        answer: dict[str, Any] = json.loads(self._connection.recv_bytes(MAX_ANSWER))
        return answer

    def _give_up(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let it end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _outcome(answer: dict[str, Any]) -> Outcome:
    if "outcome" in answer:
        made = answer["outcome"]
        made["rejected"] = [(finding_id, reason) for finding_id, reason in made["rejected"]]
        return Outcome(**made)
    match answer.get("error"):
        case "invalid":
            message = answer["message"]
            raise InvalidError(message, **answer["values"])
        case "key":
            raise UnknownKeyError
        case "same":
            raise SameBatchError
        case "busy":
            raise StoreBusyError
    raise RuntimeError("a batch could not be stored; its process has logged why")


# --- the other processes


def _end_after(work: Callable[[], None]) -> NoReturn:
    """A forked process must never return into what it was forked from."""
    try:
        work()
    except BaseException:
        log.exception("a process beside the console failed")
        os._exit(1)
    os._exit(0)


def _nurse(console: socket.socket, pid: int, store_url: str) -> None:
    """Fork a process for each socket that comes, until the console is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the console's to understand
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: the console sees when one is gone
    failpoints.die_with(pid)
    tune_collector()
    while True:
        content, files, _, _ = socket.recv_fds(console, 16, 1)
        if not content:
            return
        if os.fork() == 0:
            console.close()
            _end_after(lambda: _serve(Connection(files[0]), store_url))  # noqa: B023  (called at once)
        os.close(files[0])


def _serve(console: Connection, store_url: str) -> None:
    """Take one batch after the other, until the console closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    store = open_store(store_url)

    def say(**words: Any) -> None:
        console.send_bytes(json.dumps(words).encode())

    @contextmanager
    def turn() -> Iterator[datetime]:
        say(ready=True)
        yield datetime.fromisoformat(console.recv_bytes(64).decode())

    with contextlib.suppress(EOFError, ConnectionError):
        say(pid=os.getpid())
        while True:
            asked = json.loads(console.recv_bytes())
            caller = Caller(asked["name"], asked["sensor"], asked["key"])
            body = console.recv_bytes()
            try:
                done = take(store, caller, body, turn)
            except InvalidError as error:
                say(error="invalid", message=error.message, values=error.values)
            except UnknownKeyError:
                say(error="key")
            except IntegrityError:
                say(error="same")
            except OperationalError:
                log.exception("the store did not answer")
                say(error="busy")
            except (EOFError, ConnectionError):
                return
            except Exception:
                log.exception("a batch of %s could not be stored", caller.name)
                say(error="fault")
            else:
                say(outcome=asdict(done))
