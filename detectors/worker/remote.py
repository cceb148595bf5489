"""What a worker asks the sensor to do, for it may not do it itself: keep an artifact, start YARA, cut frames, save.

Each stands in for a part of the pipeline and has its manners; `services.py` is the other end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from detectors.baseline.book import Baseline
from detectors.baseline.live_learning import LiveLearning
from detectors.baseline.store import dump
from detectors.carving.artifact import Artifact
from detectors.carving.store import History
from detectors.worker.channel import Message
from detectors.worker.codec import packed_artifact
from detectors.worker.setup import Learning
from detectors.yara_jail import Verdict
from sensor.capture.write import Frame

LOOK_S = 0.05  # between two looks for verdicts, where they are waited for

Ask = Callable[[str, Mapping[str, Any], bytes], Message]


class RemoteStore:
    """See detectors/carving/store.py, Store."""

    def __init__(self, ask: Ask, history: History) -> None:
        self._ask = ask
        self.history = history
        self.refused = 0

    def keep(self, artifact: Artifact) -> None:
        """Let an artifact and its line of history be written."""
        reply = self._ask("keep", *packed_artifact(artifact)).json
        if "error" in reply:
            raise OSError(str(reply["error"]))
        self.refused = int(reply["refused"])


class RemoteJail:
    """See detectors/yara_jail.py, Jail."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting = 0

    def submit(self, ticket: int, externals: Mapping[str, Any], data: bytes) -> bool:
        """Let an artifact be looked into; False where too many wait."""
        taken = bool(self._ask("scan", {"ticket": ticket, "externals": dict(externals)}, data).json["taken"])
        self._waiting += taken
        return taken

    def verdicts(self, wait_s: float = 0.0) -> list[Verdict]:
        """What is done; waits at most so long for all that was submitted."""
        found: list[Verdict] = []
        deadline = time.monotonic() + wait_s
        while True:
            for it in self._ask("verdicts", {}, b"").json["verdicts"]:
                matches = tuple((rule, tuple((name, at) for name, at in places)) for rule, places in it["matches"])
                found.append(Verdict(it["ticket"], matches, it["more"], it["failure"]))
                self._waiting -= 1
            if not self._waiting or time.monotonic() >= deadline:
                return found
            time.sleep(LOOK_S)

    def close(self) -> None:
        """The process is the sensor's and stays."""


class RemoteRing:
    """The raw frames that the sensor keeps on disk."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def cut(self, numbers: Iterable[int]) -> dict[int, tuple[int, Frame]]:
        """See FrameRing."""
        reply = self._ask("cut", {"numbers": list(numbers)}, b"")
        found: dict[int, tuple[int, Frame]] = {}
        at = 0
        for number, link, ts_ns, size, wire in reply.json["frames"]:
            found[number] = link, Frame(ts_ns, reply.octets[at : at + size], wire)
            at += size
        return found


class RemoteLearning(LiveLearning):
    """What is learned, saved by the sensor."""

    def __init__(self, ask: Ask, learning: Learning, say: Callable[[str], None]) -> None:
        self._ask = ask
        super().__init__(learning.learned, learning.length_ns, self._send, say, learning.begun_ns)

    def _send(self, learned: Baseline) -> None:
        content = {"begun_ns": self.begun_ns, "over": not self.active}
        reply = self._ask("learned", content, dump(learned) + b"\n").json
        if "error" in reply:
            raise OSError(str(reply["error"]))
