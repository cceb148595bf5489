"""Fault: what a check found wrong with the mirror port, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_FRAMES = 16  # frame numbers in one fault
MAX_EXAMPLES = 8  # addresses in one fault

# Every name that evidence may have, so that the words about a fault can be checked without one.
EVIDENCE = frozenset({
    "both", "broadcast", "bytes", "conversations", "count", "cut", "delay", "earliest", "examples", "frames", "gaps",
    "largest", "length", "lengths", "missing", "moments", "multicast", "pairs", "peak", "percent", "seconds", "seen",
    "segments", "senders", "since", "unicast", "unit", "unseen", "vlan", "why",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    id: of rules/span, where its severity and words stand. evidence: figures and examples by the names that those words
    use; lists hold at most MAX_EXAMPLES. frames: numbers of frames that show it, ascending, at most MAX_FRAMES.
    """

    id: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[int, ...] = ()


def numbers(frames: list[int]) -> tuple[int, ...]:
    """The first frame numbers, ascending, each once."""
    return tuple(sorted(set(frames))[:MAX_FRAMES])


def seconds(ns: int) -> float:
    """Nanoseconds as seconds, to the millisecond."""
    return round(ns / 1e9, 3)


def percent(part: float, whole: float) -> float:
    """A share in percent with three figures, 0 of nothing."""
    share = float(f"{100 * part / whole:.3g}") if whole else 0.0
    return int(share) if share.is_integer() else share
