"""`fenghuo console audit ...`: whether the audit log is what was written."""

from __future__ import annotations

import sys

import click

from commands.console import plainly, settings
from commands.progress import counting


@click.group("audit")
def audit() -> None:
    """The audit log: a chain of hashes for each organisation."""


@audit.command("verify")
def audit_verify() -> None:
    """Walk every chain. Exit code 1 and the first bad entry where one is not what was written."""
    from console import run

    with plainly(), counting("entries") as count:
        found = run.verify_audit(settings(), count)
    for one in found:
        if one.fault is None:
            click.echo(f"organisation {one.organisation}: {one.entries} entries hold, {one.first} to {one.last}")
        else:
            click.echo(f"organisation {one.organisation}: entry {one.fault.sequence}: {one.fault.what}")
    sys.exit(1 if any(one.fault for one in found) else 0)
