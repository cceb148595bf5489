"""A worker as the sensor sees it: frames in, findings out, whatever happens in between.

    worker = Worker(server, setup, found, services, quarantine)
    for frames in source:
        worker.put(frames)
    counters = worker.finish()

A worker that hangs, crashes, throws or takes too much memory is ended. The frames of the batch at hand are set aside
and told of by a finding with their exact number, and another worker goes on with the next batch; no batch that one died
of is given to another. What detectors had learned by themselves is gone then and is learned anew
(`worker.learned_anew`); baselines, tickets, tags and rules are given again. Where workers die one after the other, the
pauses between them grow.
"""

from __future__ import annotations

import logging
import mmap
import os
import pickle
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.finding import Finding
from detectors.worker.channel import Channel, ChannelError, Kind, Message
from detectors.worker.child import CURRENT, PAGE, STEP
from detectors.worker.codec import CodecError, unpacked, unpacked_report
from detectors.worker.fork_server import ForkServer, ForkServerError
from detectors.worker.handover import Place, Ring, pieces
from detectors.worker.quarantine import Fault, Quarantine
from detectors.worker.report import fault_finding
from detectors.worker.services import Services
from detectors.worker.setup import Change, Setup
from detectors.worker.watchdog import LOOK_S, Watchdog
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health
from sensor.text import printable

log = logging.getLogger(__name__)

SETUP_S = 60.0  # from its fork until a worker is ready, on a busy machine
AT_ONCE = 3  # faults within
WITHIN_S = 60.0  # that are followed by another worker at once; then pauses begin at
FIRST_PAUSE_S = 1.0  # and double up to
LAST_PAUSE_S = 30.0
MAX_STARTS = 5  # workers in a row that were never ready
MAX_COUNTERS = 2000  # of one report


Reported = Callable[[str, str, list[dict[str, Any]]], None]  # see detectors/census.py, Report


class WorkerError(Exception):
    """No worker can be had; says why."""


class Worker:
    """See the module. One thread feeds; another, of its own, watches and calls `found` with each finding."""

    def __init__(
        self,
        server: ForkServer,
        setup: Setup,
        found: Callable[[Finding], None],
        services: Services,
        quarantine: Quarantine,
        *,
        say: Callable[[str], None] = log.info,
        hook: str = "",
        reported: Reported = lambda _what, _run, _records: None,
    ) -> None:
        """hook: for tests, see child.run. reported: called as `found` is, with some of what stands."""
        self._reported = reported
        self._server, self._setup, self._found, self._services = server, setup, found, services
        self._quarantine, self._say, self._hook = quarantine, say, hook
        self._ring = Ring()
        page = os.memfd_create("fenghuo-progress", os.MFD_CLOEXEC)
        os.ftruncate(page, PAGE)
        self._page_file, self._page = page, np.frombuffer(mmap.mmap(page, PAGE), np.int64)
        self._change = threading.Condition()
        self._channel: Channel | None = None
        self._pid = 0
        self._watchdog: Watchdog | None = None
        self._ready = self._ending = self._finished = self._closing = False
        self._failure = ""
        self._faults: deque[float] = deque(maxlen=64)
        self._not_ready = self._servers = 0  # in a row
        self._said = ("", "", "")  # kind, words and place of a fault, by the worker itself
        self._begun = 0.0
        self._counters: dict[str, Any] = {}
        self._past: dict[str, int] = {}  # counters of the workers before
        self.held: tuple[str, ...] = ()  # layers of confinement of the present worker
        self.faults = dict.fromkeys(("hang", "crash", "memory", "exception"), 0)
        self.cpu_s = 0.0  # processor time of the workers that have ended
        self.restarts = self.learned_anew = self.frames_quarantined = 0
        self._last_health: Sequence[Health] = ()
        self._thread = threading.Thread(target=self._watch, name="worker", daemon=True)
        self._thread.start()

    # --- the feeding thread

    def put(
        self, frames: FrameBatch, health: Sequence[Health] = (), waiting: Callable[[], None] = lambda: None
    ) -> None:
        """Hand a batch over; waits while the worker has too much to do, and calls `waiting` meanwhile.

        health: of the interfaces, where frames come from such. WorkerError where no worker can be had any more.
        """
        for piece in pieces(frames):
            with self._change:
                while (place := self._ring.put(piece)) is None:
                    self._check()
                    self._change.wait(0.1)
                    waiting()
                self._check()
                content: dict[str, Any] = {"place": place}
                if health and health != self._last_health:
                    self._last_health = health
                    content["health"] = [list(it) for it in health]
                channel = self._channel if self._ready else None
            if channel is not None:
                self._tell(channel, Kind.BATCH, content)

    def finish(self, waiting: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Let the worker look at all frames and say what remains to be said; the last counters."""
        with self._change:
            self._ending = True
            channel = self._channel if self._ready else None
        if channel is not None:
            self._tell(channel, Kind.END, {})
        with self._change:
            while not self._finished:
                self._check()
                self._change.wait(0.1)
                waiting()
        return self.counters()

    def change(self, **options: Any) -> None:
        """Other values for fields of Options, from the next batch on; also for workers to come."""
        with self._change:
            self._setup = replace(self._setup, options=replace(self._setup.options, **options))
            channel = self._channel if self._ready else None
        if channel is not None:
            self._tell(channel, Kind.CHANGE, {}, pickle.dumps(Change(options)))

    def counters(self) -> dict[str, Any]:
        """For the heartbeat: of the decoder, summed over all workers, and of the workers themselves."""
        with self._change:
            counters = dict(self._counters)
            for name, value in self._past.items():
                counters[name] = counters.get(name, 0) + value
            waiting = sum(place.frames for place in self._ring.waiting)
        return counters | {
            "worker.restarts": self.restarts,
            "worker.learned_anew": self.learned_anew,
            "worker.frames_waiting": waiting,
            "worker.cpu_s": int(self.cpu_s + (self._watchdog.cpu() if self._pid and self._watchdog else 0.0)),
            "worker.held": " ".join(self.held),
            **{f"parser_faults.{kind}": count for kind, count in self.faults.items()},
            "quarantine.frames": self.frames_quarantined,
            "quarantine.batches": self._quarantine.kept,
            "quarantine.bytes": self._quarantine.bytes,
            "quarantine.unwritten": self._quarantine.unwritten,
            "quarantine.removed": self._quarantine.removed,
        }

    def close(self) -> None:
        """End the worker, whatever it does."""
        self._closing = True
        self._thread.join()
        self._ring.close()
        os.close(self._page_file)

    def _check(self) -> None:
        if self._failure:
            raise WorkerError(self._failure)

    def _tell(self, channel: Channel, kind: Kind, content: Mapping[str, Any], octets: bytes = b"") -> None:
        try:
            channel.send(kind, content, octets)
        except ChannelError:
            log.debug("the worker is gone: the next one gets it")

    # --- the watching thread

    def _watch(self) -> None:
        try:
            while not self._closing and not self._finished:
                try:
                    if self._channel is None:
                        self._begin()
                    else:
                        self._look()
                except ForkServerError as error:
                    self._server_lost(error)
        except Exception as error:  # whoever feeds must not wait for ever
            log.exception("the worker cannot be watched any more")
            self._fail(str(error))
        finally:
            self._end(kill=True)

    def _server_lost(self, error: ForkServerError) -> None:
        """Start the fork server anew; where that is of no use, say so to whoever feeds."""
        self._servers += 1
        if self._servers >= MAX_STARTS or self._not_ready >= MAX_STARTS:
            self._fail(str(error))
            self._closing = True
            return
        self._say(f"{error}; it is started anew")
        self._end(kill=True)
        self._server.close()
        self._server.start()

    def _fail(self, why: str) -> None:
        with self._change:
            self._failure = why
            self._change.notify_all()

    def _begin(self) -> None:
        """Fork a worker and give it its setup."""
        if not self._server.ready(0.1):
            return
        here, there = socket.socketpair()
        with there:
            self._page[:] = 0
            self._said = ("", "", "")
            self._services.worker_begins()
            pid = self._server.fork([there.fileno(), self._ring.file, self._page_file], self._ring.size, self._hook)
        channel = Channel(here)
        with self._change:
            setup = self._setup
            if setup.history is not None and self._services.store is not None:
                setup = replace(setup, history=self._services.store.history)
            if setup.learning is not None:
                setup = replace(setup, learning=self._services.learning(setup.learning))
            self._channel, self._pid, self._ready = channel, pid, False
            self._watchdog, self._begun = Watchdog(pid), time.monotonic()
        self._tell(channel, Kind.SETUP, {}, pickle.dumps(setup))

    def _look(self) -> None:
        """What the worker says, and whether it gets on."""
        channel, watchdog = self._channel, self._watchdog
        assert channel is not None
        assert watchdog is not None
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        alive = True
        try:
            if poll.poll(LOOK_S * 1000):
                alive = channel.pending()
                self._hear(channel)
        except (ChannelError, CodecError) as error:
            self._fault("crash", f"it sent nonsense: {error}", kill=True)
            return
        if not alive:
            if not self._finished:
                self._fault("", "", kill=False)
            return
        with self._change:
            waiting = self._ring.waiting
            frames = self._at_hand().frames if waiting else None
            busy = bool(waiting) or self._ending
        if not self._ready:
            if time.monotonic() - self._begun > SETUP_S:
                self._fault("hang", f"not ready within {SETUP_S:.0f} s", kill=True)
            return
        why = watchdog.look(int(self._page[STEP]), busy, frames)
        if why:
            self._fault("hang", why, kill=True)

    def _at_hand(self) -> Place:
        """The batch that the worker is at, by what it says; the oldest where that cannot be."""
        current = int(self._page[CURRENT])
        return next((it for it in self._ring.waiting if it.number == current), self._ring.waiting[0])

    def _hear(self, channel: Channel) -> None:
        while (message := channel.take()) is not None:
            self._take(channel, message)

    def _hear_last_words(self, channel: Channel) -> None:
        """What a worker said before it died counts."""
        try:
            alive = True
            while alive:
                alive = channel.pending()
                while (message := channel.take()) is not None:
                    if message.kind not in (Kind.READY, Kind.REQUEST):
                        self._take(channel, message)
        except (ChannelError, CodecError) as error:
            log.debug("the last words of a worker: %s", error)
        channel.close()

    def _take(self, channel: Channel, message: Message) -> None:
        kind, content = message.kind, message.json
        if kind == Kind.FINDING:
            self._found(unpacked(content, message.octets))
        elif kind == Kind.DONE:
            self._done(content)
        elif kind == Kind.REQUEST:
            answer, octets = self._services.answer(message)
            self._tell(channel, Kind.REPLY, {**answer, "request": content.get("request")}, octets)
        elif kind == Kind.READY:
            self._go(channel, content)
        elif kind == Kind.REPORT:
            self._reported(*unpacked_report(content))
        elif kind == Kind.TOLD:
            line, level = printable(str(content.get("line", ""))[:2000]), content.get("level")
            if level == 0:
                self._say(line)
            elif isinstance(level, int):
                log.log(min(max(level, 0), 50), "%s", line)
        elif kind == Kind.FINISHED:
            with self._change:
                self._count(content)
                self._finished = True
                self._change.notify_all()
        elif kind == Kind.FAULT:
            self._said = (str(content.get("why")), str(content.get("seen"))[:300], str(content.get("at"))[:100])
        else:
            raise CodecError(f"a message of the kind {kind}")

    def _go(self, channel: Channel, content: Mapping[str, Any]) -> None:
        """The worker is ready: give it all that waits."""
        with self._change:
            if self._ready:
                raise CodecError("it was ready before")
            self.held = tuple(str(it)[:20] for it in content.get("held", ())[:8])
            self._not_ready = self._servers = 0
            waiting, ending, health = list(self._ring.waiting), self._ending, self._last_health
            more = {"health": [list(it) for it in health]} if health else {}
            for place in waiting:
                self._tell(channel, Kind.BATCH, {"place": place, **more})
            self._ready = True
            if ending:
                self._tell(channel, Kind.END, {})

    def _done(self, content: Mapping[str, Any]) -> None:
        number = content.get("number")
        if type(number) is not int:
            raise CodecError("a batch has a number")
        with self._change:
            self._ring.done(number)
            if "counters" in content:
                self._count(content)
            self._change.notify_all()

    def _count(self, content: Mapping[str, Any]) -> None:
        counters = content.get("counters")
        if not isinstance(counters, dict) or len(counters) > MAX_COUNTERS:
            raise CodecError("counters are an object")
        self._counters = {str(name)[:100]: value for name, value in counters.items() if type(value) is int}

    # --- faults

    def _fault(self, kind: str, seen: str, *, kill: bool) -> None:
        """The worker is dead or must die: set the batch at hand aside, tell of it, let another one begin."""
        channel, was_ready = self._channel, self._ready
        status = self._end(kill=kill)
        if channel is not None:
            self._hear_last_words(channel)
        if self._finished:
            return
        said, text, at = self._said
        if not kind:
            seen, kind = (text, said) if said in self.faults else _died(status)
        if not was_ready:
            self._not_ready += 1
            if self._not_ready >= MAX_STARTS:
                raise ForkServerError(f"{MAX_STARTS} workers in a row could not begin: {seen or said} {at}".strip())
            self._say(f"a worker could not begin ({seen}); another one is started")
            return
        with self._change:
            place = self._at_hand() if self._ring.waiting else None
            frames = self._ring.view(place) if place is not None else None
            for name, value in self._counters.items():
                self._past[name] = self._past.get(name, 0) + value
            self._counters = {}
        self.faults[kind] += 1
        self.restarts += 1
        self.learned_anew += 1
        pause = self._pause_s()
        size = 0 if frames is None else frames.size
        fault = Fault(kind, seen, at, size, frames.first if frames else 0, self._setup.options.capture)
        kept = self._quarantine.keep(frames, fault) if frames is not None and size else None
        self.frames_quarantined += size
        self._found(fault_finding(fault, frames, kept, pause))
        self._say(f"the decoder was ended ({kind}: {seen}); {size} frames set aside in {kept or 'no file'}")
        with self._change:
            if place is not None:
                self._ring.waiting.remove(place)
            if self._ending and place is None:  # it died while detectors said what remained
                self._finished = True
            self._change.notify_all()
        if self._setup.options.archive is not None and not self._setup.live:
            self._say(f"{fault.capture}: not archived, for a part of it was not looked at")  # it is all or nothing
            self._setup = replace(self._setup, options=replace(self._setup.options, archive=None))
        self._wait(pause)

    def _pause_s(self) -> float:
        now = time.monotonic()
        self._faults.append(now)
        recent = sum(now - it < WITHIN_S + LAST_PAUSE_S for it in self._faults)
        return 0.0 if recent <= AT_ONCE else min(FIRST_PAUSE_S * 2.0 ** (recent - AT_ONCE - 1), LAST_PAUSE_S)

    def _wait(self, seconds: float) -> None:
        if seconds:
            self._say(f"{len(self._faults)} faults of the decoder: the next worker begins in {seconds:.0f} s")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._closing:
            time.sleep(0.05)

    def _end(self, *, kill: bool) -> int:
        """End the present worker; how it ended, as of waitpid."""
        with self._change:
            channel, self._channel, self._ready = self._channel, None, False
            pid, self._pid = self._pid, 0
        if channel is None or not pid:
            return 0
        try:
            status, cpu_s = self._server.end(pid, kill=kill)
            self.cpu_s += cpu_s
            return status
        except ForkServerError:
            return 0
        finally:
            if self._closing or self._finished:
                channel.close()


def _died(status: int) -> tuple[str, str]:
    """(how a process ended, in words; the kind of its fault)."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "more processor time than one batch may take", "hang"
        return f"it was ended by {signal.Signals(number).name}", "crash"
    return f"it ended with exit code {os.waitstatus_to_exitcode(status)}", "crash"
