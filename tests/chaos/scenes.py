"""Scenes: what happens on one disk. A process dies at a point, is started again, and must leave the books right.

Unlike a World nothing else runs: what must be there in the end is known beforehand. Each scene is a folder, work that
may be begun again at any time, and complaints about what it left.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import programs, report_scene
from detectors.capture_notes import CaptureNotes
from detectors.losses import loss_line
from sensor.archive.columns import table_of
from sensor.archive.compaction import compact
from sensor.archive.origin import Origin
from sensor.archive.retention import outdated, prune
from sensor.archive.store import Archive, Intake
from sensor.archive.verification import faults, leftovers
from sensor.spool import Spool

CAPTURES = 12
SOURCES, ROWS = 5, 40
DAY_NS = 86_400 * 10**9
FIRST_DAY = 20_000


@dataclass(frozen=True, slots=True)
class Scene:
    """before: the point at which a process dies first, so that there is something to be taken up. prepare: what stands
    in the folder before that."""

    work: Callable[[Path], None]
    complaints: Callable[[Path], Iterator[str]]
    before: str
    prepare: Callable[[Path], None] = lambda _: None


# --- captures are inspected, each once


def _digest(capture: int) -> str:
    return f"{capture:064x}"


def _tokens(capture: int) -> list[int]:
    return [capture * 1000 + at for at in range(capture * 7 % 40)]


def _open_spool(folder: Path) -> Spool:
    spool = Spool(
        folder / "spool",
        lambda loss: loss_line(loss, programs.SENSOR, spool.epoch),
        segment_bytes=programs.SEGMENT_BYTES,
    )
    return spool


def inspect_captures(folder: Path) -> None:
    """As `fenghuo sensor run --once` does with what its captures gave."""
    spool = _open_spool(folder)
    notes = CaptureNotes(folder, spool)
    for capture in range(CAPTURES):
        if not notes.inspected(_digest(capture)):
            lines = [programs.line(spool, token, 0) for token in _tokens(capture)]
            assert notes.take(_digest(capture), lines) == 0
    spool.close()


def wrong_captures(folder: Path) -> Iterator[str]:
    """Every finding of every capture stands in the spool once."""
    spool = _open_spool(folder)
    wanted = Counter(token for capture in range(CAPTURES) for token in _tokens(capture))
    found: Counter[int] = Counter()
    for record in spool.batch(10_000, 1 << 30):
        it: dict[str, Any] = programs.read_line(record.line)
        found[programs.token_of(it)] += 1
        if it["finding.id"] != f"{programs.SENSOR}/{spool.epoch}/{record.sequence}":
            yield f"{it['finding.id']} stands under sequence {record.sequence}"
    spool.close()
    if found != wanted:
        yield f"{sum((wanted - found).values())} findings of captures lost, {sum((found - wanted).values())} doubled"


# --- an archive takes sources, makes day files of small ones, and lets the oldest day go


def keep_archive(folder: Path) -> None:
    """As a sensor does it: take what was not taken, compact, prune."""
    archive = Archive(folder / "archive", create=True)
    for source in range(SOURCES):
        origin = Origin("capture", path=f"{source}.pcap", sha256=_digest(source))
        if archive.catalogue.taken(origin):
            continue
        with Intake(archive, origin) as intake:
            intake.add("events", table_of(list(_rows(source)))[0])
            intake.add("behaviours", table_of(list(_behaviours(source)))[0])
            intake.commit(records=ROWS, archived=ROWS)
    list(compact(archive, FIRST_DAY + 10, _refuse))
    prune(archive, outdated(archive.catalogue.files(), first_day=FIRST_DAY + 1, max_bytes=None))


def _refuse(why: object) -> None:
    raise AssertionError(why)


def _rows(source: int) -> Iterator[dict[str, object]]:
    for number in range(ROWS):
        when = (FIRST_DAY + number % 2) * DAY_NS + source * ROWS + number
        yield {
            "@timestamp": when,
            "frame": number + 1,
            "source.ip": f"10.0.{source}.{number}",
            "network.protocol": "s7",
        }


def _behaviours(source: int) -> Iterator[dict[str, object]]:
    for row in _rows(source):
        last = {"archive.last": row["@timestamp"], "archive.frame_last": row["frame"]}
        yield {**row, **last, "archive.behaviour": "polls", "archive.count": 3}


def wrong_archive(folder: Path) -> Iterator[str]:
    """Each row stands there once, or is counted as removed; the files are what the catalogue says, and nothing else."""
    archive = Archive(folder / "archive")
    for kind, each in (("events", 1), ("behaviours", 3)):
        entries = archive.catalogue.files(kind)
        wanted = SOURCES * ROWS // 2 * each
        if (held := sum(it.events for it in entries)) != wanted:
            yield f"{held} {kind} held, {wanted} wanted"
        gone = sum(it["events"] for it in archive.catalogue.removals() if it["kind"] == kind)
        if gone != wanted:
            yield f"{gone} {kind} counted as removed, {wanted} were"
        if {it.day for it in entries} != {FIRST_DAY + 1} or len(entries) != 1:
            yield f"{len(entries)} files of {kind}, of the days {sorted({it.day for it in entries})}"
        for entry in entries:
            yield from faults(archive, entry)
    archive.clean()
    yield from leftovers(archive)
    yield from (f"{name} is still on its way out" for name in archive.catalogue.doomed())


SCENES = {
    "captures": Scene(inspect_captures, wrong_captures, "captures.after_pending:3"),
    "archive": Scene(keep_archive, wrong_archive, "archive.after_rename:2"),
    "reports": Scene(
        report_scene.report_captures, report_scene.wrong_reports, "reports.after_commit:2", report_scene.prepare
    ),
}


def prepare(point: str, folder: Path) -> None:
    """Make the folder of the scene of a point ready; one at a time."""
    SCENES[point.partition(".")[0]].prepare(folder)


def perform(scene: str, folder: Path, armed: str) -> None:
    """One life of a scene's process."""
    folder.mkdir(parents=True, exist_ok=True)
    programs.begin(folder / f"{scene}.log", armed)
    SCENES[scene].work(folder)


def die_at(point: str, folder: Path) -> tuple[int, list[str]]:
    """Lives of a scene that end where something is left to be taken up, at the point, at a later arrival there, and not
    at all. How many did end at the point, and what is wrong. folder: as `prepare` left it.
    """
    scene = point.partition(".")[0]
    make = programs.processes()
    died = 0
    for armed in (SCENES[scene].before, point, f"{point}:2", ""):
        process = make.Process(target=perform, args=(scene, folder, armed))
        programs.start(process)
        programs.wait(process)
        if process.exitcode not in (0, -signal.SIGKILL if armed else 0):
            text = (folder / f"{scene}.log").read_text("utf-8", "replace")
            return died, [f"it ended with {process.exitcode}: {text[-500:]}"]
        died += process.exitcode != 0 and armed.startswith(point)
    return died, list(SCENES[scene].complaints(folder))
