"""Folders of Sigma rules, ready to run.

A folder holds rules in *.yml files, at any depth, and texts for people in knowledge/*.yaml. One that cannot be used
is left out and named in `broken`; the rest works. Importing pySigma and reading all files takes the better part of a
second: what comes out is kept, as JSON named after a digest of all files, in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, blocks, load, rules_folder
from detectors.knowledge import DETECTOR_FILES, Page, load_pages, severity_of
from detectors.sigma.rule import CLASSES, Aggravation, Broken, Correlation, SigmaRule, pack, unpack
from detectors.sigma.tree import Node
from detectors.wording import templates
from sensor.schema import FIELDS

MAX_FILES = 10_000  # in all folders together: SigmaHQ's whole collection is a third of it
PLANS_KEPT = 8  # of other rules or versions
_PACKAGE = Path(__file__).resolve().parent
# What decides how a plan looks: a change there makes another plan.
_MAKERS = ("sigma/*.py", "knowledge.py", "wording.py", "content.py", "../sensor/schema.py")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of some folders. digest: of everything that they are made of."""

    rules: tuple[SigmaRule, ...]
    correlations: tuple[Correlation, ...]
    aggravations: tuple[Aggravation, ...]
    broken: tuple[Broken, ...]
    digest: str


def rule_files(folder: Path) -> list[Path]:
    """The files of Sigma rules in a folder; of the shipped one those below sigma/."""
    inside = folder / "sigma"
    return sorted(path for path in (inside if inside.is_dir() else folder).rglob("*.yml") if path.is_file())


def text_files(folder: Path) -> list[Path]:
    """The files of texts for people in a folder, without those that hold the claims of detectors."""
    return sorted(path for path in (folder / "knowledge").glob("*.yaml") if path.stem not in DETECTOR_FILES)


def folder_digest(folders: Sequence[Path]) -> str:
    """16 hex digits over all files of rules and texts, and over what reads them."""
    digest = hashlib.sha256()
    files = [path for pattern in _MAKERS for path in sorted(_PACKAGE.parent.glob(pattern))]
    for folder in folders:
        files += [*rule_files(folder), *text_files(folder)]
    for path in files:
        digest.update(str(path).encode(errors="surrogateescape") + b"\0")
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            digest.update(repr(error.errno).encode())
    return digest.hexdigest()[:16]


def load_folders(folders: Sequence[Path]) -> RuleSet:
    """The rules of these folders, the earlier first; from the cache where nothing has changed."""
    digest = folder_digest(folders)
    kept = _kept(digest)
    if kept is not None:
        return kept
    made = compile_folders(folders, digest)
    _keep(made)
    return made


@cache
def shipped() -> RuleSet:
    """The rules that come with the program."""
    return load_folders([rules_folder()])


def compile_folders(folders: Sequence[Path], digest: str = "") -> RuleSet:
    """The same, always read anew."""
    from detectors.sigma.parse import parse_file

    broken: list[Broken] = []
    pages: dict[str, Page] = {}
    aggravations: list[Aggravation] = []
    for folder in folders:
        for path in text_files(folder):
            _texts(path, pages, aggravations, broken)
    files = [path for folder in folders for path in rule_files(folder)]
    if len(files) > MAX_FILES:
        broken.append(
            Broken(str(files[MAX_FILES]), 0, 0, f"and all files after it are left out: more than {MAX_FILES}")
        )
    found: dict[str, SigmaRule | Correlation] = {}
    names: dict[str, str] = {}  # also by uuid
    for path in files[:MAX_FILES]:
        for it in parse_file(path, pages):
            if isinstance(it, Broken):
                broken.append(it)
                continue
            again = names.get(it.id) or names.get(it.uuid)
            if again is not None:
                broken.append(Broken(it.path, 1, 1, f"name or id is already used by {found[again].path}"))
                continue
            found[it.id] = it
            names[it.id] = names[it.uuid] = it.id
    return _resolved(found, names, aggravations, broken, digest)


def _resolved(
    found: Mapping[str, SigmaRule | Correlation],
    names: Mapping[str, str],
    aggravations: Iterable[Aggravation],
    broken: list[Broken],
    digest: str,
) -> RuleSet:
    """Correlations with the ids of their rules; rules that only serve them are not told by themselves."""
    correlations: list[Correlation] = []
    silent: set[str] = set()
    for it in found.values():
        if not isinstance(it, Correlation):
            continue
        why = ""
        rules = []
        for reference in it.rules:
            wanted = found.get(names.get(reference, ""))
            if isinstance(wanted, SigmaRule):
                rules.append(wanted.id)
            else:
                why = f"refers to {reference!r}, " + (
                    "which is a correlation: only plain rules can be correlated"
                    if isinstance(wanted, Correlation)
                    else "a rule that is not there or cannot be used"
                )
        if not why and len(rules) < (2 if it.type.startswith("temporal") else 1):
            why = "names too few rules"
        if not why and any(rule not in it.rules for mapping in it.aliases.values() for rule in mapping):
            why = "an alias names a rule that is not correlated"
        if why:
            broken.append(Broken(it.path, 1, 1, f"correlation {it.id}: {why}"))
            continue
        aliases = {name: {names[ref]: of for ref, of in mapping.items()} for name, mapping in it.aliases.items()}
        correlations.append(replace(it, rules=tuple(rules), aliases=aliases))
        if not it.generate:
            silent.update(rules)
    rules_ready = []
    for it in found.values():
        if not isinstance(it, SigmaRule):
            continue
        other = names.get(it.taken_back, "")
        if it.taken_back and not isinstance(found.get(other), SigmaRule):
            broken.append(Broken(it.path, 1, 1, f"'taken_back' names {it.taken_back!r}, which is no plain rule here"))
            continue
        rules_ready.append(replace(it, taken_back=other, generate=it.generate and it.id not in silent))
    return RuleSet(tuple(rules_ready), tuple(correlations), tuple(aggravations), tuple(broken), digest)


def _texts(path: Path, pages: dict[str, Page], aggravations: list[Aggravation], broken: list[Broken]) -> None:
    try:
        content = load(path)
        content.only("rules", "aggravations")
        found, errors = load_pages(content)
        pages.update(found)
        for error in errors:
            broken.append(Broken(error.path, error.line, 0, error.why))
        aggravations += [_aggravation(block, path.stem) for block in blocks(content, "aggravations")]
    except ContentError as error:
        broken.append(Broken(error.path, error.line, 0, error.why))


def _aggravation(block: Block, product: str) -> Aggravation:
    block.only("when", "classes", "unless_answered", "refusals", "severity", "note")
    classes = block.get("classes")
    if not isinstance(classes, list) or not classes or any(word not in CLASSES for word in classes):
        raise block.error(f"'classes' must be a list out of: {', '.join(CLASSES)}", "classes")
    refusals = block.get("refusals", 0)
    if not isinstance(refusals, int) or refusals < 0:
        raise block.error("'refusals' must be a number", "refusals")
    return Aggravation(
        product=product,
        condition=_when(block),
        classes=frozenset(classes),
        unless_answered=block.get("unless_answered") is True,
        refusals=refusals,
        severity=severity_of(block),
        note=templates(block, "note", FIELDS),
    )


def _when(block: Block) -> Node:
    from detectors.sigma.parse import parse_when

    try:
        return parse_when(block.get("when"))
    except ValueError as error:
        raise block.error(f"when: {error}", "when") from error


def _folder() -> Path | None:
    """Where plans are kept; None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "fenghuo" / "rules"
    except RuntimeError:
        return None


def _kept(digest: str) -> RuleSet | None:
    folder = _folder()
    if folder is None:
        return None
    try:
        with (folder / f"{digest}.json").open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:  # others could have written it
                return None
            kept: Mapping[str, Any] = json.load(file)
        return RuleSet(
            tuple(unpack(SigmaRule, it) for it in kept["rules"]),
            tuple(unpack(Correlation, it) for it in kept["correlations"]),
            tuple(unpack(Aggravation, it) for it in kept["aggravations"]),
            tuple(Broken(*it) for it in kept["broken"]),
            digest,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(made: RuleSet) -> None:
    folder = _folder()
    if folder is None:
        return
    plan = {
        "rules": [pack(it) for it in made.rules],
        "correlations": [pack(it) for it in made.correlations],
        "aggravations": [pack(it) for it in made.aggravations],
        "broken": [[it.path, it.line, it.column, it.why] for it in made.broken],
    }
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".partial")  # for the owner alone
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(plan, file, ensure_ascii=False, separators=(",", ":"))
        os.replace(name, folder / f"{made.digest}.json")
        for old in _oldest(folder):
            old.unlink(missing_ok=True)
    except OSError:
        return


def _oldest(folder: Path) -> Iterator[Path]:
    plans = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    yield from plans[PLANS_KEPT:]
