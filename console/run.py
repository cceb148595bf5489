"""Setting up and serving a console: what the command line calls."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from console.services import organisations, sensors, subscriptions, users
from console.services.actor import Role, the_console, utc_now
from console.services.errors import InvalidError
from console.services.subscriptions import PullReport
from console.settings import Settings, secret_key
from console.store.engine import Store, open_store
from console.store.migrations import PATIENCE_S, upgrade_once_there
from console.store.models import Organisation, OrganisationKind, Subscription

log = logging.getLogger(__name__)
RECEIVED_BYTES = 262_144  # of a connection at a time: a batch has millions


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login and its password, known to nobody until they are printed."""

    login: str
    password: str


def open_migrated(settings: Settings, patience_s: float = 0.0) -> Store:
    """The store of the settings with the newest schema; made where there is none. patience_s: to wait for a server."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store_url)
    upgrade_once_there(store, patience_s)
    return store


def is_initialised(settings: Settings) -> bool:
    """True when this console has an organisation. Asked by what then runs for months: see upgrade_once_there."""
    with open_migrated(settings, PATIENCE_S).reader() as session:
        return session.scalar(select(Organisation.id).limit(1)) is not None


def init_console(
    settings: Settings,
    organisation: str,
    kind: OrganisationKind = OrganisationKind.ENTERPRISE,
    login: str = "admin",
) -> Credentials:
    """Make the first organisation and its administrator with a password made on the spot.

    InvalidError when this console has one already: nobody gets in by initialising again.
    """
    secret_key(settings)
    with open_migrated(settings).transaction() as session:
        if session.scalar(select(Organisation.id).limit(1)) is not None:
            raise InvalidError("This console has been initialised already.")
        made = organisations.create_organisation(session, organisation, kind, None, utc_now())
        password = users.new_password()
        users.create_user(session, made, login, login, Role.ADMINISTRATOR, password, utc_now())
    return Credentials(login, password)


def add_organisation(settings: Settings, name: str, kind: OrganisationKind, parent: str | None) -> None:
    """A further organisation in the tree, below `parent` (by name) or as a root."""
    with open_migrated(settings).transaction() as session:
        above = organisations.named(session, parent) if parent else None
        organisations.create_organisation(session, name, kind, above, utc_now())


def add_user(
    settings: Settings, login: str, name: str = "", role: Role = Role.ANALYST, organisation: str | None = None
) -> Credentials:
    """A further user with a password made on the spot. organisation: by name; None where there is only one."""
    password = users.new_password()
    with open_migrated(settings).transaction() as session:
        owner = organisations.named(session, organisation)
        made = users.create_user(session, owner, login, name, role, password, utc_now())
        return Credentials(made.login, password)


def reset_password(settings: Settings, login: str) -> Credentials:
    """A new password for a user who lost it; every browser of that user is logged out."""
    password = users.new_password()
    with open_migrated(settings).transaction() as session:
        return Credentials(users.reset_password(session, login, password, utc_now()).login, password)


def add_sensor(
    settings: Settings, name: str, site: str, segment: str, organisation: str | None = None, drill: bool = False
) -> str:
    """A further sensor; gives its key, which is stored nowhere. drill: everything that it sends is an exercise."""
    with open_migrated(settings).transaction() as session:
        owner = organisations.named(session, organisation)
        _, key = sensors.add_sensor(session, the_console(owner.id), name, site, segment, utc_now(), drill)
        return key


def renew_sensor_key(settings: Settings, name: str, organisation: str | None = None) -> str:
    """A new key for a sensor, in place of the one that was lost."""
    with open_migrated(settings).transaction() as session:
        actor = the_console(organisations.named(session, organisation).id)
        return sensors.renew_key(session, actor, sensors.named(session, actor, name).id, utc_now())[1]


def pull(settings: Settings) -> dict[str, PullReport]:
    """Pull every subscription that is not paused now, whether its turn has come or not; reports by name."""
    store = open_migrated(settings)
    reports = subscriptions.pull_due(store, utc_now, allow_private=settings.peer_private, every=True)
    with store.reader() as session:
        return {session.get_one(Subscription, number).name: report for number, report in reports.items()}


def serve(settings: Settings, worker: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, with the notification worker beside it. OSError when the port is taken."""
    # Here, because the commands that only touch the store should not wait for the web stack.
    import waitress

    from console import create_app
    from console.api.ingest import employ, keep_log
    from console.gate import Gate, guard
    from console.notify.worker import start_beside
    from console.store.search import feed
    from console.store.search import worker as indexing
    from console.takers import Takers, tune_collector
    from console.web.application import MAX_BODY_BYTES

    takers = Takers(settings.store_url, settings.ingest_processes)
    if settings.ingest_processes:
        takers.start()  # before there are threads
    app = create_app(settings)
    if settings.ingest_processes:
        employ(app, takers)
    keeper = keep_log(app)
    if not settings.elasticsearch_url:
        with app.extensions["fenghuo"].store.transaction() as session:
            feed.switch_off(session)
    server = waitress.create_server(
        app,
        host=settings.host,
        port=settings.port,
        threads=settings.threads,
        recv_bytes=RECEIVED_BYTES,
        ident="",  # no word about the software
        max_request_body_size=MAX_BODY_BYTES + 65_536,  # the application answers what is a little too large itself
        max_request_header_size=32_768,
        channel_timeout=60,
        cleanup_interval=5,
        connection_limit=500,
        **_proxy(settings),
    )
    guard(server, Gate(_asker(app.extensions["fenghuo"].store)))
    beside = [start_beside(settings)] if worker else []
    if worker and settings.elasticsearch_url:
        beside.append(indexing.start_beside(settings))

    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    tune_collector()
    try:
        log.info("the console listens on %s", settings.base_url)
        server.run()  # returns on KeyboardInterrupt
    finally:
        with suppress(OSError):
            server.close()
        takers.close()
        if keeper is not None:
            keeper.close()
        for process in beside:
            process.terminate()
        for process in beside:
            process.wait(10)


def _asker(store: Store) -> Callable[[str], bool]:
    """Whether a key is valid; where the store does not say, the view will."""

    def is_known(key: str) -> bool:
        try:
            with store.reader() as session:
                return sensors.find_by_key(session, key, utc_now()) is not None
        except SQLAlchemyError:
            return True

    return is_known


def _proxy(settings: Settings) -> dict[str, Any]:
    if not settings.trusted_proxy:
        return {}
    headers = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    return {"trusted_proxy": settings.trusted_proxy, "trusted_proxy_headers": headers, "trusted_proxy_count": 1}
