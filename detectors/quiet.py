"""What people declared beforehand: findings that fit a ticket or an approved line of the baseline are kept, and quiet.

The last stage of the pipeline. A quiet record is a problem of its own, so that what happens outside a ticket's window
stays loud and is never summed with what happened inside. Its severity is informational, the one it would have had
stands beside it, and its paragraph begins with the reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from detectors.baseline.book import DANGEROUS, Baseline, State, Way
from detectors.baseline.live_learning import LiveLearning
from detectors.contract import station_of
from detectors.finding import Finding, Severity, Text
from detectors.sigma.rule import SigmaRule
from detectors.tickets import Ticket
from detectors.wording import safe

MAX_RENAMED = 65_536  # problems remembered under their other name; beyond, parts of an operation are told beside it
WHILE_LEARNING = Text(
    "学习期间出现，不会自动学进基线。", "Seen while learning, and not learned without an approval of its own."
)


class Quiet:
    """See the module. rules: their classes count. learning: while active, dangerous operations are marked."""

    def __init__(
        self,
        rules: Sequence[SigmaRule],
        tickets: Sequence[Ticket] = (),
        baseline: Baseline | None = None,
        learning: LiveLearning | None = None,
    ) -> None:
        self._kinds = {rule.id: rule.kind for rule in rules}
        self._tickets, self._learning = tickets, learning
        self._approved: dict[tuple[str, str, str, int | None], str] = {}
        self._renamed: dict[str, tuple[str, ...]] = {}
        for name, line in (baseline.exchanges if baseline else {}).items():
            if line.operation and line.state is State.APPROVED and line.way is Way.ASKS:
                station = station_of(line.protocol, line.station)
                self._approved[line.operation, line.client, line.server, station] = name

    def place(self, finding: Finding) -> Finding:
        """The finding as it is to be told."""
        if finding.absorbs and self._renamed:
            others = [other for it in finding.absorbs for other in self._renamed.get(it, ())]
            finding = dataclasses.replace(finding, absorbs=(*finding.absorbs, *others))
        kind = "engineering" if finding.rule_id.startswith("engineering.") else self._kinds.get(finding.rule_id, "")
        ticket = next((it for it in self._tickets if it.fits(finding, kind)), None)
        if ticket is not None:
            return self._quiet(finding, {"event.change": ticket.id}, _planned(ticket))
        who = (finding.rule_id, finding.source_ip, finding.destination_ip, finding.station)
        line = self._approved.get(who)
        if line is not None and finding.severity > Severity.INFORMATIONAL:
            return self._quiet(finding, {"baseline.line": line}, _normal(line))
        if self._learning is not None and self._learning.active and kind in DANGEROUS:
            return dataclasses.replace(
                finding,
                fields={**finding.fields, "event.learning": True},
                explanation=Text(
                    WHILE_LEARNING.zh + finding.explanation.zh, f"{WHILE_LEARNING.en} {finding.explanation.en}"
                ),
                problem=finding.fingerprint,
            )
        return finding

    def _quiet(self, finding: Finding, fields: dict[str, Any], why: Text) -> Finding:
        before = finding.fingerprint
        reason = "|".join(f"{name}={value}" for name, value in fields.items())
        problem = hashlib.sha256(f"{before}\x1f{reason}".encode()).hexdigest()[:32]
        if len(self._renamed) < MAX_RENAMED:
            self._renamed[before] = tuple({*self._renamed.get(before, ()), problem})
        return dataclasses.replace(
            finding,
            severity=Severity.INFORMATIONAL,
            fields={**finding.fields, **fields, "event.severity_before": finding.severity.word},
            explanation=Text(why.zh + finding.explanation.zh, f"{why.en} {finding.explanation.en}"),
            problem=problem,
        )


def _planned(ticket: Ticket) -> Text:
    name, reason = safe(ticket.id), safe(ticket.reason)
    return Text(f"符合变更 {name}（{reason}）。", f"Matches change {name} ({reason}).")


def _normal(line: str) -> Text:
    return Text(f"基线第 {line} 行已批准。", f"Approved in the baseline, line {line}.")
