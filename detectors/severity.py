"""Severity as an equation: what the operation may do, to what, how unusual that is, and how sure we are.

    risk = danger x importance x novelty x confidence

Danger is the level of the rule in points, importance comes from the ledger. Novelty and confidence are the detector's,
where it says so; else something is new where a baseline is given that has no approved line of these two hosts, and what
rests on something that was not seen is only likely where frames are missing in the capture.
Unless somebody says otherwise the last three are 1, and the level is the rule's. People may set a level by an override,
which keeps the equation and names its reason. Products do not saturate as sums do, and no factor is 0: nothing becomes
harmless because it concerns a lesser device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path

from detectors.assets.ledger import IMPORTANCES, Entry, Importance, Ledger
from detectors.baseline.book import Baseline, State
from detectors.content import Block, load
from detectors.finding import MAC, Confidence, Finding, Novelty, Risk, Severity, Text
from detectors.wording import safe

POINTS = {
    Severity.INFORMATIONAL: 4.0, Severity.LOW: 20.0, Severity.MEDIUM: 40.0, Severity.HIGH: 60.0,
    Severity.CRITICAL: 80.0,
}  # fmt: skip
FROM = {  # least points of a level, about half-way between its own and those below
    Severity.CRITICAL: 70.0, Severity.HIGH: 50.0, Severity.MEDIUM: 30.0, Severity.LOW: 10.0,
}  # fmt: skip
IMPORTANCE = {Importance.LOW: 0.7, Importance.NORMAL: 1.0, Importance.HIGH: 1.5, Importance.CRITICAL: 2.0}
NOVELTY = {Novelty.KNOWN: 0.7, Novelty.USUAL: 1.0, Novelty.FIRST: 1.2}
CONFIDENCE = {Confidence.HINT: 0.5, Confidence.LIKELY: 0.8, Confidence.SURE: 1.0}
LEVELS = {
    Severity.INFORMATIONAL: Text("提示", "informational"), Severity.LOW: Text("低", "low"),
    Severity.MEDIUM: Text("中", "medium"), Severity.HIGH: Text("高", "high"),
    Severity.CRITICAL: Text("严重", "critical"),
}  # fmt: skip
NOVELTIES = {
    Novelty.KNOWN: Text("以前见过", "known before"),
    Novelty.USUAL: Text("无特别", "nothing special"),
    Novelty.FIRST: Text("首次出现", "never before"),
}
CONFIDENCES = {
    Confidence.HINT: Text("仅为线索", "a hint only"),
    Confidence.LIKELY: Text("很可能", "likely"),
    Confidence.SURE: Text("确定", "sure"),
}
MAX_OVERRIDES = 1000
# Rules that rest on what was not seen: a gap in the capture looks the same.
ABSENCE = ("command.unanswered", "rhythm.device-silent", "rhythm.talker-silent", "iec104.sequence")


def score(danger: Severity, importance: Importance, novelty: Novelty, confidence: Confidence) -> float:
    """Points of a finding, 1.4 to 192, to one decimal."""
    return round(POINTS[danger] * IMPORTANCE[importance] * NOVELTY[novelty] * CONFIDENCE[confidence], 1)


def level(points: float) -> Severity:
    """The level of so many points."""
    return next((severity for severity, least in FROM.items() if points >= least), Severity.INFORMATIONAL)


@dataclass(frozen=True, slots=True)
class Override:
    """A person's decision. rule: id, or a pattern with *; address: of either end, "" for any."""

    rule: str
    address: str
    severity: Severity
    reason: str
    by: str

    def holds(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        if self.address and self.address not in (finding.source_ip, finding.destination_ip):
            return False
        return fnmatchcase(finding.rule_id, self.rule)


class Weigher:
    """Gives findings their risk. The first override that holds decides. baseline: what is normal; None: not known."""

    def __init__(
        self, ledger: Ledger | None = None, overrides: Sequence[Override] = (), baseline: Baseline | None = None
    ) -> None:
        self._ledger, self._overrides = ledger, tuple(overrides)
        self._pairs: set[frozenset[str]] | None = None
        if baseline is not None:
            lines = [line for line in baseline.exchanges.values() if line.state is State.APPROVED]
            self._pairs = {frozenset((line.client, line.server)) for line in lines}

    def weigh(self, finding: Finding, *, lossy: bool = False) -> Finding:
        """The finding with its risk and the severity that follows. lossy: frames are missing in the capture."""
        if finding.novelty is Novelty.USUAL and self._never_met(finding):
            finding = dataclasses.replace(finding, novelty=Novelty.FIRST)
        if lossy and finding.confidence is Confidence.SURE and finding.rule_id in ABSENCE:
            finding = dataclasses.replace(finding, confidence=Confidence.LIKELY)
        entry = self._entry(finding)
        importance = entry.importance if entry else Importance.NORMAL
        points = score(finding.severity, importance, finding.novelty, finding.confidence)
        reached = level(points)
        override = next((it for it in self._overrides if it.holds(finding)), None)
        said = _equation(finding, entry, points, reached)
        if override is not None:
            said = _overridden(said, override)
        risk = Risk(
            score=points,
            danger=POINTS[finding.severity],
            importance=IMPORTANCE[importance],
            novelty=NOVELTY[finding.novelty],
            confidence=CONFIDENCE[finding.confidence],
            equation=said,
            overridden=override is not None,
        )
        severity = override.severity if override is not None else reached
        return dataclasses.replace(finding, severity=severity, risk=risk)

    def _never_met(self, finding: Finding) -> bool:
        """Whether there is a baseline in which these two hosts have nothing to do with each other."""
        if finding.rule_id.startswith("baseline."):  # these claim nothing but novelty: it is in their level
            return False
        ends = frozenset((finding.source_ip, finding.destination_ip)) - {""}
        return self._pairs is not None and len(ends) == 2 and ends not in self._pairs

    def _entry(self, finding: Finding) -> Entry | None:
        """The ledger's entry of the more important end; of equals the device that was acted upon."""
        if self._ledger is None:
            return None
        vlan = next((pdu["network.vlan.id"] for pdu in finding.evidence.pdus if "network.vlan.id" in pdu), None)
        segment = "" if vlan is None else f"vlan {vlan}"
        ends = (finding.destination_ip, finding.source_ip)
        found = (self._ledger.weightiest(address, segment) for address in ends if address)
        return max((entry for entry in found if entry), key=lambda entry: entry.importance, default=None)


def _number(value: float) -> str:
    return f"{value:g}"


def _equation(finding: Finding, entry: Entry | None, points: float, reached: Severity) -> Text:
    danger, word, after = _number(POINTS[finding.severity]), LEVELS[finding.severity], LEVELS[reached]
    importance = entry.importance if entry else Importance.NORMAL
    which, what = "", Text("台账未列出", "not in the ledger")
    if entry is not None:
        which = " ".join(filter(None, (entry.address, safe(entry.name)))) + " "
        what = IMPORTANCES[importance]
    factors = [_number(it) for it in (IMPORTANCE[importance], NOVELTY[finding.novelty], CONFIDENCE[finding.confidence])]
    new, sure = NOVELTIES[finding.novelty], CONFIDENCES[finding.confidence]
    return Text(
        f"风险 {_number(points)} = 危险度 {danger}（{word.zh}）× 资产重要性 {factors[0]}（{which}{what.zh}）"
        f"× 新颖性 {factors[1]}（{new.zh}）× 可信度 {factors[2]}（{sure.zh}），级别：{after.zh}",
        f"risk {_number(points)} = danger {danger} ({word.en}) × importance {factors[0]} ({which}{what.en}) "
        f"× novelty {factors[1]} ({new.en}) × confidence {factors[2]} ({sure.en}); level: {after.en}",
    )


def _overridden(said: Text, override: Override) -> Text:
    word, reason, by = LEVELS[override.severity], safe(override.reason), safe(override.by)
    who_zh, who_en = (f"由{by}", f" by {by}") if by else ("", "")
    return Text(
        f"{said.zh}；{who_zh}改定为{word.zh}：{reason}",
        f"{said.en}; set to {word.en}{who_en}: {reason}",
    )


def load_overrides(path: Path) -> tuple[Override, ...]:
    """Read a file of overrides; ContentError says file and line.

    YAML: `overrides`, a list of mappings with `rule`, `severity` and `reason`, and as wanted `address` and `by`.
    """
    content = load(path)
    content.only("overrides")
    items = content.get("overrides")
    if not isinstance(items, list) or not all(isinstance(item, Block) for item in items):
        raise content.error("'overrides' must be a list of mappings", "overrides")
    if len(items) > MAX_OVERRIDES:
        raise content.error(f"more than {MAX_OVERRIDES} overrides", "overrides")
    return tuple(map(_override, items))


def _override(block: Block) -> Override:
    block.only("rule", "severity", "reason", "address", "by")
    word = block.text("severity")
    if word.upper() not in Severity.__members__:
        words = ", ".join(severity.word for severity in Severity)
        raise block.error(f"unknown severity {word!r}, expected one of: {words}", "severity")
    address = block.text("address").lower() if "address" in block else ""
    if address and not MAC.fullmatch(address):
        try:
            address = str(ip_address(address))
        except ValueError:
            raise block.error(f"{address!r} is no address", "address") from None
    by = block.text("by") if "by" in block else ""
    return Override(block.text("rule"), address, Severity[word.upper()], block.text("reason"), by)
