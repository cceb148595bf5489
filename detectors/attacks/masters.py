"""Masters: a second master for a device that had one, in protocols in which a device has one.

Catches, for DNP3 and IEC 60870-5-104, a host that gets answers or reports from an outstation which until then spoke
with another host only (`master.second`), and says whether it uses that one's DNP3 master address. Both masters of a
redundant pair that are there from the beginning are no finding. That one takes over when the first has fallen silent is
a low matter, as is one of a device that was met now and then only. Modbus and S7 devices commonly have several clients:
who writes to them is judged by new_writer.py. Blind to a second master that uses the network address of the first.
Technique: T0848.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.attacks.cases import Case, CaseDetector
from detectors.attendance import fell_silent, steadily_met
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Severity, Text
from sensor.decode.pdu import Outcome, Protocol
from sensor.events import EventBatch

LEARN_NS = 120 * 10**9  # masters that begin within this time of each other belong to the device
ENOUGH = 3  # answers and reports to a host before it counts as a master: a scanner gets one
MAX_PAIRS = 4096  # pairs of device and host followed; more at one time are left out
PROTOCOLS = (Protocol.DNP3, Protocol.IEC104)
SPOKEN = (Outcome.ANSWERED, Outcome.UNSOLICITED)

Device = tuple[int, int]  # row of the host table, protocol


class _Pair:
    """A device and a host that it speaks with."""

    def __init__(self, device: Device, host: int, row: int) -> None:
        self.device, self.host, self.row = device, host, row
        self.addresses: set[int] = set()  # master addresses (DNP3)
        self.count = 0
        self.since_ns: int | None = None  # when it became a master
        self.before: _Pair | None = None  # the master that was there first, where this is a second one


class Masters(CaseDetector):
    """See the module."""

    name = "masters"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._pairs: list[_Pair] = []
        self._index: dict[tuple[int, ...], int] = {}
        self._pair_of = Labels()
        self._watched = np.zeros(MAX_PAIRS, np.bool_)  # pairs that are no master yet, or a second one
        self._first: dict[Device, _Pair] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)
        if self._watched[: len(self._pairs)].any():
            self._count(batch, scene)

    def _learn(self, scene: Scene) -> None:
        """Give behaviours in which a device speaks their pair."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        new = new[np.isin(b["protocol"], PROTOCOLS) & np.isin(b["outcome"], SPOKEN)]
        b = table.take(new)
        for same in alike([b["server"], b["client"], b["protocol"], b["station"]]) if len(new) else ():
            row = int(new[same[0]])
            one = table[row]
            key = (int(one.server), int(one.client), int(one.protocol))
            if key not in self._index:
                if len(self._pairs) >= MAX_PAIRS:
                    continue
                self._index[key] = len(self._pairs)
                self._watched[len(self._pairs)] = True
                self._pairs.append(_Pair((key[0], key[2]), key[1], row))
            number = self._index[key]
            self._pair_of[new[same]] = number
            addresses = self._pairs[number].addresses
            if one.protocol == Protocol.DNP3 and len(addresses) < MAX_PAIRS:
                addresses.add(int(one.station) >> 16)

    def _count(self, batch: EventBatch, scene: Scene) -> None:
        pair = self._pair_of[batch.columns.behaviour]
        rows = np.flatnonzero((pair >= 0) & self._watched[pair])
        spoken = [rows[same] for same in alike([pair[rows]])] if len(rows) else []
        begun = []
        for mine in spoken:
            it = self._pairs[int(pair[mine[0]])]
            if it.since_ns is None:
                need, it.count = ENOUGH - it.count, it.count + len(mine)
                if it.count >= ENOUGH:
                    it.since_ns = int(batch.columns.ts_ns[mine[need - 1]])
                    begun.append((it.since_ns, int(pair[mine[0]])))
        for _, number in sorted(begun):  # in the order of time, not of the table
            self._judge(self._pairs[number])
            self._watched[number] = self._pairs[number].before is not None
        for rows in spoken:
            it = self._pairs[int(pair[rows[0]])]
            if it.before is not None and it.since_ns is not None:
                mine = rows[batch.columns.ts_ns[rows] >= it.since_ns]
                times = batch.columns.ts_ns[mine]
                case = self._case(scene, it, it.before)
                case.problem.add(len(mine), int(times.min()), int(times.max()))
                scene.show(case.problem.exhibit, batch, mine.tolist())

    def _judge(self, it: _Pair) -> None:
        """Whether a new master is the device's first or a second one."""
        first = self._first.setdefault(it.device, it)
        if first is not it and abs((it.since_ns or 0) - (first.since_ns or 0)) >= LEARN_NS:
            it.before = first

    def _case(self, scene: Scene, it: _Pair, before: _Pair) -> Case:
        view = scene.view
        b: Any = view.behaviours.table[it.row]
        case = self._cases.case(
            scene,
            "master.second",
            (it.device, it.host),
            protocol=Protocol(it.device[1]).name.lower(),
            **ends(view.behaviours.describe(it.row)),
            station=station_of(int(b.protocol), int(b.station)),
        )
        case.values = {"other": view.host(before.host), "seen": None}
        if shared := it.addresses & before.addresses:
            address = min(shared)
            case.values["seen"] = Text(f"并冒用其主站链路地址 {address}", f"under its master address {address}")
        case.severity = Severity.LOW if self._expected(scene, it, before) else None
        return case

    def _expected(self, scene: Scene, it: _Pair, before: _Pair) -> bool:
        """Whether there is an ordinary reason: a standby took over, or too little was seen of the first master."""
        device, since_ns = it.device[0], it.since_ns or 0
        if not steadily_met(scene.view, device, since_ns, before.host):
            return True
        return fell_silent(scene.view, before.host, device, since_ns, scene.now_ns)
