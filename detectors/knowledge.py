"""What people need to know about a rule: its name, weight, ATT&CK techniques and a paragraph of three parts.

The texts are data. Files of DETECTOR_FILES hold the claims of detectors, whole; the other files of rules/knowledge
hold the texts of Sigma rules, keyed by rule name, whose weight and techniques stand in the rule itself. A rule's
paragraph says what was seen, why it matters and what to check, in Chinese and in English; see detectors/wording.py
for the templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, blocks, load, rules_folder
from detectors.finding import Severity, Text
from detectors.wording import fill, templates
from sensor.schema import FIELDS

NOTHING = Text("", "")
# Files of rules/knowledge: what detectors claim, and the console about its sensors.
DETECTOR_FILES = ("detectors", "baseline", "rhythm", "tags", "engineering", "attacks", "assets", "console")

_RULE_ID = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)+")
_TECHNIQUE = re.compile(r"T0\d{3}")
_RULE_KEYS = ("id", "name", "severity", "techniques", "saw", "why", "check")
_PAGE_KEYS = ("name", "saw", "why", "check", "false_positives")


@dataclass(frozen=True, slots=True)
class Rule:
    """A claim that a detector can make.

    id: stable, dotted. techniques: ATT&CK for ICS ids. saw, why, check: templates, see detectors/wording.py.
    """

    id: str
    name: Text
    severity: Severity
    techniques: tuple[str, ...]
    saw: Text
    why: Text
    check: Text

    def explain(self, values: Mapping[str, Any], more: Text = NOTHING) -> Text:
        """The paragraph with its values filled in; `more` is said after what was seen.

        A value that is a Text is said in the language of the sentence.
        """
        parts = (self.saw, self.why, self.check)
        zh = {name: value.zh if isinstance(value, Text) else value for name, value in values.items()}
        en = {name: value.en if isinstance(value, Text) else value for name, value in values.items()}
        saw, *rest = (fill(part.zh, zh) for part in parts)
        said, *others = (fill(part.en, en) for part in parts)
        return Text("".join((saw, more.zh, *rest)), " ".join(part for part in (said, more.en, *others) if part))


@dataclass(frozen=True, slots=True)
class Page:
    """The texts of a Sigma rule. saw, why, check: templates. false_positives: what ordinarily matches besides."""

    name: Text
    saw: Text
    why: Text
    check: Text
    false_positives: Text


def severity_of(block: Block) -> Severity:
    """The weight that a block names; ContentError where there is none such."""
    word = block.text("severity")
    try:
        return Severity[word.upper()]
    except KeyError:
        words = ", ".join(severity.word for severity in Severity)
        raise block.error(f"unknown severity {word!r}, expected one of: {words}", "severity") from None


def _rule(block: Block) -> dict[str, Any]:
    rule_id = block.text("id")
    if not _RULE_ID.fullmatch(rule_id):
        raise block.error(f"id {rule_id!r} must be lower-case words joined by dots, hyphens and underscores", "id")
    techniques = block.get("techniques")
    if not isinstance(techniques, list) or not all(isinstance(t, str) and _TECHNIQUE.fullmatch(t) for t in techniques):
        raise block.error(f"techniques must be a list of ATT&CK for ICS ids (T0...), got {techniques!r}", "techniques")
    return {
        "id": rule_id,
        "name": templates(block, "name", FIELDS),
        "severity": severity_of(block),
        "techniques": tuple(techniques),
        "saw": templates(block, "saw", FIELDS),
        "why": templates(block, "why", FIELDS),
        "check": templates(block, "check", FIELDS),
    }


def load_rules(path: Path) -> dict[str, Rule]:
    """Read one file of rules/knowledge: the claims of detectors, by id; ContentError says file and line."""
    content = load(path)
    content.only("rules")
    rules: dict[str, Rule] = {}
    for block in blocks(content, "rules"):
        block.only(*_RULE_KEYS)
        rule = Rule(**_rule(block))
        if rule.id in rules:
            raise block.error(f"id {rule.id!r} stands twice", "id")
        rules[rule.id] = rule
    return rules


def load_pages(content: Block) -> tuple[dict[str, Page], list[ContentError]]:
    """(the texts of Sigma rules by rule name, what is wrong with others) in a file of rules/knowledge."""
    pages: dict[str, Page] = {}
    errors = []
    rules = content.block("rules")
    for name in rules:
        try:
            block = rules.block(name)
            block.only(*_PAGE_KEYS)
            pages[name] = Page(**{key: templates(block, key, FIELDS) for key in _PAGE_KEYS})
        except ContentError as error:
            errors.append(error)
    return pages, errors


@cache
def detector_rules() -> Mapping[str, Rule]:
    """The claims of the detectors, as shipped, by id."""
    rules: dict[str, Rule] = {}
    for name in DETECTOR_FILES:
        more = load_rules(rules_folder() / "knowledge" / f"{name}.yaml")
        if twice := rules.keys() & more.keys():
            raise ValueError(f"{name}.yaml: {', '.join(sorted(twice))} stands in another file, too")
        rules |= more
    return rules
