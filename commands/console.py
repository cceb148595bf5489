"""`fenghuo console ...`: the console program, its users, organisations and sensors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from commands import complain

if TYPE_CHECKING:
    from console.run import Credentials
    from console.settings import Settings


@click.group()
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
    from console.store.archive import ArchiveError
    from console.store.engine import StoreUrlError
    from console.store.migrations import SchemaError
    from console.store.restore import TargetError

    try:
        yield
    except (ServiceError, SchemaError, StoreUrlError, ArchiveError, TargetError) as error:
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
