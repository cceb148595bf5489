"""A live run: interfaces in, findings out, one after the other, until it is stopped.

Where raw frames are kept on disk, evidence that a finding could not hold from memory is cut from there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.finding import MAX_EVIDENCE_PCAP_BYTES, Finding
from detectors.pipeline import Options, Pipeline
from sensor.capture.frame_ring import FrameRing
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import LinkState
from sensor.capture.live import RING_BYTES, LiveSource
from sensor.capture.pack import RECORD_BYTES
from sensor.capture.pcap import HEADER_BYTES
from sensor.capture.write import small_pcap
from sensor.decode.decoder import compile_ahead

LEARN_S = 3600.0  # during which the writers of a device are learned; see detectors/new_writer.py
REST = 4  # times as long as cutting evidence took, nothing more is cut: a flood of findings keeps no frames waiting


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What to listen to. interfaces: by name. fanout, buffer_bytes: see sensor/capture/live.py.

    ring: folder for raw frames, None for none; ring_bytes: what it may hold.
    """

    interfaces: Sequence[str]
    fanout: int = 1
    buffer_bytes: int = RING_BYTES
    ring: Path | None = None
    ring_bytes: int = 0


class LiveRun:
    """See the module. LiveError, FrameRingError where an interface or the ring's folder cannot be used."""

    def __init__(self, options: LiveOptions, indicators: Sequence[Mapping[str, Any]] = ()) -> None:
        compile_ahead()
        self._ring = FrameRing(options.ring, options.ring_bytes) if options.ring else None
        self._cut_again_at = 0.0
        try:
            self.source = LiveSource(options.interfaces, fanout=options.fanout, ring_bytes=options.buffer_bytes)
        except BaseException:
            self._close_ring()
            raise
        self.pipeline = Pipeline(Options(learn_s=LEARN_S, indicators=indicators, health=lambda: self.source.health))

    def findings(self, after_each: Callable[[], None]) -> Iterator[Finding]:
        """Findings as they are made. after_each: called after each batch of frames, also on a silent link."""
        try:
            with self.source:
                for finding in self.pipeline.run(self._frames(after_each)):
                    yield self._completed(finding)
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
        return counters | self.pipeline.decoder.counters()

    def _frames(self, after_each: Callable[[], None]) -> Iterator[FrameBatch]:
        for frames in self.source:
            if self._ring:
                self._ring.append(frames)
            yield frames
            after_each()

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
