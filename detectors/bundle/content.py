"""What the files of a bundle mean: each is loaded by the same code as a file on the command line.

A file in which anything is wrong makes the whole bundle unusable: what people sent out together, they meant together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectors.assets import ledger
from detectors.assets.ledger import Ledger
from detectors.baseline.book import Baseline, State
from detectors.baseline.store import read as read_baseline
from detectors.bundle.signed import BundleError, File, check_names
from detectors.carving.store import write_whole
from detectors.content import ContentError, rules_folder
from detectors.severity import Override, load_overrides
from detectors.sigma.ruleset import load_folders
from detectors.tags.file import Tag, load_tags
from detectors.tickets import Ticket, load_tickets
from detectors.yara_rules import YaraRules, load

MAX_SAID = 5  # things that are wrong, told at once


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a bundle holds. rules: a folder for detectors/sigma/ruleset.py, None where there are no rules."""

    rules: Path | None = None
    yara: YaraRules | None = None
    baseline: Baseline | None = None
    tags: tuple[Tag, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    overrides: tuple[Override, ...] = ()
    ledger: Ledger | None = None


def load_files(files: Sequence[File], folder: Path) -> Loaded:
    """Write the files below an empty folder, and load them. BundleError where one cannot be used; OSError."""
    check_names(files)
    for it in files:
        write_whole(folder / it.kind / it.name, it.content.encode("utf-8", "replace"))
    wrong: list[ContentError] = []
    made = _load(folder, {it.kind for it in files}, wrong)
    if wrong:
        raise BundleError("; ".join(_said(it, folder) for it in wrong[:MAX_SAID]))
    return made


def _load(folder: Path, kinds: set[str], wrong: list[ContentError]) -> Loaded:
    made = Loaded()
    if kinds & {"sigma", "knowledge"}:
        (folder / "sigma").mkdir(exist_ok=True)  # or the whole folder would be taken for rules
        rules = load_folders([rules_folder(), folder])
        wrong += [ContentError(it.path, it.line, it.why) for it in rules.broken if Path(it.path).is_relative_to(folder)]
        made = dataclasses.replace(made, rules=folder)
    if "yara" in kinds:
        shipped = sorted((rules_folder() / "yara").glob("*.yar"))
        yara = load([*shipped, *sorted((folder / "yara").iterdir())])
        wrong += yara.broken
        made = dataclasses.replace(made, yara=yara)
    tags: list[Tag] = []
    tickets: list[Ticket] = []
    overrides: list[Override] = []
    for kind in sorted(kinds - {"sigma", "knowledge", "yara"}):
        for path in sorted((folder / kind).iterdir()):
            try:
                if kind == "tags":
                    points, errors = load_tags(path)
                    tags += points
                    wrong += errors
                elif kind == "tickets":
                    planned, errors = load_tickets(path)
                    tickets += planned
                    wrong += errors
                elif kind == "overrides":
                    overrides += load_overrides(path)
                elif kind == "ledger":
                    made = dataclasses.replace(made, ledger=ledger.load(path))
                else:
                    made = dataclasses.replace(made, baseline=_baseline(path))
            except ContentError as error:
                wrong.append(error)
    return dataclasses.replace(made, tags=tuple(tags), tickets=tuple(tickets), overrides=tuple(overrides))


def _baseline(path: Path) -> Baseline:
    baseline, _ = read_baseline(path)
    if not any(line.state is State.APPROVED for _, line in baseline):
        raise ContentError(path, 0, "no line is approved; read it with `fenghuo baseline report`, then `approve`")
    return baseline


def _said(error: ContentError, folder: Path) -> str:
    """An error that names the file as it stands in the bundle."""
    return str(error).replace(f"{folder}/", "")
