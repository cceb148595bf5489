"""The command line of Fenghuo. The one file that sees all packages: start reading here.

Exit codes: 0 done; 1 done and something to report (a rule failed, a fault found); 2 wrong use or unreadable input,
with one clear line on standard error. Imports stand inside the commands, so that `fenghuo --help` does not wait for a
compiler and a sensor host needs no web stack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from console.run import Credentials
    from console.settings import Settings
    from sensor.capture.source import Capture

CAPTURES = click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
TOGETHER = click.option("--together", is_flag=True, help="Take the captures as one stream of time.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fenghuo")
def main() -> None:
    """Fenghuo: see what happens on an industrial network, and tell the people who must act."""


def complain(line: object) -> None:
    """One line to standard error; what comes from outside cannot steer the terminal."""
    from sensor.text import printable

    click.echo(printable(str(line)), err=True)


def open_captures(paths: tuple[str, ...]) -> tuple[list[Capture], bool]:
    """Those that can be opened, and whether all could; the others are named on standard error."""
    from sensor.capture.source import CaptureError, open_capture

    opened = []
    for path in paths:
        try:
            opened.append(open_capture(path))
        except CaptureError as error:
            complain(error)
    return opened, len(opened) == len(paths)


@main.command()
@click.option("--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@TOGETHER
@CAPTURES
def decode(captures: tuple[str, ...], form: str, together: bool) -> None:
    """One line for each PDU in CAPTURE..., to standard output."""
    from sensor.export import WRITERS
    from sensor.lines import lines

    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for reading on a terminal: redirect it to a file")
    opened, sound = open_captures(captures)
    wanted = lines(opened, together=together, complain=complain)
    try:
        WRITERS[form](wanted, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)
    except RuntimeError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(0 if sound else 2)


@main.command()
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@TOGETHER
@CAPTURES
def inspect(captures: tuple[str, ...], form: str, lang: str | None, together: bool) -> None:
    """Findings in CAPTURE..., to standard output; no server, nothing stored.

    Exit codes: 0 all captures were inspected, whether something was found or not; 1 a detector failed (the findings say
    which), so something may have been missed; 2 wrong use, or a capture cannot be read (the others are inspected).
    """
    from detectors.inspection import inspect_captures

    try:
        sys.exit(inspect_captures(captures, form=form, lang=lang, together=together, complain=complain))
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)


@main.command("span-check")
@click.option("--interface", metavar="NAME", help="Listen on this interface instead of reading captures.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True, help="How long to listen.")
@click.option("--expect-vlan", "vlans", multiple=True, metavar="VLAN,...", help="VLANs that must be seen; repeat.")
@click.option("--format", "form", type=click.Choice(["text", "jsonl", "json"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.argument("captures", nargs=-1, metavar="[CAPTURE...]")
def span_check(
    captures: tuple[str, ...],
    interface: str | None,
    seconds: float,
    vlans: tuple[str, ...],
    form: str,
    lang: str | None,
) -> None:
    """Is the mirror port right? What is wrong with it, and which setting of the switch to change.

    Exit codes: 0 nothing is wrong; 1 faults were found; 2 wrong use, or a capture cannot be read. JSON is one object a
    line, for each capture one.
    """
    from detectors.span_check import SpanCheck, vlan_numbers
    from sensor.capture.packet_ring import LiveError

    if bool(captures) == (interface is not None):
        raise click.UsageError("give captures, or --interface NAME")
    try:
        expected = vlan_numbers(vlans)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    check = SpanCheck(form="text" if form == "text" else "jsonl", lang=lang, vlans=expected, complain=complain)
    try:
        sys.exit(check.captures(captures) if interface is None else check.interface(interface, seconds))
    except LiveError as error:
        complain(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)


@main.group()
def rules() -> None:
    """Detection content."""


@rules.command("check")
@click.argument("files", nargs=-1, metavar="[FILE...]")
def rules_check(files: tuple[str, ...]) -> None:
    """Check FILE..., or the content that is shipped; exit code 1 when a file cannot be used."""
    from pathlib import Path

    from detectors.review import check, content_files

    sound = True
    for path, count, error in check([Path(name) for name in files] or content_files()):
        if error:
            sound = False
            complain(error)
        else:
            click.echo(f"{path}: {count} rules, sound")
    sys.exit(0 if sound else 1)


@rules.command("explain")
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.argument("rule")
def rules_explain(rule: str, lang: str | None) -> None:
    """What RULE means: what is seen, why it matters, what to check."""
    from detectors.report import language
    from detectors.review import explain

    try:
        click.echo("\n".join(explain(rule, language(lang))))
    except KeyError:
        raise click.UsageError(f"there is no rule {rule!r}") from None


@main.group()
def sensor() -> None:
    """The sensor program: traffic in, findings to a console."""


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        power = "KMGT".find(text[-1:]) + 1 if text[-1:] else 0
        try:
            return int(float(text[: -1 if power else None]) * 1024**power)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a size: give a number of bytes, or 64M, 10G", param, ctx)


@sensor.command("run")
@click.option("--interface", "interfaces", multiple=True, metavar="NAME", help="Interface to listen on; repeat.")
@click.option("--capture", "captures", multiple=True, metavar="FILE...", help="Capture to inspect instead; repeat.")
@click.option(
    "--fanout", type=click.IntRange(1, 64), default=1, show_default=True, help="Receive buffers for each interface."
)
@click.option(
    "--buffer-size", type=Size(), default="64M", show_default=True, help="Memory for frames received on an interface."
)
@click.option("--ring", type=click.Path(file_okay=False), metavar="DIR", help="Keep raw frames here, the latest.")
@click.option("--ring-size", type=Size(), default="10G", show_default=True, help="What they may need on disk.")
@click.option("--console", "url", required=True, metavar="URL", help="Address of the console.")
@click.option("--key-file", type=click.File(), help="File with this sensor's key; otherwise FENGHUO_SENSOR_KEY.")
@click.option("--key", envvar="FENGHUO_SENSOR_KEY", hidden=True)
@click.option("--spool", default="sensor-spool", show_default=True, metavar="DIR", help="Where findings wait, on disk.")
@click.option("--name", default="", help="This sensor's name, to begin before its console was ever reached.")
@click.option("--once", is_flag=True, help="End when everything is sent; otherwise stay, with a heartbeat.")
@click.argument("more", nargs=-1, metavar="[FILE...]")
def sensor_run(
    interfaces: tuple[str, ...],
    captures: tuple[str, ...],
    more: tuple[str, ...],
    fanout: int,
    buffer_size: int,
    ring: str | None,
    ring_size: int,
    url: str,
    key_file: TextIO | None,
    key: str | None,
    spool: str,
    name: str,
    once: bool,
) -> None:
    """Listen on interfaces, or inspect captures; keep what is found on disk, send it to the console.

    On an interface it runs until it is ended (SIGTERM, Ctrl-C); it needs the capability CAP_NET_RAW and never sends
    there. A capture is inspected once: starting again with the same spool sends nothing twice. The key is read from a
    file or from the environment, for what stands on a command line can be seen by everybody on the machine.
    """
    import logging
    import signal
    from pathlib import Path

    from detectors.live_run import LiveOptions
    from detectors.program import SensorProgram
    from sensor.capture.frame_ring import FrameRingError
    from sensor.capture.packet_ring import LiveError
    from sensor.spool import SpoolError
    from sensor.uplink import UplinkError

    if bool(interfaces) == bool(captures):
        raise click.UsageError("give --interface NAME, or --capture FILE")
    secret = key_file.read().strip() if key_file else (key or "")
    if not secret:
        raise click.UsageError("this sensor's key is missing: give --key-file FILE, or set FENGHUO_SENSOR_KEY")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        program = SensorProgram(url, secret, Path(spool), name, complain)
        signal.signal(signal.SIGTERM, lambda *_: program.stop())
        signal.signal(signal.SIGINT, lambda *_: program.stop())
        if not interfaces:
            sys.exit(program.run((*captures, *more), once=once))
        raw = Path(ring) if ring else None
        sys.exit(program.listen(LiveOptions((*interfaces, *more), fanout, buffer_size, raw, ring_size)))
    except (LiveError, FrameRingError, SpoolError, UplinkError, OSError) as error:
        complain(error)
        sys.exit(2)


@main.group()
def console() -> None:
    """The console program: findings to people. Its settings are environment variables, see docs/console.md."""


def settings() -> Settings:
    """The console's settings; a wrong one ends the command with one line that names it."""
    from pydantic import ValidationError

    from console.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(f"FENGHUO_{str(first['loc'][0]).upper()}: {first['msg']}") from None


@contextmanager
def plainly() -> Iterator[None]:
    """What people did wrong, in one line and exit code 2."""
    from sqlalchemy.exc import SQLAlchemyError

    from console.services.errors import ServiceError

    try:
        yield
    except ServiceError as error:
        complain(error)
        sys.exit(2)
    except SQLAlchemyError as error:
        complain(f"the store cannot be used: {str(getattr(error, 'orig', error)).splitlines()[0]}")
        sys.exit(2)
    except OSError as error:
        complain(error)
        sys.exit(2)


def show(account: Credentials, as_json: bool) -> None:
    """A password that is stored nowhere in the clear: shown once."""
    if as_json:
        click.echo(json.dumps({"login": account.login, "password": account.password}))
    else:
        click.echo(f"user      {account.login}\npassword  {account.password}   (made just now, shown this once)")


AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
ORGANISATION = click.option("--organisation", help="By name; needed where the console has several.")


@console.command("init")
@click.option("--organisation", required=True, help="Name of the plant, industry body or authority.")
@click.option("--kind", type=click.Choice(["enterprise", "industry", "city"]), default="enterprise", show_default=True)
@click.option("--login", default="admin", show_default=True, help="The first user.")
@AS_JSON
def console_init(organisation: str, kind: str, login: str, as_json: bool) -> None:
    """Make the store, the organisation and its first user, with a password made on the spot."""
    from console import run
    from console.store.models import OrganisationKind

    with plainly():
        show(run.init_console(settings(), organisation, OrganisationKind(kind), login), as_json)


@console.command("run")
@click.option("--worker/--no-worker", default=True, help="Start the process that sends messages, too.")
def console_run(worker: bool) -> None:
    """Serve until Ctrl-C."""
    import logging

    from console import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    chosen = settings()
    with plainly():
        if not run.is_initialised(chosen):
            complain("this console has no organisation yet: run `fenghuo console init --organisation NAME` first")
            sys.exit(2)
        run.serve(chosen, worker=worker)


@console.command("worker")
def console_worker() -> None:
    """Send messages and pull bulletins until Ctrl-C; beside a console that runs with --no-worker."""
    import logging

    from console.notify.worker import run_worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with plainly():
        run_worker(settings())


@console.command("user")
@click.argument("login", required=False)
@click.option("--reset", metavar="LOGIN", help="Make a new password for this user instead.")
@click.option("--name", default="", help="The person's name.")
@click.option("--role", type=click.Choice(["viewer", "analyst", "administrator"]), default="analyst", show_default=True)
@ORGANISATION
@AS_JSON
def console_user(
    login: str | None, reset: str | None, name: str, role: str, organisation: str | None, as_json: bool
) -> None:
    """Add the user LOGIN with a password made on the spot."""
    from console import run
    from console.services.actor import Role

    if (login is None) == (reset is None):
        raise click.UsageError("give the LOGIN of a new user, or --reset LOGIN for a new password")
    with plainly():
        if reset is not None:
            show(run.reset_password(settings(), reset), as_json)
        elif login is not None:
            show(run.add_user(settings(), login, name, Role(role), organisation), as_json)


@console.command("organisation")
@click.argument("name")
@click.option("--kind", type=click.Choice(["enterprise", "industry", "city"]), default="enterprise", show_default=True)
@click.option("--parent", help="The organisation above it, by name.")
def console_organisation(name: str, kind: str, parent: str | None) -> None:
    """Add an organisation to the tree."""
    from console import run
    from console.store.models import OrganisationKind

    with plainly():
        run.add_organisation(settings(), name, OrganisationKind(kind), parent)


@console.command("sensor")
@click.argument("name")
@click.option("--site", help="Where it stands.")
@click.option("--segment", help="What it listens to.")
@click.option("--drill", is_flag=True, help="Everything that it sends is an exercise.")
@click.option("--renew", is_flag=True, help="A new key for a sensor that exists; the old one ends.")
@ORGANISATION
def console_sensor(
    name: str, site: str | None, segment: str | None, drill: bool, renew: bool, organisation: str | None
) -> None:
    """Add the sensor NAME and print its key, which is stored nowhere."""
    from console import run

    with plainly():
        if renew:
            click.echo(run.renew_sensor_key(settings(), name, organisation))
            return
        if site is None or segment is None:
            raise click.UsageError(
                "a sensor needs --site and --segment: the same address repeats in every machine line"
            )
        click.echo(run.add_sensor(settings(), name, site, segment, organisation, drill))


@console.command("pull")
def console_pull() -> None:
    """Fetch the bulletins of every console that this one subscribes to, now."""
    from console import run

    with plainly():
        failed = False
        for name, report in run.pull(settings()).items():
            failed = failed or bool(report.error)
            counts = ", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())) or "nothing new"
            click.echo(f"{name}: {report.error or counts}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
