"""All checks, in the order in which people should read what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sensor.span import clock, content, cut, doubles, gaps, one_way, oversize, reach, silence, vlans
from sensor.span.fault import Fault
from sensor.span.survey import Survey

CHECKS: Final[tuple[Callable[[Survey], Iterator[Fault]], ...]] = (
    reach.check,
    one_way.check,
    doubles.check,
    gaps.check,
    silence.check,
    vlans.check,
    cut.check,
    oversize.check,
    content.check,
    clock.check,
)


def examine(survey: Survey) -> list[Fault]:
    """What is wrong; nothing, when the mirror port is right. Call when the survey is settled."""
    found = [Fault("span.truncated", {"why": survey.damage})] if survey.damage else []
    if survey.dropped:
        found.append(Fault("span.dropped-here", {"count": survey.dropped, "frames": int(survey.counts.frames)}))
    if survey.no_link:
        found.append(Fault("span.no-link", {"why": survey.no_link}))
    if survey.counts.frames == 0:
        return [*found, Fault("span.empty")]
    for check in CHECKS:
        found += check(survey)
    ids = {fault.id for fault in found}
    if "span.only-broadcast" in ids:  # says why there is nothing industrial
        found = [fault for fault in found if fault.id != "span.no-industrial"]
    return found
