"""One network interface that is captured from: its rings while it exists, its state, and what was lost on it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.capture.packet_ring import PacketRing, interface_flags

_IFF_UP, _IFF_RUNNING = 0x1, 0x40  # netdevice(7)
_DEVICES = Path("/proc/thread-self/net/dev")  # of the network namespace that we live in
_LOST, _ERRORS, _SENT = 3, 2, 9  # columns of it: received frames dropped and damaged, frames transmitted

Counts = npt.NDArray[np.int64]


class LinkState(StrEnum):
    """What an interface is in; also in the heartbeat."""

    UP = "up"
    NO_CARRIER = "no-carrier"
    DOWN = "down"
    MISSING = "missing"


class Health(NamedTuple):
    """What happened on one interface since the capture began.

    frames: given out. dropped: by the kernel, because the ring was full. unread: received into the ring and not to be
    had any more, because the capture or the interface ended. So frames + dropped + unread, and what still lies in the
    ring, is what came to the socket.
    lost_before: frames that the interface dropped before that, by its own counter; errors: damaged ones, likewise.
    sent: frames that this machine sent there, by the interface's counter. None is ours; a mirror port should see none.
    """

    interface: str
    state: LinkState
    frames: int = 0
    dropped: int = 0
    unread: int = 0
    lost_before: int = 0
    errors: int = 0
    sent: int = 0


class Interface:
    """See the module. An interface may end and begin again; its counts go on."""

    def __init__(self, name: str, make: Callable[[], list[PacketRing]], snap: int) -> None:
        """make: the rings, all shut. snap: bytes kept of each frame. LiveError where it cannot be captured from."""
        self.name = name
        self._snap = snap
        self.rings: list[PacketRing] = []
        self.state = LinkState.MISSING
        self._make = make
        self._index = 0
        self._past = np.zeros(6, np.int64)  # fields of Health from `frames` on, of the lives that have ended
        self._device_first = self._device_last = np.zeros(3, np.int64)
        self.begin()

    def begin(self) -> None:
        """Make the rings and open them, all at one time; LiveError where that cannot be."""
        self.rings = self._make()
        self._index = self.rings[0].index
        counts = _device_counts(self.name)
        self._device_first = self._device_last = np.zeros(3, np.int64) if counts is None else counts
        for ring in self.rings:
            ring.open(self._snap)
        self.look()

    def end(self) -> None:
        """Close the rings. What they still hold is lost, and counted so."""
        if not self.rings:
            return
        self.count()
        for ring in self.rings:
            ring.close()
        self._past = self._totals(ended=True)
        self.rings = []
        self._device_first = self._device_last = np.zeros(3, np.int64)

    def shut(self) -> None:
        """Receive nothing more."""
        for ring in self.rings:
            ring.shut()

    def count(self) -> None:
        """Bring the counts up to date."""
        for ring in self.rings:
            ring.count()
        counts = _device_counts(self.name) if self.rings else None
        if counts is not None and (counts >= self._device_first).all():  # otherwise another one of the same name
            self._device_last = counts

    def look(self) -> bool:
        """Find out the state; whether it has changed. MISSING also where another device has taken the name."""
        index, flags = interface_flags(self.name) or (0, 0)
        if index != self._index:
            state = LinkState.MISSING
        elif not flags & _IFF_UP:
            state = LinkState.DOWN
        else:
            state = LinkState.UP if flags & _IFF_RUNNING else LinkState.NO_CARRIER
        changed, self.state = state != self.state, state
        return changed

    @property
    def exists(self) -> bool:
        """Whether a device of this name is there, the one that was captured from or another."""
        return interface_flags(self.name) is not None

    @property
    def settled(self) -> bool:
        """Whether everything that came into the rings was taken out, as of the last count."""
        return all(ring.taken == ring.received for ring in self.rings)

    def health(self) -> Health:
        """As of the last count."""
        return Health(self.name, self.state, *self._totals(ended=False).tolist())

    def _totals(self, *, ended: bool) -> Counts:
        frames = sum(ring.taken - ring.unreadable for ring in self.rings)
        dropped = sum(ring.dropped for ring in self.rings)
        unread = sum(ring.unreadable + (ring.received - ring.taken if ended else 0) for ring in self.rings)
        device = self._device_last - self._device_first
        return self._past + np.array([frames, dropped, unread, *device], np.int64)


def _device_counts(name: str) -> Counts | None:
    """(lost, errors, sent) of a device; None where it cannot be read."""
    try:
        lines = _DEVICES.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        device, _, columns = line.rpartition(":")
        if device.strip() == name:
            numbers = columns.split()
            return np.array([int(numbers[column]) for column in (_LOST, _ERRORS, _SENT)], np.int64)
    return None
