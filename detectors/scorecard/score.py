"""Scoring: attacks found or not, how soon, and false alarms.

An attack counts as found when a fitting finding rests on at least one frame inside its time: event recall. One attack
is one event however long it went on, and findings elsewhere earn nothing (no point adjustment). A false alarm is a
problem (findings of one fingerprint count once) of medium severity or more that rests on ordinary traffic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.finding import Severity
from detectors.scorecard.truth import Attack, Case

MARGIN_NS = 2 * 10**9  # clocks of those who labelled and of those who captured differ
PAUSE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Claim:
    """One finding, as far as scoring goes.

    times: capture times of the frames that it rests on, ns; said_ns: capture time when it was made, -1 where only the
    end of the capture brought it out.
    """

    rule: str
    techniques: tuple[str, ...]
    severity: Severity
    times: tuple[int, ...]
    said_ns: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Span:
    """Capture time of an attack or of a capture, ns, both ends included."""

    first_ns: int
    last_ns: int

    def holds(self, time_ns: int) -> bool:
        """Whether a moment lies in it, give or take the clocks."""
        return self.first_ns - MARGIN_NS <= time_ns <= self.last_ns + MARGIN_NS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one attack.

    claims: the fitting findings, the most severe first. delay_s: seconds until a fitting finding was made, since the
    attack's first moment, or where no label tells that, since the first frame that the finding rests on; None where
    there is none or only the end of the capture brought it out.
    """

    attack: Attack
    claims: tuple[Claim, ...]
    delay_s: float | None

    @property
    def found(self) -> bool:
        """Whether a fitting finding rests on it."""
        return bool(self.claims)

    @property
    def severity(self) -> Severity | None:
        """Of the most severe of them."""
        return self.claims[0].severity if self.claims else None


def judge(attack: Attack, span: Span, claims: Sequence[Claim]) -> Verdict:
    """Whether, how and how soon an attack was found. span: when it went on."""
    fitting = [
        claim
        for claim in claims
        if attack.expected.fits(claim.rule, claim.techniques, claim.severity)
        and (attack.when is None or any(map(span.holds, claim.times)))
    ]
    said = [
        claim.said_ns - (span.first_ns if attack.when else min(claim.times)) for claim in fitting if claim.said_ns >= 0
    ]
    delay = max(min(said) / 1e9, 0.0) if said else None
    return Verdict(attack, tuple(sorted(fitting, key=lambda it: (-it.severity, it.rule))), delay)


def false_alarms(case: Case, spans: Sequence[Span], claims: Sequence[Claim]) -> list[Claim]:
    """Problems of medium severity or more that nothing in the capture justifies, each once. spans: of its attacks.

    Nothing can be said where an attack has no time of its own: then the whole capture is the attack.
    """
    if not case.timed:
        return []
    wrong: dict[str, Claim] = {}
    justified: set[str] = set()  # a problem that began with an attack and goes on is no other problem
    for claim in claims:
        if case.excuses(claim.rule) or any(span.holds(time) for span in spans for time in claim.times):
            justified.add(claim.fingerprint)
        elif claim.severity >= max(case.quiet_below, Severity.MEDIUM):
            wrong.setdefault(claim.fingerprint, claim)
    return [claim for fingerprint, claim in wrong.items() if fingerprint not in justified]


def uncounted(case: Case, claim: Claim) -> bool:
    """Whether a finding names an operation in a capture whose operations nobody has counted: right or wrong."""
    return not case.counted and claim.rule.startswith(("operation.", "engineering."))


def ordinary_hours(case: Case, at: npt.NDArray[np.int64], spans: Sequence[Span]) -> float:
    """Hours of ordinary traffic in a capture whose frames came at these times, without its attacks.

    Between two frames no more than PAUSE_NS counts: a pause of a week in a capture is no week of watching.
    """
    if not case.timed or len(at) < 2:
        return 0.0
    moments = np.sort(at)
    attacked = np.zeros(len(moments), np.bool_)
    for span in spans:
        attacked |= (moments >= span.first_ns) & (moments <= span.last_ns)
    ordinary = ~(attacked[1:] & attacked[:-1])
    return float(np.minimum(np.diff(moments), PAUSE_NS)[ordinary].sum()) / 3.6e12
