"""`fenghuo baseline ...`: learn what is normal, read, approve, sign, compare it; and the options that enforce it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commands import complain

if TYPE_CHECKING:
    from detectors.baseline.book import Baseline, State
    from detectors.pipeline import Options

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)
LANG = click.option(
    "--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale."
)
KEY = click.option("--key", type=EXISTING, metavar="FILE.key", help="Sign with this private key.")
_TRUST = (
    click.option("--trust", "trust", multiple=True, type=EXISTING, metavar="FILE.pub", envvar="FENGHUO_TRUST",
                 help="Public key whose signature counts; repeat."),
    click.option("--unsigned", is_flag=True, help="Take a baseline without verifying its signature."),
)  # fmt: skip
_ENFORCED = (
    click.option("--baseline", "baseline_file", type=FILE, metavar="FILE", help="Compare with this baseline."),
    *_TRUST,
    click.option("--tags", "tag_files", multiple=True, type=EXISTING, metavar="FILE.csv",
                 help="Points of the plant with engineering limits; repeat."),
    click.option("--tickets", "ticket_files", multiple=True, type=EXISTING, metavar="FILE",
                 help="Planned changes: what fits one is quiet; repeat."),
)  # fmt: skip


def _all(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """Several options as one decorator, in their order."""
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


TRUST: Callable[[F], F] = _all(_TRUST)
ENFORCED: Callable[[F], F] = _all(_ENFORCED)
LEARNED = click.option("--learn", "learn_hours", type=click.FloatRange(min=0, min_open=True), metavar="HOURS",
                       help="Do not compare: learn into the baseline's file for so long.")  # fmt: skip


@contextmanager
def plainly() -> Iterator[None]:
    """What cannot be used, in one line and exit code 2."""
    from detectors.baseline.store import TrustError
    from detectors.content import ContentError
    from sensor.capture.source import CaptureError

    try:
        yield
    except (TrustError, ContentError, CaptureError, OSError) as error:
        complain(error)
        sys.exit(2)


def enforced(
    *,
    baseline_file: Path | None,
    trust: tuple[Path, ...],
    unsigned: bool,
    tag_files: tuple[Path, ...],
    ticket_files: tuple[Path, ...],
    learn_hours: float | None = None,
) -> Options:
    """The options of a run that knows what a plant declared; ends the command where that cannot be used."""
    from detectors.baseline.book import State
    from detectors.baseline.live_learning import LiveLearning
    from detectors.pipeline import Options
    from detectors.tags.file import Tag, load_tags
    from detectors.tickets import Ticket, load_tickets

    declared, learning, tags, tickets = None, None, list[Tag](), list[Ticket]()
    if learn_hours and baseline_file is None:
        raise click.UsageError("--learn needs a file to learn into: --baseline FILE")
    with plainly():
        if baseline_file is not None and learn_hours:
            learning = LiveLearning.into(baseline_file, learn_hours, complain)
        elif baseline_file is not None:
            from detectors.baseline.signing import open_trusted  # cryptography takes its time

            declared, _ = open_trusted(baseline_file, trust, unsigned=unsigned)
        for path in tag_files:
            points, wrong = load_tags(path)
            tags += points
            for error in wrong:
                complain(error)
        for path in ticket_files:
            sound, errors = load_tickets(path)
            tickets += sound
            for error in errors:
                complain(f"{error}; this ticket quiets nothing")
    if declared is not None and not any(line.state is State.APPROVED for _, line in declared):
        complain(f"{baseline_file}: no line is approved; read it with `fenghuo baseline report`, then `approve`")
        sys.exit(2)
    return Options(baseline=declared, tags=tags, tickets=tickets, learning=learning)


@click.group()
def baseline() -> None:
    """What is normal here: learned from traffic, read and approved by people, signed, compared with."""


@baseline.command("learn")
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="Where to; an existing one is added to.")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
def learn(captures: tuple[str, ...], output: Path) -> None:
    """Learn from CAPTURE...: who asks what of whom, on which objects, in which rhythm. Only what succeeded is learned.

    Nothing is normal before somebody approves it; dangerous operations need an approval of their own.
    """
    from detectors.baseline.learning import learn_captures
    from detectors.baseline.store import read, save

    with plainly():
        known = read(output)[0] if output.exists() else None
        learned = learn_captures(captures, known)
        save(output, learned)
    _told(output, learned)


def _told(path: Path, learned: Baseline) -> None:
    """What is to be done with a baseline that was just learned."""
    from detectors.baseline.review import doubts, said

    odd = doubts(learned)
    click.echo(
        f"{path}: {len(learned)} lines from {len(learned.sources)} captures; nothing of it counts before it is approved"
    )
    for name, why in odd.items():
        line = learned.get(name)
        if line is not None:
            click.echo(f"  {name}  {said(line).en}: {why.en}")
    if learned.left_out:
        click.echo(f"  {learned.left_out} exchanges were beyond the limit and are not in it")
    click.echo(
        f"next: fenghuo baseline report {path}; fenghuo baseline approve {path} --all-safe --by NAME --reason WHY"
    )


@baseline.command("report")
@LANG
@click.argument("file", type=EXISTING)
def report(file: Path, lang: str | None) -> None:
    """FILE in words, line by line, with what is still to be decided."""
    from detectors.baseline import review
    from detectors.baseline.store import read
    from detectors.report import language

    with plainly():
        learned, signature = read(file)
    for line in review.report(learned, language(lang)):
        click.echo(line)
    if signature:
        zh = language(lang) == "zh"
        who = f"{signature.by}, {signature.at}, {signature.key}"
        click.echo(f"签名（未在此验证）：{who}" if zh else f"signed (not verified here): {who}")


def _decided(
    file: Path, lines: tuple[str, ...], state: State, by: str, reason: str, key: Path | None, *, all_safe: bool
) -> None:
    from detectors.baseline import review
    from detectors.baseline.signing import private_key, sign
    from detectors.baseline.store import read, save

    with plainly():
        signer = private_key(key) if key else None
        learned, signature = read(file)
        try:
            names = review.decide(learned, lines, state, by, reason, time.time_ns(), all_safe=all_safe)
        except KeyError as error:
            raise click.UsageError(f"{file}: there is no line {error.args[0]!r}") from None
        save(file, learned)
        if signer:
            sign(file, signer, by)
    left = sum(line.state.value != "approved" for _, line in learned)
    click.echo(f"{file}: {len(names)} lines {state.value}; {left} of {len(learned)} are not approved")
    if signature and not key:
        click.echo("the signature no longer fits and was taken off: sign it anew with `fenghuo baseline sign`")


_BY = click.option("--by", required=True, help="Who decides.")
_REASON = click.option("--reason", required=True, help="Why.")


@baseline.command("approve")
@click.option("--line", "lines", multiple=True, metavar="ID", help="This line; repeat.")
@click.option("--all-safe", is_flag=True, help="Every undecided line that is neither dangerous nor odd.")
@_BY
@_REASON
@KEY
@click.argument("file", type=EXISTING)
def approve(file: Path, lines: tuple[str, ...], all_safe: bool, by: str, reason: str, key: Path | None) -> None:
    """Approve lines of FILE: from then on they are normal."""
    from detectors.baseline.book import State

    if not lines and not all_safe:
        raise click.UsageError("give --line ID, or --all-safe")
    _decided(file, lines, State.APPROVED, by, reason, key, all_safe=all_safe)


@baseline.command("refuse")
@click.option("--line", "lines", multiple=True, required=True, metavar="ID", help="This line; repeat.")
@_BY
@_REASON
@KEY
@click.argument("file", type=EXISTING)
def refuse(file: Path, lines: tuple[str, ...], by: str, reason: str, key: Path | None) -> None:
    """Refuse lines of FILE: should that happen again, the finding says that it was refused, by whom and why."""
    from detectors.baseline.book import State

    _decided(file, lines, State.REFUSED, by, reason, key, all_safe=False)


@baseline.command("diff")
@LANG
@click.argument("old", type=EXISTING)
@click.argument("new", type=EXISTING)
def diff(old: Path, new: Path, lang: str | None) -> None:
    """What NEW has more (+), less (-) or otherwise (~) than OLD; exit code 1 when they differ."""
    from detectors.baseline import review
    from detectors.baseline.store import read
    from detectors.report import language

    with plainly():
        before, after = read(old)[0], read(new)[0]
    lines = list(review.difference(before, after, language(lang)))
    for line in lines:
        click.echo(line)
    sys.exit(1 if lines else 0)


@baseline.command("export")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.argument("file", type=EXISTING)
def export(file: Path, form: str) -> None:
    """The lines of FILE as a table, for a spreadsheet or another program."""
    from detectors.baseline.store import export_rows, read

    with plainly():
        learned, _ = read(file)
    for row in export_rows(learned, form):
        click.echo(row)


@baseline.command("import")
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="Baseline to add to, or to make.")
@TRUST
@click.argument("files", nargs=-1, required=True, type=EXISTING)
def import_(files: tuple[Path, ...], output: Path, trust: tuple[Path, ...], unsigned: bool) -> None:
    """Add the lines of other baselines, such as a sister plant's. Each must be signed by a trusted key, or --unsigned;
    decisions that were made in it come along only from a signed one."""
    from detectors.baseline.book import Baseline, State
    from detectors.baseline.signing import open_trusted
    from detectors.baseline.store import read, save

    with plainly():
        into = read(output)[0] if output.exists() else Baseline()
        for file in files:
            other, signature = open_trusted(file, trust, unsigned=unsigned)
            if unsigned or signature is None:
                for _, line in other:
                    line.decide(State.LEARNED, "", "", 0)
            into.merge(other)
        save(output, into)
    click.echo(f"{output}: {len(into)} lines")


@baseline.command("key")
@click.option("-o", "--output", type=FILE, required=True, metavar="NAME", help="Writes NAME.key and NAME.pub.")
def key(output: Path) -> None:
    """Make a pair of keys: NAME.key signs and stays with who approves; NAME.pub goes to the sensors."""
    from detectors.baseline.signing import make_keys

    with plainly():
        private, public, name = make_keys(output)
    click.echo(f"{private}  keep it to yourself\n{public}  for --trust; fingerprint {name}")


@baseline.command("sign")
@click.option("--by", required=True, help="Who signs.")
@click.option("--key", type=EXISTING, required=True, metavar="FILE.key", help="Private key.")
@click.argument("file", type=EXISTING)
def sign_(file: Path, by: str, key: Path) -> None:
    """Sign FILE as it stands."""
    from detectors.baseline.signing import private_key, sign
    from detectors.baseline.store import read

    with plainly():
        read(file)  # nobody should sign what cannot be read
        signature = sign(file, private_key(key), by)
    click.echo(f"{file}: signed by {signature.by} at {signature.at} with the key {signature.key}")


@baseline.command("verify")
@click.option("--trust", "trust", multiple=True, required=True, type=EXISTING, metavar="FILE.pub", help="Public key.")
@click.argument("file", type=EXISTING)
def verify_(file: Path, trust: tuple[Path, ...]) -> None:
    """Whether FILE is signed by a trusted key and unchanged since; exit code 2 when it is not."""
    from detectors.baseline.signing import trusted, verify

    with plainly():
        signature = verify(file, trusted(trust))
    click.echo(f"{file}: signed by {signature.by} at {signature.at} with the key {signature.key}, unchanged since")
