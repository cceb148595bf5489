"""Carving: blocks and files are put together from what crossed the wire, kept, compared with what was there before.

Catches S7 blocks, UMAS programs, DNP3 files, Modbus file records, files of FTP, TFTP and HTTP. A controller's program
that is not what it was is a finding, with both versions named by their hashes; detectors/yara looks into all of them.
Blind to what is encrypted and to what passes while the sensor misses frames: such artifacts are marked as incomplete
and never compared. Costs one look into the behaviour table for each batch while nobody transfers anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from detectors import knowledge
from detectors.carving import dnp3_files, modbus_files, s7_blocks, umas_programs
from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.files import Files
from detectors.carving.row import row_of
from detectors.carving.store import History, Keeper, Version
from detectors.contract import Fresh, Labels, Scene
from detectors.finding import Finding, Severity
from detectors.problem import Problem
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch

log = logging.getLogger(__name__)

MAX_PROBLEMS = 1024  # blocks and files whose changes are counted apart
MAX_FRAMES_SHOWN = 100
_S7, _UMAS, _DNP3, _MODBUS = range(4)
_WHOLE: dict[str, Callable[[Transfer], Iterator[Artifact]]] = {
    "s7": s7_blocks.whole, "umas": umas_programs.whole, "dnp3": dnp3_files.whole, "modbus": modbus_files.whole,
}  # fmt: skip
_PROGRAMS = ("s7-block", "umas-program")
_DATA_BLOCKS = ("DB", "CMOD")  # their contents are the process's, and change while it runs
_WRITTEN = ("dnp3-file", "ftp-file", "tftp-file", "modbus-file")


@dataclass(slots=True)
class Watcher:
    """What is done with each artifact besides: YARA, a command that lists them."""

    artifact: Callable[[Artifact, Scene], Iterable[Finding]]
    due: Callable[[Scene, bool], Iterable[Finding]]


class Carving:
    """See the module.

    store: where artifacts are kept; None: they are looked at and let go. watchers: see Watcher. changed: told of each
    change as (device, block, SHA-256 before, SHA-256 after).
    """

    name = "carving"

    def __init__(
        self,
        store: Keeper | None = None,
        watchers: Iterable[Watcher] = (),
    ) -> None:
        self._store = store
        self._history = store.history if store else History()
        self._watchers = list(watchers)
        self.changed: Callable[[str, str, str, str], None] | None = None
        self._assemblies = Assemblies()
        self._carvers = (
            s7_blocks.S7Blocks(self._assemblies),
            umas_programs.UmasPrograms(self._assemblies),
            dnp3_files.Dnp3Files(self._assemblies),
            modbus_files.ModbusFiles(self._assemblies),
        )
        self._files = Files(self._assemblies)
        self._fresh, self._carver_of = Fresh(), Labels()  # by behaviour
        self._any = False
        self._rules = knowledge.detector_rules()
        self._problems: dict[tuple[str, ...], Problem] = {}
        self._limit: Problem | None = None

    def watch(self, watcher: Watcher) -> None:
        """Let one more look at each artifact."""
        self._watchers.append(watcher)

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        for artifact in self._carved(batch, scene):
            yield from self._made(artifact, scene)
        for key, transfer in self._assemblies.idle(scene.now_ns):
            yield from self._ended(key, transfer, scene)
        for watcher in self._watchers:
            yield from watcher.due(scene, False)
        yield from self._capped(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        for artifact in [*self._files.look(scene), *self._files.rest()]:
            yield from self._made(artifact, scene)
        for key, transfer in self._assemblies.rest():
            yield from self._ended(key, transfer, scene)
        for watcher in self._watchers:
            yield from watcher.due(scene, True)
        yield from self._capped(scene, final=True)

    def _carved(self, batch: EventBatch, scene: Scene) -> Iterator[Artifact]:
        self._learn(scene)
        if self._any and batch.size:
            carver = self._carver_of[batch.columns.behaviour]
            for row in np.flatnonzero(carver >= 0).tolist():
                yield from self._carvers[int(carver[row])].take(row_of(batch, row, scene.view))
        yield from self._files.look(scene)

    def _learn(self, scene: Scene) -> None:
        """Which carver the PDUs of new behaviours are for."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        protocol, function = b["protocol"], b["function"]
        modbus = (protocol == Protocol.MODBUS) | (protocol == Protocol.MODBUS_RTU)
        for number, mask in (
            (_S7, (protocol == Protocol.S7COMM) & (function >= 0x1A) & (function <= 0x1F)),
            (_UMAS, modbus & (function == umas_programs.UMAS)),
            (_DNP3, (protocol == Protocol.DNP3) & (b["object"] >> 8 == dnp3_files.GROUP)),
            (_MODBUS, modbus & ((function == modbus_files.READ) | (function == modbus_files.WRITE))),
        ):
            if mask.any():
                self._carver_of[new[mask]] = number
                self._any = True

    def _ended(self, key: object, transfer: Transfer, scene: Scene) -> Iterator[Finding]:
        """A transfer that nothing came for any more."""
        whole = _WHOLE.get(key[0]) if isinstance(key, tuple) else None
        for artifact in whole(transfer) if whole else ():
            yield from self._made(artifact, scene)

    def _made(self, artifact: Artifact, scene: Scene) -> Iterator[Finding]:
        if self._store is not None:
            try:
                self._store.keep(artifact)
            except OSError as error:
                self._store = None
                log.error("artifacts are no longer kept: %s", error)
        if artifact.complete:
            before = self._history.note(artifact)
            if before is not None and _telling(artifact):
                yield self._told(artifact, before, scene)
        for watcher in self._watchers:
            yield from watcher.artifact(artifact, scene)

    def _told(self, artifact: Artifact, before: Version, scene: Scene) -> Finding:
        """A program or file that is not what it was."""
        if self.changed:
            self.changed(artifact.device, artifact.name, before.sha256, artifact.sha256)
        problem = self._problems.get(artifact.place)
        if problem is None:
            key = artifact.place if len(self._problems) < MAX_PROBLEMS else ("",)
            rule = self._rules["program.changed" if artifact.kind in _PROGRAMS else "file.changed"]
            problem = self._problems.setdefault(key, problem_of(rule, artifact, scene))
        show(problem, artifact, scene)
        problem.add(1, artifact.first_ns, artifact.last_ns)
        data = artifact.kind == "s7-block" and artifact.name.startswith(_DATA_BLOCKS)
        values = {
            "artifact": artifact.name,
            "before": f"{before.sha256[:16]} ({before.size})",
            "after": f"{artifact.sha256[:16]} ({len(artifact.data)})",
            "since": before.seen,
        }
        return problem.record(scene.now_ns, values, severity=Severity.LOW if data else None)

    def _capped(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        """What caps kept from being carved or kept."""
        refused = {
            "transfers": self._assemblies.refused, "packets": self._files.refused, "names": self._history.refused,
            "quota": self._store.refused if self._store else 0,
        }  # fmt: skip
        total = sum(refused.values())
        if not total:
            return
        if self._limit is None:
            self._limit = Problem(self._rules["carving.limit"], scene.exhibit(), protocol="")
        self._limit.add(total - self._limit.total, max(scene.start_ns, 0), max(scene.now_ns, 0))
        if self._limit.open and (final or self._limit.due(scene.now_ns)):
            reached = ", ".join(f"{name} {count}" for name, count in refused.items() if count)
            yield self._limit.record(scene.now_ns, {"examples": reached})


def problem_of(rule: knowledge.Rule, artifact: Artifact, scene: Scene, **fields: str) -> Problem:
    """A problem about an artifact: who sent it to whom."""
    return Problem(
        rule,
        scene.exhibit(),
        protocol=artifact.protocol,
        source_ip=artifact.source,
        destination_ip=artifact.destination,
        station=artifact.station,
        fields={"artifact.kind": artifact.kind, "artifact.name": artifact.name, **fields},
    )


def show(problem: Problem, artifact: Artifact, scene: Scene) -> None:
    """Put the frames that carried an artifact into the evidence."""
    for number in artifact.frames[:MAX_FRAMES_SHOWN]:
        if problem.exhibit.full:
            return
        scene.show_frame(problem.exhibit, number)


def _telling(artifact: Artifact) -> bool:
    """Whether another version of it is worth a finding."""
    if artifact.kind == "s7-block":
        return artifact.to_device or not artifact.name.startswith(_DATA_BLOCKS)
    return artifact.kind in _PROGRAMS or (artifact.kind in _WRITTEN and artifact.to_device)
