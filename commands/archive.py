"""`fenghuo archive`: what is kept for hunting back, and looking after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from commands import complain
from commands.size import Size

if TYPE_CHECKING:
    from sensor.archive.origin import Target
    from sensor.archive.store import Archive

T = TypeVar("T")
DAY_NS = 86_400 * 10**9
MAX_REASONS_SHOWN = 10

ARCHIVE = click.option(
    "--archive",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FENGHUO_ARCHIVE",
    default="archive",
    show_default=True,
    metavar="DIR",
    help="The archive; also FENGHUO_ARCHIVE.",
)


@contextmanager
def told() -> Iterator[None]:
    """What is wrong with the archive in one line, and exit code 2."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise click.UsageError("the archive needs pyarrow: install fenghuo with the extra `columnar`") from None
    from sensor.archive.origin import ArchiveError

    try:
        yield
    except ArchiveError as error:
        complain(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)


def tracked(things: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """The things; on a terminal with progress on standard error."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from things
        return
    yield from track(things, title, total=total, console=console, transient=True)


def archive_target(folder: Path) -> Target:
    """A sensor's archive, which is made where it is missing; exit code 2 where it cannot be used."""
    from sensor.archive.origin import Target

    with told():
        from sensor.archive.store import Archive

        Archive(folder, create=True)
    return Target(folder)


@click.group()
def archive() -> None:
    """Behaviours and chosen events as Parquet files by day, for `fenghuo hunt`."""


@archive.command("add")
@ARCHIVE
@click.option("--sensor", default="", metavar="NAME", help="Which sensor the captures are from, for their lineage.")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
def add(captures: tuple[str, ...], folder: Path, sensor: str) -> None:
    """Take CAPTURE... into the archive: each completely or, after a crash, not at all; the same one only once.

    Exit codes: 0 done; 2 a capture cannot be read (the others are taken), or the archive cannot be used.
    """
    from sensor.archive.origin import Target

    code = 0
    with told():
        for path in captures:
            code = max(code, _add(path, Target(folder, sensor)))
    sys.exit(code)


def _add(path: str, target: Target) -> int:
    from detectors.carving.carver import Carving
    from detectors.hunting.recorder import Recorder
    from detectors.pipeline import Options, Pipeline
    from sensor.capture.ahead import ahead
    from sensor.capture.source import CaptureError, open_capture
    from sensor.progress import watched

    try:
        capture = open_capture(path)
        pipeline = Pipeline(Options(archive=target, capture=path), [Carving()])
    except (CaptureError, OSError) as error:
        complain(error)
        return 2
    pipeline.engineering = None
    (recorder,) = (it for it in pipeline.detectors if isinstance(it, Recorder))
    if recorder.known:
        click.echo(f"{path}: archived before")
        return 0
    for _ in pipeline.run(ahead(watched(capture, path))):
        pass
    for warning in capture.warnings:
        complain(warning)
    if recorder.failed:
        complain(f"{path}: not archived: {recorder.failed}")
        return 2
    click.echo(f"{path}: {capture.frames:,} frames, {pipeline.events:,} PDUs, archived")
    return 0


@archive.command("import")
@ARCHIVE
@click.option("--sensor", default="", metavar="NAME", help="Which sensor the logs are from, for their lineage.")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
def import_logs(logs: tuple[Path, ...], folder: Path, sensor: str) -> None:
    """Take logs of Zeek and ICSNPP (TSV or JSON) and Suricata's eve.json into the archive, also packed by gzip.

    Every record is archived or rejected with its line and reason: records = archived + rejected. A log counts when all
    of it is there, and only once.

    Exit codes: 0 every record was archived; 1 some were rejected; 2 a log cannot be used (the others are taken).
    """
    with told():
        from sensor.archive.store import Archive

        opened = Archive(folder, create=True)
        sys.exit(max(_import(path, opened, sensor) for path in logs))


def _import(path: Path, opened: Archive, sensor: str) -> int:
    from detectors.hunting.imports.importer import Importer
    from detectors.hunting.imports.reading import LogError

    try:
        with counted(str(path)) as progress:
            done = Importer(opened, path, sensor).run(progress)
    except LogError as error:
        complain(error)
        return 2
    if done.known:
        click.echo(f"{path}: archived before")
        return 0
    used = done.records - done.rejected
    click.echo(
        f"{path}: {done.records:,} records = {used:,} archived ({done.events:,} events) + {done.rejected:,} rejected"
        + (f"; see {done.noted}" if done.noted else "")
    )
    for why, number in done.reasons.most_common(MAX_REASONS_SHOWN):
        complain(f"{path}: {number:,} rejected: {why}")
    return 1 if done.rejected else 0


@contextmanager
def counted(title: str) -> Iterator[Callable[[int], None]]:
    """Takes a number that grows; shown on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _number: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(title), total=None)
        yield lambda number: progress.update(task, completed=number)


@archive.command("status")
@ARCHIVE
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
def status(folder: Path, form: str) -> None:
    """What the archive holds: files, rows and events by month, sources, and what retention removed."""
    import json

    from detectors.hunting.status import lines, records

    with told():
        from sensor.archive.store import Archive

        catalogue = Archive(folder).catalogue
        if form == "jsonl":
            for record in records(catalogue):
                click.echo(json.dumps(record, ensure_ascii=False))
        else:
            for line in lines(catalogue):
                click.echo(line)


@archive.command("compact")
@ARCHIVE
@click.option("--today", is_flag=True, help="Also files of today, which may still grow.")
def compact(folder: Path, today: bool) -> None:
    """Make one file a day of many small ones. Exit codes: 0 done; 1 a file cannot be read (see `verify`)."""
    import time

    with told():
        from sensor.archive.columns import day_name
        from sensor.archive.compaction import compact as run
        from sensor.archive.store import Archive

        faults: list[object] = []
        opened = Archive(folder)
        until = time.time_ns() // DAY_NS + (1 if today else 0)
        old = new = 0
        for it in tracked(run(opened, until, _both(faults.append, complain)), "compacting"):
            old, new = old + it.old, new + it.new
            change = f"{it.bytes_before:,} -> {it.bytes_after:,} bytes"
            click.echo(f"{day_name(it.day)} {it.kind}: {it.old} files -> {it.new}, {change}")
        click.echo(f"{old} files became {new}")
        sys.exit(1 if faults else 0)


def _both(one: Callable[[object], object], other: Callable[[object], object]) -> Callable[[object], None]:
    def call(thing: object) -> None:
        one(thing)
        other(thing)

    return call


@archive.command("verify")
@ARCHIVE
def verify(folder: Path) -> None:
    """Read every file and compare it with the catalogue: SHA-256, rows, events, times, columns, index.

    Exit codes: 0 all is well; 1 something is damaged or missing.
    """
    with told():
        from sensor.archive.store import Archive
        from sensor.archive.verification import faults, leftovers

        opened = Archive(folder)
        entries = opened.catalogue.files()
        wrong = 0
        with opened.locked("reading"):
            for entry in tracked(entries, "verifying", len(entries)):
                for fault in faults(opened, entry):
                    wrong += 1
                    complain(fault)
        for it in leftovers(opened):
            complain(it)
        click.echo(f"{len(entries)} files verified, {wrong} faults")
        sys.exit(1 if wrong else 0)


@archive.command("prune")
@ARCHIVE
@click.option("--keep-days", type=click.IntRange(min=1), metavar="N", help="Remove what is older.")
@click.option("--max-bytes", "most", type=Size(), help="Remove the oldest until the files fit: 500G, 2T.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(folder: Path, keep_days: int | None, most: int | None, dry_run: bool) -> None:
    """Remove the oldest files, and note for ever what went: files, rows and events of each day."""
    import time

    if keep_days is None and most is None:
        raise click.UsageError("give --keep-days N, --max-bytes SIZE, or both")
    with told():
        from sensor.archive.retention import outdated
        from sensor.archive.retention import prune as run
        from sensor.archive.store import Archive

        opened = Archive(folder)
        first = None if keep_days is None else time.time_ns() // DAY_NS - keep_days + 1
        removal = outdated(opened.catalogue.files(), first_day=first, max_bytes=most)
        if not dry_run:
            run(opened, removal)
        gone = [it for entries in removal.values() for it in entries]
        rows, events, octets = (sum(getattr(it, name) for it in gone) for name in ("rows", "events", "bytes"))
        word = "would be removed" if dry_run else "removed"
        click.echo(f"{len(gone)} files {word}: {rows:,} rows, {events:,} events, {octets:,} bytes")
