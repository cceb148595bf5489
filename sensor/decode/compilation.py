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
from functools import partial

import numpy as np

from sensor.compiled import INTERPRETED
from sensor.decode import exchange, kernel, link
from sensor.decode.messages import drain_address
from sensor.decode.pdu import PDU, Kind, Protocol
from sensor.decode.read import READERS, reader_address
from sensor.decode.state import EVENTS_OF_BATCH, MESSAGE, OCTET, PACKET, STATE
from sensor.decode.streams import irregular_address
from sensor.kernel_cache import VARIABLE, compiled_before
from sensor.records import untouched
from sensor.slow.reader import SlowReader
from sensor.view import EXPLAINERS

NOTHING = np.zeros(0, OCTET)


def _frames() -> None:
    """The pass over frames, given none, and the sweep of what was never answered."""
    state, messages, out = untouched(1, STATE), untouched(1, MESSAGE), untouched(1, OCTET)
    wide, narrow = np.zeros(0, np.int64), np.zeros(0, np.int32)
    kernel.walk(NOTHING, wide, wide, narrow, narrow, narrow, 1, 0, state, messages, out)
    kernel.flush(0, state, messages, out)
    exchange.sweep(state, 0)
    link.parse(NOTHING, np.int64(0), np.int32(0), np.int32(0), np.int32(1), untouched(1, PACKET)[0])


def _settle() -> None:
    """The pass that makes events, given no message."""
    pdus, events = untouched(1, PDU), untouched(1, EVENTS_OF_BATCH)
    exchange.settle(NOTHING, NOTHING, untouched(1, MESSAGE), 0, pdus, 0, untouched(1, STATE), events, 0)


# One message of each protocol, and more where one does not lead to every compiled function that explaining it calls.
EXPLAINED: tuple[tuple[Protocol, str], ...] = (
    (Protocol.MODBUS, "000100000006010300000001"),
    (Protocol.MODBUS_RTU, "010300000001840a"),
    (Protocol.S7COMM, "32010000000000080000f0000001000101e0"),
    (Protocol.S7COMM_PLUS, "7201000072010000"),
    (Protocol.DNP3, "c0050c0128010005000101640000006400000000"),  # g12v1, one object with its index
    (Protocol.DNP3, "056405c9010002003b95"),  # a link frame without user data
    (Protocol.IEC104, "680443000000"),
    (Protocol.ENIP, "630000000000000000000000000000000000000000000000"),
    (Protocol.OPCUA, "4d5347461c0000000100000001000000010000000100000001000000"),
    (Protocol.BACNET, "810b000c0120ffff00ff1008"),
    (Protocol.MMS, "0300001b02f08001000100610e300c020103a007a0050201018200"),  # identify
    (Protocol.GOOSE, "3001000e00000000610480024142"),
)


def _explaining() -> None:
    for protocol, message in EXPLAINED:
        EXPLAINERS[protocol][1](bytes.fromhex(message), Kind.REQUEST)


PARTS: dict[str, Callable[[], object]] = {  # the longest first
    "framing": drain_address,
    "frames": _frames,
    "irregular": irregular_address,
    "slow": SlowReader.compile_ahead,
    **{Protocol(number).name.lower(): partial(reader_address, number) for number in READERS},
    "settle": _settle,
}
COMMON = ("framing", "irregular", "frames")  # what every capture needs; a protocol's reader waits until it is met


def compile_ahead() -> None:
    """Compile, or load, all: on a live link frames wait while a compiler runs, and a confined process has none."""
    in_children(PARTS)
    for part in PARTS.values():
        part()
    _explaining()  # last: it calls what readers are made of


def in_children(parts: Iterable[str]) -> None:
    """Where nothing was compiled before and there are several cores, compile the parts side by side into the cache.

    A child that fails is not missed: what it should have compiled is compiled here when it is called.
    """
    cores = len(os.sched_getaffinity(0))
    if cores < 2 or INTERPRETED or VARIABLE not in os.environ or compiled_before():
        return
    command = [sys.executable, "-m", __spec__.name]
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda part: subprocess.run([*command, part], capture_output=True, check=False), parts))


if __name__ == "__main__":
    for part in sys.argv[1:]:
        PARTS[part]()
