"""Blind writer: a host that changes a device without ever looking at it; what detectors/new_writer.py asks of a writer.

An operator's station shows what it controls, so it reads far more than it writes, and a person does not press a button
twice within milliseconds. Who sends nothing but writes, or reads one place only to write it back at once, is a script,
or a tool in wrong hands. This needs no learning: it holds in a capture of one second as well. Controllers that put
values into each other do write without reading, but in a steady rhythm; they are left alone. Blind to an attacker who
first polls like a station, and to protocols in which devices report unasked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from detectors.finding import Severity, Text
from detectors.roles import COMMANDING, Roles
from sensor.decode.pdu import NO_VALUE, Kind, Protocol, family
from sensor.operations import Verb
from sensor.view import View

AT_ONCE_NS = 20 * 10**6  # no person changes a value twice, or answers what is displayed, in so short a time
STEADY = 5  # writes, from which on a rhythm can be told
JITTER = 0.3  # how far a gap may be from the median and still belong to the rhythm
IN_RHYTHM = 0.7  # share of the gaps that must: connections break, and captures lose frames
FASTEST_CYCLE_NS = 50 * 10**6  # what comes faster than that is no cyclic exchange between controllers but a flood
FEW = 3  # writes; who reads and writes back more often than that is an application at its work
MAX_ROWS = 256  # behaviours between two hosts; whoever has more does not only write
ASKERS_READ = (Protocol.MODBUS, Protocol.MODBUS_RTU, Protocol.S7COMM)  # in which whoever controls polls
CHANGING = frozenset({Verb.WRITE, Verb.COMMAND})  # the process; what engineering does is named by itself
BITS = (1, 2, 5, 15)  # functions of Modbus on coils and discrete inputs (V1.1b3, 6); the others are on registers
READ_WRITE = (int(Protocol.MODBUS), 23)  # read/write multiple registers (V1.1b3, 6.17) looks as well

Write = tuple[int, int, int]  # capture time in ns, behaviour, value


class Blind(NamedTuple):
    """What is odd about a writer. rule: id of the claim; seen: how it shows, None where only the writes are known."""

    rule: str
    severity: Severity
    seen: Text | None


def blind(view: View, roles: Roles, client: int, server: int, writes: Sequence[Write]) -> Blind | None:
    """Whether a host only writes to a device, and in no steady rhythm; None if it is a station like any other.

    client, server: rows of the host table. writes: its first ones, in order.
    """
    table = view.behaviours.table
    if steady([time for time, _, _ in writes]):
        return None
    rows = np.flatnonzero(view.behaviours.column("server") == server)
    rows = rows[table["client"][rows] == client]
    rows = rows[(table["kind"][rows] == Kind.REQUEST) | (table["asked"][rows] < 0)]
    if len(rows) > MAX_ROWS:
        return None
    verbs = {row: roles.verb(view, row) for row in rows.tolist()}
    written = [row for row, verb in verbs.items() if verb in CHANGING]
    looked = [row for row, verb in verbs.items() if verb not in COMMANDING and verb not in (Verb.SESSION, None)]
    places = {_place(table, row) for row in written if int(table["object"][row]) >= 0}
    elsewhere = any(_place(table, row) not in places for row in looked)
    both = any((int(b.protocol), int(b.function)) == READ_WRITE for b in table.take(written))
    if not written or elsewhere or both or (looked and len(writes) > FEW):
        return None
    if twice(writes):
        seen = Text("几毫秒内对同一位置先后写入不同的值", "it wrote different values to one place within milliseconds")
        return Blind("writer.scripted", Severity.MEDIUM, seen)
    if looked:
        if not _written_back(table, written, looked):
            return None
        seen = Text("读出一个值后几毫秒内就改写回去", "it read a value and wrote it back within milliseconds")
        return Blind("writer.scripted", Severity.MEDIUM, seen)
    if _read_by_others(view, roles, client, server):
        return Blind(
            "writer.blind", Severity.MEDIUM, Text("而另有主机在轮询该设备", "while another host polls the device")
        )
    return Blind("writer.blind", Severity.LOW, None)


def _place(table: Any, row: int) -> tuple[int, bool]:
    """What a behaviour reads or writes: coils and registers of Modbus share their numbers."""
    b = table[row]
    bits = family(int(b.protocol)) == Protocol.MODBUS and int(b.function) in BITS
    return int(b.object), bits


def _written_back(table: Any, written: Iterable[int], looked: Sequence[int]) -> bool:
    """Whether a place was written at once after it had been read."""
    return any(
        _place(table, read) == _place(table, write)
        and 0 < table["first_ns"][write] - table["first_ns"][read] <= AT_ONCE_NS
        for read in looked
        for write in written
    )


def _read_by_others(view: View, roles: Roles, client: int, server: int) -> bool:
    """Whether other hosts read the device."""
    table = view.behaviours.table
    others = (table["server"] == server) & (table["client"] != client) & (table["kind"] == Kind.REQUEST)
    return any(roles.verb(view, row) == Verb.READ for row in np.flatnonzero(others)[:MAX_ROWS].tolist())


def steady(times: Sequence[int]) -> bool:
    """Whether events come in a rhythm, as cyclic exchange between controllers does. times: ns, in order."""
    gaps = np.diff(np.array(times, np.float64))
    if len(times) < STEADY or (period := float(np.median(gaps))) < FASTEST_CYCLE_NS:
        return False
    return bool(np.mean(np.abs(gaps - period) <= JITTER * period) >= IN_RHYTHM)


def twice(writes: Iterable[Write]) -> bool:
    """Whether one place got two different values at once."""
    latest: dict[int, tuple[int, int]] = {}
    for time, behaviour, value in writes:
        before = latest.get(behaviour)
        latest[behaviour] = (time, value)
        if before is None or NO_VALUE in (value, before[1]):
            continue
        if value != before[1] and 0 <= time - before[0] <= AT_ONCE_NS:
            return True
    return False
