"""What a worker is given before the first frame, and what may be changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detectors.baseline.book import Baseline
from detectors.carving.store import History
from detectors.pipeline import Options


@dataclass(frozen=True, slots=True)
class Learning:
    """Where learning stands: its length and begin (-1: not begun) in capture time, and what is learned so far."""

    length_ns: int
    begun_ns: int
    learned: Baseline


@dataclass(frozen=True, slots=True)
class Setup:
    """options: as for a pipeline, without what only the sensor may do: health, learning, artifacts.

    live: frames come from interfaces. interfaces: whether the sensor keeps raw frames, from which evidence can be cut.
    history: of artifacts, where they are kept; None where they are not. learning: None where nothing is learned.
    reports: whether it says what stands, see detectors/census.py.
    """

    options: Options
    live: bool
    cuts: bool = False
    history: History | None = None
    learning: Learning | None = None
    readable: tuple[Path, ...] = ()
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Fields of Options that have other values from the next batch on."""

    options: dict[str, Any] = field(default_factory=dict)
