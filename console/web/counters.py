"""The counters of a heartbeat as a page shows them: in groups, with what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from console.web.language import locale
from detectors.counters import GROUPS, meaning_of
from detectors.finding import Text


class Counter(NamedTuple):
    """One line. trouble: it wants a look."""

    name: str
    value: Any
    meaning: str
    trouble: bool


def grouped(counters: Mapping[str, Any]) -> list[tuple[str, list[Counter]]]:
    """(heading, counters) in the order of GROUPS; names come from the sensor and may be anything."""
    found: dict[str, list[Counter]] = {group: [] for group in GROUPS}
    for name, value in counters.items():
        meaning = meaning_of(name)
        if meaning is None:
            found["other"].append(Counter(name, value, "", False))
            continue
        trouble = meaning.trouble and type(value) in (int, float) and value != 0
        found[meaning.group].append(Counter(name, value, _said(meaning.text), trouble))
    return [(_said(GROUPS[group]), rows) for group, rows in found.items() if rows]


def _said(text: Text) -> str:
    return text.zh if locale() == "zh" else text.en
