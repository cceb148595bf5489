"""Ground truth: which attacks a labelled capture holds, when, and what a finding must say to have found them.

A folder is labelled in one of two ways:

- `manifest.json`: a list of captures, each with `file`, `attack` (a label in words, "none..." for ordinary traffic)
  and, where somebody counted them, `notable_operations`. Beside a capture may stand `attack_windows.csv` (columns
  start_epoch_utc, end_epoch_utc, attack) or `labels.csv` (columns frame, label; plain or gzipped). Where neither gives
  a time, the whole capture is the attack. What the words of a label mean is told by rules/score/*.yaml.
- a `.toml` beside each capture, as pcaps/README.md describes: what must be found and what must not.
"""

from __future__ import annotations

import csv
import gzip
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, load, rules_folder
from detectors.finding import Severity, Text
from detectors.wording import templates

MAX_LABELS_BYTES = 64 * 1024 * 1024  # of one file of labels, unpacked

OWN = Text("本项目自己的抓包", "This project's own captures")


class TruthError(Exception):
    """A folder or a file of labels cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What has found one kind of attack.

    family, attack: what it is, for people. techniques, rules: a finding with any of these ATT&CK ids, or of a rule that
    matches any of these patterns, is fitting. least: and is at least so severe. hidden: why it cannot be seen on the
    wire, None where it can. note: what is known about those that are missed.
    """

    family: Text
    attack: Text
    techniques: frozenset[str] = frozenset()
    rules: tuple[str, ...] = ()
    least: Severity = Severity.INFORMATIONAL
    hidden: Text | None = None
    note: Text | None = None

    def fits(self, rule: str, techniques: Sequence[str], severity: Severity) -> bool:
        """Whether a finding names this attack."""
        if severity < self.least:
            return False
        return bool(self.techniques.intersection(techniques)) or any(fnmatchcase(rule, it) for it in self.rules)


@dataclass(frozen=True, slots=True)
class Window:
    """When an attack went on: capture times in ns, or frame numbers, of its first and last moment; None: all along."""

    first: int
    last: int
    frames: bool = False


@dataclass(frozen=True, slots=True)
class Attack:
    """One labelled attack in a capture. when: None where the whole capture is the attack."""

    expected: Expected
    when: Window | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One capture with its truth.

    attacks: none in ordinary traffic. excused: patterns of rules whose findings name what really is in the capture.
    quiet_below: findings below this severity are no false alarm here. counted: whether somebody looked which operations
    are in captures of this kind. unclear: why the label cannot be used, "" where it can.
    """

    path: Path
    family: Text
    attacks: tuple[Attack, ...] = ()
    excused: tuple[str, ...] = ()
    quiet_below: Severity = Severity.MEDIUM
    counted: bool = True
    unclear: str = ""

    @property
    def timed(self) -> bool:
        """Whether ordinary traffic is in it, too: there are no attacks, or all have their time."""
        return all(attack.when is not None for attack in self.attacks)

    def excuses(self, rule: str) -> bool:
        """Whether findings of a rule name what really is in the capture."""
        return any(fnmatchcase(rule, pattern) for pattern in self.excused)


class Meaning:
    """What labels mean: rules/score/*.yaml. ContentError says file and line."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._labels: list[tuple[str, Text, bool, tuple[Expected, ...]]] = []
        self._windows: list[tuple[str, Expected]] = []
        self._operations: dict[str, tuple[str, ...]] = {}
        for path in paths:
            content = load(path)
            content.only("labels", "windows", "operations")
            for block in _blocks(content, "labels"):
                block.only("label", "family", "benign", "expects")
                family = templates(block, "family", ())
                expects = tuple(_expected(item, family) for item in _blocks(block, "expects"))
                benign = block.get("benign") is True
                if benign == bool(expects):
                    raise block.error("a label is either 'benign: true' or has 'expects'")
                self._labels += [(label, family, benign, expects) for label in _texts(block, "label")]
            for block in _blocks(content, "windows"):
                block.only("name", "family", *_EXPECTED_KEYS)
                expected = _expected(block, templates(block, "family", ()))
                self._windows += [(name, expected) for name in _texts(block, "name")]
            operations = content.block("operations") if "operations" in content else Block()
            self._operations |= {name: tuple(_texts(operations, name)) for name in operations}

    def __len__(self) -> int:
        """How many patterns are known."""
        return len(self._labels) + len(self._windows) + len(self._operations)

    def label(self, label: str) -> tuple[Text, bool, tuple[Expected, ...]]:
        """(family, whether it is ordinary traffic, what must be found); KeyError where no pattern fits."""
        for pattern, family, benign, expects in self._labels:
            if fnmatchcase(label, pattern):
                return family, benign, expects
        raise KeyError(label)

    def window(self, name: str) -> Expected:
        """What must be found in a named window; KeyError where no pattern fits."""
        for pattern, expected in self._windows:
            if fnmatchcase(name, pattern):
                return expected
        raise KeyError(name)

    def operations(self, notable: Mapping[str, Any]) -> tuple[str, ...]:
        """Patterns of the rules that name operations which are counted in a manifest."""
        return tuple(rule for name in notable for rule in self._operations.get(name, ()))


_EXPECTED_KEYS = ("attack", "techniques", "rules", "least", "hidden", "note")


def _blocks(block: Block, key: str) -> list[Block]:
    items = block.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, Block) for item in items):
        raise block.error(f"{key!r} must be a list of mappings", key)
    return items


def _texts(block: Block, key: str) -> list[str]:
    given = block.get(key, [])
    items = given if isinstance(given, list) else [given]
    if not all(isinstance(item, str) and item for item in items):
        raise block.error(f"{key!r} must be a text or a list of texts", key)
    return items


def _expected(block: Block, family: Text) -> Expected:
    if "family" not in block:
        block.only(*_EXPECTED_KEYS)
    techniques, rules = _texts(block, "techniques"), _texts(block, "rules")
    if not techniques and not rules and "hidden" not in block:
        raise block.error("needs 'techniques', 'rules' or 'hidden': nothing could be found")
    word = block.get("least", "informational")
    if not isinstance(word, str) or word.upper() not in Severity.__members__:
        raise block.error(f"unknown severity {word!r}", "least")
    return Expected(
        family=family,
        attack=templates(block, "attack", ()),
        techniques=frozenset(techniques),
        rules=tuple(rules),
        least=Severity[word.upper()],
        hidden=templates(block, "hidden", ()) if "hidden" in block else None,
        note=templates(block, "note", ()) if "note" in block else None,
    )


def shipped_meaning() -> Meaning:
    """What labels mean, as shipped."""
    return Meaning(sorted((rules_folder() / "score").glob("*.yaml")))


def cases(folder: Path, meaning: Meaning) -> list[Case]:
    """The labelled captures of a folder, in the order of their names; TruthError where there is none."""
    manifest = folder / "manifest.json"
    try:
        if manifest.is_file():
            found = list(_of_manifest(folder, json.loads(manifest.read_bytes()), meaning))
        else:
            found = [case for side in sorted(folder.rglob("*.toml")) for case in _of_side_file(side)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ContentError) as error:
        raise TruthError(f"{folder}: the labels cannot be used ({type(error).__name__}: {error})") from error
    if not found:
        raise TruthError(f"{folder}: no labelled capture; expected manifest.json, or a .toml beside each capture")
    return found


def _of_manifest(folder: Path, entries: Sequence[Mapping[str, Any]], meaning: Meaning) -> Iterator[Case]:
    root = folder.resolve()
    counted = {entry.get("protocol") for entry in entries if entry.get("notable_operations")}
    for entry in entries:
        path = (folder / entry["file"]).resolve()
        if not path.is_relative_to(root):
            raise ValueError(f"{entry['file']!r} lies outside the folder")
        if not path.is_file():
            continue
        try:
            family, benign, expects = meaning.label(entry["attack"])
            attacks = () if benign else tuple(_attacks(path, expects, meaning))
        except KeyError as error:
            yield Case(path, OWN, unclear=f"rules/score does not say what the label {error} means")
            continue
        excused = meaning.operations(entry.get("notable_operations") or {})
        yield Case(path, family, attacks, excused, counted=entry.get("protocol") in counted)


def _attacks(path: Path, expects: Sequence[Expected], meaning: Meaning) -> Iterator[Attack]:
    """The attacks of a capture with their times, as far as the files beside it tell."""
    windows = path.with_name("attack_windows.csv")
    if windows.is_file():
        for row in _rows(windows):
            first, last = (round(float(row[key]) * 1e9) for key in ("start_epoch_utc", "end_epoch_utc"))
            yield Attack(meaning.window(row["attack"].split()[0]), Window(first, last))
        return
    when = None
    for name in ("labels.csv", "labels.csv.gz"):
        if path.with_name(name).is_file():
            marked = [int(row["frame"]) for row in _rows(path.with_name(name)) if row["label"].strip() not in ("", "0")]
            when = Window(min(marked), max(marked), frames=True) if marked else None
    for expected in expects:
        yield Attack(expected, when)


def _rows(path: Path) -> list[dict[str, str]]:
    """A table, its columns separated by commas or semicolons; without a header line they are `frame` and `label`."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            raw = file.read(MAX_LABELS_BYTES + 1)
    if len(raw) > MAX_LABELS_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_LABELS_BYTES} bytes")
    lines = raw.decode("utf-8", "replace").splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    named = None if lines and not lines[0][:1].isdigit() else ("frame", "label")
    return list(csv.DictReader(lines, named, delimiter=delimiter))


def _of_side_file(side: Path) -> Iterator[Case]:
    """The capture that a .toml stands beside."""
    told = tomllib.loads(side.read_text("utf-8"))
    captures = [path for path in side.parent.glob(f"{side.stem}.pcap*") if path.name.split(".")[0] == side.stem]
    if not captures or "must_not" not in told:
        return
    attacks = tuple(
        Attack(
            Expected(OWN, Text(side.parent.name, side.parent.name), rules=(wanted["rule"],),
                     least=Severity[wanted["severity"].upper()])
        )
        for wanted in told.get("must", ())
        if wanted["severity"] != "informational"
    )  # fmt: skip
    above = Severity[told["must_not"]["above"].upper()]
    excused = tuple(wanted["rule"] for wanted in told.get("must", ()))
    yield Case(captures[0], OWN, attacks, excused, max(Severity(min(above + 1, Severity.CRITICAL)), Severity.MEDIUM))
