"""A log into the archive: behaviours counted by hour, chosen events kept, every rejected record noted.

records = archived + rejected: the numbers stand in the catalogue; what was rejected stands, with line and reason, in
DIR/rejected/<origin>.jsonl, written whole before the log counts. `frame` in rows is the line of the log.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from detectors.hunting.chooser import MAX_EACH, REASONS, reason_of
from detectors.hunting.imports import suricata, zeek
from detectors.hunting.imports.reading import Line, LogError, lines_of
from detectors.hunting.imports.record import Fields, UnfitError
from detectors.hunting.tally import PERIOD_NS
from detectors.sigma.steady import steady_fields
from sensor.archive.columns import table_of
from sensor.archive.digest import behaviour_digest
from sensor.archive.origin import ArchiveError, Origin, file_digest
from sensor.archive.store import Archive, Intake

MAX_BEHAVIOURS = 1 << 16  # rows of behaviours that wait to be written
MAX_EVENTS = 1 << 14
MAX_REJECTED = 100_000  # noted one by one; further ones are counted by reason
MAX_REASONS = 1000
REJECTED = "rejected"
OTHERS = "other reasons"


@dataclass(slots=True)
class Imported:
    """What became of a log. known: it was taken before, nothing was done. reasons: of what was rejected."""

    records: int = 0
    rejected: int = 0
    events: int = 0
    left_out: int = 0
    known: bool = False
    reasons: Counter[str] = field(default_factory=Counter)
    noted: Path | None = None


class Importer:
    """One log into one archive. ArchiveError, LogError where it cannot be taken; then nothing of it counts."""

    def __init__(self, archive: Archive, path: Path, sensor: str = "") -> None:
        self._archive, self._path = archive, path
        self._sensor = sensor
        self._done = Imported()
        self._behaviours: dict[tuple[str, int], Fields] = {}
        self._kept: Counter[tuple[str, int]] = Counter()  # events kept of a behaviour in an hour
        self._events: list[Fields] = []

    def run(self, progress: Callable[[int], None] = lambda _: None) -> Imported:
        """Take the log. progress: called with the number of records now and then."""
        try:
            digest = file_digest(str(self._path))
        except OSError as error:
            raise LogError(f"{self._path}: {error.strerror or error}") from None
        lines = lines_of(self._path)
        first = next(lines, None)
        if first is None:
            raise LogError(f"{self._path} holds no record: expected a log of Zeek or eve.json of Suricata")
        kind = "suricata" if first.kind == "eve" else "zeek"
        origin = Origin(kind, str(self._path), digest, self._sensor)
        if self._archive.catalogue.taken(origin):
            self._done.known = True
            return self._done
        with Intake(self._archive, origin) as intake, _Noted(self._archive.folder, origin.id) as noted:
            self._line(first, noted)
            for line in lines:
                self._line(line, noted)
                if len(self._behaviours) >= MAX_BEHAVIOURS or len(self._events) >= MAX_EVENTS:
                    self._write(intake)
                if not self._done.records % 10_000:
                    progress(self._done.records)
            if self._done.records == self._done.rejected:
                why = self._done.reasons.most_common(1)[0][0]
                raise LogError(f"{self._path}: nothing of its {self._done.records:,} records can be used: {why}")
            self._write(intake)
            self._done.noted = noted.keep() if self._done.rejected else None
            intake.commit(
                records=self._done.records,
                archived=self._done.records - self._done.rejected,
                rejected=self._done.rejected,
                left_out=self._done.left_out,
                events=self._done.events,
                reasons=dict(self._done.reasons.most_common(20)),
            )
        return self._done

    def _line(self, line: Line, noted: _Noted) -> None:
        self._done.records += 1
        try:
            if line.record is None:
                raise UnfitError(line.why)
            found = suricata.events(line.record) if line.kind == "eve" else zeek.events(line.kind, line.record)
        except UnfitError as error:
            self._reject(line, str(error), noted)
            return
        for fields in found:
            self._event(fields, line.number)

    def _reject(self, line: Line, why: str, noted: _Noted) -> None:
        self._done.rejected += 1
        known = why in self._done.reasons or len(self._done.reasons) < MAX_REASONS
        self._done.reasons[why if known else OTHERS] += 1
        if self._done.rejected <= MAX_REJECTED:
            noted.write(line, why)

    def _event(self, fields: Fields, number: int) -> None:
        self._done.events += 1
        request = fields.get("event.kind") == "request"
        steady = steady_fields(request=request)
        same = {name: value for name, value in fields.items() if name in steady}
        key = behaviour_digest(same), fields["@timestamp"] // PERIOD_NS
        self._count(key, same, fields, number, request=request)
        outcome = fields.get("event.outcome")
        why = 4 if outcome == "refused" else reason_of(fields) or (0 if key in self._kept else 1)
        reason = "alert" if "archive.alert" in fields else REASONS[why]
        if not reason:
            return
        if self._kept[key] >= MAX_EACH and reason != "alert":
            self._done.left_out += 1
            return
        self._kept[key] += 1
        self._events.append({**fields, "frame": number, "archive.kept_for": reason})

    def _count(self, key: tuple[str, int], same: Fields, fields: Fields, number: int, *, request: bool) -> None:
        time_ns = fields["@timestamp"]
        row = self._behaviours.get(key)
        if row is None:
            port = "destination.port" if request or "network.protocol" not in fields else "source.port"
            self._behaviours[key] = {
                **same,
                **({port: fields[port]} if port in fields else {}),
                "archive.behaviour": key[0],
                "archive.described": True,
                "@timestamp": time_ns,
                "archive.last": time_ns,
                "frame": number,
                "archive.frame_last": number,
                "archive.count": 1,
            }
            return
        row["archive.count"] += 1
        row["@timestamp"] = min(row["@timestamp"], time_ns)
        row["archive.last"] = max(row["archive.last"], time_ns)
        row["archive.frame_last"] = number

    def _write(self, intake: Intake) -> None:
        for kind, lines in (("behaviours", list(self._behaviours.values())), ("events", self._events)):
            if lines:
                intake.add(kind, *table_of(lines))
        self._behaviours, self._events = {}, []
        if len(self._kept) > 4 * MAX_BEHAVIOURS:
            self._kept.clear()


class _Noted:
    """The file of rejected records: kept when the log counts, otherwise gone."""

    def __init__(self, folder: Path, name: str) -> None:
        self._place = folder / REJECTED / f"{name}.jsonl"
        self._partial = self._place.with_suffix(".partial")
        self._file: TextIO | None = None

    def __enter__(self) -> _Noted:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, line: Line, why: str) -> None:
        """One rejected record: its line, why, and how it begins."""
        try:
            if self._file is None:
                self._place.parent.mkdir(exist_ok=True)
                self._file = self._partial.open("w", encoding="utf-8")
            record: dict[str, Any] = {"line": line.number, "reason": why, "record": line.raw.decode("utf-8", "replace")}
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise ArchiveError(f"{self._partial} cannot be written: {error.strerror or error}") from error

    def keep(self) -> Path:
        """Let the file stay."""
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._partial, self._place)
        except OSError as error:
            raise ArchiveError(f"{self._place} cannot be written: {error.strerror or error}") from error
        return self._place
