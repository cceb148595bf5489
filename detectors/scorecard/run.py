"""Runs labelled captures through the pipeline, as a live link would hand them over, and scores what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detectors.finding import Finding
from detectors.pipeline import Options, Pipeline
from detectors.scorecard.score import Claim, Span, Verdict, false_alarms, judge, ordinary_hours
from detectors.scorecard.truth import Attack, Case
from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture

PROCESSES = 2
BATCH_NS = 2 * 10**9  # a batch spans no more capture time: how soon something is found is known to this
BATCH_FRAMES = 4096

Inspect = Callable[[Path], tuple[Sequence[Claim], npt.NDArray[np.int64]]]


@dataclass(frozen=True, slots=True)
class Score:
    """How one capture was judged. hours: of ordinary traffic in it; wrong: false alarms; failed: why there is none."""

    case: Case
    verdicts: tuple[Verdict, ...] = ()
    wrong: tuple[Claim, ...] = ()
    hours: float = 0.0
    failed: str = ""


def batches(frames: Iterable[FrameBatch], times: list[npt.NDArray[np.int64]]) -> Iterator[FrameBatch]:
    """The same frames in batches as a live link gives them; `times` collects when each frame was captured."""
    for batch in frames:
        times.append(batch.ts_ns)
        begin = 0
        while begin < batch.size:
            late = np.flatnonzero(batch.ts_ns[begin : begin + BATCH_FRAMES] - batch.ts_ns[begin] > BATCH_NS)
            end = min(begin + (int(late[0]) if len(late) else BATCH_FRAMES), batch.size)
            columns = {name: getattr(batch, name)[begin:end] for name in _COLUMNS}
            yield batch._replace(**columns, first=batch.first + begin)
            begin = end


_COLUMNS = ("ts_ns", "offset", "captured", "wire", "link")


def fenghuo(path: Path) -> tuple[list[Claim], npt.NDArray[np.int64]]:
    """(what our detectors claim about a capture, capture time of each frame)."""
    times: list[npt.NDArray[np.int64]] = []
    done: list[bool] = []
    pipeline = Pipeline(Options())
    found: list[tuple[Finding, int]] = []
    for finding in pipeline.run(_until_end(batches(open_capture(path), times), done)):
        found.append((finding, -1 if done else pipeline.scene.now_ns))
    at = np.concatenate(times) if times else np.zeros(0, np.int64)
    return [_claim(finding, said_ns, at) for finding, said_ns in found], at


def _until_end(frames: Iterable[FrameBatch], done: list[bool]) -> Iterator[FrameBatch]:
    """The same batches; `done` is no longer empty once they have ended."""
    yield from frames
    done.append(True)


def _claim(finding: Finding, said_ns: int, at: npt.NDArray[np.int64]) -> Claim:
    shown = [int(at[frame - 1]) for frame in finding.evidence.frames if 0 < frame <= len(at)]
    return Claim(
        finding.rule_id,
        finding.techniques,
        finding.severity,
        (finding.first_ns, finding.last_ns, *shown),
        said_ns,
        finding.fingerprint,
    )


def score(case: Case, inspect: Inspect = fenghuo) -> Score:
    """One capture judged; one that cannot be read, or whose label nobody explained, has no score and says why."""
    if case.unclear:
        return Score(case, failed=case.unclear)
    try:
        claims, at = inspect(case.path)
    except Exception as error:
        return Score(case, failed=f"{type(error).__name__}: {error}")
    capture = Span(int(at.min()), int(at.max())) if len(at) else Span(0, 0)
    spans = [_span(attack, capture, at) for attack in case.attacks]
    verdicts = tuple(judge(attack, span, claims) for attack, span in zip(case.attacks, spans, strict=True))
    wrong = tuple(false_alarms(case, spans, claims))
    return Score(case, verdicts, wrong, ordinary_hours(case, at, spans))


def _span(attack: Attack, capture: Span, at: npt.NDArray[np.int64]) -> Span:
    """When an attack went on, in capture time."""
    when = attack.when
    if when is None:
        return capture
    if not when.frames:
        return Span(when.first, when.last)
    inside = at[max(when.first - 1, 0) : when.last]
    return Span(int(inside.min()), int(inside.max())) if len(inside) else capture


def score_all(cases: Sequence[Case], inspect: Inspect = fenghuo, processes: int = PROCESSES) -> Iterator[Score]:
    """Every capture judged, in the order given, several at a time."""
    if processes < 2 or len(cases) < 2:
        yield from (score(case, inspect) for case in cases)
        return
    # A process that was forked from one with compiled kernels and threads may hang: they are started afresh.
    with ProcessPoolExecutor(min(processes, len(cases)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(score, cases, [inspect] * len(cases), chunksize=4)
