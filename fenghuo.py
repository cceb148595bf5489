"""The command line of Fenghuo: start reading here. It alone, with commands/, sees all packages.

Exit codes: 0 done; 1 done and something to report (a rule failed, a fault found); 2 wrong use or unreadable input,
with one clear line on standard error. Imports stand inside the commands, so that `fenghuo --help` does not wait for a
compiler and a sensor host needs no web stack.
"""

from __future__ import annotations

import atexit
import dataclasses
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from commands import complain
from commands import rules as rule_commands
from commands.archive import archive, archive_target
from commands.attack import attack
from commands.baseline import ENFORCED, LEARNED, baseline, enforced
from commands.carve import ARTIFACTS, Folder, carve
from commands.console import console
from commands.console_data import audit, backup, restore
from commands.hunt import hunt
from commands.index import index
from commands.one_way import ONE_WAY, receive
from commands.rules import with_rules
from commands.score import score
from commands.sensor_key import enrol, rotate_key
from commands.size import Size
from commands.weights import WEIGHTS, weighed

if TYPE_CHECKING:
    from pathlib import Path

    from detectors.pipeline import Options
    from sensor.capture.source import Capture
    from sensor.one_way.sender import OneWayOptions

# Importing makes a hundred thousand objects that stay. Reference cycles among them are looked for after so many new
# ones, not after each 700, and not once more at the end, when all memory goes back: a tenth of a short command.
gc.set_threshold(50_000)
atexit.register(gc.freeze)
# numpy's linear algebra, which nothing here uses, would start a thread for each core and let it spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CAPTURES = click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
TOGETHER = click.option("--together", is_flag=True, help="Take the captures as one stream of time.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fenghuo")
def main() -> None:
    """Fenghuo: see what happens on an industrial network, and tell the people who must act."""


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
@ENFORCED
@WEIGHTS
@rule_commands.RULES
@TOGETHER
@ARTIFACTS
@CAPTURES
def inspect(
    captures: tuple[str, ...],
    form: str,
    lang: str | None,
    together: bool,
    artifacts: Path | None,
    ledger_file: Path | None,
    override_file: Path | None,
    rule_folders: tuple[Path, ...],
    **plant: Any,
) -> None:
    """Findings in CAPTURE..., to standard output; no server, nothing stored.

    Exit codes: 0 all captures were inspected, whether something was found or not; 1 a detector failed (the findings say
    which), so something may have been missed; 2 wrong use, or a capture cannot be read (the others are inspected).
    """
    from detectors.inspection import inspect_captures

    try:
        declared = weighed(enforced(**plant), ledger_file=ledger_file, override_file=override_file)
        options = with_rules(dataclasses.replace(declared, artifacts=artifacts), rule_folders)
        sys.exit(
            inspect_captures(captures, form=form, lang=lang, together=together, complain=complain, options=options)
        )
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)


@main.command()
@click.option("--format", "form", type=click.Choice(["text", "jsonl", "csv"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.option("--site", default="", metavar="NAME", help="Where these captures are from: part of each asset's key.")
@click.option("--ledger", type=click.Path(dir_okay=False), metavar="FILE.csv", help="What there should be; compare.")
@click.option("--console", "url", metavar="URL", help="Report them to this console too.")
@click.option("--key-file", type=click.File(), help="File with the key of the sensor that reports them.")
@CAPTURES
def assets(
    captures: tuple[str, ...],
    form: str,
    lang: str | None,
    site: str,
    ledger: str | None,
    url: str | None,
    key_file: TextIO | None,
) -> None:
    """Which devices speak in CAPTURE..., what they say they are, and who asks whom.

    Nobody is asked; each statement names the frame that shows it. With a ledger (a CSV file with the columns address,
    segment, name, importance, owner, approved) also what is not declared, not approved, or silent.

    Exit codes: 0 done; 1 the ledger and the wire differ; 2 wrong use, or a capture cannot be read.
    """
    from detectors.assets.survey import list_assets
    from detectors.content import ContentError
    from sensor.reports import ReportError, send_assets

    key = key_file.read().strip() if key_file else os.environ.get("FENGHUO_SENSOR_KEY", "")
    if url and not key:
        raise click.UsageError("the sensor's key is missing: give --key-file FILE, or set FENGHUO_SENSOR_KEY")

    def deliver(records: list[dict[str, Any]]) -> None:
        for line in send_assets(url or "", key, records):
            complain(f"the console rejected {line}")

    try:
        sys.exit(
            list_assets(
                captures, form=form, lang=lang, site=site, ledger=ledger, complain=complain,
                deliver=deliver if url else None,
            )
        )  # fmt: skip
    except (ContentError, ReportError) as error:
        complain(error)
        sys.exit(2)
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


@rules.command("convert")
@click.option("--target", type=click.Choice(["elasticsearch"]), required=True, help="For which system.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["lucene", "dsl", "kibana"]),
    default="lucene",
    show_default=True,
    help="The query alone, query DSL, or saved searches to be imported.",
)
@click.option("--mapping", is_flag=True, help="Print settings and mapping of the index instead: queries need them.")
@click.argument("rule", nargs=-1, metavar="[RULE...]")
def rules_convert(target: str, form: str, mapping: bool, rule: tuple[str, ...]) -> None:
    """Queries that find in an index of events what RULE... matches, or all rules that are shipped.

    RULE is a name, an id or a file. A rule that the target cannot say is named on standard error; exit code 1 where it
    was asked for by name, or where a rule cannot be read.
    """
    import json

    from detectors.sigma.convert import ConvertError, convert_named, index_mapping

    if mapping:
        click.echo(json.dumps(index_mapping(), indent=2))
        return
    sound = True
    try:
        for it in convert_named(rule, form):
            if it.why:
                sound = sound and not (rule or it.broken)
                complain(f"{it.name}: not converted: {it.why}")
            elif form == "lucene" and len(rule) != 1:
                click.echo(f"# {it.name}: {it.title}\n{it.query}\n")
            else:
                click.echo(it.query)
    except ConvertError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(0 if sound else 1)


@main.group()
def sensor() -> None:
    """The sensor program: traffic in, findings to a console."""


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
@ARTIFACTS
@click.option("--artifacts-size", type=Size(), default="1G", show_default=True, help="What they may need on disk.")
@click.option("--archive", "archive_folder", type=Folder(), help="Keep behaviours and chosen events for hunting here.")
@click.option("--archive-days", type=click.IntRange(min=1), metavar="N", help="Keep so many days there; otherwise all.")
@click.option("--archive-size", type=Size(), help="What it may need on disk: 500G, 2T; the oldest days go first.")
@click.option("--console", "url", default="", metavar="URL", help="Address of the console.")
@ONE_WAY
@click.option(
    "--key-file", type=click.Path(dir_okay=False), help="File with this sensor's key; otherwise FENGHUO_SENSOR_KEY."
)
@click.option("--key", envvar="FENGHUO_SENSOR_KEY", hidden=True)
@click.option("--spool", default="sensor-spool", show_default=True, metavar="DIR", help="Where findings wait, on disk.")
@click.option(
    "--spool-quota", type=Size(), default="2G", show_default=True, help="What they may need there; see docs/spool.md."
)
@click.option(
    "--console-key", default="", metavar="FINGERPRINT", help="Take configuration that is signed with this key only."
)
@click.option("--name", default="", help="This sensor's name, to begin before its console was ever reached.")
@click.option("--once", is_flag=True, help="End when everything is sent; otherwise stay, with a heartbeat.")
@ENFORCED
@LEARNED
@WEIGHTS
@rule_commands.RULES
@click.argument("more", nargs=-1, metavar="[FILE...]")
def sensor_run(
    interfaces: tuple[str, ...],
    captures: tuple[str, ...],
    more: tuple[str, ...],
    fanout: int,
    buffer_size: int,
    ring: str | None,
    ring_size: int,
    artifacts: Path | None,
    artifacts_size: int,
    archive_folder: Path | None,
    archive_days: int | None,
    archive_size: int | None,
    url: str,
    key_file: str | None,
    key: str | None,
    spool: str,
    spool_quota: int,
    console_key: str,
    one_way: OneWayOptions | None,
    name: str,
    once: bool,
    ledger_file: Path | None,
    override_file: Path | None,
    rule_folders: tuple[Path, ...],
    **plant: Any,
) -> None:
    """Listen on interfaces, or inspect captures; keep what is found on disk, send it to the console.

    Rules are loaded again when their files change; on SIGHUP all files that were given are read again at once. What is
    broken is told, and what was in force stays. What the console gives for this sensor is taken when it is signed.

    On an interface it runs until it is ended (SIGTERM, Ctrl-C); it needs the capability CAP_NET_RAW and never sends
    there. A capture is inspected once: starting again with the same spool sends nothing twice. The key is read from a
    file or from the environment, for what stands on a command line can be seen by everybody on the machine.
    """
    import logging
    import signal
    from pathlib import Path

    from detectors.live_feed import LiveOptions
    from detectors.program import SensorProgram
    from sensor.archive.upkeep import Limits
    from sensor.capture.frame_ring import FrameRingError
    from sensor.capture.packet_ring import LiveError
    from sensor.sensor_key import KeyFileError, SensorKey
    from sensor.spool import SpoolError
    from sensor.uplink import UplinkError

    if bool(interfaces) == bool(captures):
        raise click.UsageError("give --interface NAME, or --capture FILE")
    if (archive_days or archive_size) and not archive_folder:
        raise click.UsageError("--archive-days and --archive-size say what an archive keeps: give --archive DIR too")
    if plant["learn_hours"] and not interfaces:
        raise click.UsageError("--learn is for interfaces; of captures `fenghuo baseline learn` learns")
    if bool(url) == (one_way is not None):
        raise click.UsageError("say where findings go: --console URL, or --one-way HOST:PORT over a data diode")
    if one_way and not name:
        raise click.UsageError(
            "over a one-way link nobody can tell the sensor its name: give --name, as in the console"
        )
    try:
        secret = SensorKey.of_file(Path(key_file)) if key_file else SensorKey((key or "").strip())
    except KeyFileError as error:
        raise click.UsageError(str(error)) from None
    if not secret.key:
        raise click.UsageError("this sensor's key is missing: give --key-file FILE, or set FENGHUO_SENSOR_KEY")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        target = archive_target(archive_folder) if archive_folder else None

        def declared() -> Options:
            said = weighed(enforced(**plant), ledger_file=ledger_file, override_file=override_file)
            return dataclasses.replace(with_rules(said, rule_folders), archive=target)

        folder = Path(spool)
        program = SensorProgram(
            url, secret, folder, name, complain, artifacts, artifacts_size, declared(),
            console_key=console_key, reread=declared, spool_bytes=spool_quota, one_way=one_way,
            archive_limits=Limits(archive_days, archive_size),
        )  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: program.stop())
        signal.signal(signal.SIGHUP, lambda *_: program.reload())
        signal.signal(signal.SIGINT, lambda *_: program.stop())
        if not interfaces:
            sys.exit(program.run((*captures, *more), once=once))
        raw = Path(ring) if ring else None
        sys.exit(
            program.listen(
                LiveOptions((*interfaces, *more), fanout, buffer_size, raw, ring_size, artifacts, artifacts_size)
            )
        )
    except (LiveError, FrameRingError, SpoolError, UplinkError, OSError) as error:
        complain(error)
        sys.exit(2)


for command in (rule_commands.check, rule_commands.test, rule_commands.explain):
    rules.add_command(command)
rules.add_command(score)
for command in (enrol, rotate_key):
    sensor.add_command(command)
main.add_command(archive)
main.add_command(attack)
main.add_command(baseline)
main.add_command(carve)
for command in (audit, backup, restore):
    console.add_command(command)
console.add_command(index)
console.add_command(receive)
main.add_command(console)
main.add_command(hunt)

if __name__ == "__main__":
    main()
