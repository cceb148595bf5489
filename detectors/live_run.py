"""A live run: interfaces in, findings out, one after the other, until it is stopped.

Where raw frames are kept on disk, evidence that a finding could not hold from memory is cut from there.

The decoder's tables only grow: in a capture rows stay valid to its end. A live link has no end, so when they are nearly
full the pipeline says what it has to say, and a new one with empty tables takes over. Learned habits are learned anew.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.carving.store import QUOTA_BYTES
from detectors.finding import MAX_EVIDENCE_PCAP_BYTES, Finding
from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import RuleSet
from sensor.capture.frame_ring import FrameRing
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health, LinkState
from sensor.capture.live import RING_BYTES, LiveSource
from sensor.capture.pack import RECORD_BYTES
from sensor.capture.pcap import HEADER_BYTES
from sensor.capture.write import small_pcap
from sensor.decode.compilation import compile_ahead
from sensor.slow.reader import SlowReader

log = logging.getLogger(__name__)

LEARN_S = 3600.0  # during which the writers of a device are learned; see detectors/new_writer.py
NEARLY_FULL = 0.875  # share of a table in use; a batch of frames at its largest still fits into the rest
REST = 4  # times as long as cutting evidence took, nothing more is cut: a flood of findings keeps no frames waiting


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What to listen to. interfaces: by name. fanout, buffer_bytes: see sensor/capture/live.py.

    ring: folder for raw frames, None for none; ring_bytes: what it may hold. artifacts, artifacts_bytes: the same for
        program blocks and files, see detectors/carving/store.py.
    """

    interfaces: Sequence[str]
    fanout: int = 1
    buffer_bytes: int = RING_BYTES
    ring: Path | None = None
    ring_bytes: int = 0
    artifacts: Path | None = None
    artifacts_bytes: int = QUOTA_BYTES


class LiveRun:
    """See the module. LiveError, FrameRingError where an interface or the ring's folder cannot be used."""

    def __init__(
        self, options: LiveOptions, indicators: Sequence[Mapping[str, Any]] = (), declared: Options | None = None
    ) -> None:
        """declared: what the plant says of itself: baseline, tags, tickets."""
        compile_ahead()
        self._options = options
        SlowReader.compile_ahead()
        self._ring = FrameRing(options.ring, options.ring_bytes) if options.ring else None
        self._cut_again_at = 0.0
        self._renewed = 0
        self._past: dict[str, int] = {}  # counters of the decoders before
        self._reported: dict[str, Health] = {}  # losses that a pipeline before has told
        try:
            self.source = LiveSource(options.interfaces, fanout=options.fanout, ring_bytes=options.buffer_bytes)
        except BaseException:
            self._close_ring()
            raise
        self._declared = declared or Options()
        self.indicators = indicators
        self.pipeline = self._new_pipeline()

    def findings(self, after_each: Callable[[], None]) -> Iterator[Finding]:
        """Findings as they are made. after_each: called after each batch of frames, also on a silent link."""
        try:
            with self.source:
                while True:
                    for finding in self.pipeline.run(self._frames(after_each)):
                        yield self._completed(finding)
                    if self.source.ended:
                        return
                    self._renew()
        finally:
            self._close_ring()

    def stop(self) -> None:
        """Let `findings` end when what was received has been looked at; may be called from a signal handler."""
        self.source.stop()

    def counters(self) -> dict[str, Any]:
        """For the heartbeat: what happened to the frames, for each interface, in the ring, and in the decoder."""
        counters: dict[str, Any] = {}
        for health in self.source.health:
            for name, value in zip(health._fields[1:], health[1:], strict=True):
                counters[f"{health.interface}.{name}"] = value
        if self._ring:
            counters |= self._ring.counters()
        decoder = self.pipeline.decoder.counters()
        counters |= {name: value + self._past.get(name, 0) for name, value in decoder.items()}
        counters["slow_refused"] = self.pipeline.scene.slow_refused + self._past.get("slow_refused", 0)
        return counters | {"renewed": self._renewed}

    def use_indicators(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Match these indicators from now on; may be called from another thread."""
        self.indicators = items
        self.pipeline.use_indicators(items)

    def use_rules(self, rules: RuleSet) -> None:
        """Match by these rules from now on; may be called from another thread."""
        self._declared = dataclasses.replace(self._declared, rules=rules)
        self.pipeline.use_rules(rules)

    def _new_pipeline(self) -> Pipeline:
        return Pipeline(
            dataclasses.replace(
                self._declared,
                learn_s=LEARN_S,
                indicators=self.indicators,
                health=self._health,
                interfaces=", ".join(self._options.interfaces),
                artifacts=self._options.artifacts,
                artifacts_bytes=self._options.artifacts_bytes,
            )
        )

    def _health(self) -> tuple[Health, ...]:
        """The interfaces, with the losses that were not told before."""
        now = []
        for it in self.source.health:
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
        self._renewed += 1
        for name, value in self.pipeline.decoder.counters().items():
            self._past[name] = self._past.get(name, 0) + value
        self._past["slow_refused"] = self._past.get("slow_refused", 0) + self.pipeline.scene.slow_refused
        self._reported = {it.interface: it for it in self.source.health}
        before, self.pipeline = self.pipeline, self._new_pipeline()
        self.pipeline.take_over(before)
        del before
        gc.collect()  # objects that refer to each other hold the old tables, hundreds of megabytes
        log.warning("the decoder's tables were nearly full: begun again with empty ones")

    def _frames(self, after_each: Callable[[], None]) -> Iterator[FrameBatch]:
        for frames in self.source:
            if self._ring:
                self._ring.append(frames)
            yield frames
            after_each()
            if self._nearly_full():
                return

    def _completed(self, finding: Finding) -> Finding:
        """The finding with those of its frames in the evidence that only the ring still has."""
        evidence = finding.evidence
        if self._ring is None or time.monotonic() < self._cut_again_at:
            return finding
        if not evidence.frames or _frames_in(evidence.pcap) >= len(evidence.frames):
            return finding
        begin = time.monotonic()
        cut = self._ring.cut(evidence.frames)
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

    def _close_ring(self) -> None:
        if self._ring:
            self._ring.close()

    def listening(self) -> str:
        """What is listened to, and how it is, in one line."""
        return ", ".join(
            it.interface if it.state == LinkState.UP else f"{it.interface} ({it.state})" for it in self.source.health
        )


def _frames_in(pcap: bytes) -> int:
    """How many frames a small pcap of ours holds."""
    at, frames = HEADER_BYTES, 0
    while at < len(pcap):
        at += RECORD_BYTES + int.from_bytes(pcap[at + 8 : at + 12], "little")
        frames += 1
    return frames
