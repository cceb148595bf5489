"""Which techniques our rules and detectors name."""

from __future__ import annotations

from collections.abc import Mapping

from detectors import asset_changed, knowledge
from detectors.engineering import steps
from detectors.sigma.ruleset import shipped


def used() -> Mapping[str, tuple[str, ...]]:
    """Technique id -> ids of the rules that name it: Sigma rules and correlations, claims of detectors, steps of
    engineering operations."""
    found: dict[str, dict[str, None]] = {}

    def note(rule: str, techniques: tuple[str, ...]) -> None:
        for technique in techniques:
            found.setdefault(technique, {})[rule] = None

    for rule in (*shipped().rules, *shipped().correlations, *knowledge.detector_rules().values()):
        note(rule.id, rule.techniques)
    for step in vars(steps).values():
        if isinstance(step, steps.Step):
            note(f"engineering ({step.id})", step.techniques)
    note("asset.changed", asset_changed.TECHNIQUES)
    return {technique: tuple(sorted(found[technique])) for technique in sorted(found)}
