"""Frames cut short by a snap length, or by a mirror that truncates: nobody can decode what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.compiled import njit
from sensor.decode.link import OK
from sensor.span.fault import Fault, percent

if TYPE_CHECKING:
    from sensor.span.survey import Survey

LENGTHS_TOLD = 3


@njit(cache=True, nogil=True, boundscheck=True)
def note(s, packet, captured, wire, verdict, frame):
    """Count a frame that lacks more than padding or its check sequence."""
    if captured >= wire or (verdict == OK and packet.missing == 0):
        return
    counts = s.counts[0]
    if counts.cut == 0:
        counts.cut_frame = frame
    counts.cut += 1
    s.cut_lengths[min(captured, len(s.cut_lengths) - 1)] += 1


def check(survey: Survey) -> Iterator[Fault]:
    """span.cut: one frame is enough, for a snap length that is long enough cuts none."""
    counts = survey.counts
    if counts.cut == 0:
        return
    table = survey.state.cut_lengths
    lengths = np.flatnonzero(table)
    common = lengths[np.argsort(-table[lengths], kind="stable")][:LENGTHS_TOLD]
    yield Fault(
        "span.cut",
        {
            "cut": int(counts.cut),
            "percent": percent(counts.cut, counts.frames),
            "length": int(common[0]),
            "lengths": {int(length): int(table[length]) for length in common},
            "largest": int(counts.largest),
        },
        (int(counts.cut_frame),),
    )
