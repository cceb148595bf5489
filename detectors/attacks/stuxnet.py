"""Stuxnet: system data blocks looked through, cyclic blocks replaced, a data block probed as a mark of infection.

The wire of an S7 controller showed three things (Falliere, O Murchu, Chien: W32.Stuxnet Dossier, 2011, "Modifying
PLCs"): SDBs enumerated, OB1 or OB35 written with a prologue of the worm's, and DB890 read every five minutes by its
monitoring thread. Each alone is engineering or nothing; catches DB890 read by a host that did one of the others, or
read in that rhythm. Blind to variants with other block numbers. Describes block requests only. Techniques: T0889,
T0821, T0868.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detectors.attacks.cases import Cases
from detectors.contract import Fresh, Scene, ends
from detectors.finding import Finding, Severity, Text
from sensor.decode.pdu import Outcome, Protocol
from sensor.events import EventBatch

PROBED_DB = 890
CYCLIC = ("OB1", "OB35")
READ, DOWNLOAD = 0x04, 0x1A
BLOCK_LIST, BLOCK_INFO = 3 << 8 | 2, 3 << 8 | 3
RHYTHM_NS = (240 * 10**9, 360 * 10**9)  # between probes, on average
PROBES = 3
MAX_DESCRIBED = 4096  # block requests of a run that are read
MAX_PAIRS = 1024
DATA_BLOCKS = 0x84  # memory area


class _Pair:
    """A host and a controller: behaviours of each kind."""

    def __init__(self) -> None:
        self.probes: list[int] = []
        self.replaced: list[int] = []
        self.looked: list[int] = []
        self.told = 0


class Stuxnet:
    """See the module."""

    name = "stuxnet"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._described = 0
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene)
        return self._cases.say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Sort behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table[new[0] :]  # a view: a flood of behaviours is not copied
        asked = (b["protocol"] == Protocol.S7COMM) & (b["outcome"] == Outcome.ASKED)
        target = b["object"] >> 32
        probe = asked & (b["function"] == READ) & (target == DATA_BLOCKS << 16 | PROBED_DB)
        block = asked & ((b["function"] == DOWNLOAD) | np.isin(b["subfunction"], (BLOCK_LIST, BLOCK_INFO)))
        for row in new[probe].tolist():
            if (pair := self._pair(table[row])) is not None and len(pair.probes) < MAX_PAIRS:
                pair.probes.append(row)
        for row in new[block][: max(MAX_DESCRIBED - self._described, 0)].tolist():
            self._described += 1
            fields = scene.view.behaviours.describe(row)
            pair = self._pair(table[row])
            if pair is None:
                continue
            if table["function"][row] == DOWNLOAD:
                if fields.get("s7comm.block") in CYCLIC:
                    pair.replaced.append(row)
            elif fields.get("s7comm.block_type") == "SDB":
                pair.looked.append(row)

    def _pair(self, b: np.void) -> _Pair | None:
        key = (int(b["client"]), int(b["server"]))
        if key not in self._pairs and len(self._pairs) >= MAX_PAIRS:
            return None
        return self._pairs.setdefault(key, _Pair())

    def _judge(self, scene: Scene) -> None:
        table = scene.view.behaviours.table
        for key, pair in self._pairs.items():
            if not pair.probes:
                continue
            probes = table[pair.probes]
            count = int(probes["count"].sum())
            span_ns = int(probes["last_ns"].max()) - int(probes["first_ns"].min())
            rhythmic = count >= PROBES and RHYTHM_NS[0] <= span_ns / (count - 1) <= RHYTHM_NS[1]
            marks = bool(pair.looked) + bool(pair.replaced) + rhythmic
            if not marks or count <= pair.told:
                continue
            case = self._cases.case(
                scene, "malware.stuxnet", key, protocol="s7comm", **ends(scene.view.behaviours.describe(pair.probes[0]))
            )
            case.severity = Severity.CRITICAL if pair.replaced else Severity.MEDIUM if marks == 1 else Severity.HIGH
            seen = [("逐个查询过系统数据块", "looked through its system data blocks")] * bool(pair.looked)
            seen += [("替换了 OB1 或 OB35", "replaced OB1 or OB35")] * bool(pair.replaced)
            seen += [("约每五分钟读一次", "did so about every five minutes")] * rhythmic
            case.values = {"seen": Text("，".join(zh for zh, _ in seen), " and ".join(en for _, en in seen))}
            case.problem.add(count - pair.told, int(probes["first_ns"].min()), int(probes["last_ns"].max()))
            pair.told = count
            for row in (*pair.looked[:5], *pair.replaced[:5], *pair.probes[:5]):
                frame = int(table["first_frame"][row])
                scene.show_frame(
                    case.problem.exhibit, frame, ({"frame": frame, **scene.view.behaviours.describe(row)},)
                )
