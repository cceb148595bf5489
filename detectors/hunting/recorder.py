"""Recorder: what a run leaves in the archive. Behaviours with counts and times for each hour, and chosen events.

Catches nothing and says nothing of the traffic; a finding tells when the archive cannot be written. It looks at each
new behaviour once, counts by columns, and writes on a live link every FLUSH_NS, of a capture at its end: all of it or
nothing. Memory is bounded: what cannot be written in time is let go, counted, and told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detectors import knowledge
from detectors.carving.artifact import Artifact
from detectors.contract import Scene
from detectors.finding import Finding
from detectors.hunting.chooser import MAX_KEPT, REASONS, Chooser, reason_of
from detectors.hunting.tally import Tally
from detectors.problem import Problem
from detectors.sigma.columns import Codes
from detectors.sigma.matcher import Ration
from detectors.sigma.steady import steady_fields
from sensor.archive.columns import column, table_of, together
from sensor.archive.digest import behaviour_digest
from sensor.archive.origin import ArchiveError, Origin, Target, file_digest
from sensor.archive.taker import Folder, Taker, Taking
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind
from sensor.events import EventBatch
from sensor.view import ETHERNET, View

log = logging.getLogger(__name__)

FLUSH_NS = 120 * 10**9  # of the live link's clock: the most that a crash loses
MAX_ROWS = 1 << 19  # behaviours and hours that wait to be written
RETRY_NS = 10 * 10**9
SHARE, BURST = 16, 1 << 13  # of as many events one new behaviour may be described; so many at once
CHUNK = 4096  # descriptions that become columns together
# Where the first event of a behaviour was seen; others may have been seen elsewhere.
PLACE = frozenset({"network.vlan.id", "network.tunnel.type", "network.tunnel.id"})


class Recorder:
    """See the module. known: nothing is recorded: the capture was taken before, or cannot be taken (see `failed`).

    failed: why the archive could not be written last, "" if it could.
    """

    name = "archive"

    def __init__(self, target: Target, capture: str = "", interfaces: str = "", taker: Taker | None = None) -> None:
        """capture: path of the capture that is inspected; "" on a live link, whose interfaces are `interfaces`.

        taker: takes the rows instead of the archive in the target's folder.
        """
        self._taker = taker or Folder(target.folder)
        self._capture = bool(capture)
        self.known, self.failed, digest = False, "", ""
        try:
            digest = target.sha256 or (file_digest(capture) if capture else "")
        except OSError as error:
            self.known, self.failed = True, f"{capture}: {error.strerror}"
        self.origin = Origin(
            "capture" if capture else "live",
            capture or interfaces,
            digest,
            target.sensor,
            target.epoch,
            0 if capture else time.time_ns(),
            target.ring,
        )
        if capture and not self.failed:
            try:
                self.known = self._taker.taken(self.origin)
            except ArchiveError:  # `_flush` meets it too, and tells
                log.debug("the archive cannot be opened yet", exc_info=True)
        self._tally, self._chooser = Tally(), Chooser()
        self._ration = Ration(SHARE, BURST, BURST)
        self._described: list[dict[str, Any]] = []
        self._chunks: list[pa.Table] = []
        self._unfit = 0
        self._seen = np.zeros(1 << 10, np.bool_)  # by behaviour
        self._place = np.zeros(1 << 10, np.int64)  # by behaviour, its row among the described ones
        self._events: list[dict[str, Any]] = []
        self._next_ns = self._counted = self._lost = self._events_lost = self._lost_total = 0
        self._intake: Taking | None = None
        self._trouble: Problem | None = None

    def artifact(self, artifact: Artifact, scene: Scene) -> Iterable[Finding]:
        """Keep what a block or file was called, and its hash: see carver.Watcher."""
        if not self.known and len(self._events) < MAX_KEPT:
            self._events.append(
                {
                    "@timestamp": artifact.first_ns,
                    "frame": artifact.frames[0] if artifact.frames else None,
                    "source.ip": artifact.source,
                    "destination.ip": artifact.destination,
                    "network.protocol": artifact.protocol,
                    "artifact.kind": artifact.kind,
                    "artifact.name": artifact.name,
                    "artifact.sha256": artifact.sha256,
                    "archive.kept_for": "artifact",
                }
            )
        return ()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if self.known:
            return
        if batch.size:
            self._tally.count(batch)
            self._counted += batch.size
            new = self._learn(batch, scene.view)
            self._keep(batch, scene, new)
        if self._due(scene.now_ns):
            self._next_ns = scene.now_ns + FLUSH_NS
            yield from self._flush(scene, final=False)

    def _due(self, now_ns: int) -> bool:
        """Whether it is time to write. After a failure only when it is worth another try."""
        full = self._tally.rows >= MAX_ROWS or len(self._events) >= MAX_KEPT
        if self._capture:
            return full
        if not self._next_ns:
            self._next_ns = now_ns + FLUSH_NS
        return now_ns >= self._next_ns or (full and not self.failed)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if not self.known:
            yield from self._flush(scene, final=True)

    def _learn(self, batch: EventBatch, view: View) -> npt.NDArray[np.int64]:
        """Describe behaviours that are new in this batch; the rows of their first events."""
        size = len(view.behaviours)
        while len(self._seen) < size:
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)])
            self._place = np.concatenate([self._place, np.zeros_like(self._place)])
        self._chooser.grow(size)
        self._ration.grow(batch.size)
        behaviour = batch.columns.behaviour
        rows = np.flatnonzero(~self._seen[behaviour])
        if not len(rows):
            return rows
        _, first = np.unique(behaviour[rows], return_index=True)
        rows = np.sort(rows[first])
        self._seen[behaviour[rows]] = True
        begin = len(self._described) + sum(chunk.num_rows for chunk in self._chunks)
        for number, row in enumerate(rows.tolist(), begin):
            self._place[behaviour[row]] = number
            self._described.append(self._describe(batch, row, view))
        if len(self._described) >= CHUNK:
            self._settle()
        return rows

    def _describe(self, batch: EventBatch, row: int, view: View) -> dict[str, Any]:
        """What all events of a row's behaviour have in common; of a flood only what the columns say."""
        c = batch.columns
        kind = int(c.kind[row])
        if not self._ration.take():
            return {**_narrow(batch, row, view), "archive.described": False}
        fields = view.fields(batch, row)
        self._chooser.reasons[c.behaviour[row]] = reason_of(fields)
        steady = steady_fields(request=kind == Kind.REQUEST)
        same = {name: value for name, value in fields.items() if name in steady}
        port = "destination.port" if kind == Kind.REQUEST else "source.port"
        seen = {name: fields[name] for name in (*PLACE, port) if name in fields}
        return {**same, **seen, "archive.behaviour": behaviour_digest(same), "archive.described": True}

    def _keep(self, batch: EventBatch, scene: Scene, new: npt.NDArray[np.int64]) -> None:
        """Keep chosen events of a batch."""
        rows, why = self._chooser.choose(batch, new, scene.matcher.late, MAX_KEPT - len(self._events))
        for row, reason in zip(rows.tolist(), why.tolist(), strict=True):
            fields = scene.view.fields(batch, row)
            fields["@timestamp"] = int(batch.columns.ts_ns[row])
            fields["archive.kept_for"] = REASONS[reason]
            self._events.append(fields)

    def _settle(self) -> None:
        """Descriptions as columns: a tenth of the memory."""
        if self._described:
            table, unfit = table_of(self._described)
            self._chunks.append(table)
            self._described = []
            self._unfit += unfit

    def _flush(self, scene: Scene, *, final: bool) -> Iterable[Finding]:
        """Write what was gathered; of a capture it counts when the capture has ended."""
        tallied = self._tally.take()
        try:
            if self._intake is None:
                self._intake = self._taker.begin(self.origin)
            self._add(self._intake, tallied)
            if final or not self._capture:
                self._commit(self._intake)
        except ArchiveError as error:
            self._close()
            yield self._failed(tallied, str(error), scene, final=final)
        else:
            self._events = []
            self.failed = ""

    def _add(self, intake: Taking, tallied: npt.NDArray[np.void]) -> None:
        if len(tallied):
            self._settle()
            intake.add("behaviours", self._rows(tallied), self._unfit)
            self._unfit = 0
        if self._events:
            table, unfit = table_of(self._events)
            intake.add("events", table, unfit)

    def _rows(self, tallied: npt.NDArray[np.void]) -> pa.Table:
        """Rows of the archive: the descriptions of some behaviours with what was counted."""
        if len(self._chunks) > 1:
            self._chunks = [together(self._chunks).combine_chunks()]
        table = self._chunks[0].take(pa.array(self._place[tallied["behaviour"]]))
        for name, part in (
            ("@timestamp", "first_ns"), ("frame", "first_frame"), ("archive.count", "count"),
            ("archive.last", "last_ns"), ("archive.frame_last", "last_frame"),
        ):  # fmt: skip
            table = table.append_column(name, column(tallied[part].tolist(), name)[0])
        none = tallied["value_max"] == NO_VALUE
        for name in ("value_min", "value_max"):
            table = table.append_column(f"archive.{name}", pa.array(tallied[name], pa.int64(), mask=none))
        different, inverse = np.unique(tallied["anomalies"], return_inverse=True)
        names = pa.array([_names(int(bits)) for bits in different], pa.list_(pa.string()))
        return table.append_column("anomalies", names.take(pa.array(inverse)))

    def _commit(self, intake: Taking) -> None:
        """Let what was written count."""
        left_out = self._chooser.left_out + self._events_lost
        intake.commit(
            records=self._counted,
            archived=self._counted - self._lost,
            rejected=self._lost,
            left_out=left_out,
        )
        self._counted = self._lost = self._chooser.left_out = self._events_lost = 0
        self._close()

    def _close(self) -> None:
        """Let go of the intake; what it did not commit is removed."""
        if self._intake is not None:
            self._intake.end()
            self._intake = None

    def _failed(self, tallied: npt.NDArray[np.void], why: str, scene: Scene, *, final: bool) -> Finding:
        """Keep what could not be written for another try, as far as there is room, and tell."""
        log.error("the archive cannot be written: %s", why)
        lost = int(tallied["count"].sum())
        self.failed = why
        if self._capture:  # all or nothing: another run takes it again
            lost, self.known = self._counted, True
        elif final or len(tallied) >= MAX_ROWS:
            self._lost += lost
            self._events_lost += len(self._events)
            self._events = []
        else:
            self._tally.put_back(tallied)
            lost = 0
        self._lost_total += lost
        self._next_ns = scene.now_ns + RETRY_NS
        if self._trouble is None:
            rule = knowledge.detector_rules()["sensor.archive-failed"]
            self._trouble = Problem(rule, scene.exhibit(), protocol="")
        now_ns = max(scene.now_ns, 0)
        self._trouble.add(max(lost, 1), now_ns, now_ns)
        return self._trouble.record(now_ns, {"examples": why, "value": self._lost_total})


def _names(bits: int) -> list[str] | None:
    """Names of anomalies as events carry them."""
    return sorted(bit.name.lower() for bit in Anomaly(bits) if bit.name) or None


def _narrow(batch: EventBatch, row: int, view: View) -> dict[str, Any]:
    """What is known of an event without a look at its bytes."""
    c = batch.columns
    talk = view.conversation(int(c.conversation[row]))
    source, destination = (talk.ip_a, talk.ip_b) if c.forward[row] else (talk.ip_b, talk.ip_a)
    kind = "mac" if talk.transport == ETHERNET else "ip"
    codes = Codes(*(int(column[row]) for column in (c.protocol, c.kind, c.outcome, c.function, c.subfunction)))
    return {
        f"source.{kind}": source,
        f"destination.{kind}": destination,
        "network.transport": talk.transport,
        **codes.fields(),
    }
