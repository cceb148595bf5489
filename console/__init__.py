"""The console: findings to people. `create_app(settings)` makes the web application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from console.services.actor import Clock
    from console.settings import Settings

# Every set of pages and every API is one module with a `blueprint` and one line here. Names, because the worker
# process and the command line import this package too and need no web framework.
BLUEPRINTS = (
    "console.web.auth",
    "console.web.overview",
    "console.web.findings",
    "console.web.sensors",
    "console.web.configuration",
    "console.web.dead_letters",
    "console.web.account",
    "console.web.incidents",
    "console.web.contacts",
    "console.web.acknowledge",
    "console.web.bulletins",
    "console.web.sharing",
    "console.web.search_index",
    "console.web.audit",
    "console.web.retention",
    "console.web.assets",
    "console.api.ingest",
    "console.api.taxii",
)


def create_app(settings: Settings, clock: Clock | None = None) -> Flask:
    """The WSGI application on the store of the settings, its schema brought up to date."""
    from console.web.application import build_app

    app = build_app(settings, clock)
    for name in BLUEPRINTS:
        app.register_blueprint(import_module(name).blueprint)
    return app
