"""The Flask application: what every request passes through, whatever page it asks for."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from console.services.actor import Clock, utc_now
from console.settings import Settings, secret_key
from console.store.engine import open_store
from console.store.migrations import upgrade_once_there
from console.store.search.asking import Asking
from console.store.search.findings import FINDINGS
from console.store.search.registry import KINDS
from console.web import context, errors, language, security
from console.web.display import register_filters
from console.web.navigation import NAVIGATION

MAX_BODY_BYTES = 8 * 1024 * 1024  # a batch of findings; forms have their own, smaller limits
MAX_FORM_BYTES = 512 * 1024


def build_app(settings: Settings, clock: Clock | None = None) -> Flask:
    """The application without its blueprints."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store_url)
    upgrade_once_there(store)
    app = Flask("console", template_folder="web/templates", static_folder="static")
    app.config.update(
        SECRET_KEY=secret_key(settings),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES,
        MAX_FORM_PARTS=500,
        SESSION_COOKIE_NAME="fenghuo",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
        PERMANENT_SESSION_LIFETIME=settings.session_hours * 3600,
        WTF_CSRF_TIME_LIMIT=None,  # the token lives as long as the login
        WTF_CSRF_SSL_STRICT=True,
    )
    asking = {kind.name: Asking(settings, kind.name) for kind in KINDS if settings.elasticsearch_url}
    standing = {name: one for name, one in asking.items() if name != FINDINGS.name}
    app.extensions["fenghuo"] = context.Console(settings, store, clock or utc_now, asking.get(FINDINGS.name), standing)
    language.init_app(app, settings)
    security.init_app(app)
    errors.init_app(app)
    register_filters(app)
    app.teardown_request(context.close_session)
    app.after_request(_commit)
    app.context_processor(_page_context)
    return app


def _commit(response: Response) -> Response:
    """What a request changed is committed before its answer leaves, unless the answer is an error."""
    if response.status_code < 400:
        context.commit()
    return response


def _page_context() -> dict[str, Any]:
    return {
        "navigation": NAVIGATION,
        "locale": language.locale(),
        "theme": language.theme(),
        "settings": context.console().settings,
        "actor": context.actor_or_none(),
    }
