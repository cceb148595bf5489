"""`fenghuo rules check`, `test` and `explain`: detection content, looked after by the people who write it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands import complain

if TYPE_CHECKING:
    from detectors.pipeline import Options

RULES = click.option(
    "--rules",
    "rule_folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Sigma rules of your own, besides those that are shipped; repeat.",
)


def with_rules(options: Options, folders: tuple[Path, ...]) -> Options:
    """The options with the rules of these folders too. What cannot be used is named on standard error."""
    import dataclasses

    from detectors.content import rules_folder
    from detectors.sigma.ruleset import load_folders

    if not folders:
        return options
    rules = load_folders([rules_folder(), *folders])
    for it in rules.broken:
        complain(it)
    return dataclasses.replace(options, rules=rules, rule_folders=folders)


@click.command("check")
@click.option("--quiet", is_flag=True, help="Say only what is wrong, not what is doubtful.")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
def check(paths: tuple[str, ...], quiet: bool) -> None:
    """Check the files or folders PATH..., or the content that is shipped.

    Each fault is named by file, line and column, on standard error. Exit codes: 0 all rules can be used; 1 something is
    wrong. What is only doubtful is said too, and changes nothing.
    """
    from detectors.review import check as checked

    sound = True
    for path, count, wrong, doubtful in checked([Path(name) for name in paths]):
        for it in wrong:
            sound = False
            complain(it)
        for it in () if quiet else doubtful:
            complain(f"{it} (doubtful)")
        if not wrong:
            click.echo(f"{path}: {count} rules, sound")
    sys.exit(0 if sound else 1)


@click.command("test")
@click.argument("rule", nargs=-1, metavar="[RULE...]")
def test(rule: tuple[str, ...]) -> None:
    """Run the samples of RULE..., or of all rules that are shipped, through the real decoder and detectors.

    Exit codes: 0 every rule matches what it must and none of its near misses; 1 a rule fails, or has no samples of both
    kinds; 2 there is no such rule.
    """
    from detectors.content import ContentError
    from detectors.review import try_samples

    try:
        results = list(try_samples(rule))
    except KeyError as error:
        raise click.UsageError(f"there is no rule {error.args[0]!r}") from None
    except ContentError as error:
        complain(error)
        sys.exit(1)
    failed = [name for name, faults in results if faults]
    for _, faults in results:
        for fault in faults:
            complain(fault)
    click.echo(f"{len(results)} rules tested, {len(failed)} failed")
    sys.exit(1 if failed else 0)


@click.command("explain")
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.argument("rule")
def explain(rule: str, lang: str | None) -> None:
    """What RULE means: what is seen, why it matters, what to check, what matches, and what ordinarily causes it."""
    from detectors.report import language
    from detectors.review import explain as explained

    try:
        click.echo("\n".join(explained(rule, language(lang))))
    except KeyError:
        raise click.UsageError(f"there is no rule {rule!r}") from None
