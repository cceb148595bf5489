"""Station scan: one host asks behind one address for stations that are not there, one number after the other.

Catches Modbus units, DNP3 link addresses (those of masters too: outstations often obey one master address only) and IEC
104 common addresses that are asked a few times each and never answered, or only by the gateway that says so. Distinct
stations are counted over a day, not rates. A master that polls absent stations asks them again and again, and is passed
over. Works on behaviours that are new. Technique: T0846.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases, examples
from detectors.contract import Fresh, Scene, alike, ends
from detectors.finding import Finding
from detectors.keys import distinct
from sensor.decode.pdu import Outcome, Protocol, family
from sensor.events import EventBatch

ENOUGH = 8  # stations: a gateway with more of them off is rare, and asked for ever
ATTEMPTS = 3  # more requests to one station are polling
SETTLED_NS = 120 * 10**9  # an answer comes sooner, and so does a master's next request
MANY = 64  # stations: nobody polls so many that are absent, and there is no need to wait either
WINDOW_NS = 24 * 3600 * 10**9
MAX_PAIRS = 1024  # pairs of hosts followed; more at one time are left out
MAX_STATIONS = 4096  # remembered of each
NUMBERED = (Protocol.MODBUS, Protocol.MODBUS_RTU, Protocol.DNP3, Protocol.IEC104)
# Refusals by which a gateway says that there is no such station. Modbus V1.1b3, section 7: no path, no response; IEC
# 60870-5-101, 7.2.3: cause 46, unknown common address.
NOBODY_THERE = {Protocol.MODBUS: (0x0A, 0x0B), Protocol.MODBUS_RTU: (0x0A, 0x0B), Protocol.IEC104: (46,)}
LEAST_BROADCAST = {Protocol.DNP3: 0xFFF0, Protocol.IEC104: 0xFFFF}  # from here on nobody answers by number


class StationScan:
    """See the module."""

    name = "station_scan"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._cases = Cases()
        self._stations: dict[tuple[int, int, int], set[int]] = {}
        self._pending: dict[tuple[int, int, int], int] = {}  # pair -> when it was looked at, or asked for a new station
        self._told: dict[tuple[int, int, int], int] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        if self._pending:
            self._judge(scene, final=False)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene, final=True)
        return self._cases.say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Note the stations that are asked for the first time."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        b = b.compress((b["outcome"] == Outcome.ASKED) & (b["station"] >= 0) & np.isin(b["protocol"], NUMBERED))
        if not len(b):
            return
        client, server, protocol, station = (b[name] for name in ("client", "server", "protocol", "station"))
        for same in alike([client, server, protocol]):
            at = same[0]
            key = (int(client[at]), int(server[at]), int(protocol[at]))
            stations = self._stations.get(key)
            if stations is None:
                if len(self._stations) >= MAX_PAIRS:
                    continue
                stations = self._stations[key] = set()
            before = len(stations)
            if len(same) == 1 and before < MAX_STATIONS:
                stations.add(int(station[at]))
            elif before < MAX_STATIONS:
                stations.update(distinct(station[same])[: MAX_STATIONS - before].tolist())
            if len(stations) >= ENOUGH and len(stations) > before:
                self._pending.setdefault(key, int(b["first_ns"][same].max()))

    def _judge(self, scene: Scene, *, final: bool) -> None:
        due = [key for key, at in self._pending.items() if final or scene.now_ns - at >= SETTLED_NS]
        for key in due:
            del self._pending[key]
            self._tell(scene, key, final=final)

    def _tell(self, scene: Scene, key: tuple[int, int, int], *, final: bool) -> None:
        """A finding where enough of the stations of a pair were tried and are not there."""
        client, server, protocol = key
        table = scene.view.behaviours.table
        mine = np.flatnonzero(scene.view.behaviours.column("server") == server)
        mine = mine[(table["client"][mine] == client) & (table["protocol"][mine] == protocol)]
        b = table.take(mine)
        asked = b["outcome"] == Outcome.ASKED
        recent = asked & (b["last_ns"] >= scene.now_ns - WINDOW_NS)
        nobody = NOBODY_THERE.get(Protocol(protocol), ())
        told_off = (b["outcome"] == Outcome.REFUSED) & np.isin(b["status"], nobody)
        there = np.isin(b["outcome"], (Outcome.ANSWERED, Outcome.REFUSED)) & ~told_off
        answering = distinct(b["station"][there])
        stations, place = np.unique(b["station"][recent], return_inverse=True)
        attempts = np.bincount(place.reshape(-1), b["count"][recent], len(stations))
        absent = stations[(attempts <= ATTEMPTS) & ~np.isin(stations, answering)]
        if protocol in LEAST_BROADCAST:
            absent = absent[(absent & 0xFFFF) < LEAST_BROADCAST[Protocol(protocol)]]
        if not final and len(absent) < MANY:
            asked_ns = np.full(len(stations), np.iinfo(np.int64).min)
            np.maximum.at(asked_ns, place.reshape(-1), b["last_ns"][recent])
            settled = stations[asked_ns <= scene.now_ns - SETTLED_NS]
            if len(settled) < len(stations):
                self._pending[key] = scene.now_ns
            absent = absent[np.isin(absent, settled)]
        if len(absent) < ENOUGH or len(absent) <= len(answering):
            return
        rows = mine[recent & np.isin(b["station"], absent)]
        case = self._cases.case(
            scene,
            "scan.stations",
            key,
            protocol=family(protocol).name.lower(),
            **ends(scene.view.behaviours.describe(int(rows[0]))),
        )
        case.values = {"distinct": len(absent), "examples": examples(_shown(protocol, absent))}
        told = self._told.get(key, 0)
        self._told[key] = max(told, len(absent))
        case.problem.add(len(absent) - told, int(table["first_ns"][rows].min()), int(table["last_ns"][rows].max()))
        for row in rows[:100].tolist():
            frame = int(table["first_frame"][row])
            scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **scene.view.behaviours.describe(row)},))


def _shown(protocol: int, stations: npt.NDArray[Any]) -> list[str]:
    """Stations as the protocol writes them; of DNP3 the address of the master too."""
    if protocol != Protocol.DNP3:
        return [str(station) for station in stations.tolist()]
    return [f"{station >> 16}→{station & 0xFFFF}" for station in stations.tolist()]
