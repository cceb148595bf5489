"""`fenghuo console backup|restore|audit`: looking after what the console keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from commands import complain
from commands.console import plainly, settings
from commands.progress import counting

PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its first line encrypts the secrets of the data folder: the key of links and logins, the installation's key.",
)


def _passphrase(file: Path | None) -> str:
    if file is None:
        return ""
    passphrase = file.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    if len(passphrase) < 12:
        raise click.UsageError(f"{file}: a passphrase has at least 12 characters")
    return passphrase


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@PASSPHRASE
def backup(file: Path, passphrase_file: Path | None) -> None:
    """Write all that the console keeps into FILE, while it runs: one consistent state, signed, mode 0600.

    Without a passphrase the secrets of the data folder are left out; logins, links in messages that were sent, and the
    key that signs checkpoints are then made anew where it is restored. Passwords for other consoles are in the rows.
    """
    from console import maintenance

    with plainly():
        passphrase = _passphrase(passphrase_file)
        with counting("rows") as count:
            manifest, signed_by = maintenance.back_up(settings(), file, passphrase, count)
    click.echo(f"{file}: {sum(table.rows for table in manifest.tables):,} rows of {len(manifest.tables)} tables")
    click.echo(f"signed by {signed_by}   (keep this elsewhere: `restore --key` compares it)")
    if not manifest.secrets:
        click.echo("the secrets of the data folder are NOT in it: give --passphrase-file to keep them, encrypted")


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@PASSPHRASE
@click.option("--key", default="", help="Fingerprint that the archive must be signed by; printed when it was made.")
def restore(file: Path, passphrase_file: Path | None, key: str) -> None:
    """Restore FILE into an empty data folder or an empty PostgreSQL database, whichever it came from, and verify it.

    Nothing that is there is ever written over, and nothing is kept of an archive that does not hold: every table's rows
    and hash, and every audit chain, are compared with what was archived.
    """
    from console import maintenance

    with plainly(), counting("rows") as count:
        passphrase = _passphrase(passphrase_file)
        manifest, signed_by, written = maintenance.restore_from(
            settings(), file, passphrase, key, lambda _what, rows: count(rows)
        )
    click.echo(
        f"{sum(table.rows for table in manifest.tables):,} rows of {len(manifest.tables)} tables restored and "
        f"verified, as they were at {manifest.made_at}"
    )
    if not key:
        click.echo(f"signed by {signed_by}   (compare it with what the backup printed, or give --key)")
    click.echo(f"secrets: {', '.join(written) if written else 'none restored; the console makes new ones'}")


@click.group("audit")
def audit() -> None:
    """The audit log: a chain of hashes for each organisation."""


@audit.command("verify")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A file of checkpoints that was kept elsewhere; finds a log that was cut or written anew.",
)
@click.option("--public-key", default="", help="Key that signed them, hex; without it the one in the data folder.")
def audit_verify(checkpoints: tuple[Path, ...], public_key: str) -> None:
    """Walk every chain. Exit code 1 and the first bad entry where one is not what was written."""
    from console import maintenance
    from console.services import audit_checkpoints

    with plainly():
        chosen = settings()
        key = public_key.strip().lower() or (maintenance.own_public_key(chosen) if checkpoints else "")
        try:
            known = [one for file in checkpoints for one in audit_checkpoints.read(file, key)]
        except audit_checkpoints.CheckpointError as error:
            complain(error)
            sys.exit(2)
        with counting("entries") as count:
            found = maintenance.verify_audit(chosen, known, count)
    for one in found:
        if one.fault is None:
            click.echo(f"organisation {one.organisation}: {one.entries} entries hold, {one.first} to {one.last}")
        else:
            click.echo(f"organisation {one.organisation}: entry {one.fault.sequence}: {one.fault.what}")
    sys.exit(1 if any(one.fault for one in found) else 0)


@audit.command("checkpoint")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def audit_checkpoint(file: Path | None) -> None:
    """Append a signed checkpoint of every chain to FILE (to standard output without one)."""
    from console import maintenance

    with plainly():
        line = maintenance.checkpoint(settings(), file)
    if file is None:
        click.echo(line)
