"""Samples of rules through the real decoder and detectors: what each of them gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from detectors.content import ContentError
from detectors.correlations import Correlations
from detectors.finding import Finding
from detectors.operations import Operations
from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import RuleSet
from detectors.sigma.sample_frames import frames, number_of
from detectors.sigma.samples import Sample
from sensor.capture.frames import FrameBatch
from sensor.capture.source import CaptureError, open_capture

MAX_TOGETHER = 400  # samples run at once, so that no cap of a detector is reached


def findings(frames_: Iterable[FrameBatch], rules: RuleSet) -> Iterator[Finding]:
    """What the rules alone find: no other detectors, and nothing folded into operations of several steps."""
    pipeline = Pipeline(Options(rules=rules), [Operations(rules), Correlations(rules)])
    pipeline.engineering = None
    return pipeline.run(frames_)


def told(rules: RuleSet) -> list[str]:
    """The names of the rules that make findings; others only serve a correlation and are shown by its samples."""
    return sorted(rule.id for rule in rules.rules if rule.generate) + sorted(rule.id for rule in rules.correlations)


def run(samples: Sequence[Sample], rules: RuleSet) -> list[set[str]]:
    """The names of the rules that are found in each sample; ContentError for a capture that cannot be read."""
    found: list[set[str]] = [set() for _ in samples]
    written = [number for number, sample in enumerate(samples) if sample.capture is None]
    for begin in range(0, len(written), MAX_TOGETHER):
        some = written[begin : begin + MAX_TOGETHER]
        for finding in findings([frames(samples[number] for number in some)], rules):
            at = max(number_of(finding.source_ip), number_of(finding.destination_ip))
            if 0 <= at < len(some):
                found[some[at]].add(finding.rule_id)
    for number, sample in enumerate(samples):
        if sample.capture is not None:
            found[number] = {finding.rule_id for finding in findings(_captured(sample), rules)}
    return found


def _captured(sample: Sample) -> Iterator[FrameBatch]:
    assert sample.capture is not None
    try:
        yield from open_capture(sample.capture)
    except CaptureError as error:
        raise ContentError(sample.path, sample.line, str(error)) from None


def verdict(sample: Sample, found: set[str]) -> str:
    """What is wrong with what a sample gave, "" if nothing is."""
    if sample.matches == (sample.rule in found):
        return ""
    others = ", ".join(sorted(found)) or "no rule at all"
    if sample.matches:
        return f"{sample.path}:{sample.line}: {sample.rule} must match {sample.title!r}, which gives {others}"
    return f"{sample.path}:{sample.line}: {sample.rule} must not match {sample.title!r}"
