"""The finding about a fault of a worker."""

from __future__ import annotations

import time
from pathlib import Path

from detectors import knowledge
from detectors.evidence import Budget, Exhibit
from detectors.finding import MAX_EVIDENCE_FRAMES, Evidence, Finding, Text
from detectors.problem import Problem
from detectors.worker.quarantine import Fault
from sensor.capture.frames import FrameBatch

KINDS = {
    "hang": Text("解析停滞", "it made no progress"),
    "crash": Text("进程崩溃", "the process crashed"),
    "memory": Text("内存超限", "it took too much memory"),
    "exception": Text("出现异常", "an exception"),
}


def fault_finding(fault: Fault, frames: FrameBatch | None, kept: Path | None, pause_s: float) -> Finding:
    """Its count is the number of frames that were not looked at, so that sums are exact; 1 where there was none."""
    some = frames if frames is not None and frames.size else None
    first_ns, last_ns = (int(some.ts_ns.min()), int(some.ts_ns.max())) if some is not None else (time.time_ns(),) * 2
    problem = Problem(
        knowledge.detector_rules()["sensor.parser-fault"], Exhibit(Budget()), protocol="", fields={"fault": fault.kind}
    )
    problem.add(max(fault.frames, 1), first_ns, last_ns)
    numbers = tuple(range(fault.first, fault.first + min(fault.frames, MAX_EVIDENCE_FRAMES)))
    found = problem.record(
        last_ns,
        {
            "state": KINDS[fault.kind],
            "seen": " ".join(filter(None, (fault.seen, fault.at))),
            "frames": fault.frames,
            "first_frame": fault.first if fault.frames else None,
            "kept": kept.name if kept is not None else None,
            "seconds": f"{pause_s:.0f}" if pause_s else None,
        },
    )
    return Finding(
        **{name: getattr(found, name) for name in Finding.__slots__ if name not in ("evidence", "capture")},
        evidence=Evidence(frames=numbers),
        capture=fault.capture,
    )
