"""`fenghuo rules score`: what the detectors find in labelled captures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from commands import complain


@click.command("score")
@click.argument(
    "folders", nargs=-1, metavar="[FOLDER...]", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "jsonl"]), default="text", show_default=True,
    help="text and markdown are the same page; jsonl is one line for each attack.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there, not to the terminal."
)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the page; by default that of the locale.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--suricata/--no-suricata", default=True, help="Beside it Suricata's own rules, where it is installed.")
def score(
    folders: tuple[Path, ...], form: str, output: Path | None, lang: str | None, processes: int, suricata: bool
) -> None:
    """Score the detectors on the labelled captures of FOLDER...; of this project's own scenarios where none is given.

    A folder is labelled by a manifest.json or by a .toml beside each capture. Exit codes: 0 all captures have a score,
    whatever it is; 1 some have none (the page names them); 2 wrong use, or labels that cannot be used.
    """
    from rich.console import Console
    from rich.progress import track

    from detectors.content import ContentError, rules_folder
    from detectors.report import language
    from detectors.scorecard import suricata as peer
    from detectors.scorecard.card import card_of, jsonable
    from detectors.scorecard.page import page
    from detectors.scorecard.run import Inspect, Score, fenghuo, score_all
    from detectors.scorecard.truth import Case, TruthError, cases, shipped_meaning

    own = rules_folder().parent / "pcaps"
    if not folders and not own.is_dir():
        raise click.UsageError("give a FOLDER: the project's own captures are not installed")
    try:
        meaning = shipped_meaning()
        known = [case for folder in folders or (own,) for case in cases(folder, meaning)]
    except (ContentError, TruthError) as error:
        complain(error)
        sys.exit(2)

    def run(what: str, wanted: list[Case], inspect: Inspect) -> list[Score]:
        scores = score_all(wanted, inspect, processes)
        console = Console(stderr=True)
        if console.is_terminal:
            scores = iter(track(scores, what, total=len(wanted), console=console, transient=True))
        return list(scores)

    scores = run("Fenghuo", known, fenghuo)
    if form == "jsonl":
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for it in scores for line in jsonable(it))
    else:
        version = peer.version() if suricata else ""
        theirs = card_of(run("Suricata", [peer.generous(case) for case in known], peer.alerts)) if version else None
        text = page(card_of(scores), theirs, version, language(lang))
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, "utf-8")
    sys.exit(1 if any(it.failed for it in scores) else 0)
