"""What people need to know about a rule: its name, weight, ATT&CK techniques and a paragraph of three parts.

The texts are data (rules/operations/*.yaml, rules/knowledge/*.yaml); this file reads and checks them. A rule's
paragraph says what was seen, why it matters and what to check, in Chinese and in English; see detectors/wording.py for
the templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, load, rules_folder
from detectors.finding import Severity, Text
from detectors.matching import Match, parse
from detectors.wording import fill, templates
from sensor.decode.pdu import Protocol
from sensor.schema import FIELDS

CLASSES = ("read", "write", "control", "critical", "engineering", "recon", "evasion", "session", "report")
NOTHING = Text("", "")
DETECTOR_FILES = (
    "detectors",
    "baseline",
    "rhythm",
    "engineering",
    "attacks",
)  # of rules/knowledge: what detectors claim

_RULE_ID = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)+")
_TECHNIQUE = re.compile(r"T0\d{3}")
_RULE_KEYS = ("id", "name", "severity", "techniques", "saw", "why", "check")
_OPERATION_KEYS = (*_RULE_KEYS, "class", "match", "match_from_device", "answer")


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
class Operation(Rule):
    """A Rule about one kind of request.

    kind: one of CLASSES. matches: any of them may hold for the request. from_device: the same for PDUs that the device
    itself sends in this operation (an S7 download is fetched by the PLC): who is asked there is who acts.
    answers: False where the standard provides no answer.
    """

    protocol: Protocol
    kind: str
    matches: tuple[Match, ...]
    from_device: tuple[Match, ...]
    answers: bool

    def constants(self) -> dict[str, int | str]:
        """Fields that have one value whenever this operation is found: worth filtering by."""
        matches = (*self.matches, *self.from_device)
        if len(matches) != 1:
            return {}
        return {name: next(iter(values)) for name, values in matches[0].exact.items()
                if len(values) == 1 and name not in matches[0].prefixes}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aggravation:
    """What makes operations of some classes worse: sent to all devices at once, for instance.

    unless_answered: does not count when a device answered (a Modbus/TCP device may be addressed as unit 0).
    refusals: counts only when the device refused at least so often.
    """

    match: Match
    classes: frozenset[str]
    unless_answered: bool
    refusals: int
    severity: Severity
    note: Text


@dataclass(frozen=True, slots=True)
class Operations:
    """Everything known about one protocol's operations, in the order in which they are tried."""

    protocol: Protocol
    operations: tuple[Operation, ...]
    aggravations: tuple[Aggravation, ...]


def _severity(block: Block) -> Severity:
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
        "severity": _severity(block),
        "techniques": tuple(techniques),
        "saw": templates(block, "saw", FIELDS),
        "why": templates(block, "why", FIELDS),
        "check": templates(block, "check", FIELDS),
    }


def _matches(block: Block, key: str) -> tuple[Match, ...]:
    given = block.get(key, [])
    matches = []
    for wanted in given if isinstance(given, list) else [given]:
        try:
            matches.append(parse(wanted))
        except ValueError as error:
            raise block.error(f"{key}: {error}", key) from error
    return tuple(matches)


def _class(block: Block, value: object, key: str) -> str:
    if value not in CLASSES:
        raise block.error(f"unknown class {value!r}, expected one of: {', '.join(CLASSES)}", key)
    return str(value)


def _blocks(block: Block, key: str) -> list[Block]:
    items = block.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, Block) for item in items):
        raise block.error(f"{key!r} must be a list of mappings", key)
    return items


def _operation(block: Block, protocol: Protocol) -> Operation:
    block.only(*_OPERATION_KEYS)
    matches, from_device = _matches(block, "match"), _matches(block, "match_from_device")
    if not matches and not from_device:
        raise block.error("'match' is missing")
    if not isinstance(block.get("answer", True), bool):
        raise block.error("'answer' must be true or false", "answer")
    return Operation(
        **_rule(block),
        protocol=protocol,
        kind=_class(block, block.get("class"), "class"),
        matches=matches,
        from_device=from_device,
        answers=block.get("answer", True),
    )


def _aggravation(block: Block) -> Aggravation:
    block.only("match", "classes", "unless_answered", "refusals", "severity", "note")
    classes = block.get("classes")
    if not isinstance(classes, list) or not classes:
        raise block.error("'classes' must be a list of classes", "classes")
    refusals = block.get("refusals", 0)
    if not isinstance(refusals, int) or refusals < 0:
        raise block.error("'refusals' must be a number", "refusals")
    (match,) = _matches(block, "match")
    return Aggravation(
        match=match,
        classes=frozenset(_class(block, item, "classes") for item in classes),
        unless_answered=block.get("unless_answered") is True,
        refusals=refusals,
        severity=_severity(block),
        note=templates(block, "note", FIELDS),
    )


def load_operations(path: Path) -> Operations:
    """Read one file of rules/operations; ContentError says file and line."""
    content = load(path)
    content.only("protocol", "aggravations", "operations")
    word = content.text("protocol")
    if word.upper() not in Protocol.__members__ or word.upper() == "NONE":
        raise content.error(f"unknown protocol {word!r}", "protocol")
    protocol = Protocol[word.upper()]
    operations: list[Operation] = []
    seen: dict[str, int] = {}
    for block in _blocks(content, "operations"):
        operation = _operation(block, protocol)
        if not operation.id.startswith(f"operation.{word}."):
            raise block.error(f"id {operation.id!r} must begin with 'operation.{word}.'", "id")
        if operation.id in seen:
            raise block.error(f"id {operation.id!r} already stands in line {seen[operation.id]}", "id")
        seen[operation.id] = block.line
        operations.append(operation)
    return Operations(protocol, tuple(operations), tuple(map(_aggravation, _blocks(content, "aggravations"))))


def load_rules(path: Path) -> dict[str, Rule]:
    """Read one file of rules/knowledge: the claims of detectors, by id; ContentError says file and line."""
    content = load(path)
    content.only("rules")
    rules: dict[str, Rule] = {}
    for block in _blocks(content, "rules"):
        block.only(*_RULE_KEYS)
        rule = Rule(**_rule(block))
        if rule.id in rules:
            raise block.error(f"id {rule.id!r} stands twice", "id")
        rules[rule.id] = rule
    return rules


@cache
def operations() -> tuple[Operations, ...]:
    """The operations of every protocol, as shipped."""
    paths = sorted((rules_folder() / "operations").glob("*.yaml"))
    if not paths:
        raise ContentError(rules_folder() / "operations", 0, "holds no rules")
    return tuple(load_operations(path) for path in paths)


@cache
def detector_rules() -> Mapping[str, Rule]:
    """The claims of the detectors, as shipped, by id."""
    rules: dict[str, Rule] = {}
    for name in DETECTOR_FILES:
        rules |= load_rules(rules_folder() / "knowledge" / f"{name}.yaml")
    return rules
