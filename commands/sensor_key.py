"""`fenghuo sensor enrol` and `fenghuo sensor rotate-key`: how a sensor gets its key, and a new one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from commands import complain

CONSOLE = click.option("--console", "url", required=True, metavar="URL", help="Address of the console.")
KEY_FILE = click.option(
    "--key-file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File that holds the key."
)


@click.command()
@CONSOLE
@click.option("--token", required=True, envvar="FENGHUO_ENROLMENT_TOKEN", help="From the console's page of sensors.")
@KEY_FILE
def enrol(url: str, token: str, key_file: Path) -> None:
    """Make this sensor's key and let a console know it, once, with a token from its page.

    The key never leaves this machine: the console is told its hash. A token is valid once and for a short time; the
    same call again, with the same file, is safe where the answer was lost.
    """
    from sensor.enrolment import enrol as bring
    from sensor.sensor_key import KeyFileError
    from sensor.uplink import UplinkError

    try:
        name = bring(url, token, key_file)
    except (UplinkError, KeyFileError) as error:
        complain(error)
        sys.exit(2)
    click.echo(f"enrolled as {name}; the key stands in {key_file}")


@click.command("rotate-key")
@CONSOLE
@KEY_FILE
def rotate_key(url: str, key_file: Path) -> None:
    """Make this sensor a new key. One that runs with this file takes it up by itself, and nothing is lost.

    The old key stays valid for an hour.
    """
    from sensor.enrolment import rotate
    from sensor.sensor_key import KeyFileError
    from sensor.uplink import UplinkError

    try:
        rotate(url, key_file)
    except (UplinkError, KeyFileError) as error:
        complain(error)
        sys.exit(2)
    click.echo(f"the new key stands in {key_file}; the old one is valid for another hour")
