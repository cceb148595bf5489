"""Counting distinct things that one asker was refused: what function scan and point scan have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding
from detectors.problem import Problem
from detectors.wording import MAX_LISTED
from sensor.decode.pdu import Anomaly, Outcome, family
from sensor.events import EventBatch

MAX_PAIRS = 4096  # askers and devices followed at one time; a flood beyond is followed as one
MAX_DISTINCT = 65536  # distinct things remembered for one pair, the size of an address space; more count as one


class Refusal(NamedTuple):
    """A behaviour that may belong to a scan. unknown: the standard does not define the function code that was asked."""

    protocol: int
    function: int
    subfunction: int
    object: int
    detail: int
    status: int
    unknown: bool


_COLUMNS = ("function", "subfunction", "object", "detail", "status")


class _Pair:
    """What one asker tried on one device."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.seen: dict[Hashable, tuple[int, Refusal]] = {}  # thing -> (first seen, how)
        self.found = False


class Scans:
    """Follows pairs of asker and device. The first record goes out when `enough` distinct things lie in `window_ns`."""

    def __init__(
        self,
        rule_id: str,
        *,
        enough: int,
        window_ns: int,
        counts: Callable[[Refusal], bool],
        what: Callable[[Refusal], Hashable],
        shown: Callable[[Refusal], str],
    ) -> None:
        """What is counted.

        counts: whether a refusal belongs to this scan, by its protocol, status and `unknown` alone. what: the thing
        that must be distinct. shown: it in words.
        """
        self._rule = knowledge.detector_rules()[rule_id]
        self._enough, self._window_ns = enough, window_ns
        self._counts, self._what, self._shown = counts, what, shown
        self._fresh = Fresh()
        self._pairs: list[_Pair] = []
        self._index: dict[tuple[int, ...], int] = {}
        self._pair_of = Labels()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """Follow new refusals, count all of them, say what is due."""
        self._learn(scene)
        if not self._pairs:
            return
        pair = self._pair_of[batch.columns.behaviour]
        rows = np.flatnonzero(pair >= 0)
        for same in alike([pair[rows]]):
            mine = rows[same]
            it = self._pairs[int(pair[mine[0]])]
            times = batch.columns.ts_ns[mine]
            it.problem.add(len(mine), int(times.min()), int(times.max()))
            scene.show(it.problem.exhibit, batch, mine.tolist())
        yield from self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """Say what remains."""
        yield from self._say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Look at behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table[new[0] :]  # a view: a flood of behaviours is not copied
        asked = (b["outcome"] == Outcome.ASKED) & ((b["anomalies"] & Anomaly.UNKNOWN_FUNCTION) != 0)
        rows = np.flatnonzero(asked | (b["outcome"] == Outcome.REFUSED))
        if not len(rows):
            return
        b = b[rows]
        mine = self._counted(b)
        b, rows = b[mine], new[rows[mine]]
        for same in alike([b["client"], b["server"], b["protocol"], b["station"]]) if len(rows) else ():
            number = self._pair(scene, int(rows[same[0]]))
            self._pair_of[rows[same]] = number
            it = self._pairs[number]
            if len(it.seen) >= MAX_DISTINCT and it.found:
                continue  # more are only counted
            protocol = family(int(b["protocol"][same[0]]))
            unknown = (b["outcome"][same] == Outcome.ASKED).tolist()
            first_ns = b["first_ns"][same].tolist()
            function, subfunction, thing, detail, status = (b[name][same].tolist() for name in _COLUMNS)
            for at, now_ns in enumerate(first_ns):
                refusal = Refusal(
                    protocol, function[at], subfunction[at], thing[at], detail[at], status[at], unknown[at]
                )
                self._note(it, refusal, now_ns)

    def _counted(self, b: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        """Which behaviours belong to this scan: protocol, status and outcome decide, so one of each is asked about."""
        counted = np.zeros(len(b), np.bool_)
        for same in alike([b["protocol"], b["status"], b["outcome"]]):
            one = b[same[0]]
            counted[same] = self._counts(
                Refusal(family(int(one.protocol)), -1, -1, -1, 0, int(one.status), one.outcome == Outcome.ASKED)
            )
        return counted

    def _pair(self, scene: Scene, row: int) -> int:
        """Number of the pair that a behaviour belongs to."""
        b = scene.view.behaviours.table[row]
        key = (int(b.client), int(b.server), int(b.protocol), int(b.station))
        if key not in self._index and len(self._index) >= MAX_PAIRS:
            key = (-1, -1, int(b.protocol), -1)
        if key not in self._index:
            fields = scene.view.behaviours.describe(row) if key[0] >= 0 else {}
            self._index[key] = len(self._pairs)
            self._pairs.append(
                _Pair(
                    Problem(
                        self._rule,
                        scene.exhibit(),
                        protocol=family(int(b.protocol)).name.lower(),
                        **ends(fields),
                        station=station_of(int(b.protocol), key[3]),
                    )
                )
            )
        return self._index[key]

    def _note(self, it: _Pair, refusal: Refusal, now_ns: int) -> None:
        """Remember a thing that was tried; forget what lies before the window as long as it makes no scan."""
        thing = self._what(refusal)
        if thing not in it.seen and len(it.seen) < MAX_DISTINCT:
            it.seen[thing] = (now_ns, refusal)
        if not it.found and len(it.seen) >= self._enough:
            it.seen = {thing: at for thing, at in it.seen.items() if now_ns - at[0] <= self._window_ns}
            it.found = len(it.seen) >= self._enough

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for it in self._pairs:
            if it.found and it.problem.open and (final or it.problem.due(scene.now_ns)):
                examples = [self._shown(refusal) for _, refusal in islice(it.seen.values(), MAX_LISTED + 1)]
                values = {"distinct": len(it.seen), "examples": ", ".join(examples[:MAX_LISTED])}
                if len(examples) > MAX_LISTED:
                    values["examples"] = f"{values['examples']}, …"
                yield it.problem.record(scene.now_ns, values)
