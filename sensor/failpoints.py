"""Named points at which a test lets this process die, to prove that nothing is lost by it.

`failpoint("spool.after_sync")` costs a look into an empty dict and does nothing else, unless the environment variable
FENGHUO_FAILPOINT names the point: `spool.after_sync` kills the process (SIGKILL, as power or the kernel would) when it
first arrives there, `spool.after_sync:3` when it arrives for the third time. They stand around every step whose order
matters for what was promised: write, sync, rename, unlink, commit, request, reply. Never in a loop over records.

Each name is a literal and stands in one place: tests/chaos/points.py reads them from the sources, and the tests kill at
each of them.
"""

from __future__ import annotations

import contextlib
import os
import signal

VARIABLE = "FENGHUO_FAILPOINT"

_armed: dict[str, int] = {}  # point: arrivals that are left
_others: list[int] = []  # processes that die as well


def arm(text: str) -> None:
    """Arm the point "NAME" or "NAME:ARRIVAL" in this process and no other; "" arms none. ValueError: no number."""
    _armed.clear()
    name, _, arrival = text.partition(":")
    if name:
        _armed[name] = int(arrival or 1)


def die_with(process: int) -> None:
    """This process is a part of another one's program: at a point both die, as power would have it."""
    _others.append(process)


def failpoint(name: str) -> None:
    """The process is at this point."""
    if name in _armed:
        _arrive(name)


def _arrive(name: str) -> None:
    _armed[name] -= 1
    if _armed[name] == 0:
        for process in (*_others, os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
