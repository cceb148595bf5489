"""Decoder: frames in, events out. The Python side of the compiled path."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.decode import exchange, kernel, recycle
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

Room = tuple[npt.NDArray[np.void], npt.NDArray[np.uint8]]  # event rows, bytes of assembled PDUs
NOTHING = np.zeros(0, np.uint8)
TICK_NS = 500_000_000  # on a live link: how often an empty batch says that time has passed
ROOMS = 3  # kept for use again: the consumer holds one batch while it asks for the next


def compile_ahead() -> None:
    """Compile, or load, all that a decoder may ever call: on a live link frames wait while a compiler runs."""
    decoder = Decoder(seed=0)
    wide, narrow = np.zeros(1, np.int64), np.zeros(1, np.int32)
    frame = FrameBatch(np.zeros(64, np.uint8), wide, wide, narrow, narrow, narrow, 1)
    events, out = decoder._room()
    for read in READERS.values():
        read(NOTHING, out, decoder._messages, 0, decoder._used.seed, decoder._pdus)
    exchange.settle(decoder._messages, decoder._pdus, decoder._state, events)
    for _ in decoder.decode([frame]):
        pass


class Decoder:
    """One run over one source of frames; keeps streams, open requests and behaviours from batch to batch.

    ports: transport port -> the Framing that it promises (sensor/decode/recognise.py). seed: of the hashes, random
    unless given; rows and numbers do not depend on it.
    """

    def __init__(self, ports: Mapping[int, int] = WATCHED_PORTS, seed: int | None = None) -> None:
        self._state = new_state(ports, secrets.randbits(64) if seed is None else seed)
        self._used = self._state[0].used[0]
        self._used.drain, self._used.irregular = drain_address(), irregular_address()
        self._rooms: list[Room] = []
        self._messages = untouched(MESSAGES, MESSAGE)
        self._pdus = untouched(MESSAGES, PDU)
        self._recycled_ns = -recycle.RETRY_NS
        self.view = View(self._state)

    def decode(self, batches: Iterable[FrameBatch]) -> Iterator[EventBatch]:
        """Events of all frames; what waits behind gaps is read when `batches` ends. Never raises on traffic.

        Frames of a capture that hold no event give an empty batch. On a live link time passes without frames too:
        requests are given up by its clock, and batches without events come every TICK_NS, so that nobody waits for
        traffic to say what is due.
        """
        ticked_ns = -TICK_NS
        for batch in batches:
            before = int(self._used.events)
            yield from self._walk(batch)
            now_ns = batch.clock_ns if batch.clock_ns >= 0 else int(self._used.last_ns)
            # Late answers belong to nobody; asking again each batch keeps the table for requests that are alive.
            exchange.sweep(self._state, now_ns - ANSWER_WITHIN_NS)
            if batch.clock_ns >= 0 and not 0 <= now_ns - ticked_ns < TICK_NS:  # a clock that was set back ticks too
                ticked_ns = now_ns
                yield no_events(int(self._used.events))
            elif batch.clock_ns < 0 and int(self._used.events) == before:
                yield no_events(before)
        yield from self._flush()
        exchange.sweep(self._state, int(self._used.last_ns) - UNANSWERED_AFTER_NS)

    def counters(self) -> dict[str, int]:
        """What happened to the frames: names and meanings in sensor/decode/state.py."""
        return self.view.counters()

    def _walk(self, batch: FrameBatch) -> Iterator[EventBatch]:
        row = 0
        while row >= 0:
            self._recycle()
            events, out = self._room()
            row = kernel.walk(
                batch.data, batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link, batch.first, row,
                self._state, self._messages, out,
            )  # fmt: skip
            yield from self._given(events, batch.data, out)

    def _recycle(self) -> None:
        """Where the table of conversations fills up, let rows that nobody needs be used again."""
        now_ns = int(self._used.last_ns)
        if recycle.due(self._used, MAX_CONVERSATIONS) and not 0 <= now_ns - self._recycled_ns < recycle.RETRY_NS:
            self._recycled_ns = now_ns
            if recycle.recycle(self._state, now_ns):
                self.view.forget_conversations()

    def _flush(self) -> Iterator[EventBatch]:
        conversation = 0
        while conversation >= 0:
            events, out = self._room()
            conversation = kernel.flush(conversation, self._state, self._messages, out)
            yield from self._given(events, NOTHING, out)

    def _room(self) -> Room:
        """Room for the events of one batch: used again once nobody holds the batch that it belonged to."""
        self._used.messages = self._used.found = self._used.assembled = 0
        for room in self._rooms:
            # The room itself, the loop and the call hold a reference each; columns and batches hold more.
            if all(sys.getrefcount(array) == 3 for array in room):
                return room
        room = untouched(MESSAGES, EVENT), untouched(ASSEMBLED, OCTET)
        self._rooms = [*self._rooms[-ROOMS + 1 :], room]
        return room

    def _given(
        self, events: npt.NDArray[np.void], frames: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]
    ) -> Iterator[EventBatch]:
        rows = int(self._used.messages)
        if rows == 0:
            return
        for protocol, read in READERS.items():
            if int(self._used.found) >> protocol & 1:
                read(frames, out, self._messages, rows, self._used.seed, self._pdus)
        exchange.settle(self._messages, self._pdus, self._state, events)
        columns = Columns(**{name: events[name][:rows] for name in Columns._fields})
        batch = EventBatch(columns, int(self._used.events) - rows, frames, out)
        self.view.learn(batch)
        yield batch
