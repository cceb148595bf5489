"""Decoder: frames in, events out. The Python side of the compiled path."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.capture.ahead import ahead
from sensor.capture.frames import FrameBatch
from sensor.compiled import INTERPRETED
from sensor.decode import exchange, kernel, recycle
from sensor.decode.compilation import COMMON, in_children
from sensor.decode.messages import drain_address
from sensor.decode.pdu import PDU
from sensor.decode.read import READERS, reader_address
from sensor.decode.recognise import WATCHED_PORTS
from sensor.decode.state import (
    ANSWER_WITHIN_NS,
    ASSEMBLED,
    DATAGRAM_BYTES,
    EVENTS_OF_BATCH,
    MAX_CONVERSATIONS,
    MESSAGE,
    MESSAGES,
    OCTET,
    UNANSWERED_AFTER_NS,
    USUAL_EVENTS,
    new_state,
)
from sensor.decode.stream_tables import ROOM_ASSEMBLED
from sensor.decode.streams import irregular_address
from sensor.events import Columns, EventBatch, no_events
from sensor.records import untouched
from sensor.view import Held, View

NOTHING = np.zeros(0, np.uint8)
TICK_NS = 500_000_000  # on a live link: how often an empty batch says that time has passed
ROOMS = 4  # kept for use again: the consumer holds one batch, two are being filled
AHEAD = 6  # buffers: the passes of the second core are at most so far ahead, more than a batch


class Room(NamedTuple):
    """Arrays for one batch: events, the same as columns, and the bytes of assembled PDUs."""

    events: npt.NDArray[np.void]
    out: npt.NDArray[np.uint8]
    columns: Columns


Messages = npt.NDArray[np.void]
Octets = npt.NDArray[np.uint8]
FirstPass = Callable[[int, Messages, Octets], int]  # from a row on; the row to go on from, -1 when all is done


class Buffer(NamedTuple):
    """Room for what the first two passes give at a time."""

    messages: Messages
    pdus: npt.NDArray[np.void]


class Stretch(NamedTuple):
    """What the first pass goes over: a batch of frames, or what waits behind gaps at the end (None)."""

    batch: FrameBatch | None
    first_pass: FirstPass
    frames: Octets


class Block(NamedTuple):
    """What the first two passes gave, of a stretch's frames before `row` (-1: of all). last_ns: the latest of them.

    rows: messages in the buffer. unread: a bit for each protocol whose messages are not PDUs yet. room: of the events.
    ends: whether a batch ends here; held: what the view shows to those who look at it, None: what stands.
    """

    stretch: Stretch
    buffer: Buffer
    rows: int
    unread: int
    room: Room
    row: int
    ends: bool
    held: Held | None
    last_ns: int


class Decoder:
    """One run over one source of frames; keeps streams, open requests and behaviours from batch to batch.

    Where the process has a second core, frames become PDUs on it while the PDUs before become events, and whoever takes
    these looks at them. What comes out, and in which batches, is the same.

    ports: transport port -> the Framing that it promises (sensor/decode/recognise.py). seed: of the hashes, random
    unless given; rows and numbers do not depend on it.
    """

    def __init__(self, ports: Mapping[int, int] = WATCHED_PORTS, seed: int | None = None) -> None:
        in_children(COMMON)
        self._state = new_state(ports, secrets.randbits(64) if seed is None else seed)
        self._used = self._state["used"][0]  # an array of one: of a record each number takes microseconds
        self._used["drain"], self._used["irregular"] = drain_address(), irregular_address()
        self._rooms: list[Room] = []
        self._recycled_ns = -recycle.RETRY_NS
        self._ticked_ns = 0
        overlap = len(os.sched_getaffinity(0)) > 1 and not INTERPRETED  # uncompiled, two threads never run side by side
        self._second = ThreadPoolExecutor(1, "decode") if overlap else None
        buffers = AHEAD if self._second else 1
        self._buffers = [Buffer(untouched(MESSAGES, MESSAGE), untouched(MESSAGES, PDU)) for _ in range(buffers)]
        self._ready: SimpleQueue[Block | None] = SimpleQueue()
        self._met = 0  # protocols whose readers are at hand, a bit for each
        self._away = False  # somebody looks at a batch, instead of asking for the next one
        self.view = View(self._state)

    def decode(
        self, batches: Iterable[FrameBatch], begun: Callable[[FrameBatch], None] = lambda _: None
    ) -> Iterator[EventBatch]:
        """Events of all frames; what waits behind gaps is read when `batches` ends. Never raises on traffic.

        begun: called with each batch before its events are given. Of batches that were read ahead (capture/ahead.py)
        the next is begun on the second core while events of the last are still being made.

        Frames of a capture that hold no event give an empty batch. On a live link time passes without frames too:
        requests are given up by its clock, and batches without events come every TICK_NS, so that nobody waits for
        traffic to say what is due.
        """
        self._ticked_ns = -TICK_NS
        source = iter(batches)
        for batch in source:
            yield from self._given(Stretch(batch, self._walk(batch), batch.data), source, begun)
        yield from self._given(Stretch(None, self._flush, NOTHING), source, begun)
        exchange.sweep(self._state, self._last_ns - UNANSWERED_AFTER_NS)

    def counters(self) -> dict[str, int]:
        """What happened to the frames: names and meanings in sensor/decode/state.py."""
        return self.view.counters()

    @property
    def _events(self) -> int:
        """Number of events so far."""
        return int(self._state[0].settled[0].events)

    @property
    def _last_ns(self) -> int:
        """Time of the latest frame that the first pass has met."""
        return int(self._used["last_ns"][0])

    def _walk(self, batch: FrameBatch) -> FirstPass:
        def walk(row: int, messages: Messages, out: Octets) -> int:
            after: int = kernel.walk(
                batch.data, batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link, batch.first, row,
                self._state, messages, out,
            )  # fmt: skip
            return after

        return walk

    def _flush(self, conversation: int, messages: Messages, out: Octets) -> int:
        after: int = kernel.flush(conversation, self._state, messages, out)
        return after

    def _given(
        self, stretch: Stretch, source: Iterator[FrameBatch], begun: Callable[[FrameBatch], None]
    ) -> Iterator[EventBatch]:
        """Events of a stretch, and of those behind it whose frames have been read meanwhile."""
        row, events, before, known = 0, 0, self._events, False
        while row >= 0:
            if self._recycling_due():  # no event that bears a row is on its way
                self._recycle()
            free: SimpleQueue[Buffer | None] = SimpleQueue()
            for block in self._ahead(self._blocks(stretch, row, source, free), free):
                if block.stretch is not stretch:
                    stretch, before, known = block.stretch, self._events, False
                if stretch.batch is not None and not known:
                    begun(stretch.batch)
                    known = True
                events += self._settle(block, events)
                free.put(block.buffer)
                row = block.row
                if block.ends:
                    self.view.show(block.held)
                    self._away = True
                    try:
                        yield from self._batch(block, events)
                        if row < 0 and stretch.batch is not None:
                            yield from self._passed(stretch.batch, block.last_ns, self._events > before)
                    finally:
                        self._away = False
                        self.view.show(None)
                    events = 0

    def _passed(self, batch: FrameBatch, last_ns: int, any_event: bool) -> Iterator[EventBatch]:
        """Give up requests that are too old once a batch is through, and say where only time has passed."""
        now_ns = batch.clock_ns if batch.clock_ns >= 0 else last_ns
        # Late answers belong to nobody; asking again each batch keeps the table for requests that are alive.
        exchange.sweep(self._state, now_ns - ANSWER_WITHIN_NS)
        # A clock that was set back ticks too.
        if batch.clock_ns >= 0 and not 0 <= now_ns - self._ticked_ns < TICK_NS:
            self._ticked_ns = now_ns
            yield no_events(self._events)
        elif batch.clock_ns < 0 and not any_event:
            yield no_events(self._events)

    def _ahead(self, blocks: Iterator[Block], free: SimpleQueue[Buffer | None]) -> Iterator[Block]:
        """The blocks, made on the second core, where there is one, as far ahead as there are free buffers."""
        for buffer in self._buffers:
            free.put(buffer)
        if self._second is None:
            yield from blocks
            return
        self._ready = SimpleQueue()

        def make() -> None:
            try:
                for block in blocks:
                    self._ready.put(block)
            finally:
                self._ready.put(None)

        making = self._second.submit(make)
        try:
            while (block := self._ready.get()) is not None:
                yield block
        finally:
            free.put(None)  # where nobody wants the rest
            making.result()

    def _blocks(
        self, stretch: Stretch, row: int, source: Iterator[FrameBatch], free: SimpleQueue[Buffer | None]
    ) -> Iterator[Block]:
        """The first two passes from a row of a stretch on, as far as frames have been read, or to where all events have
        to be out before they go on: rows are to be freed, or there is too much for the view to hold.
        """
        waits = False
        while not waits:
            room, events, ends = self._room(), 0, False
            while not ends:
                buffer = free.get()
                if buffer is None:
                    return
                row, rows, found = self._fill(stretch, row, buffer, room.out)
                events += rows
                more, held = row >= 0 or self._has_read(source), None
                waits = self._recycling_due() or not more
                ends = waits or row < 0 or self._full(events)
                if ends and not waits and self._second is not None:
                    held = self.view.held()
                    waits = held is None
                yield Block(stretch, buffer, rows, found, room, row, ends, held, self._last_ns)
            if row < 0 and not waits:
                batch, row = next(source), 0
                stretch = Stretch(batch, self._walk(batch), batch.data)
            del room

    def _has_read(self, source: Iterator[FrameBatch]) -> bool:
        """Whether the next batch is there and may be begun before the events of this one are out."""
        return self._second is not None and isinstance(source, ahead) and source.ready

    def _fill(self, stretch: Stretch, row: int, into: Buffer, out: Octets) -> tuple[int, int, int]:
        """The first pass from a row on, and the second: (row to go on from, messages, protocols left unread).

        The second is left to the core that makes events where that has nothing else to do.
        """
        used = self._used
        used["messages"] = used["found"] = 0
        row = stretch.first_pass(row, into.messages, out)
        rows, found = int(used["messages"][0]), int(used["found"][0])
        if self._second is not None and (self._away or not self._ready.empty()):
            self._read(into, rows, found, stretch.frames, out)
            found = 0
        return row, rows, found

    def _read(self, buffer: Buffer, rows: int, found: int, frames: Octets, out: Octets) -> None:
        """The second pass over the messages of the protocols that were found."""
        for protocol, read in READERS.items():
            if found >> protocol & 1:
                read(frames, out, buffer.messages, 0, rows, self._used["seed"][0], buffer.pdus)

    def _full(self, rows: int) -> bool:
        """Whether a room with so many events could be too small for all that the next step may bring."""
        return rows > USUAL_EVENTS or int(self._used["assembled"][0]) > ASSEMBLED - ROOM_ASSEMBLED - DATAGRAM_BYTES

    def _settle(self, block: Block, at: int) -> int:
        """The third pass, into the events of the block's room from `at` on; how many there are."""
        if block.rows:
            self._meet(block.unread)
            (messages, pdus), room, frames = block.buffer, block.room, block.stretch.frames
            exchange.settle(
                frames, room.out, messages, block.unread, pdus, block.rows, self._state, room.events, at
            )  # fmt: skip
        return block.rows

    def _meet(self, protocols: int) -> None:
        """Have the readers of these protocols at hand, compiled or loaded."""
        for protocol in READERS:
            if (protocols & ~self._met) >> protocol & 1:
                self._state[0].settled[0].readers[protocol] = reader_address(protocol)
        self._met |= protocols

    def _batch(self, block: Block, rows: int) -> Iterator[EventBatch]:
        """The first `rows` events of the block's room, where there are any."""
        if rows:
            columns = Columns._make([column[:rows] for column in block.room.columns])
            batch = EventBatch(columns, self._events - rows, block.stretch.frames, block.room.out)
            self.view.learn(batch)
            yield batch

    def _recycling_due(self) -> bool:
        """Whether the table of conversations fills up."""
        waited_ns = self._last_ns - self._recycled_ns
        return recycle.due(self._used, MAX_CONVERSATIONS) and not 0 <= waited_ns < recycle.RETRY_NS

    def _recycle(self) -> None:
        """Let rows of the table of conversations that nobody needs be used again."""
        self._recycled_ns = self._last_ns
        if recycle.recycle(self._state, self._recycled_ns):
            self.view.forget_conversations()

    def _room(self) -> Room:
        """An empty room: one that was used is used again once nobody holds the batch that it belonged to."""
        self._used["assembled"] = 0
        for room in self._rooms:
            # The room and the call hold a reference each, to the events each of its columns does; batches hold more.
            held = sys.getrefcount(room.events) - len(room.columns), sys.getrefcount(room.out)
            if sys.getrefcount(room) == 3 and held == (2, 2):
                return room
        events = untouched(1, EVENTS_OF_BATCH)
        columns = Columns._make(events[name][0] for name in Columns._fields)
        room = Room(events, untouched(ASSEMBLED, OCTET), columns)
        del events, columns
        self._rooms = [*self._rooms[-ROOMS + 1 :], room]
        return room
