"""`fenghuo carve`: the program blocks and files that crossed the wire."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from commands import complain


class Folder(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A folder, made where it is missing."""

    name = "DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        folder = Path(str(value))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.fail(f"{folder} cannot be used: {error.strerror}", param, ctx)
        return folder


ARTIFACTS = click.option("--artifacts", type=Folder(), help="Keep the program blocks and files from the wire here.")


@click.command()
@click.option("-o", "--output", "folder", type=Folder(), help="Keep them here.")
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the text; by default that of the locale.")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
def carve(captures: tuple[str, ...], folder: Path | None, form: str, lang: str | None) -> None:
    """Program blocks and files in CAPTURE..., put together from S7comm, UMAS, DNP3, Modbus, FTP, TFTP and HTTP.

    One line for each, with its SHA-256; with -o the octets are kept in DIR/objects under that name, and what each was
    stands in DIR/history.jsonl. Exit codes: 0 done; 1 a limit was reached, so something may be missing; 2 wrong use, or
    a capture cannot be read.
    """
    from detectors.carving.listing import carve as run
    from detectors.report import language

    try:
        sys.exit(run(captures, folder, form=form, lang=language(lang), out=sys.stdout, complain=complain))
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        complain(f"{folder}: {error.strerror or error}")
        sys.exit(2)
