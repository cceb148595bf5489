"""Learning from captures: what `fenghuo baseline learn` does."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.baseline.book import Baseline
from detectors.baseline.learner import Learner
from detectors.pipeline import Pipeline
from detectors.wording import safe
from sensor.capture.ahead import ahead
from sensor.capture.source import open_capture
from sensor.progress import watched


def learn_captures(paths: Sequence[str], known: Baseline | None = None) -> Baseline:
    """What captures show, each by itself, added to `known`. CaptureError where one cannot be opened."""
    learned = Baseline() if known is None else known
    for capture in [open_capture(path) for path in paths]:
        learner = Learner(learned.merge, source=safe(capture.path))
        for _ in Pipeline(detectors=[learner]).run(ahead(watched(capture, capture.path))):
            pass
    return learned
