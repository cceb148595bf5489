"""Progress on a terminal, none in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from sensor.capture.frames import FrameBatch


def watched(batches: Iterable[FrameBatch], what: str) -> Iterator[FrameBatch]:
    """The batches as they are; on a terminal a line on standard error counts frames meanwhile."""
    if not sys.stderr.isatty():
        yield from batches
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} frames"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(what), total=None)
        for batch in batches:
            yield batch
            progress.advance(task, batch.size)
