"""What `fenghuo inspect` does: captures in, findings out, nothing stored."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from detectors.finding import Finding, FindingId, to_dict
from detectors.pipeline import Options, Pipeline, merge
from detectors.report import Report, language
from sensor.capture.ahead import ahead
from sensor.capture.frames import FrameBatch
from sensor.capture.source import Capture, CaptureError, open_capture
from sensor.capture.together import Together
from sensor.progress import watched

SENSOR, EPOCH = "inspect", 0  # in finding.id: nothing is stored, so nothing can be acknowledged


class _Lines:
    """Findings as JSON lines, numbered through the call."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._sequence = out, 0

    def findings(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._sequence += 1
            line = to_dict(finding, FindingId(SENSOR, EPOCH, self._sequence))
            self._out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def inspect_captures(
    paths: Sequence[str],
    *,
    form: str,
    lang: str | None,
    together: bool,
    complain: Callable[[object], None],
    out: TextIO | None = None,
    options: Options | None = None,
) -> int:
    """Inspect captures one after the other, or `together` as one stream of time; the exit code.

    form: "text" or "jsonl". lang: "zh", "en" or None for the locale's. complain: takes what a person must be told.
    options: how to inspect; the capture's name is put into them.
    """
    out = out or sys.stdout
    worst = 0
    captures: list[Capture] = []
    for path in paths:
        try:
            captures.append(open_capture(path))
        except CaptureError as error:
            complain(error)
            worst = 2
    writer = _Lines(out) if form == "jsonl" else Report(language(lang), out)
    named = len(paths) > 1
    runs: list[tuple[str, Sequence[Capture]]]
    runs = [(f"{len(captures)} captures", captures)] if together and captures else [(it.path, [it]) for it in captures]
    for title, members in runs:
        findings, frames, events = _run(title, members, options or Options(), together=together, named=named)
        worst = max(worst, int(any(it.rule_id == "detector.failed" for it in findings)))
        if isinstance(writer, _Lines):
            writer.findings(findings)
        else:
            if named:
                writer.title(title)
            for finding in findings:
                writer.finding(finding)
            writer.summary(findings, frames, events)
        out.flush()
        for capture in members:
            for warning in capture.warnings:
                complain(warning)
    return worst


def _run(
    title: str, captures: Sequence[Capture], options: Options, *, together: bool, named: bool
) -> tuple[list[Finding], int, int]:
    """(findings, frames, events) of one run."""
    merged = Together(captures) if together else None
    source: Iterable[FrameBatch] = merged if merged is not None else captures[0]
    name = captures[0].path if named and merged is None else ""
    pipeline = Pipeline(dataclasses.replace(options, capture=name))
    findings = merge(pipeline.run(ahead(watched(source, title))))
    if merged is not None:
        findings = [_led_back(finding, merged) for finding in findings]
    return findings, sum(capture.frames for capture in captures), pipeline.events


def _led_back(finding: Finding, merged: Together) -> Finding:
    """The finding with frames as they are numbered in the capture of its first frame; PDUs each name their own."""
    evidence = finding.evidence
    if not evidence.frames:
        return finding
    places = [merged.place(number) for number in evidence.frames]
    capture = places[0][0]
    frames = tuple(sorted(frame for path, frame in places if path == capture))
    pdus = tuple(_placed(pdu, merged) for pdu in evidence.pdus)
    return dataclasses.replace(
        finding, capture=capture, evidence=dataclasses.replace(evidence, frames=frames, pdus=pdus)
    )


def _placed(pdu: Mapping[str, Any], merged: Together) -> dict[str, Any]:
    placed = dict(pdu)
    if "frame" in placed:
        placed["capture"], placed["frame"] = merged.place(placed["frame"])
    if "request.frame" in placed:
        path, frame = merged.place(placed.pop("request.frame"))
        if path == placed.get("capture"):  # a number says nothing about another file
            placed["request.frame"] = frame
    return placed
