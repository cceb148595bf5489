"""What runs in a worker: frames from the shared memory through the pipeline, findings to the sensor."""

from __future__ import annotations

import gc
import importlib
import logging
import mmap
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from detectors.content import rules_folder
from detectors.finding import Finding
from detectors.live_run import LiveRun
from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import RuleSet
from detectors.worker.channel import Channel, ChannelError, Kind, Message
from detectors.worker.codec import packed
from detectors.worker.confinement import allow_cpu, confine
from detectors.worker.handover import Place, Window
from detectors.worker.remote import RemoteJail, RemoteLearning, RemoteRing, RemoteStore
from detectors.worker.setup import Change, Setup
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health, LinkState

COUNT_S = 0.2  # between two reports of counters
CURRENT, STEP, PAGE = 0, 1, 4096  # numbers of int64 in the page of progress; its octets
KEEP_BYTES = 64 * 1024 * 1024  # of frames of a capture that are remembered for evidence
PACKAGES = Path(__file__).resolve().parents[2]

Hook = Callable[[FrameBatch], None]


def run(channel: Channel, frames_file: int, ring_bytes: int, page_file: int, hook: str) -> NoReturn:
    """Be a worker, to the end of this process. hook: "module:function" of a test, called with each batch of frames."""
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).handlers.clear()
    logging.root.handlers = [_Tell(channel)]
    code = 1
    try:
        with open(os.devnull, "rb+", buffering=0) as nothing:
            for standard in range(3):
                os.dup2(nothing.fileno(), standard)
        worker = _Worker(channel, Window(frames_file, ring_bytes), mmap.mmap(page_file, PAGE), hook)
        os.close(frames_file)
        os.close(page_file)
        worker.run()
        code = 0
    except ChannelError:
        pass  # the sensor is gone
    except BaseException as error:
        why = "memory" if isinstance(error, MemoryError) else "exception"
        channel.send(Kind.FAULT, {"why": why, "seen": f"{type(error).__name__}: {error}"[:300], "at": _place(error)})
    finally:
        os._exit(code)


def _place(error: BaseException) -> str:
    """File and line of ours where an exception came from."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place, trace = f"{Path(code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    return place


class _Tell(logging.Handler):
    """Log lines to the sensor."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        line = record.getMessage()[:1000]
        if record.exc_info and record.exc_info[1] is not None:
            line += f" ({record.exc_info[1]!r}"[:300] + f", {_place(record.exc_info[1])})"
        self._channel.send(Kind.TOLD, {"line": line, "level": record.levelno, "name": record.name})


class _Worker:
    def __init__(self, channel: Channel, window: Window, page: mmap.mmap, hook: str) -> None:
        self._channel, self._window = channel, window
        self._page = np.frombuffer(page, np.int64)
        self._hook: Hook | None = None
        if hook:
            module, _, name = hook.partition(":")
            self._hook = getattr(importlib.import_module(module), name)
        self._early: deque[Message] = deque()  # came while a reply was waited for
        self._requests = 0
        self._next_count = 0.0
        self.health: tuple[Health, ...] = ()
        self.ended = False
        self._refused = 0
        self._live: LiveRun | None = None
        self._pipeline: Pipeline | None = None

    def run(self) -> None:
        """Take the setup, give up what is not needed, and look at frames to the end."""
        setup = pickle.loads(self._channel.receive().octets)  # noqa: S301  (from the sensor, never the other way)
        assert isinstance(setup, Setup)
        options = self._equipped(setup)
        if setup.live:
            cut = RemoteRing(self._ask).cut if setup.cuts else None
            self._live = LiveRun(self, options, cut, self._step)
        else:
            self._pipeline = Pipeline(options)
            self._pipeline.step = self._step
            self._pipeline.scene.keep_bytes = KEEP_BYTES
        gc.freeze()
        cache = os.environ.get("NUMBA_CACHE_DIR")
        own = [PACKAGES / "sensor", PACKAGES / "detectors", rules_folder(), *([Path(cache)] if cache else [])]
        held = confine([*own, *setup.readable])
        self._channel.send(Kind.READY, {"held": held})
        findings = self._pipeline.run(self) if self._pipeline else self._run().findings(lambda: None)
        for finding in findings:
            self._found(finding)
        self._channel.send(Kind.FINISHED, {"counters": self._counters()})

    def _equipped(self, setup: Setup) -> Options:
        options = replace(setup.options, jail=RemoteJail(self._ask))
        if setup.history is not None:
            options = replace(options, store=RemoteStore(self._ask, setup.history))
        if options.archive is not None:
            from detectors.worker.archiving import RemoteTaker

            options = replace(options, taker=RemoteTaker(self._ask))
        if setup.reports:
            options = replace(options, report=self._report)
        if setup.learning is not None:
            options = replace(options, learning=RemoteLearning(self._ask, setup.learning, self._say))
        return options

    def _run(self) -> LiveRun:
        assert self._live is not None
        return self._live

    # --- frames in

    def __iter__(self) -> Iterator[FrameBatch]:
        while (message := self._next()).kind != Kind.END:
            if message.kind == Kind.CHANGE:
                change = pickle.loads(message.octets)  # noqa: S301
                assert isinstance(change, Change)
                self._change(change.options)
            elif message.kind == Kind.BATCH:
                yield from self._batch(message.json)
        self._step()
        self.ended = True

    def _batch(self, content: Mapping[str, Any]) -> Iterator[FrameBatch]:
        place = Place(*content["place"])
        self._page[CURRENT] = place.number
        self._step()
        if "health" in content:
            self.health = tuple(Health(it[0], LinkState(it[1]), *it[2:]) for it in content["health"])
        allow_cpu()
        frames = self._window.copy(place)
        if self._hook is not None:
            self._hook(frames)
        yield frames
        self._step()
        done: dict[str, Any] = {"number": place.number}
        if time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + COUNT_S
            done["counters"] = self._counters()
        self._channel.send(Kind.DONE, done)

    def _next(self) -> Message:
        return self._early.popleft() if self._early else self._channel.receive()

    def _change(self, options: Mapping[str, Any]) -> None:
        if self._live is not None:
            self._live.change(options)
            return
        assert self._pipeline is not None
        for name, value in options.items():
            if name == "indicators":
                self._pipeline.use_indicators(value)
            elif name == "rules" and isinstance(value, RuleSet):
                self._pipeline.use_rules(value)

    # --- what is said

    def _step(self) -> None:
        """Tell the watchdog that there is progress."""
        self._page[STEP] += 1

    def _found(self, finding: Finding) -> None:
        self._step()
        content, pcap = packed(finding)
        try:
            self._channel.send(Kind.FINDING, content, pcap)
        except (TypeError, ValueError) as error:
            self._refused += 1
            logging.getLogger(__name__).error("a finding of %s is no JSON: %s", finding.rule_id, error)

    def _report(self, what: str, run: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Some of what stands; without records it says only that there is progress."""
        self._step()
        if records:
            self._channel.send(Kind.REPORT, {"what": what, "run": run, "records": records})

    def _counters(self) -> dict[str, Any]:
        own = self._pipeline.counters() if self._pipeline else self._run().counters()
        return own | ({"findings_refused": self._refused} if self._refused else {})

    def _say(self, line: str) -> None:
        self._channel.send(Kind.TOLD, {"line": line, "level": 0})

    def _ask(self, what: str, content: Mapping[str, Any], octets: bytes) -> Message:
        """Let the sensor do something; its answer."""
        self._requests += 1
        self._channel.send(Kind.REQUEST, {**content, "what": what, "request": self._requests}, octets)
        while True:
            message = self._channel.receive()
            if message.kind == Kind.REPLY and message.json.get("request") == self._requests:
                self._step()
                return message
            self._early.append(message)
