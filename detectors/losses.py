"""What people are told about findings that are lost on their way: see sensor/spool_loss.py.

The finding stands under the last sequence of those that are lost. Beside what every finding has, its JSON object says
in `finding.loss` which sequences it stands for and, where that is known, how many findings of which rule and severity
these were, so that the console's books are exact.
"""

from __future__ import annotations

from typing import Any

from detectors import knowledge
from detectors.finding import Finding, FindingId, Severity, Text, to_dict
from sensor.spool_loss import DAMAGED, MISSING, SHED, Loss

RULES = {DAMAGED: "sensor.spool-damaged", SHED: "sensor.findings-shed", MISSING: "sensor.one-way-gap"}
MAX_EXAMPLES = 5  # rules named in the text; all are counted in the books


def loss_line(loss: Loss, sensor: str, epoch: int) -> dict[str, Any]:
    """The JSON object that a sensor sends for lost findings."""
    line = to_dict(loss_finding(loss), FindingId(sensor, epoch, loss.last))
    tally = [
        {"rule.id": rule, "rule.severity": Severity(severity).word, "findings": findings, "events": events}
        for (rule, severity), (findings, events) in sorted(loss.tally.items())
    ]
    return line | {"finding.loss": {"why": loss.why, "first_sequence": loss.first, "tally": tally}}


def loss_finding(loss: Loss) -> Finding:
    """The finding about lost findings."""
    rule = knowledge.detector_rules()[RULES[loss.why]]
    sequences = str(loss.last) if loss.first == loss.last else f"{loss.first}-{loss.last}"
    values = {"sequence": sequences, "count": loss.findings, "examples": _examples(loss)}
    return Finding(
        rule.id,
        rule.name,
        rule.severity,
        "",
        int(loss.begun_s * 1e9),
        int(loss.ended_s * 1e9),
        rule.explain(values),
        techniques=rule.techniques,
        count=loss.findings,
    )


def _examples(loss: Loss) -> Text:
    most = sorted(loss.tally.items(), key=lambda entry: -entry[1][0])
    named = ", ".join(f"{rule or '?'} × {findings}" for (rule, _), (findings, _) in most[:MAX_EXAMPLES])
    return Text(
        named + ("等" if len(most) > MAX_EXAMPLES else ""), named + (", ..." if len(most) > MAX_EXAMPLES else "")
    )
