"""A live run: frames of interfaces in, findings out, one after the other, until no more frames come.

Where raw frames are kept on disk, evidence that a finding could not hold from memory is cut from there.

The decoder's tables only grow: in a capture rows stay valid to its end. A live link has no end, so when they are nearly
full the pipeline says what it has to say, and a new one with empty tables takes over. Learned habits are learned anew.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from detectors.finding import MAX_EVIDENCE_PCAP_BYTES, Finding
from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import RuleSet
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health
from sensor.capture.pack import RECORD_BYTES
from sensor.capture.pcap import HEADER_BYTES
from sensor.capture.write import Frame, small_pcap

log = logging.getLogger(__name__)

LEARN_S = 3600.0  # during which the writers of a device are learned; see detectors/new_writer.py
NEARLY_FULL = 0.875  # share of a table in use; a batch of frames at its largest still fits into the rest
REST = 4  # times as long as cutting evidence took, nothing more is cut: a flood of findings keeps no frames waiting


class Source(Protocol):
    """Where frames come from. health: state and losses of the interfaces. ended: nothing more will come."""

    @property
    def health(self) -> tuple[Health, ...]:
        """Of each interface."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        ...

    def __iter__(self) -> Iterator[FrameBatch]: ...


class LiveRun:
    """See the module."""

    def __init__(
        self,
        source: Source,
        declared: Options | None = None,
        cut: Callable[[Iterable[int]], Mapping[int, tuple[int, Frame]]] | None = None,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        """declared: indicators, and what the plant says of itself: baseline, tags, tickets.

        cut: gives raw frames that are kept on disk, by their numbers. step: see Pipeline.
        """
        self._source, self._cut, self._step = source, cut, step
        self._cut_again_at = 0.0
        self._renewed = 0
        self._past: dict[str, int] = {}  # counters of the pipelines before
        self._reported: dict[str, Health] = {}  # losses that a pipeline before has told
        self._declared = declared or Options()
        self.pipeline = self._new_pipeline()

    def findings(self, after_each: Callable[[], None]) -> Iterator[Finding]:
        """Findings as they are made. after_each: called after each batch of frames, also on a silent link."""
        batches = iter(self._source)
        while True:
            for finding in self.pipeline.run(self._frames(batches, after_each)):
                yield self._completed(finding)
            if self._source.ended:
                return
            self._renew()

    def counters(self) -> dict[str, int]:
        """What happened to the frames in the decoder, of all pipelines of the run."""
        now = self.pipeline.counters()
        counters = {name: now.get(name, 0) + self._past.get(name, 0) for name in (*now, *self._past)}
        return counters | {"renewed": self._renewed}

    def change(self, options: Mapping[str, Any]) -> None:
        """Other values for fields of Options. Indicators and rules hold from the next batch on.

        What else changes holds with a new pipeline, which takes over at once.
        """
        self._declared = dataclasses.replace(self._declared, **options)
        for name, value in options.items():
            if name == "indicators":
                self.pipeline.use_indicators(value)
            elif name == "rules" and isinstance(value, RuleSet):
                self.pipeline.use_rules(value)
            else:
                self._outdated = True

    def _new_pipeline(self) -> Pipeline:
        self._outdated = False
        made = Pipeline(dataclasses.replace(self._declared, learn_s=LEARN_S, health=self._health))
        made.step = self._step
        return made

    def _health(self) -> tuple[Health, ...]:
        """The interfaces, with the losses that were not told before."""
        now = []
        for it in self._source.health:
            before = self._reported.get(it.interface)
            now.append(
                it._replace(dropped=it.dropped - before.dropped, unread=it.unread - before.unread) if before else it
            )
        return tuple(now)

    def _nearly_full(self) -> bool:
        state = self.pipeline.decoder.view.state
        used = state.used[0]
        return any(
            int(rows) > NEARLY_FULL * len(table)
            for rows, table in (
                (used.conversations, state.conversations),
                (state.settled[0].behaviours, state.behaviours),
                (used.hosts, state.hosts),
            )
        )

    def _renew(self) -> None:
        """Let a pipeline with empty tables take over."""
        outdated = self._outdated
        self._renewed += not outdated
        for name, value in self.pipeline.counters().items():
            self._past[name] = self._past.get(name, 0) + value
        self._reported = {it.interface: it for it in self._source.health}
        before, self.pipeline = self.pipeline, self._new_pipeline()
        self.pipeline.take_over(before)
        del before
        gc.collect()  # objects that refer to each other hold the old tables, hundreds of megabytes
        if not outdated:
            log.warning("the decoder's tables were nearly full: begun again with empty ones")

    def _frames(self, batches: Iterator[FrameBatch], after_each: Callable[[], None]) -> Iterator[FrameBatch]:
        for frames in batches:
            yield frames
            after_each()
            if self._outdated or self._nearly_full():
                return

    def _completed(self, finding: Finding) -> Finding:
        """The finding with those of its frames in the evidence that only the ring still has."""
        evidence = finding.evidence
        if self._cut is None or time.monotonic() < self._cut_again_at:
            return finding
        if not evidence.frames or _frames_in(evidence.pcap) >= len(evidence.frames):
            return finding
        begin = time.monotonic()
        cut = self._cut(evidence.frames)
        frames, size = [], HEADER_BYTES
        for number in sorted(cut):
            link, raw = cut[number]
            frame = self.pipeline.scene.secrets.hide(number, raw)
            if frame is None:
                continue
            size += RECORD_BYTES + len(frame.data)
            if size > MAX_EVIDENCE_PCAP_BYTES or link != cut[min(cut)][0]:
                break
            frames.append(frame)
        self._cut_again_at = time.monotonic() + REST * (time.monotonic() - begin)
        if len(frames) <= _frames_in(evidence.pcap):
            return finding
        pcap = small_pcap(cut[min(cut)][0], frames)
        return dataclasses.replace(finding, evidence=dataclasses.replace(evidence, pcap=pcap))


def _frames_in(pcap: bytes) -> int:
    """How many frames a small pcap of ours holds."""
    at, frames = HEADER_BYTES, 0
    while at < len(pcap):
        at += RECORD_BYTES + int.from_bytes(pcap[at + 8 : at + 12], "little")
        frames += 1
    return frames
