"""What `fenghuo span-check` does: captures or an interface in, a verdict on the mirror port out, nothing stored."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from detectors.report import language
from detectors.span_advice import advice, settings
from detectors.span_report import SpanReport
from sensor.capture.frames import FrameBatch
from sensor.capture.source import CaptureError, open_capture
from sensor.progress import watched
from sensor.span.examine import examine
from sensor.span.fault import Fault
from sensor.span.seen import seen
from sensor.span.survey import Survey

if TYPE_CHECKING:
    from sensor.capture.live import LiveSource
LAST_VLAN = 4094  # IEEE 802.1Q, table 9-2: 4095 is reserved


class _Lines:
    """Verdicts as JSON, one object a line."""

    def __init__(self, lang: str, out: TextIO) -> None:
        self._lang, self._out = lang, out

    def verdict(self, source: str, figures: dict[str, Any], faults: Sequence[Fault]) -> None:
        line = {
            "capture": source,
            "healthy": not faults,
            "faults": [self._fault(fault) for fault in faults],
            "seen": figures,
        }
        self._out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _fault(self, fault: Fault) -> dict[str, Any]:
        known = advice()[fault.id]
        name, *said = (text.zh if self._lang == "zh" else text.en for text in (known.name, *known.say(fault)))
        return {
            "id": fault.id,
            "severity": known.severity.word,
            "name": name,
            **dict(zip(("message", "meaning", "do"), said, strict=True)),
            "settings": [
                {"switch": example.switch, "lines": list(example.lines)}
                for setting in known.settings
                for example in settings()[setting].examples
            ],
            "evidence": dict(fault.evidence),
            "frames": list(fault.frames),
        }


class SpanCheck:
    """One call. form: "text" or "jsonl". lang: "zh", "en" or None for the locale's. vlans: VLANs that must be seen.

    complain: takes what a person must be told besides the verdicts.
    """

    def __init__(
        self,
        *,
        form: str,
        lang: str | None,
        vlans: Iterable[int] = (),
        complain: Callable[[object], None],
        out: TextIO | None = None,
    ) -> None:
        self._vlans = tuple(vlans)
        self._complain = complain
        self._out = out or sys.stdout
        chosen = language(lang)
        self._writer = _Lines(chosen, self._out) if form == "jsonl" else SpanReport(chosen, self._out)

    def captures(self, paths: Sequence[str]) -> int:
        """Judge capture after capture, each on its own; the exit code: 0 right, 1 faults, 2 one cannot be read."""
        worst = 0
        for path in paths:
            try:
                capture = open_capture(path)
            except CaptureError as error:
                self._complain(error)
                worst = 2
                continue
            survey = Survey(self._vlans)
            survey.run(watched(capture, path))
            survey.damage = capture.damage
            worst = max(worst, self._judge(path, survey))
            if not capture.damage:
                for warning in capture.warnings:
                    self._complain(warning)
        return worst

    def interface(self, name: str, limit_s: float) -> int:
        """Listen for `limit_s` seconds and judge; the exit code. LiveError where that cannot be."""
        from sensor.capture.interface import LinkState
        from sensor.capture.live import LiveSource

        survey = Survey(self._vlans)
        survey.prepare()
        with LiveSource([name]) as source:
            self._complain(f"listening on {name} for {limit_s:g} s")
            survey.run(watched(_until(source, time.monotonic() + limit_s), name))
            (health,) = source.health
        survey.dropped = health.dropped + health.lost_before
        if health.state != LinkState.UP:
            survey.no_link = f"{name}: {health.state}"
        return self._judge(name, survey)

    def _judge(self, source: str, survey: Survey) -> int:
        faults = examine(survey)
        self._writer.verdict(source, seen(survey), faults)
        self._out.flush()
        return int(bool(faults))


def _until(source: LiveSource, deadline: float) -> Iterator[FrameBatch]:
    """What the live source gives until the deadline, and what it had received by then."""
    for batch in source:
        yield batch
        if time.monotonic() >= deadline:
            source.stop()


def vlan_numbers(given: Iterable[str]) -> list[int]:
    """VLAN identifiers out of texts such as "10,20"; ValueError says which one is none."""
    numbers = []
    for word in ",".join(given).split(","):
        if not word.strip():
            continue
        if not word.strip().isdecimal() or not 1 <= int(word) <= LAST_VLAN:
            raise ValueError(f"{word.strip()!r} is no VLAN: they are numbered from 1 to {LAST_VLAN}")
        numbers.append(int(word))
    return numbers
