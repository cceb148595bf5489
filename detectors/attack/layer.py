"""A layer for the ATT&CK Navigator: which techniques our rules find, or how often findings named them.

Layer format 4.5 (github.com/mitre-attack/attack-navigator, layers/spec).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectors.attack.techniques import pinned_version, technique
from detectors.content import ContentError

FORMAT, NAVIGATOR, DOMAIN = "4.5", "5.1.0", "ics-attack"
COLOURS = ("#fff7bc", "#d7301f")
MAX_LINE = 4 * 1024 * 1024  # of a finding: with its evidence it has some hundred kilobytes
RULES_NAMED = 50  # in the comment of one technique


def coverage(used: Mapping[str, Sequence[str]], lang: str) -> dict[str, Any]:
    """A layer of the techniques that rules name; the score is the number of rules."""
    title = "烽火：规则覆盖" if lang == "zh" else "Fenghuo: what the rules find"
    items = [_item(key, len(rules), _listed(rules), lang) for key, rules in used.items()]
    return _layer(title, items)


def counted(findings: Iterable[Mapping[str, Any]], lang: str) -> dict[str, Any]:
    """A layer of the techniques of findings; the score is how often they were counted."""
    counts: Counter[str] = Counter()
    rules: dict[str, Counter[str]] = {}
    for finding in findings:
        times, rule = finding.get("finding.count"), str(finding.get("rule.id", "?"))
        for key in finding.get("threat.technique.id", ()):
            counts[str(key)] += times if isinstance(times, int) else 1
            rules.setdefault(str(key), Counter())[rule] += times if isinstance(times, int) else 1
    title = "烽火：发现" if lang == "zh" else "Fenghuo: findings"
    items = [
        _item(key, count, _listed([f"{rule} ×{n}" for rule, n in rules[key].most_common()]), lang)
        for key, count in sorted(counts.items())
    ]
    return _layer(title, items)


def read_findings(path: Path) -> Iterable[Mapping[str, Any]]:
    """Findings as `fenghuo inspect --format jsonl` writes them; ContentError says which line is none."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise ContentError(path, number, f"is longer than {MAX_LINE} bytes")
                if not line.strip():
                    continue
                try:
                    finding = json.loads(line)
                except (ValueError, RecursionError):
                    finding = None
                if not isinstance(finding, dict) or not isinstance(finding.get("threat.technique.id"), list):
                    raise ContentError(path, number, "is not a finding as a JSON object")
                yield finding
    except OSError as error:
        raise ContentError(path, 0, f"cannot be read: {error.strerror or error}") from error


def _listed(rules: Sequence[str]) -> str:
    return ", ".join(rules[:RULES_NAMED]) + (f" …+{len(rules) - RULES_NAMED}" if len(rules) > RULES_NAMED else "")


def _item(key: str, score: int, comment: str, lang: str) -> dict[str, Any]:
    return {
        "techniqueID": key,
        "score": score,
        "comment": comment,
        "enabled": True,
        "metadata": [{"name": "name", "value": technique(key).name(lang)}],
        "showSubtechniques": False,
    }


def _layer(name: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "versions": {"attack": pinned_version().partition(".")[0], "navigator": NAVIGATOR, "layer": FORMAT},
        "domain": DOMAIN,
        "description": f"ATT&CK for ICS {pinned_version()}",
        "sorting": 3,
        "hideDisabled": False,
        "techniques": list(items),
        "gradient": {
            "colors": list(COLOURS),
            "minValue": 0,
            "maxValue": max((item["score"] for item in items), default=1),
        },
        "legendItems": [],
        "showTacticRowBackground": False,
        "selectTechniquesAcrossTactics": True,
    }
