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

from sensor.capture.frames import FrameBatch
from sensor.compiled import INTERPRETED
from sensor.decode import exchange, kernel, recycle
from sensor.decode.compilation import COMMON, in_children
from sensor.decode.messages import drain_address
from sensor.decode.pdu import PDU
from sensor.decode.read import READERS
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
    """Arrays for one batch: events, and the bytes of assembled PDUs."""

    events: npt.NDArray[np.void]
    out: npt.NDArray[np.uint8]


Messages = npt.NDArray[np.void]
Octets = npt.NDArray[np.uint8]
FirstPass = Callable[[int, Messages, Octets], int]  # from a row on; the row to go on from, -1 when all is done


class Buffer(NamedTuple):
    """Room for what the first two passes give at a time."""

    messages: Messages
    pdus: npt.NDArray[np.void]


class Block(NamedTuple):
    """What the first two passes gave, of the frames before `row` (-1: of all).

    rows: messages in the buffer. found: a bit for each protocol whose messages are not PDUs yet. room: of the events.
    ends: whether a batch ends here; held: what the view shows to those who look at it, None: what stands.
    """

    buffer: Buffer
    rows: int
    found: int
    room: Room
    row: int
    ends: bool
    held: Held | None


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
        self._used = self._state[0].used[0]
        self._used.drain, self._used.irregular = drain_address(), irregular_address()
        self._rooms: list[Room] = []
        self._recycled_ns = -recycle.RETRY_NS
        overlap = len(os.sched_getaffinity(0)) > 1 and not INTERPRETED  # uncompiled, two threads never run side by side
        self._second = ThreadPoolExecutor(1, "decode") if overlap else None
        buffers = AHEAD if self._second else 1
        self._buffers = [Buffer(untouched(MESSAGES, MESSAGE), untouched(MESSAGES, PDU)) for _ in range(buffers)]
        self._ready: SimpleQueue[Block | None] = SimpleQueue()
        self._away = False  # somebody looks at a batch, instead of asking for the next one
        self.view = View(self._state)

    def decode(self, batches: Iterable[FrameBatch]) -> Iterator[EventBatch]:
        """Events of all frames; what waits behind gaps is read when `batches` ends. Never raises on traffic.

        Frames of a capture that hold no event give an empty batch. On a live link time passes without frames too:
        requests are given up by its clock, and batches without events come every TICK_NS, so that nobody waits for
        traffic to say what is due.
        """
        ticked_ns = -TICK_NS
        for batch in batches:
            before = self._events
            yield from self._given(self._walk(batch), batch.data)
            now_ns = batch.clock_ns if batch.clock_ns >= 0 else int(self._used["last_ns"])
            # Late answers belong to nobody; asking again each batch keeps the table for requests that are alive.
            exchange.sweep(self._state, now_ns - ANSWER_WITHIN_NS)
            if batch.clock_ns >= 0 and not 0 <= now_ns - ticked_ns < TICK_NS:  # a clock that was set back ticks too
                ticked_ns = now_ns
                yield no_events(self._events)
            elif batch.clock_ns < 0 and self._events == before:
                yield no_events(before)
        yield from self._given(self._flush, NOTHING)
        exchange.sweep(self._state, int(self._used["last_ns"]) - UNANSWERED_AFTER_NS)

    def counters(self) -> dict[str, int]:
        """What happened to the frames: names and meanings in sensor/decode/state.py."""
        return self.view.counters()

    @property
    def _events(self) -> int:
        """Number of events so far."""
        return int(self._state[0].settled[0].events)

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

    def _given(self, first_pass: FirstPass, frames: Octets) -> Iterator[EventBatch]:
        """Events of all that the first pass gives."""
        row, events = 0, 0
        while row >= 0:
            if self._recycling_due():  # no event that bears a row is on its way
                self._recycle()
            free: SimpleQueue[Buffer | None] = SimpleQueue()
            for block in self._ahead(self._blocks(first_pass, row, frames, free), free):
                events += self._settle(block, frames, events)
                free.put(block.buffer)
                row = block.row
                if block.ends:
                    self.view.show(block.held)
                    self._away = True
                    try:
                        yield from self._batch(block.room, events, frames)
                    finally:
                        self._away = False
                        self.view.show(None)
                    events = 0

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
        self, first_pass: FirstPass, row: int, frames: Octets, free: SimpleQueue[Buffer | None]
    ) -> Iterator[Block]:
        """The first two passes from a row on, to the end, or to where all events have to be out before they go on:
        rows are to be freed, or there is too much for the view to hold.
        """
        waits = False
        while row >= 0 and not waits:
            room, events, ends = self._room(), 0, False
            while not ends:
                buffer = free.get()
                if buffer is None:
                    return
                row, rows, found = self._fill(first_pass, row, buffer, frames, room.out)
                events += rows
                waits = row >= 0 and self._recycling_due()
                ends = waits or row < 0 or self._full(events)
                held = None
                if ends and not waits and row >= 0 and self._second is not None:
                    held = self.view.held()
                    waits = held is None
                yield Block(buffer, rows, found, room, row, ends, held)
            del room

    def _fill(self, first_pass: FirstPass, row: int, into: Buffer, frames: Octets, out: Octets) -> tuple[int, int, int]:
        """The first pass from a row on, and the second: (row to go on from, messages, protocols left unread).

        The second is left to the core that makes events where that has nothing else to do.
        """
        used = self._used
        used["messages"] = used["found"] = 0
        row = first_pass(row, into.messages, out)
        rows, found = int(used["messages"]), int(used["found"])
        if self._second is None or self._away or not self._ready.empty():
            self._read(into, rows, found, frames, out)
            found = 0
        return row, rows, found

    def _read(self, buffer: Buffer, rows: int, found: int, frames: Octets, out: Octets) -> None:
        """The second pass over the messages of the protocols that were found."""
        for protocol, read in READERS.items():
            if found >> protocol & 1:
                read(frames, out, buffer.messages, rows, self._used.seed, buffer.pdus)

    def _full(self, rows: int) -> bool:
        """Whether a room with so many events could be too small for all that the next step may bring."""
        return rows > USUAL_EVENTS or int(self._used["assembled"]) > ASSEMBLED - ROOM_ASSEMBLED - DATAGRAM_BYTES

    def _settle(self, block: Block, frames: Octets, at: int) -> int:
        """The third pass, into the events of the block's room from `at` on; how many there are."""
        if block.rows:
            if block.found:
                self._read(block.buffer, block.rows, block.found, frames, block.room.out)
            exchange.settle(*block.buffer, block.rows, self._state, block.room.events, at)
        return block.rows

    def _batch(self, room: Room, rows: int, frames: Octets) -> Iterator[EventBatch]:
        """The first `rows` events of a room, where there are any."""
        if rows:
            columns = Columns._make(room.events[name][0, :rows] for name in Columns._fields)
            batch = EventBatch(columns, self._events - rows, frames, room.out)
            self.view.learn(batch)
            yield batch

    def _recycling_due(self) -> bool:
        """Whether the table of conversations fills up."""
        waited_ns = int(self._used["last_ns"]) - self._recycled_ns
        return recycle.due(self._used, MAX_CONVERSATIONS) and not 0 <= waited_ns < recycle.RETRY_NS

    def _recycle(self) -> None:
        """Let rows of the table of conversations that nobody needs be used again."""
        self._recycled_ns = int(self._used["last_ns"])
        if recycle.recycle(self._state, self._recycled_ns):
            self.view.forget_conversations()

    def _room(self) -> Room:
        """An empty room: one that was used is used again once nobody holds the batch that it belonged to."""
        self._used.assembled = 0
        for room in self._rooms:
            # The room itself, the loop and the call hold a reference each; columns and batches hold more.
            if sys.getrefcount(room) == 3 and all(sys.getrefcount(array) == 3 for array in room):
                return room
        room = Room(untouched(1, EVENTS_OF_BATCH), untouched(ASSEMBLED, OCTET))
        self._rooms = [*self._rooms[-ROOMS + 1 :], room]
        return room
