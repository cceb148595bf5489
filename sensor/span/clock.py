"""The clock that stamped the frames: steps back, steps that are too coarse, and whether it was ever set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensor.compiled import njit
from sensor.span.fault import Fault, percent, seconds

if TYPE_CHECKING:
    from sensor.span.survey import Survey

BACKWARD_NS = 10**9  # a clock was set; frames that several queues or interfaces deliver differ by milliseconds at most
DISORDER_NS = 10**6
YEAR_2000_NS = (
    946_684_800 * 10**9
)  # no switch mirrors a frame of that age: a clock that began at 1970 and was never set
UNITS_NS = (10**9, 10**8, 10**7)  # steps of a clock that are too coarse to tell which of two frames came first
MIN_FRAMES = 20  # that many times at multiples of 10 ms are no chance: 1 in 10^80 for a clock of microseconds
FRAMES_A_MOMENT = 20  # on average; not even the shortest frames at 10 Gbit/s give 15 in a microsecond
MIN_FRAMES_OF_MOMENTS = 100
DISORDERED_SHARE = 0.01  # of the frames


@njit(cache=True, nogil=True, boundscheck=True)
def tick(counts, now, frame):
    """Note the time of a frame, in the order of the capture."""
    if counts.frames == 1:
        counts.first_ns = now
        counts.earliest_ns = now
        counts.latest_ns = now
        counts.last_ns = now
        counts.units = 7
        counts.moments = 1
    if now < YEAR_2000_NS:
        if counts.before_2000 == 0:
            counts.before_2000_frame = frame
        counts.before_2000 += 1
    if counts.units:
        for bit in range(len(UNITS_NS)):
            if now % UNITS_NS[bit]:
                counts.units &= ~(1 << bit)
    back = counts.last_ns - now
    if back:
        counts.moments += 1
    if back >= BACKWARD_NS:
        if counts.backward == 0:
            counts.backward_frame = frame
        counts.backward += 1
        counts.backward_ns = max(counts.backward_ns, back)
    elif back >= DISORDER_NS:
        if counts.disorder == 0:
            counts.disorder_frame = frame
        counts.disorder += 1
    counts.earliest_ns = min(counts.earliest_ns, now)
    counts.latest_ns = max(counts.latest_ns, now)
    counts.last_ns = now


def check(survey: Survey) -> Iterator[Fault]:
    """span.clock-back, span.disorder, span.clock-coarse, span.clock-unset."""
    counts = survey.counts
    frames = int(counts.frames)
    if counts.backward:
        yield Fault(
            "span.clock-back",
            {"count": int(counts.backward), "seconds": seconds(int(counts.backward_ns))},
            (int(counts.backward_frame),),
        )
    if frames >= MIN_FRAMES and counts.disorder > DISORDERED_SHARE * frames:
        yield Fault(
            "span.disorder",
            {"count": int(counts.disorder), "percent": percent(counts.disorder, frames)},
            (int(counts.disorder_frame),),
        )
    units = [UNITS_NS[bit] for bit in range(len(UNITS_NS)) if int(counts.units) >> bit & 1]
    crowded = frames >= MIN_FRAMES_OF_MOMENTS and counts.moments * FRAMES_A_MOMENT <= frames
    if (units and frames >= MIN_FRAMES) or crowded:
        evidence = {"frames": frames, "moments": int(counts.moments)}
        yield Fault("span.clock-coarse", evidence | ({"unit": seconds(units[0])} if units else {}))
    if counts.before_2000:
        yield Fault(
            "span.clock-unset",
            {"count": int(counts.before_2000), "earliest": survey.time(int(counts.earliest_ns))},
            (int(counts.before_2000_frame),),
        )
