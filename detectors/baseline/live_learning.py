"""Learning on a live link: for so many hours, into a file, across restarts of the decoder; then nothing more.

What is learned so far is on disk every SAVE_NS, so that a sensor that is ended loses little; a file that is there
already is added to. Dangerous operations are told while learning like at any time, marked as seen while learning.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from detectors.baseline.book import Baseline
from detectors.baseline.learner import Learner
from detectors.baseline.store import read, save
from detectors.contract import Scene
from detectors.finding import Finding
from sensor.events import EventBatch

log = logging.getLogger(__name__)

SAVE_NS = 600 * 10**9
HOUR_NS = 3600 * 10**9


class LiveLearning:
    """What all pipelines of a live run learn together, from `begun_ns` on for `length_ns` of capture time.

    past: what was learned before. keep: writes what is learned so far; OSError where it cannot. say: told once when the
    time is over.
    """

    def __init__(
        self,
        past: Baseline,
        length_ns: int,
        keep: Callable[[Baseline], None],
        say: Callable[[str], None] = log.info,
        begun_ns: int = -1,
    ) -> None:
        self.past, self.length_ns, self._keep, self._say = past, length_ns, keep, say
        self.begun_ns = self._saved_ns = begun_ns
        self.path: Path | None = None
        self.active = True

    @classmethod
    def into(cls, path: Path, hours: float, say: Callable[[str], None] = log.info) -> LiveLearning:
        """Learning into a file. ContentError where the file is there and cannot be read."""
        past = read(path)[0] if path.exists() else Baseline()
        made = cls(past, int(hours * HOUR_NS), lambda learned: save(path, learned), say)
        made.path = path
        return made

    def detector(self) -> LiveLearner:
        """The learner of one pipeline."""
        return LiveLearner(self)

    def tick(self, learner: Learner, scene: Scene, *, final: bool) -> None:
        """Save what was learned where it is time to; final: this pipeline ends."""
        if not self.active or scene.now_ns < 0:
            return
        if self.begun_ns < 0:
            self.begun_ns = self._saved_ns = scene.now_ns
        over = scene.now_ns - self.begun_ns >= self.length_ns
        if not (over or final or scene.now_ns - self._saved_ns >= SAVE_NS):
            return
        self._saved_ns = scene.now_ns
        learned = copy.deepcopy(self.past)
        learned.merge(learner.learned(scene))
        if final:
            self.past = learned
        self.active = not over
        try:
            self._keep(learned)
        except OSError as error:  # the next time may do
            self.active = True
            self._say(f"what was learned cannot be written: {error.strerror or error}")
            return
        if over:
            self._say(
                f"learned {len(learned)} lines; read them (fenghuo baseline report), approve them"
                " (fenghuo baseline approve), then start the sensor without --learn"
            )


class LiveLearner:
    """See LiveLearning."""

    name = "live_learner"

    def __init__(self, learning: LiveLearning) -> None:
        self._learning = learning
        self._learner = Learner(lambda _: None, "live")

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if self._learning.active:
            self._learner.observe(batch, scene)
            self._learning.tick(self._learner, scene, final=False)
        return ()

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learning.tick(self._learner, scene, final=True)
        return ()
