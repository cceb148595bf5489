"""Evasion: bytes sent so that a sensor and a device may read them differently.

Catches messages out of streams or datagrams that carry the same place twice with different bytes (every reading is
decoded, and none can be said to be the one that the device took), and messages that arrive in IP fragments, which the
devices' own stacks avoid. Blind to contradictions that leave no message in any reading: the counters of the decoder
have those. One problem for each sender, receiver and protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.contract import Scene, alike, ends
from detectors.finding import Finding
from detectors.problem import Problem
from sensor.decode.pdu import Anomaly
from sensor.events import EventBatch

MAX_PAIRS = 4096  # problems; messages of further pairs are counted as one for each protocol
TOLD = {"evasion.contradiction": Anomaly.OVERLAP, "evasion.fragments": Anomaly.FRAGMENTED}
_ANY = np.uint32(sum(int(bit) for bit in TOLD.values()))


class Evasion:
    """See the module."""

    name = "evasion"

    def __init__(self) -> None:
        self._rules = knowledge.detector_rules()
        self._problems: dict[tuple[object, ...], Problem] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        columns = batch.columns
        odd = np.flatnonzero(columns.anomalies & _ANY)
        for rule, bit in TOLD.items() if len(odd) else ():
            rows = odd[columns.anomalies[odd] & np.uint32(bit) != 0]
            for same in alike([columns.conversation[rows], columns.forward[rows], columns.protocol[rows]]):
                self._add(batch, scene, rule, rows[same])
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def _add(self, batch: EventBatch, scene: Scene, rule: str, rows: npt.NDArray[np.int64]) -> None:
        fields = scene.view.fields(batch, int(rows[0]))
        protocol, who = fields["network.protocol"], ends(fields)
        key: tuple[object, ...] = (rule, protocol, who["source_ip"], who["destination_ip"])
        if key not in self._problems and len(self._problems) >= MAX_PAIRS:
            key, who = (rule, protocol), ends({})
        if key not in self._problems:
            self._problems[key] = Problem(self._rules[rule], scene.exhibit(), protocol=protocol, **who)
            self._problems[key].values = {"protocol": protocol}
        times = batch.columns.ts_ns[rows]
        self._problems[key].add(len(rows), int(times.min()), int(times.max()))
        scene.show(self._problems[key].exhibit, batch, rows.tolist())

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for problem in self._problems.values():
            if problem.open and (final or problem.due(scene.now_ns)):
                yield problem.record(scene.now_ns, {})
