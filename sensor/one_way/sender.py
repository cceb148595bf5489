"""Sending what stands in the spool over a one-way link: several times, at a bounded rate, and never asking.

Every parcel is sent COPIES times, the later ones REPEAT_AFTER_S apart, so that a link that fails for a moment costs
nothing. A finding leaves the spool when its parcel was sent that often; until then a restart sends it again.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sensor.one_way.wire import CHUNK_BYTES, PARCEL, STATE, Datagram, body_of, cut, keys_of, sign
from sensor.spool import Spool, SpoolError
from sensor.spool_files import Record
from sensor.uplink import Config, UplinkError

log = logging.getLogger(__name__)

REPEAT_AFTER_S = 1.0
STATE_S = 1.0  # how far the sender is, told again and again: any of these may be lost
COUNTERS_S = 10.0
LAST_STATES = 5  # at the end, so that the receiver knows what is missing
MAX_FINDINGS = 500  # of a parcel
MAX_PARCEL_BYTES = 512 * 1024  # of findings, before compression
MAX_WAITING = 64  # parcels that wait for their next copy: what is kept in memory
IDLE_S = 0.1
BURST_S = 0.02  # how far ahead of its rate it may be


@dataclass(frozen=True, slots=True)
class OneWayOptions:
    """Where to, how often each finding is sent, and how fast: bits of datagrams a second."""

    host: str
    port: int
    copies: int = 2
    bits_per_second: int = 10_000_000


@dataclass(slots=True)
class _Parcel:
    last: int
    chunks: list[Datagram]
    sent: int = 0
    due: float = 0.0


class OneWaySender:
    """One sensor's way over a diode; in the place of an Uplink, whose methods it has. Use it from one thread."""

    def __init__(
        self,
        options: OneWayOptions,
        key: str,
        spool: Spool,
        sensor: str,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """sensor: its name. UplinkError where the address cannot be used."""
        self._options = options
        self._keys = keys_of(key)
        self._spool = spool
        self._sensor = sensor
        self._sleep = sleep
        self._after = spool.acknowledged
        self._released = spool.acknowledged
        self._waiting: deque[_Parcel] = deque()
        self._counters: Mapping[str, Any] = {}
        self._address: Any = None
        self._free_at = time.monotonic()  # when the next datagram may leave
        self.sent = 0  # findings that were sent as often as they ever will be
        self.datagrams = 0
        self.refused = 0  # datagrams that the system did not take
        try:
            found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_DGRAM)[0]
            family, kind, protocol, _, self._address = found
            self._socket = socket.socket(family, kind, protocol)
        except OSError as error:
            where = f"{options.host}:{options.port}"
            raise UplinkError(
                f"{where} cannot be sent to ({error.strerror})", "check --one-way", permanent=True
            ) from None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fetch_config(self) -> Config:
        """UplinkError always: what was configured on the sensor stays in force."""
        raise UplinkError("over a one-way link no configuration comes", "the sensor goes on with its own files")

    def run(
        self,
        stop: threading.Event,
        counters: Callable[[], Mapping[str, Any]],
        on_config: Callable[[Config], None],
    ) -> None:
        """Send until `stop` is set. Trouble is logged once and never ends this. on_config: never called."""
        next_counters = next_state = 0.0
        trouble = ""
        while not stop.is_set():
            now = time.monotonic()
            if now >= next_counters:
                next_counters = now + COUNTERS_S
                self._counters = counters()
            if now >= next_state:
                next_state = now + STATE_S
                self._send_state()
            text, busy = "", False
            try:
                busy = self.step()
            except SpoolError as error:
                text = str(error)
            if text != trouble:
                trouble = text
                log.log(logging.ERROR if text else logging.INFO, "%s", text or "the spool can be used again")
            if not busy:
                stop.wait(IDLE_S)

    def drain(self, stop: threading.Event, give_up_s: float) -> None:
        """Send until nothing waits, every parcel as often as it should be; early when `stop` is set. SpoolError.

        give_up_s: means nothing here, for there is nobody who could refuse.
        """
        while not stop.is_set() and (self._waiting or self._spool.safe > self._after):
            if not self.step():
                self._sleep(IDLE_S)
        for _ in range(LAST_STATES):
            self._send_state()
            self._sleep(IDLE_S)

    def step(self) -> bool:
        """Send one parcel that is due, first its repetitions; False where none is. SpoolError."""
        now = time.monotonic()
        if self._waiting and self._waiting[0].due <= now:
            parcel = self._waiting.popleft()
        elif len(self._waiting) < MAX_WAITING and (records := self._next()):
            parcel = self._packed(records)
        else:
            return False
        for chunk in parcel.chunks:
            self._send(chunk._replace(released=self._released))
        parcel.sent += 1
        if parcel.sent < self._options.copies:
            parcel.due = time.monotonic() + REPEAT_AFTER_S
            self._waiting.append(parcel)  # all wait equally long: they stay in order
        else:
            self.sent += parcel.last - self._released
            self._released = parcel.last
            self._spool.acknowledge(parcel.last)
        return True

    def _packed(self, records: list[Record]) -> _Parcel:
        body = body_of(self._sensor, records)
        chunks = cut(body)
        data = -(-len(body) // CHUNK_BYTES)
        counts = (data, len(chunks) - data)
        span = (records[0].first, records[-1].sequence)
        datagrams = [
            Datagram(PARCEL, self._spool.epoch, *span, 0, len(body), number, *counts, chunk)
            for number, chunk in enumerate(chunks)
        ]
        return _Parcel(span[1], datagrams)

    def _next(self) -> list[Record]:
        records = self._spool.batch(MAX_FINDINGS, MAX_PARCEL_BYTES, self._after, finish=False)
        if records:
            self._after = records[-1].sequence
        return records

    def _send_state(self) -> None:
        own = {
            "spool.depth": self._spool.depth,
            "spool.lost": self._spool.lost_count,
            "spool.shed": self._spool.shed,
            "spool.bytes": self._spool.used_bytes,
            "one_way.sent": self.sent,
            "one_way.datagrams": self.datagrams,
            "one_way.refused": self.refused,
        }
        told = {"sensor": self._sensor, "counters": {**self._counters, **own}}
        payload = json.dumps(told, default=str).encode()
        if len(payload) > CHUNK_BYTES:  # the own ones are those that say what is lost
            payload = json.dumps({"sensor": self._sensor, "counters": own}).encode()
        self._send(Datagram(STATE, self._spool.epoch, 0, 0, self._released, 0, 0, 0, 0, payload))

    def _send(self, datagram: Datagram) -> None:
        data = sign(self._keys, datagram)
        now = time.monotonic()
        self._free_at = max(self._free_at, now - BURST_S) + len(data) * 8 / self._options.bits_per_second
        if self._free_at > now + BURST_S:
            self._sleep(self._free_at - now)
        try:
            self._socket.sendto(data, self._address)
            self.datagrams += 1
        except OSError:  # as good as lost on the way: a repetition follows, and the receiver tells what is missing
            self.refused += 1
