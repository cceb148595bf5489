"""What a live sensor takes in: frames from interfaces, raw frames kept on disk, what happened to them on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.carving.store import QUOTA_BYTES
from sensor.capture.frame_ring import FrameRing
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health, LinkState
from sensor.capture.live import RING_BYTES, LiveSource
from sensor.capture.write import Frame


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


class LiveFeed(Iterator[FrameBatch]):
    """See the module. LiveError, FrameRingError where an interface or the ring's folder cannot be used."""

    def __init__(self, options: LiveOptions) -> None:
        self._ring = FrameRing(options.ring, options.ring_bytes) if options.ring else None
        try:
            self.source = LiveSource(options.interfaces, fanout=options.fanout, ring_bytes=options.buffer_bytes)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> LiveFeed:
        return self

    def __next__(self) -> FrameBatch:
        frames = next(self.source)
        if self._ring:
            self._ring.append(frames)
        return frames

    @property
    def health(self) -> tuple[Health, ...]:
        """State and losses of each interface."""
        return self.source.health

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.source.ended

    @property
    def keeps_frames(self) -> bool:
        """Whether evidence can be cut from raw frames on disk."""
        return self._ring is not None

    def stop(self) -> None:
        """Let the iteration end when what was received has been given out; may be called from a signal handler."""
        self.source.stop()

    def close(self) -> None:
        """Let go of the interfaces and of the ring."""
        if hasattr(self, "source"):
            self.source.close()
        if self._ring:
            self._ring.close()

    def cut(self, numbers: Iterable[int]) -> dict[int, tuple[int, Frame]]:
        """Raw frames by their numbers: (link type, frame); those that are not on disk are left out."""
        return self._ring.cut(numbers) if self._ring else {}

    def counters(self) -> dict[str, Any]:
        """For the heartbeat: what happened to the frames, for each interface, and in the ring."""
        counters: dict[str, Any] = {}
        for health in self.source.health:
            for name, value in zip(health._fields[1:], health[1:], strict=True):
                counters[f"{health.interface}.{name}"] = value
        return counters | (self._ring.counters() if self._ring else {})

    def listening(self) -> str:
        """What is listened to, and how it is, in one line."""
        return ", ".join(
            it.interface if it.state == LinkState.UP else f"{it.interface} ({it.state})" for it in self.source.health
        )
