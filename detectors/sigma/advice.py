"""What is wrong or doubtful in folders of rules beyond what keeps a rule from running.

Own checks: every rule has texts in both languages, its techniques are those of ATT&CK for ICS that are in force. Then
the validators of pySigma, without those that download data of ATT&CK and D3FEND when they are first used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule as ParsedRule
from sigma.validation import SigmaValidator
from sigma.validators.base import SigmaValidationIssueSeverity
from sigma.validators.core import validators

from detectors.content import ContentError, load, rules_folder
from detectors.sigma.document import Document, documents
from detectors.sigma.rule import Broken
from detectors.sigma.ruleset import RuleSet, rule_files, text_files

DOWNLOADS = ("attacktag", "d3_fendtag")


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to be put right. fault: False for what is only doubtful."""

    place: Broken
    fault: bool


@cache
def live_techniques() -> frozenset[str]:
    """Ids of ATT&CK for ICS that are in force: rules/attack/techniques.yaml."""
    return frozenset(load(rules_folder() / "attack" / "techniques.yaml").block("techniques"))


def advise(folder: Path, rules: RuleSet) -> Iterator[Advice]:
    """What is to be put right in a folder that gave these rules."""
    found = [document for path in rule_files(folder) for document in _documents(path)]
    by_name = {str(document.content.get("name")): document for document in found}
    told = _told(folder)
    for rule in (*rules.rules, *rules.correlations):
        document = by_name.get(rule.id)
        if document is None:
            continue
        if told is not None and rule.id not in told:
            why = f"{rule.id} has no texts in {folder / 'knowledge'}: people would read its title and description only"
            yield Advice(document.broken(why, "name"), fault=True)
        for technique in rule.techniques:
            if technique not in live_techniques():
                yield Advice(document.broken(f"{technique} is not in force in ATT&CK for ICS", "tags"), fault=True)
    yield from _validated(found)


def _documents(path: Path) -> Sequence[Document]:
    try:
        return documents(path)
    except ContentError:
        return ()


def _told(folder: Path) -> set[str] | None:
    """Names of the rules for which the folder has texts, None where it has none at all."""
    names: set[str] = set()
    files = text_files(folder)
    if not files:
        return None
    for path in files:
        try:
            names.update(load(path).block("rules"))
        except ContentError:
            continue
    return names


def _validated(found: Sequence[Document]) -> Iterator[Advice]:
    """What pySigma's validators say."""
    validator = SigmaValidator(kind for name, kind in validators.items() if name not in DOWNLOADS)
    places: dict[int, Document] = {}
    parsed = []
    for document in found:
        try:
            rules = SigmaCollection.from_dicts([document.content], collect_errors=True, resolve_references=False).rules
        except (SigmaError, TypeError, ValueError, AttributeError):  # said already, as a rule that cannot be used
            continue
        for rule in rules:
            if isinstance(rule, ParsedRule) and not rule.errors:
                places[id(rule)] = document
                parsed.append(rule)
    issues = [issue for rule in parsed for issue in validator.validate_rule(rule)]
    for issue in [*issues, *validator.finalize()]:
        extra = ", ".join(
            f"{name}: {value}"
            for name, value in vars(issue).items()
            if name not in ("rules", "severity", "description")
        )
        why = f"{issue.description}" + (f" ({extra})" if extra else "")
        for rule in issue.rules:
            if isinstance(rule, ParsedRule) and id(rule) in places:
                yield Advice(
                    places[id(rule)].broken(why, "title"), fault=issue.severity != SigmaValidationIssueSeverity.LOW
                )
