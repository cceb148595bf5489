"""Decoder: frames in, events out. The Python side of the compiled path."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
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
from sensor.view import View

NOTHING = np.zeros(0, np.uint8)
TICK_NS = 500_000_000  # on a live link: how often an empty batch says that time has passed
ROOMS = 3  # kept for use again: the consumer holds one batch, another is being filled


class Room(NamedTuple):
    """Arrays for one batch: events, and the bytes of assembled PDUs."""

    events: npt.NDArray[np.void]
    out: npt.NDArray[np.uint8]


Messages = npt.NDArray[np.void]
Octets = npt.NDArray[np.uint8]
FirstPass = Callable[[int, Messages, Octets], int]  # from a row on; the row to go on from, -1 when all is done


class Filled(NamedTuple):
    """What the first two passes left: messages and their PDUs, of which `rows` are in use."""

    messages: Messages
    pdus: npt.NDArray[np.void]
    rows: int


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
        self._filled = [Filled(untouched(MESSAGES, MESSAGE), untouched(MESSAGES, PDU), 0) for _ in range(2)]  # in turn
        self._recycled_ns = -recycle.RETRY_NS
        self._second = ThreadPoolExecutor(1, "decode") if len(os.sched_getaffinity(0)) > 1 else None
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
        """Events of all that the first pass gives.

        While it is at the next messages, those before become events; and while somebody looks at a full batch, for whom
        the view stands still.
        """
        row, rows, before = 0, 0, self._filled[0]._replace(rows=0)
        room = self._room()
        while row >= 0:
            recycling, full = self._recycling_due(), self._full(rows + before.rows)
            if recycling or full or self._second is None:
                rows += self._settle(before, room, rows)
                before = before._replace(rows=0)
            filled = self._filled[before.messages is self._filled[0].messages]
            if full and not recycling and self._second is not None and self.view.hold():
                following = self._room()
                filling = self._second.submit(self._fill, first_pass, row, filled, frames, following.out)
                try:
                    yield from self._batch(room, rows, frames)
                finally:
                    row, before = filling.result()
                    self.view.release()
                room, rows = following, 0
                del following
                continue
            if recycling or full:  # no row may go while an event that bears it is on its way
                yield from self._batch(room, rows, frames)
                del room
                room, rows = self._room(), 0
            if recycling:
                self._recycle()
            if before.rows and self._second is not None:
                filling = self._second.submit(self._fill, first_pass, row, filled, frames, room.out)
                try:
                    rows += self._settle(before, room, rows)
                finally:
                    row, before = filling.result()
            else:
                row, before = self._fill(first_pass, row, filled, frames, room.out)
        rows += self._settle(before, room, rows)
        yield from self._batch(room, rows, frames)

    def _fill(self, first_pass: FirstPass, row: int, into: Filled, frames: Octets, out: Octets) -> tuple[int, Filled]:
        """The first and the second pass from a row on: the row to go on from, and what they left."""
        used = self._used
        used["messages"] = used["found"] = 0
        row = first_pass(row, into.messages, out)
        rows, found = int(used["messages"]), int(used["found"])
        if rows:
            for protocol, read in READERS.items():
                if found >> protocol & 1:
                    read(frames, out, into.messages, rows, used.seed, into.pdus)
        return row, into._replace(rows=rows)

    def _full(self, rows: int) -> bool:
        """Whether a room with so many events could be too small for all that the next steps may bring."""
        return rows > USUAL_EVENTS or int(self._used["assembled"]) > ASSEMBLED - ROOM_ASSEMBLED - DATAGRAM_BYTES

    def _settle(self, filled: Filled, room: Room, at: int) -> int:
        """The third pass, into the events of a room from `at` on; how many there are."""
        if filled.rows:
            exchange.settle(filled.messages, filled.pdus, filled.rows, self._state, room.events, at)
        return filled.rows

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
