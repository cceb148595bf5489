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
    EVENT,
    MAX_CONVERSATIONS,
    MESSAGE,
    MESSAGES,
    OCTET,
    UNANSWERED_AFTER_NS,
    new_state,
)
from sensor.decode.streams import irregular_address
from sensor.events import Columns, EventBatch, no_events
from sensor.records import untouched
from sensor.view import View

NOTHING = np.zeros(0, np.uint8)
TICK_NS = 500_000_000  # on a live link: how often an empty batch says that time has passed
ROOMS = 4  # kept for use again: the consumer holds one batch, another becomes events, a third is being filled


class Room(NamedTuple):
    """Arrays for one batch: messages, the events that they become, bytes of assembled PDUs."""

    messages: npt.NDArray[np.void]
    events: npt.NDArray[np.void]
    out: npt.NDArray[np.uint8]


class Filled(NamedTuple):
    """What the first pass left in a room. found: protocols, a bit for each; frames: the bytes that messages lie in."""

    room: Room
    rows: int
    found: int
    frames: npt.NDArray[np.uint8]


FirstPass = Callable[[int, Room], int]  # from a row on, into a room; the row to go on from, -1 when all is done


class Decoder:
    """One run over one source of frames; keeps streams, open requests and behaviours from batch to batch.

    Where the process has a second core, frames become messages on it while the messages before become events. What
    comes out, and in which batches, is the same.

    ports: transport port -> the Framing that it promises (sensor/decode/recognise.py). seed: of the hashes, random
    unless given; rows and numbers do not depend on it.
    """

    def __init__(self, ports: Mapping[int, int] = WATCHED_PORTS, seed: int | None = None) -> None:
        in_children(COMMON)
        self._state = new_state(ports, secrets.randbits(64) if seed is None else seed)
        self._used = self._state[0].used[0]
        self._used.drain, self._used.irregular = drain_address(), irregular_address()
        self._rooms: list[Room] = []
        self._pdus = untouched(MESSAGES, PDU)
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
            now_ns = batch.clock_ns if batch.clock_ns >= 0 else int(self._used.last_ns)
            # Late answers belong to nobody; asking again each batch keeps the table for requests that are alive.
            exchange.sweep(self._state, now_ns - ANSWER_WITHIN_NS)
            if batch.clock_ns >= 0 and not 0 <= now_ns - ticked_ns < TICK_NS:  # a clock that was set back ticks too
                ticked_ns = now_ns
                yield no_events(self._events)
            elif batch.clock_ns < 0 and self._events == before:
                yield no_events(before)
        yield from self._given(self._flush, NOTHING)
        exchange.sweep(self._state, int(self._used.last_ns) - UNANSWERED_AFTER_NS)

    def counters(self) -> dict[str, int]:
        """What happened to the frames: names and meanings in sensor/decode/state.py."""
        return self.view.counters()

    @property
    def _events(self) -> int:
        """Number of events so far."""
        return int(self._state[0].settled[0].events)

    def _walk(self, batch: FrameBatch) -> FirstPass:
        def walk(row: int, room: Room) -> int:
            after: int = kernel.walk(
                batch.data, batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link, batch.first, row,
                self._state, room.messages, room.out,
            )  # fmt: skip
            return after

        return walk

    def _flush(self, conversation: int, room: Room) -> int:
        after: int = kernel.flush(conversation, self._state, room.messages, room.out)
        return after

    def _given(self, first_pass: FirstPass, frames: npt.NDArray[np.uint8]) -> Iterator[EventBatch]:
        """Events of all that the first pass gives, a room at a time: while it fills one, the one before is read."""
        row, before = 0, None
        while row >= 0:
            if self._recycling_due():  # no row may go while messages that bear it are on their way
                yield from self._read(before)
                before = None
                self._recycle()
            room = self._room()
            if before is None or self._second is None:
                row = first_pass(row, room)
                yield from self._read(before)
            else:
                filling = self._second.submit(first_pass, row, room)
                try:
                    done = list(self._read(before))
                finally:
                    row = filling.result()
                yield from done
            before = Filled(room, int(self._used.messages), int(self._used.found), frames)
            del room
        yield from self._read(before)

    def _read(self, filled: Filled | None) -> Iterator[EventBatch]:
        """The second and the third pass."""
        if filled is None or filled.rows == 0:
            return
        room, rows, found, frames = filled
        for protocol, read in READERS.items():
            if found >> protocol & 1:
                read(frames, room.out, room.messages, rows, self._used.seed, self._pdus)
        exchange.settle(room.messages, self._pdus, rows, self._state, room.events)
        columns = Columns(**{name: room.events[name][:rows] for name in Columns._fields})
        batch = EventBatch(columns, self._events - rows, frames, room.out)
        self.view.learn(batch)
        yield batch

    def _recycling_due(self) -> bool:
        """Whether the table of conversations fills up."""
        waited_ns = int(self._used.last_ns) - self._recycled_ns
        return recycle.due(self._used, MAX_CONVERSATIONS) and not 0 <= waited_ns < recycle.RETRY_NS

    def _recycle(self) -> None:
        """Let rows of the table of conversations that nobody needs be used again."""
        self._recycled_ns = int(self._used.last_ns)
        if recycle.recycle(self._state, self._recycled_ns):
            self.view.forget_conversations()

    def _room(self) -> Room:
        """An empty room: one that was used is used again once nobody holds the batch that it belonged to."""
        self._used.messages = self._used.found = self._used.assembled = 0
        for room in self._rooms:
            # The room itself, the loop and the call hold a reference each; columns and batches hold more.
            if sys.getrefcount(room) == 3 and all(sys.getrefcount(array) == 3 for array in room):
                return room
        room = Room(untouched(MESSAGES, MESSAGE), untouched(MESSAGES, EVENT), untouched(ASSEMBLED, OCTET))
        self._rooms = [*self._rooms[-ROOMS + 1 :], room]
        return room
