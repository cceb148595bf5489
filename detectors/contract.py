"""What a detector is, and what it is given.

A detector is one file and one line in `detectors/pipeline.py`. Its docstring says what it catches, when it is blind and
what it costs. State is bounded; a cap that is reached is never silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from detectors.darkness import Darkness
from detectors.evidence import Budget, Exhibit
from detectors.finding import Finding
from detectors.grouping import alike as alike  # detectors take it from here
from detectors.secrets import Secrets
from detectors.sigma.matcher import Matcher
from detectors.sigma.rule import SigmaRule
from sensor.capture.frames import FrameBatch
from sensor.capture.write import frame_of
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch
from sensor.records import untouched
from sensor.slow.message import Notice
from sensor.slow.reader import SlowReader
from sensor.view import View

FRAMES_KEPT = 2  # batches of frames: an event may be completed in the batch after the one that began it
# A live link hands over a batch every few milliseconds: there more of them are kept, up to these bytes and this number.
FRAMES_KEPT_BYTES = 8 * 1024 * 1024
FRAMES_KEPT_LIVE = 64
SLOW_KEPT = 8192  # notices that wait for the next batch of events: on a live link one comes every half second


class Scene:
    """What all detectors of a run share.

    view: answers questions about the run (sensor/view.py). now_ns: the latest capture time seen, -1 before the first
    event. start_ns: the earliest. frames: the latest batches of frames, from which evidence is cut.
    clock_ns: what the clock of a live link showed last, -1 in a capture. secrets: passwords that evidence hides.
    darkness: when no frame came in.
    slow: what the slow protocols (ARP, LLDP, DCP, DHCP, names, ...) said since the batch before, each distinct message
        once for each batch of frames, in the order of their first frames: see sensor/slow/message.py.
    matcher: which Sigma rules the behaviours and events of the present batch match.
    """

    def __init__(self, view: View, rules: Sequence[SigmaRule] = ()) -> None:
        self.view = view
        self.matcher = Matcher(rules)
        self.now_ns = -1
        self.start_ns = -1
        self.clock_ns = -1
        self.frames: deque[FrameBatch] = deque()
        self.keep_bytes = FRAMES_KEPT_BYTES  # of batches beyond the latest FRAMES_KEPT
        self._frames_bytes = 0
        self.slow: tuple[Notice, ...] = ()
        self._slow_reader = SlowReader()
        self._heard: list[Notice] = []
        self._slow_dropped = 0
        self.budget = Budget()
        self.secrets = Secrets()
        self.darkness = Darkness()

    def remember(self, frames: FrameBatch) -> None:
        """Keep a batch of frames for evidence, and let go of older ones."""
        self.clock_ns = frames.clock_ns
        self.darkness.look(frames)
        if not frames.size:
            return
        self._heard += self._slow_reader.read(frames)
        if (over := len(self._heard) - SLOW_KEPT) > 0:
            self._slow_dropped += over
            del self._heard[:over]
        self.frames.append(frames)
        self._frames_bytes += frames.data.nbytes
        while len(self.frames) > FRAMES_KEPT and (
            self._frames_bytes > self.keep_bytes or len(self.frames) > FRAMES_KEPT_LIVE
        ):
            self._frames_bytes -= self.frames.popleft().data.nbytes

    def advance(self, batch: EventBatch) -> None:
        """Move the clock to the latest event of `batch`, or on a live link to what its clock shows.

        From then on the passwords in its frames are hidden, and `slow` is what was heard until then.
        """
        self.secrets.learn(batch)
        self.slow, self._heard = tuple(self._heard), []
        if self.slow:
            self.now_ns = max(self.now_ns, *(notice.last_ns for notice in self.slow))
        if not batch.size:
            self.now_ns = max(self.now_ns, self.clock_ns)
            return
        times = batch.columns.ts_ns
        self.now_ns = max(self.now_ns, int(times.max()))
        first = int(times.min())
        self.start_ns = first if self.start_ns < 0 else min(self.start_ns, first)

    @property
    def slow_refused(self) -> int:
        """Messages of slow protocols that no detector was shown: a cap was reached."""
        return self._slow_reader.refused + self._slow_dropped

    @property
    def heard(self) -> bool:
        """Whether slow protocols said something that no detector was asked about yet."""
        return bool(self._heard)

    def exhibit(self) -> Exhibit:
        """An empty exhibit that draws on the run's budget."""
        return Exhibit(self.budget)

    def show(self, exhibit: Exhibit, batch: EventBatch, rows: Iterable[int]) -> None:
        """Put events of `batch` into an exhibit, until it is full."""
        for row in rows:
            if exhibit.full:
                return
            pdus = (self.view.fields(batch, row),) if exhibit.wants_pdus else ()
            self.show_frame(exhibit, int(batch.columns.frame[row]), pdus)

    def show_notice(self, exhibit: Exhibit, notice: Notice) -> None:
        """Put the first frame of a slow protocol's message into an exhibit."""
        if not exhibit.full:
            pdus = ({"frame": notice.frame, **notice.message.evidence()},) if exhibit.wants_pdus else ()
            self.show_frame(exhibit, notice.frame, pdus)

    def frame(self, number: int) -> bytes | None:
        """The bytes of a frame, where it is among the latest; None where not."""
        for frames in self.frames:
            if frames.first <= number < frames.first + frames.size:
                return frame_of(frames, number).data
        return None

    def show_frame(self, exhibit: Exhibit, number: int, pdus: Iterable[dict[str, object]] = ()) -> None:
        """Put one frame into an exhibit, with its bytes where they are at hand."""
        for frames in self.frames:
            if frames.first <= number < frames.first + frames.size:
                frame = self.secrets.hide(number, frame_of(frames, number))
                exhibit.add(number, pdus, frame, int(frames.link[number - frames.first]))
                return
        exhibit.add(number, pdus)


class Detector(Interface):
    """Events to findings. `name` is stable; it stands in messages about the detector itself."""

    name: str

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """What is to be said after these events. Called with every batch, in order.

        A batch may hold no events: on a live link time passes without them, and what is due must come out.
        """
        ...

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """What remains to be said when the traffic has ended."""
        ...


class Fresh:
    """Rows of a growing table that were not looked at yet.

    Take them by `table.take(rows)` or one column at a time: `table[rows]` copies record by record, at twenty times
    the cost.
    """

    def __init__(self) -> None:
        self.known = 0

    def rows(self, table: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
        """Numbers of the rows that are new since the last call."""
        known, self.known = self.known, len(table)
        return np.arange(known, len(table), dtype=np.int64)


class Labels:
    """A number for each row of a table of the view, -1 where it has none: labels[rows] looks them up by column.

    Kept inverted: "none" is 0 then, and the rows of which nobody set a number, which are nearly all, take no memory.
    inverted: what is kept, for compiled passes (passes.py).
    """

    def __init__(self, most: int = 1 << 21) -> None:
        """most: rows of the longest table."""
        self.inverted: npt.NDArray[np.int32] = untouched(most, np.dtype(np.int32))

    def __getitem__(self, rows: npt.NDArray[np.integer[Any]] | slice) -> npt.NDArray[np.int32]:
        inverted: npt.NDArray[np.int32] = self.inverted[rows]
        return ~inverted

    def __setitem__(self, rows: npt.NDArray[Any] | int, numbers: npt.NDArray[np.integer[Any]] | int) -> None:
        self.inverted[rows] = ~numbers


def ends(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Who asks whom, out of the fields of a behaviour or an event, as fields of Finding; empty where not known."""
    return {
        "source_ip": fields.get("source.ip") or fields.get("source.mac", ""),
        "destination_ip": fields.get("destination.ip") or fields.get("destination.mac", ""),
        "destination_port": fields.get("destination.port"),
    }


def station_of(protocol: int, station: int) -> int | None:
    """The device behind the address, as findings name it: Modbus unit, DNP3 outstation; None where there is none."""
    if station < 0:
        return None
    return station & 0xFFFF if protocol == Protocol.DNP3 else station
