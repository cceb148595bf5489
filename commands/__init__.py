"""Parts of the command line that would make fenghuo.py too long to read. Like it they see all packages."""

from __future__ import annotations

import click


def complain(line: object) -> None:
    """One line to standard error; what comes from outside cannot steer the terminal."""
    from sensor.text import printable

    click.echo(printable(str(line)), err=True)
