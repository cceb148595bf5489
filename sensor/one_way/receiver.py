"""The receiving end of a one-way link: datagrams in, each sensor's findings into spools, from there to the console.

Whose key signed a datagram is the sensor that it comes from; everything else is counted and left alone. A spool for
each sensor and epoch lies below one folder; each is sent to the console with that sensor's key, as the sensor itself
would. Where a sensor is not heard no heartbeat is sent in its name, so that the console finds it silent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensor.one_way.inbox import Inbox
from sensor.one_way.wire import STATE, Datagram, Puzzle, key_name, keys_of, records_in, verified
from sensor.spool import QUOTA_BYTES, Spool, SpoolError
from sensor.spool_loss import Loss
from sensor.text import printable
from sensor.uplink import Uplink

log = logging.getLogger(__name__)

FLUSH_S = 0.2
HEARD_S = 25.0  # a sensor that was not heard for so long is not alive
RECEIVE_BYTES = 16 * 1024 * 1024  # asked of the system for datagrams that wait; it may give less
TELL_EACH_S = 60.0
MAX_PUZZLES = 512  # parcels of which some chunks are there, of one sensor
MAX_PUZZLE_BYTES = 32 * 1024 * 1024
MAX_EPOCHS = 4  # spools of one sensor that are open; an older one that is empty is closed
BuildLoss = Callable[[Loss, str, int], Mapping[str, Any]]  # the loss, the sensor's name, the epoch


class _Life:
    """One epoch of a sensor: its inbox, and the thread that sends it on."""

    def __init__(self, folder: Path, epoch: int, source: Source) -> None:
        def build(loss: Loss) -> Mapping[str, Any]:
            return source.build_loss(loss, source.name, epoch)

        self.spool = Spool(folder / str(epoch), build, quota_bytes=source.quota_bytes, epoch=epoch)
        self.inbox = Inbox(self.spool)
        self.uplink = Uplink(source.url, source.key, self.spool)
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=self.uplink.run,
            args=(self.stop, lambda: source.counters(epoch), source.on_config),
            name=f"uplink {epoch}",
            daemon=True,
        )
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(5)
        self.uplink.close()
        self.spool.close()


class Source:
    """One sensor that is heard over the link."""

    def __init__(self, url: str, key: str, folder: Path, build_loss: BuildLoss, quota_bytes: int) -> None:
        self.url, self.key, self.build_loss, self.quota_bytes = url, key, build_loss, quota_bytes
        self.keys = keys_of(key)
        self.name = ""  # as the sensor says
        self.heard_at = -math.inf
        self._epoch = 0  # under which it was heard last
        self.told: Mapping[str, Any] = {}
        self.unreadable = 0  # parcels that were whole and made no sense
        self.given_up = 0  # parcels of which too few chunks came while others did
        self._folder = folder / self.keys.name.hex()
        self._lives: OrderedDict[int, _Life] = OrderedDict()
        self._puzzles: OrderedDict[tuple[int, int, int, int], Puzzle] = OrderedDict()
        self._puzzle_bytes = 0
        self._whole: OrderedDict[tuple[int, int, int, int], None] = (
            OrderedDict()
        )  # the latest ones that were put together

    def take(self, datagram: Datagram, now_s: float) -> None:
        """Take a datagram of this sensor. SpoolError."""
        self.heard_at, self._epoch = now_s, datagram.epoch
        if datagram.kind == STATE:
            self._take_state(datagram)
        life = self._life(datagram.epoch)
        done = datagram.last <= life.spool.taken or datagram.parcel in self._whole
        if datagram.kind != STATE and not done:
            self._take_chunk(datagram, life)
        life.inbox.released(datagram.released, now_s)

    def flush(self, now_s: float) -> None:
        """Put on disk what came. Trouble is logged; it stays in memory."""
        for life in self._lives.values():
            life.inbox.released(0, now_s)
            try:
                life.spool.flush()
            except SpoolError as error:
                log.error("%s", error)

    def counters(self, epoch: int) -> Mapping[str, Any] | None:
        """For the heartbeat: what the sensor says, and what is missing here.

        None where it is not heard, or speaks under another epoch by now: then nobody beats for it.
        """
        if time.monotonic() - self.heard_at > HEARD_S or epoch != self._epoch:
            return None
        told = {f"sensor.{name}" if name.startswith("spool.") else name: value for name, value in self.told.items()}
        return {
            **told,  # the spool that is called so is the receiver's
            "one_way.missing": sum(life.inbox.missing for life in list(self._lives.values())),
            "one_way.late": sum(life.inbox.late for life in list(self._lives.values())),
            "one_way.unreadable": self.unreadable,
            "one_way.given_up": self.given_up,
        }

    def on_config(self, _config: object) -> None:
        """What the console wants cannot be told to a sensor behind a diode."""

    def close(self) -> None:
        """Put everything on disk, and close. The sensor does not say goodbye by that: it falls silent."""
        self.heard_at = -math.inf
        for life in self._lives.values():
            with contextlib.suppress(SpoolError):
                life.close()

    def _take_state(self, datagram: Datagram) -> None:
        try:
            told = json.loads(datagram.payload)
            name, counters = str(told["sensor"]), dict(told["counters"])
        except (ValueError, TypeError, KeyError, RecursionError):
            self.unreadable += 1
            return
        self._call(name)
        self.told = counters

    def _call(self, name: str) -> None:
        """The sensor has this name; kept, for after a restart losses are told in it before anything is heard."""
        name = printable(name)[:63]
        if name != self.name:
            self.name = name
            log.info("hearing sensor %s", name)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / "name").write_text(name, "utf-8")

    def _take_chunk(self, datagram: Datagram, life: _Life) -> None:
        puzzle = self._puzzles.setdefault(datagram.parcel, Puzzle())
        self._puzzle_bytes -= puzzle.size
        body = puzzle.put(datagram)
        self._puzzle_bytes += puzzle.size
        if body is not None:
            del self._puzzles[datagram.parcel]
            self._puzzle_bytes -= puzzle.size
            self._whole[datagram.parcel] = None
            if len(self._whole) > MAX_PUZZLES:
                self._whole.popitem(last=False)
            try:
                name, records = records_in(body)
            except ValueError:
                self.unreadable += 1
                return
            self._call(name)
            life.inbox.put(records)
        while len(self._puzzles) > MAX_PUZZLES or self._puzzle_bytes > MAX_PUZZLE_BYTES:
            _, oldest = self._puzzles.popitem(last=False)
            self._puzzle_bytes -= oldest.size
            self.given_up += 1

    def _life(self, epoch: int) -> _Life:
        life = self._lives.get(epoch)
        if life is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            life = self._lives[epoch] = _Life(self._folder, epoch, self)
            while len(self._lives) > MAX_EPOCHS:
                _, oldest = self._lives.popitem(last=False)
                oldest.close()
        return life

    def resume(self) -> None:
        """Go on with what a run before has left to be sent. SpoolError, OSError."""
        with contextlib.suppress(FileNotFoundError):
            self.name = printable((self._folder / "name").read_text("utf-8"))
        for folder in sorted(self._folder.glob("[0-9]*"), key=lambda path: path.name.zfill(20))[-MAX_EPOCHS:]:
            if folder.name.isdecimal() and (self._folder / folder.name).is_dir():
                self._life(int(folder.name))


class Receiver:
    """See the module."""

    def __init__(
        self,
        listen: tuple[str, int],
        url: str,
        keys: Sequence[str],
        folder: Path,
        build_loss: BuildLoss,
        quota_bytes: int = QUOTA_BYTES,
    ) -> None:
        """listen: address and port, 0 for any. keys: of the sensors that are heard. OSError, UplinkError."""
        sources = [Source(url, key, folder, build_loss, quota_bytes) for key in keys]
        self.sources = {source.keys.name: source for source in sources}
        self.datagrams = 0
        self.strange = 0  # datagrams that none of the keys has signed
        self._told_strange, self._tell_again_at = 0, 0.0
        family, kind, protocol, _, address = socket.getaddrinfo(*listen, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(FLUSH_S)
        self.port = int(self._socket.getsockname()[1])

    def run(self, stop: threading.Event) -> None:
        """Receive until `stop` is set."""
        next_flush = 0.0
        try:
            for source in self.sources.values():
                source.resume()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self._take(self._socket.recv(65_535))
                now = time.monotonic()
                if now >= next_flush:
                    next_flush = now + FLUSH_S
                    for source in self.sources.values():
                        source.flush(now)
                    self._tell_strange(now)
        finally:
            self._socket.close()
            for source in self.sources.values():
                source.close()

    def _tell_strange(self, now_s: float) -> None:
        """Datagrams of nobody that is known, at most once a minute."""
        if self.strange > self._told_strange and now_s >= self._tell_again_at:
            log.warning("%d datagrams of no known sensor: is its key here?", self.strange - self._told_strange)
            self._told_strange, self._tell_again_at = self.strange, now_s + TELL_EACH_S

    def _take(self, data: bytes) -> None:
        self.datagrams += 1
        name = key_name(data)
        source = self.sources.get(name) if name is not None else None
        datagram = verified(source.keys, data) if source is not None else None
        if source is None or datagram is None:
            self.strange += 1
            return
        try:
            source.take(datagram, time.monotonic())
        except SpoolError as error:
            log.error("%s", error)
