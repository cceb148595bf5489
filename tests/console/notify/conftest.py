"""A store of its own for each test, and dispatchers that send to real servers under a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import pytest
from support.far_side import HookServer, MailServer

from console.notify.dispatch import Dispatcher
from console.notify.email import EmailChannel, SmtpSettings
from console.notify.link import Links
from console.notify.webhook import WebhookChannel, WebhookSettings
from console.services.actor import Clock
from console.settings import Settings
from console.store.engine import Store, open_store


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = open_store(settings.store_url)
    yield store
    store.engine.dispose()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def hook_server() -> Iterator[HookServer]:
    with HookServer() as running:
        yield running


@pytest.fixture
def links() -> Links:
    return Links("a secret of the tests", "https://console.example")


@pytest.fixture
def make_dispatcher(
    store: Store, mail_server: MailServer, links: Links, clock: Clock
) -> Iterator[Callable[[], Dispatcher]]:
    made: list[Dispatcher] = []

    def make() -> Dispatcher:
        smtp = SmtpSettings("127.0.0.1", mail_server.port, "none", "", "", "fenghuo@console.example", "", 2, 5)
        by_name = {
            "email": EmailChannel(smtp),
            "webhook": WebhookChannel(WebhookSettings(allow_private=True, step_s=2, total_s=5)),
        }
        made.append(Dispatcher(store, by_name, links, ZoneInfo("Asia/Shanghai"), clock))
        return made[-1]

    yield make
    for dispatcher in made:
        dispatcher.stop()


@pytest.fixture
def dispatcher(make_dispatcher: Callable[[], Dispatcher]) -> Dispatcher:
    return make_dispatcher()
