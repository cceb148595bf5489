"""YARA rules of our own (rules/yara/*.yar): what they mean to people, and which of them can be used.

A rule carries its texts as meta fields: id (its finding is `yara.<id>`), severity, technique (ids with blanks between),
name, saw, why and check, each in both languages (`name_zh`, `name_en`, ...). Files include nothing. A rule that cannot
be used is reported with its file and line and left out; the others stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from detectors.content import ContentError, rules_folder
from detectors.finding import Severity, Text
from detectors.knowledge import Rule
from detectors.wording import faults
from detectors.yara_child import EXTERNALS
from sensor.schema import FIELDS

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_BROKEN = 256  # rules of one file that are left out, before the whole file is
TEXTS = ("name", "saw", "why", "check")

_BEGIN = re.compile(r"^\s*(?:(?:private|global)\s+)*rule\s+\w+")
_LINE = re.compile(r"\((\d+)\)|line (\d+)")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TECHNIQUE = re.compile(r"T0\d{3}")


@dataclass(frozen=True, slots=True)
class YaraRules:
    """Rules that can be used. sources: text of each file, without what is broken. meaning: by the name of the rule."""

    sources: Mapping[str, str]
    meaning: Mapping[str, Rule]
    broken: Sequence[ContentError]


def load(paths: Sequence[Path]) -> YaraRules:
    """Read files of rules. Never raises on what they hold."""
    sources: dict[str, str] = {}
    meaning: dict[str, Rule] = {}
    broken: list[ContentError] = []
    for path in paths:
        try:
            text, compiled, wrong = _sound(path)
        except ContentError as error:
            broken.append(error)
            continue
        broken += wrong
        for rule in compiled:
            try:
                made = _meaning(path, text, rule)
                if rule.identifier in meaning or any(made.id == it.id for it in meaning.values()):
                    raise _error(path, text, rule.identifier, f"rule or id {made.id!r} stands twice")
            except ContentError as error:
                broken.append(error)
                text = _without(text, error.line)
            else:
                meaning[rule.identifier] = made
        sources[path.stem if path.stem not in sources else str(path)] = text
    return YaraRules(sources, meaning, tuple(broken))


@cache
def shipped() -> YaraRules:
    """The rules that come with this project."""
    return load(sorted((rules_folder() / "yara").glob("*.yar")))


def check(path: Path) -> tuple[int, Sequence[ContentError]]:
    """(number of rules that can be used, what is wrong) of one file; for `fenghuo rules check`."""
    found = load([path])
    return len(found.meaning), found.broken


def _compile(text: str) -> Any:
    import yara

    return yara.compile(source=text, externals=EXTERNALS, includes=False)


def _sound(path: Path) -> tuple[str, Any, list[ContentError]]:
    """(text without rules that do not compile, the compiled others, what was wrong)."""
    import yara

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ContentError(path, 0, "is too large for a file of rules")
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ContentError(path, 0, f"cannot be read: {error}") from None
    wrong: list[ContentError] = []
    while len(wrong) < MAX_BROKEN:
        try:
            return text, _compile(text), wrong
        except yara.Error as error:
            found = _LINE.search(str(error))
            line = int(found.group(1) or found.group(2)) if found else 0
            why = str(error).split(": ", 1)[-1]
            wrong.append(ContentError(path, line, why))
            shorter = _without(text, line)
            if shorter == text:
                break
            text = shorter
    return "", _compile(""), wrong


def _without(text: str, line: int) -> str:
    """The text with the rule at a line blanked out, so that the lines of the others stay what they are."""
    lines = text.split("\n")
    begins = [number for number, words in enumerate(lines) if _BEGIN.match(words)]
    mine = [number for number in begins if number < line]
    if not mine:
        return text
    begin = mine[-1]
    end = next((number for number in begins if number > begin), len(lines))
    return "\n".join(words if not begin <= number < end else "" for number, words in enumerate(lines))


def _error(path: Path, text: str, name: str, why: str) -> ContentError:
    pattern = re.compile(rf"\brule\s+{re.escape(name)}\b")
    for number, words in enumerate(text.split("\n"), 1):
        if pattern.search(words):
            return ContentError(path, number, f"rule {name}: {why}")
    return ContentError(path, 0, f"rule {name}: {why}")


def _meaning(path: Path, text: str, rule: Any) -> Rule:
    """What a compiled rule means, by its meta fields; ContentError says which is missing or wrong."""
    meta: Mapping[str, Any] = rule.meta

    def wrong(why: str) -> ContentError:
        return _error(path, text, rule.identifier, why)

    rule_id, severity = str(meta.get("id", "")), str(meta.get("severity", ""))
    if not _ID.fullmatch(rule_id):
        raise wrong(f"meta id {rule_id!r} must be lower-case words joined by hyphens")
    if severity.upper() not in Severity.__members__:
        words = ", ".join(it.word for it in Severity)
        raise wrong(f"meta severity {severity!r} must be one of: {words}")
    techniques = tuple(str(meta.get("technique", "")).split())
    if not techniques or not all(_TECHNIQUE.fullmatch(it) for it in techniques):
        raise wrong("meta technique must name ATT&CK for ICS ids (T0...)")
    texts: dict[str, Text] = {}
    for key in TEXTS:
        both = [str(meta.get(f"{key}_{lang}", "")).strip() for lang in ("zh", "en")]
        for lang, said in zip(("zh", "en"), both, strict=True):
            if not said:
                raise wrong(f"meta {key}_{lang} is missing")
            if fault := faults(said, FIELDS):
                raise wrong(f"meta {key}_{lang}: {fault}")
        texts[key] = Text(*both)
    return Rule(id=f"yara.{rule_id}", severity=Severity[severity.upper()], techniques=techniques, **texts)
