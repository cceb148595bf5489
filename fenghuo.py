"""The command line of Fenghuo. The one file that sees all packages: start reading here.

Exit codes: 0 done; 1 done and something to report (a rule failed, a fault found); 2 wrong use or unreadable input,
with one clear line on standard error. Imports stand inside the commands, so that `fenghuo --help` does not wait for a
compiler and a sensor host needs no web stack.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sensor.capture.source import Capture

CAPTURES = click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
TOGETHER = click.option("--together", is_flag=True, help="Take the captures as one stream of time.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fenghuo")
def main() -> None:
    """Fenghuo: see what happens on an industrial network, and tell the people who must act."""


def complain(line: object) -> None:
    """One line to standard error; what comes from outside cannot steer the terminal."""
    from sensor.capture.source import printable

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
    from sensor.progress import watched

    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for reading on a terminal: redirect it to a file")
    sound = True

    def lines() -> Iterator[dict[str, Any]]:
        from sensor.capture.together import Together
        from sensor.decode.decoder import Decoder

        nonlocal sound
        opened, sound = open_captures(captures)
        named = len(captures) > 1
        if together:
            merged = Together(opened)
            decoder = Decoder()
            for batch in decoder.decode(watched(merged, f"{len(opened)} captures")):
                for row in range(batch.size):
                    line = decoder.view.fields(batch, row)
                    line["capture"], line["frame"] = merged.place(line["frame"])
                    if "request.frame" in line:
                        capture, frame = merged.place(line.pop("request.frame"))
                        if capture == line["capture"]:  # a number says nothing about another file
                            line["request.frame"] = frame
                    yield line
        else:
            for capture in opened:
                decoder = Decoder()
                for batch in decoder.decode(watched(capture, capture.path)):
                    for row in range(batch.size):
                        line = decoder.view.fields(batch, row)
                        yield {"capture": capture.path, **line} if named else line
                report(capture)
        if together:
            for capture in opened:
                report(capture)

    def report(capture: Capture) -> None:
        for warning in capture.warnings:
            complain(warning)

    try:
        WRITERS[form](lines(), sys.stdout.buffer)
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


if __name__ == "__main__":
    main()
