"""Live capture: frames from network interfaces, without an object for each packet and without sending anything.

    with LiveSource(["eth1"]) as source:
        for frames in source: ...

Frames are copied out of the ring once, block by block, and each block goes back to the kernel at once. So the ring is
the only queue: however slow a reader is and however long it keeps a batch, what finds no room is dropped and counted in
one place, the kernel. With zero copy a reader that keeps evidence would hold the memory that the next frames need.

An interface that goes down, disappears or returns is a state, never the end of the capture.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from sensor.capture.blocks import compile_ahead
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health, Interface, LinkState
from sensor.capture.interleave import Interleaver
from sensor.capture.packet_ring import BLOCK_MS, LiveError, PacketRing
from sensor.capture.pcap import MAX_FRAME_BYTES

log = logging.getLogger(__name__)

RING_BYTES = 64 * 1024 * 1024  # of one interface: half a second of short frames at 1 Gbit/s, minutes of polling
MAX_BATCH_BYTES = 16 * 1024 * 1024  # of one ring at one time: bounds memory, and the time to the next look at the clock
TICK_MS = 100  # on a silent link: how often a batch without frames says that time has passed
LOOK_S = 1.0  # how often the state of the interfaces is looked at and their counters are read
# How late a frame may come out of a ring that has nothing ready: a block is closed after BLOCK_MS, by a timer that
# older kernels look at only once in that time.
LATE_NS = (2 * BLOCK_MS + 40) * 1_000_000
LAST_BLOCKS_S = 2.0  # how long to wait for them at the end; they come within LATE_NS


class LiveSource(Iterator[FrameBatch]):
    """Frames of one or more interfaces, numbered from 1, in the order of their times, until `stop`.

    health: state and losses of each interface, brought up to date every LOOK_S and at the end; may be read from any
    thread. `stop` too may be called from any thread or signal handler. ended: nothing more will come.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        *,
        fanout: int = 1,
        ring_bytes: int = RING_BYTES,
        snap: int = MAX_FRAME_BYTES,
        promiscuous: bool = True,
    ) -> None:
        """Capture from now on. LiveError where one of the interfaces cannot be captured from.

        fanout: rings for each interface. The kernel shares frames out by the hash of their connection, so that both
        directions of one come into one ring; processors that receive at the same time then need not wait for each
        other. ring_bytes: memory for one interface. snap: bytes kept of each frame.
        """
        self.frames = 0
        self.ended = False
        self._fanout, self._ring_bytes, self._snap, self._promiscuous = fanout, ring_bytes, snap, promiscuous
        self._stopped = False
        self._waiting = Interleaver()
        self._next_look = time.monotonic() + LOOK_S
        self._poll = select.poll()
        self._interfaces: list[Interface] = []
        self.health: tuple[Health, ...] = ()
        compile_ahead()
        try:
            for name in dict.fromkeys(interfaces):
                self._interfaces.append(Interface(name, lambda name=name: self._rings(name), snap))  # type: ignore[misc]
        except LiveError:
            self.close()
            raise
        self._watch()
        self._tell()
        self._batches = self._read()

    def __iter__(self) -> Iterator[FrameBatch]:
        return self

    def __next__(self) -> FrameBatch:
        return next(self._batches)

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Receive nothing more; the iteration ends when what was received has been given out."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the interfaces. What they still hold is lost, and counted as unread."""
        for it in self._interfaces:
            it.end()
        self._tell()

    def _read(self) -> Iterator[FrameBatch]:
        while not self._stopped:
            yield self._batch()
            if time.monotonic() >= self._next_look:
                self._look()
        for it in self._interfaces:
            it.shut()
        give_up = time.monotonic() + LAST_BLOCKS_S
        while not self._settled() and time.monotonic() < give_up:
            yield self._batch()
        self.close()
        yield self._batch()
        self.ended = True

    def _settled(self) -> bool:
        for it in self._interfaces:
            it.count()
        return all(it.settled for it in self._interfaces)

    def _batch(self) -> FrameBatch:
        """What the rings hand over, as soon as one of them has something; no frames after TICK_MS of silence."""
        rings = [ring for it in self._interfaces for ring in it.rings]
        for _, events in self._poll.poll(TICK_MS) if rings else ():
            if events & (select.POLLERR | select.POLLHUP):  # the interface went down or away
                self._next_look = 0.0
        if not rings and not self._stopped:
            time.sleep(TICK_MS / 1000)
        now_ns = time.time_ns()
        clock_ns, complete_ns = now_ns, now_ns
        ready = [(ring, *ring.ready(MAX_BATCH_BYTES)) for ring in rings]
        piece = self._waiting.piece(sum(it[2] for it in ready), sum(it[3] for it in ready))
        for ring, numbers, _, _, more in ready:
            piece.filled, piece.rows = ring.take(numbers, piece.data, piece.filled, piece.columns, piece.rows)
            if more:  # the reader is behind: time is that of the frames, and no earlier one can come out of this ring
                clock_ns = min(clock_ns, int(piece.columns.ts_ns[piece.rows - 1]))
            complete_ns = min(complete_ns, clock_ns if more else now_ns - LATE_NS)
        columns = piece.columns.pick(slice(piece.rows))
        if len(self._interfaces) * self._fanout > 1:
            # Frames of the future: the clock was set back, and to wait for it again could take hours.
            set_back = piece.rows > 0 and int(columns.ts_ns.max()) > now_ns + LATE_NS
            columns = self._waiting.release(piece, None if set_back or not rings else complete_ns)
        first = self.frames + 1
        self.frames += len(columns.ts_ns)
        return FrameBatch(piece.data, *columns, first=first, clock_ns=clock_ns)

    def _look(self) -> None:
        """Bring states and counters up to date; make rings for what has returned, and let go of what is away."""
        self._next_look = time.monotonic() + LOOK_S
        for it in self._interfaces:
            was_missing = it.state == LinkState.MISSING
            for ring in it.rings:
                ring.error()
            if it.look():
                log.log(logging.INFO if it.state == LinkState.UP else logging.WARNING, "%s: %s", it.name, it.state)
            it.count()
            if it.state == LinkState.MISSING and was_missing and it.rings:  # its last blocks have come by now
                it.end()
                self._watch()
            elif not it.rings and it.exists:
                self._begin_again(it)
        self._tell()

    def _begin_again(self, it: Interface) -> None:
        try:
            it.begin()
        except LiveError as error:
            log.warning("%s", error)
            return
        log.info("%s: captured from again", it.name)
        self._watch()

    def _rings(self, name: str) -> list[PacketRing]:
        rings: list[PacketRing] = []
        try:
            for _ in range(self._fanout):
                joined = rings[0] if rings else None
                size = self._ring_bytes // self._fanout
                rings.append(PacketRing(name, size, promiscuous=self._promiscuous, join=joined))
        except LiveError:
            for ring in rings:
                ring.close()
            raise
        return rings

    def _watch(self) -> None:
        self._poll = select.poll()
        for it in self._interfaces:
            for ring in it.rings:
                self._poll.register(ring.fileno(), select.POLLIN)

    def _tell(self) -> None:
        self.health = tuple(it.health() for it in self._interfaces)
