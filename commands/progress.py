"""Progress of long work: a line on standard error that rewrites itself on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 0.2


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how many more are done: "1,234,000 findings, 410,000/s"."""
    begun, told, done = time.monotonic(), 0.0, 0
    shown = sys.stderr.isatty()

    def more(number: int) -> None:
        nonlocal told, done
        done += number
        now = time.monotonic()
        if shown and now - told >= EVERY_S:
            told = now
            sys.stderr.write(f"\r\x1b[K{done:,} {what}, {done / max(now - begun, 1e-3):,.0f}/s")
            sys.stderr.flush()

    try:
        yield more
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
