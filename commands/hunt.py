"""`fenghuo hunt`: search back over kept behaviours and events."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands import complain
from commands.archive import ARCHIVE, told

if TYPE_CHECKING:
    from detectors.hunting.wanted import Condition, Sought

MAX_REJECTED_SHOWN = 20
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A time as nanoseconds since 1970: ISO 8601 (UTC where no zone is given), or how long ago: 90d, 12h."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        ago = _AGO.fullmatch(text)
        try:
            if ago:
                moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            else:
                moment = datetime.fromisoformat(text)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: give 2026-11-22, 2026-11-22T08:00:00+08:00, or 90d, 12h", param, ctx)
        whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (whole.days * 86_400 + whole.seconds) * 10**9 + whole.microseconds * 1000


@click.command()
@ARCHIVE
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Sigma rule: name, id, file or folder; repeat.")
@click.option(
    "--indicators",
    "lists",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Addresses, networks, SHA-256: one a line, CSV, or the STIX bundle of a bulletin; repeat.",
)
@click.option("--since", type=Moment(), help="From this time on: 2026-11-22, or 90d for the last 90 days.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows listed; 0: all.")
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.argument("query", required=False)
def hunt(
    query: str | None,
    folder: Path,
    rules: tuple[str, ...],
    lists: tuple[Path, ...],
    since: int | None,
    until: int | None,
    limit: int,
    form: str,
    lang: str | None,
) -> None:
    """Search the archive for QUERY, Sigma rules, or indicators; each row found names the frames it came from.

    QUERY is written as in the console's search bar, with the fields of events: `ip:10.1.2.3 AND action:stop`,
    `modbus.function_code:(5 OR 15) -source:10.1.0.0/24`, `s7comm.block:OB*`, `archive.value_max:>900`.

    What is the same in all events of a behaviour is looked for in behaviours, where every event was counted; values
    of single events in the events that were kept one by one.

    Exit codes: 0 nothing was found; 1 something was; 2 wrong use, or files could not be read, so that something may
    have been missed.
    """
    if query is None and not rules and not lists:
        raise click.UsageError("say what to hunt for: QUERY, --rule RULE, or --indicators FILE")
    with told():
        from detectors.hunting.listing import Listing
        from detectors.hunting.search import Search
        from detectors.language import language
        from sensor.archive.store import Archive

        conditions, sought = _of_lists(lists)
        conditions += _of_rules(rules)
        if query is not None:
            conditions.append(_of_query(query))
        archive = Archive(folder)
        search = Search(archive, conditions, sought, since, until, limit or None)
        listing = Listing(sys.stdout, form, language(lang), archive.catalogue.origins())
        with _progress() as progress:
            for hit in search.run(progress):
                listing.hit(hit)
        listing.end(search)
        for fault in search.broken:
            complain(fault)
        sys.stdout.flush()
        sys.exit(2 if search.broken else 1 if search.totals else 0)


def _of_query(query: str) -> Condition:
    """What is asked of rows; wrong use where it means nothing, with a mark under the place."""
    from commands.hunt_query import condition_of, pointed
    from console.store.search.query.errors import QueryError
    from detectors.hunting.wanted import condition

    try:
        return condition("query", query, condition_of(query))
    except QueryError as error:
        raise click.UsageError(pointed(query, error)) from None


def _of_lists(paths: Sequence[Path]) -> tuple[list[Condition], list[Sought]]:
    """What the lists name; what is rejected is told, with its place and why."""
    from detectors.hunting.indicator_list import ListError, read_indicators

    conditions: list[Condition] = []
    sought: list[Sought] = []
    for path in paths:
        try:
            found = read_indicators(path)
        except ListError as error:
            raise click.UsageError(str(error)) from None
        for it in found.rejected[:MAX_REJECTED_SHOWN]:
            complain(f"{path}:{it.place}: {it.why}")
        used = found.records - len(found.rejected)
        more = len(found.rejected) - MAX_REJECTED_SHOWN
        complain(
            f"{path}: {found.records} records: {used} used, {len(found.rejected)} rejected"
            + (f" ({more} of them not named)" if more > 0 else "")
        )
        if not used:
            raise click.UsageError(f"{path} has nothing that can be hunted for")
        conditions += found.conditions
        sought += found.sought
    return conditions, sought


def _of_rules(names: Sequence[str]) -> list[Condition]:
    """Rules by name, id, file or folder."""
    if not names:
        return []
    from detectors.hunting.wanted import of_rules
    from detectors.sigma.rule import Broken, SigmaRule
    from detectors.sigma.ruleset import rule_files, shipped

    known = {name: rule for rule in shipped().rules for name in (rule.id, rule.uuid)}
    found: dict[str, SigmaRule] = {}
    correlations: list[str] = []
    for name in names:
        if name in known:
            found[known[name].id] = known[name]
            continue
        path = Path(name)
        files = rule_files(path) if path.is_dir() else [path] if path.is_file() else []
        if not files:
            raise click.UsageError(f"there is no rule {name!r}, and no file or folder of that name")
        from detectors.sigma.parse import parse_file  # takes half a second

        for it in (it for file in files for it in parse_file(file, {})):
            if isinstance(it, Broken):
                complain(it)
            elif isinstance(it, SigmaRule):
                found[it.id] = it
            else:
                correlations.append(it.id)
    if correlations:
        complain(f"left out, for they are about several events (hunt for their rules): {', '.join(correlations)}")
    if not found:
        raise click.UsageError("none of the rules can be hunted for")
    return of_rules(found.values())


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Files done, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _all: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("hunting", total=None)
        yield lambda done, all_: progress.update(task, completed=done, total=all_)
