"""Compiles the kernels into the cache, on all cores: alone one core takes twice as long, and somebody waits.

    python -m sensor.decode.compilation framing     compiles one part, into the cache of kernel_cache.py

The parts call each other by address (apart.py) or one after the other, so each compiles by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sensor.decode import exchange, kernel
from sensor.decode.messages import drain_address
from sensor.decode.pdu import PDU
from sensor.decode.read import READERS
from sensor.decode.state import EVENTS_OF_BATCH, MESSAGE, OCTET, STATE
from sensor.decode.streams import irregular_address
from sensor.kernel_cache import VARIABLE, compiled_before
from sensor.records import untouched

NOTHING = np.zeros(0, OCTET)


def _frames() -> None:
    """The pass over frames, given none."""
    state, messages, out = untouched(1, STATE), untouched(1, MESSAGE), untouched(1, OCTET)
    wide, narrow = np.zeros(0, np.int64), np.zeros(0, np.int32)
    kernel.walk(NOTHING, wide, wide, narrow, narrow, narrow, 1, 0, state, messages, out)
    kernel.flush(0, state, messages, out)
    exchange.sweep(state, 0)


def _protocols() -> None:
    """The readers of all protocols, and the pass that makes events, given no message."""
    state, messages, pdus = untouched(1, STATE), untouched(1, MESSAGE), untouched(1, PDU)
    exchange.settle(messages, pdus, 0, state, untouched(1, EVENTS_OF_BATCH), 0)
    for read in READERS.values():
        read(NOTHING, NOTHING, messages, 0, state[0].used[0].seed, pdus)


PARTS: dict[str, Callable[[], object]] = {  # the longest first
    "framing": drain_address,
    "irregular": irregular_address,
    "frames": _frames,
    "protocols": _protocols,
}
COMMON = ("framing", "irregular", "frames")  # what every capture needs; a protocol's reader waits until it is met


def compile_ahead(parts: Iterable[str] = tuple(PARTS)) -> None:
    """Compile, or load, these parts: on a live link frames wait while a compiler runs."""
    in_children(parts)
    for part in parts:
        PARTS[part]()


def in_children(parts: Iterable[str]) -> None:
    """Where nothing was compiled before and there are several cores, compile the parts side by side into the cache.

    A child that fails is not missed: what it should have compiled is compiled here when it is called.
    """
    cores = len(os.sched_getaffinity(0))
    interpreted = os.environ.get("NUMBA_DISABLE_JIT") == "1"
    if cores < 2 or interpreted or VARIABLE not in os.environ or compiled_before():
        return
    command = [sys.executable, "-m", __spec__.name]
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda part: subprocess.run([*command, part], capture_output=True, check=False), parts))


if __name__ == "__main__":
    for part in sys.argv[1:]:
        PARTS[part]()
