"""What people need to know about a fault of the mirror port: name, weight, what it means, what to set on which switch.

The texts are data (rules/span/*.yaml); this file reads and checks them. See detectors/wording.py for the templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, load, rules_folder
from detectors.finding import Severity, Text
from detectors.wording import fill, templates
from sensor.span.fault import EVIDENCE, Fault


@dataclass(frozen=True, slots=True)
class Example:
    """How one kind of switch is set: its name, and commands or menus, one a line."""

    switch: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """Something to set, on several kinds of switches."""

    id: str
    name: Text
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """A fault in words. saw, means, do: templates over the fault's evidence. settings: ids of Setting."""

    id: str
    name: Text
    severity: Severity
    saw: Text
    means: Text
    do: Text
    settings: tuple[str, ...]

    def say(self, fault: Fault) -> tuple[Text, Text, Text]:
        """(what was seen, what it means, what to do) for one fault."""
        parts = (self.saw, self.means, self.do)
        seen, meaning, doing = (Text(fill(it.zh, fault.evidence), fill(it.en, fault.evidence)) for it in parts)
        return seen, meaning, doing


def _list(block: Block, key: str) -> list[Any]:
    items = block.get(key)
    if not isinstance(items, list):
        raise block.error(f"{key!r} must be a list", key)
    return items


def _blocks(block: Block, key: str) -> list[Block]:
    items = _list(block, key)
    if not items or not all(isinstance(item, Block) for item in items):
        raise block.error(f"{key!r} must be a list of mappings", key)
    return items


def _texts(block: Block, key: str) -> tuple[str, ...]:
    items = _list(block, key)
    if not all(isinstance(item, str) and item.strip() for item in items):
        raise block.error(f"{key!r} must be a list of texts", key)
    return tuple(items)


def load_settings(path: Path) -> dict[str, Setting]:
    """Read rules/span/settings.yaml, by id; ContentError says file and line."""
    content = load(path)
    content.only("settings")
    settings: dict[str, Setting] = {}
    for block in _blocks(content, "settings"):
        block.only("id", "name", "examples")
        if block.text("id") in settings:
            raise block.error(f"id {block.text('id')!r} stands twice", "id")
        examples = []
        for example in _blocks(block, "examples"):
            example.only("switch", "lines")
            examples.append(Example(example.text("switch"), _texts(example, "lines")))
        settings[block.text("id")] = Setting(block.text("id"), templates(block, "name", EVIDENCE), tuple(examples))
    return settings


def load_advice(path: Path) -> dict[str, Advice]:
    """Read rules/span/faults.yaml, by id; ContentError says file and line."""
    content = load(path)
    content.only("faults")
    advice: dict[str, Advice] = {}
    for block in _blocks(content, "faults"):
        block.only("id", "severity", "name", "saw", "means", "do", "settings")
        if block.text("id") in advice:
            raise block.error(f"id {block.text('id')!r} stands twice", "id")
        word = block.text("severity")
        if word.upper() not in Severity.__members__:
            words = ", ".join(severity.word for severity in Severity)
            raise block.error(f"unknown severity {word!r}, expected one of: {words}", "severity")
        parts = {key: templates(block, key, EVIDENCE) for key in ("name", "saw", "means", "do")}
        advice[block.text("id")] = Advice(
            id=block.text("id"), severity=Severity[word.upper()], settings=_texts(block, "settings"), **parts
        )
    return advice


def load_file(path: Path) -> Mapping[str, Advice] | Mapping[str, Setting]:
    """Read one file of rules/span, whichever it is."""
    return load_settings(path) if path.name == "settings.yaml" else load_advice(path)


@cache
def settings() -> Mapping[str, Setting]:
    """What can be set, as shipped."""
    return load_settings(rules_folder() / "span" / "settings.yaml")


@cache
def advice() -> Mapping[str, Advice]:
    """The faults in words, as shipped."""
    path = rules_folder() / "span" / "faults.yaml"
    shipped = load_advice(path)
    for it in shipped.values():
        for name in it.settings:
            if name not in settings():
                raise ContentError(path, 0, f"{it.id} names the setting {name!r}, which settings.yaml does not have")
    return shipped
