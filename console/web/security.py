"""Login, forged requests, rate limits, headers: what stands between the net and the views."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, redirect, request, url_for
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, current_user
from flask_wtf import CSRFProtect

from console.services import users
from console.web.context import WebUser, console, db

csrf = CSRFProtect()
limiter = Limiter(get_remote_address, storage_uri="memory://", strategy="moving-window", headers_enabled=False)

HEADERS = {
    # No inline script and no inline style: a string from the wire that slips through escaping still cannot run.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def init_app(app: Flask) -> None:
    """Put the guards in front of every view of the application."""
    csrf.init_app(app)
    limiter.init_app(app)
    manager = LoginManager(app)
    manager.session_protection = None  # the server keeps the sessions; an address may change within one
    manager.user_loader(_load_user)
    app.before_request(_require_login)
    app.after_request(_add_headers)


def _load_user(token: str) -> WebUser | None:
    opened = users.find_session(db(), token, console().clock())
    if opened is None:
        return None
    return WebUser(users.actor_of(opened.user), token, opened.user.login, opened.user.locale)


def _require_login() -> Any:
    """Deny by default: a view is reached without a login only when it says `public`."""
    if request.endpoint is None or request.endpoint == "static":
        return None
    view = current_app.view_functions[request.endpoint]
    if getattr(view, "public", False) or current_user.is_authenticated:
        return None
    target = url_for("auth.login", next=request.full_path.rstrip("?") if request.method == "GET" else None)
    if request.headers.get("HX-Request"):  # htmx follows this instead of putting the login form into a table
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target)


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
