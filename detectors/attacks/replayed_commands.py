"""Replayed commands: recorded Modbus or S7 commands that are sent again in another connection, numbers and all.

A client counts its requests on; one that connects anew begins anew or goes on, but does not give the same commands the
same numbers once more, unless it always begins a session in the same way. Catches several commands in a row that have
number, function, place and value of commands which the device got before in another connection, in their order, at
another time after its beginning. Whoever sends them, the usual station's address included, plays a recording. Blind to
replays of few messages, to those of the first seconds of a connection, and to clients without numbers of their own.
Counts by columns; only the first commands of a connection are looked at one by one. Technique: T0855.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.keys import distinct
from detectors.roles import Roles
from sensor.decode.pdu import Kind, Outcome, Protocol, family
from sensor.events import EventBatch

ENOUGH = 4  # commands in a row: fewer have the same numbers by chance
PAST = 512  # commands to each device that are remembered: at any rate far less than a number takes to come round
MAX_DEVICES = 1024  # devices whose commands are remembered; more at one time are left out
LOOKED_AT = 64  # commands of each connection that are compared
MAX_TALKS = 4096  # connections followed; those that are silent longest make room
LATER_NS = 10 * 10**9  # after the beginning of its connection: what comes sooner may be how a client begins
NUMBERED = (Protocol.MODBUS, Protocol.S7COMM)
SAME = ("transaction", "function", "subfunction", "object", "quantity", "value", "station")


class _Past(NamedTuple):
    """Commands that a device got, oldest first: columns of one length. `age`: since their connection began, ns."""

    ts_ns: npt.NDArray[np.int64]
    talk: npt.NDArray[np.int64]  # number of the connection
    age_ns: npt.NDArray[np.int64]
    what: npt.NDArray[np.int64]  # (n, len(SAME))


class _Run:
    """How far the commands of one connection follow those of an earlier one."""

    def __init__(self) -> None:
        self.looked = self.length = self.told = 0
        self.talk, self.then_ns, self.number = -1, 0, -1
        self.rows: list[tuple[int, int, int]] = []  # behaviour, frame, time

    def breaks(self) -> None:
        """What came does not follow."""
        self.length, self.talk = 0, -1
        self.rows.clear()


class ReplayedCommands(CaseDetector):
    """See the module."""

    name = "replayed_commands"

    def __init__(self) -> None:
        super().__init__()
        self._fresh, self._roles, self._command = Fresh(), Roles(), Labels()
        self._any = False
        self._past: dict[int, _Past] = {}
        self._runs: dict[int, _Run] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)
        if self._any and batch.size:
            c = batch.columns
            rows = np.flatnonzero(self._command[c.behaviour] >= 0)
            if len(rows):
                server = scene.view.behaviours.table["server"][c.behaviour[rows]]
                for same in alike([server]):
                    self._follow(batch, rows[same], int(server[same[0]]), scene)

    def _learn(self, scene: Scene) -> None:
        """Find the commands among behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        asked = new[np.isin(b["protocol"], NUMBERED) & (b["kind"] == Kind.REQUEST) & (b["outcome"] == Outcome.ASKED)]
        for rows, _ in self._roles.commands(scene.view, asked):
            self._command[rows] = 0
            self._any = True

    def _follow(self, batch: EventBatch, rows: npt.NDArray[np.int64], server: int, scene: Scene) -> None:
        """Compare the commands to one device with its past, then remember them."""
        c = batch.columns
        talks = scene.view.conversations
        number, begun = talks["number"][c.conversation[rows]], talks["first_ns"][c.conversation[rows]]
        now = _Past(
            c.ts_ns[rows], number.astype(np.int64), c.ts_ns[rows] - begun,
            np.stack([getattr(c, name)[rows].astype(np.int64) for name in SAME], 1),
        )  # fmt: skip
        before = self._past.get(server)
        if before is None and len(self._past) >= MAX_DEVICES:
            return
        for talk in distinct(now.talk).tolist():
            mine = np.flatnonzero(now.talk == talk)
            run = self._run(talk)
            fresh = mine[: max(LOOKED_AT - run.looked, 0)]
            run.looked += len(fresh)
            for at in fresh.tolist():
                self._compare(batch, int(rows[at]), now, at, before, run, scene)
        joined = now if before is None else _Past(*(np.concatenate(pair) for pair in zip(before, now, strict=True)))
        self._past[server] = _Past(*(column[-PAST:].copy() for column in joined))

    def _run(self, talk: int) -> _Run:
        run = self._runs.pop(talk, None) or _Run()
        while len(self._runs) >= MAX_TALKS:
            del self._runs[next(iter(self._runs))]
        self._runs[talk] = run
        return run

    def _compare(
        self, batch: EventBatch, row: int, now: _Past, at: int, before: _Past | None, run: _Run, scene: Scene
    ) -> None:
        """Whether a command follows the one before in a recording."""
        pasts = [before] if before is not None else []
        pasts.append(_Past(*(column[:at] for column in now)))
        for past in reversed(pasts):
            like = (past.what == now.what[at]).all(axis=1) & (past.talk != now.talk[at])
            like &= (past.age_ns >= LATER_NS) & (past.age_ns > 2 * now.age_ns[at])
            if run.length:
                like &= (past.talk == run.talk) & (past.ts_ns > run.then_ns)
            found = np.flatnonzero(like)
            if len(found):
                break
        number = int(now.what[at, 0])
        if not len(found) or (run.length and not 0 < (number - run.number) % 0x10000 < 0x8000):
            run.breaks()
            return
        place = int(found[0]) if run.length else int(found[-1])
        run.length, run.talk, run.then_ns, run.number = (
            run.length + 1, int(past.talk[place]), int(past.ts_ns[place]), number,
        )  # fmt: skip
        c = batch.columns
        run.rows.append((int(c.behaviour[row]), int(c.frame[row]), int(c.ts_ns[row])))
        if run.length >= ENOUGH:
            self._tell(scene, run)

    def _tell(self, scene: Scene, run: _Run) -> None:
        behaviour, _, _ = run.rows[0]
        b: Any = scene.view.behaviours.table[behaviour]
        key = (int(b.client), int(b.server), int(b.protocol), int(b.station))
        case = self._cases.case(
            scene, "replay.commands", key, protocol=family(key[2]).name.lower(),
            **ends(scene.view.behaviours.describe(behaviour)), station=station_of(key[2], key[3]),
        )  # fmt: skip
        case.values = {"seconds": (run.rows[-1][2] - run.then_ns) // 10**9}
        times = [at for _, _, at in run.rows]
        case.problem.add(len(times), min(times), max(times))
        for one, frame, _ in run.rows:
            scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **scene.view.behaviours.describe(one)},))
        run.rows.clear()
