"""Log in and out; language and theme."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext
from flask_limiter.util import get_remote_address
from flask_login import current_user, login_user

from console.services import audit, users
from console.web.context import WebUser, actor, actor_or_none, commit, console, db, now, public
from console.web.language import LOCALES, THEMES
from console.web.security import limiter

blueprint = Blueprint("auth", __name__)


def _account() -> str:
    return f"login:{request.form.get('login', '').strip().lower()[:64]}"


def safe_target(target: str | None) -> str:
    """A path of this console to go on to, the overview otherwise: never another site."""
    parts = urlsplit((target or "").replace("\\", "/"))
    inside = target and not parts.scheme and not parts.netloc and parts.path.startswith("/")
    if not inside or parts.path.startswith("//") or any(ord(c) < 32 for c in target or ""):
        return url_for("overview.page")
    return parts._replace(fragment="").geturl()


@blueprint.get("/login")
@public
def login() -> Any:
    """The form."""
    if current_user.is_authenticated:
        return redirect(url_for("overview.page"))
    return render_template("auth/login.html", target=request.args.get("next", ""), login="")


@blueprint.post("/login")
@limiter.limit("20/minute;100/hour", key_func=get_remote_address)
@limiter.limit("5/minute;30/hour", key_func=_account)
@public
def log_in() -> Any:
    """Check the password, then begin a session that nobody could have known before."""
    login, password = request.form.get("login", ""), request.form.get("password", "")
    with console().store.reader() as reader:  # hashing takes long: the writers must not wait for it
        user_id = users.authenticate(reader, login, password)
    if user_id is None:
        audit.record_failed_login(db(), login, request.remote_addr or "", now())
        commit()  # the answer is an error, and the entry stays
        flash(gettext("Login or password is wrong."), "error")
        return render_template("auth/login.html", target=request.form.get("next", ""), login=login[:64]), 401
    token = users.open_session(db(), user_id, now(), console().settings.session_hours, request.remote_addr or "")
    kept = {name: session[name] for name in ("locale", "theme") if name in session}
    session.clear()  # the cookie, and the token against forged requests with it, is a new one
    session.update(kept)
    session.permanent = True
    opened = users.find_session(db(), token, now())
    assert opened is not None
    login_user(WebUser(users.actor_of(opened.user), token, opened.user.login, opened.user.locale))
    return redirect(safe_target(request.form.get("next")))


@blueprint.post("/logout")
def log_out() -> Any:
    """End the session here and on the server."""
    users.close_session(db(), current_user.token, now())
    session.clear()
    return redirect(url_for("auth.login"))


@blueprint.post("/preferences")
@public
def preferences() -> Any:
    """Choose language or theme and go back to the page."""
    locale, theme = request.form.get("locale"), request.form.get("theme")
    if locale not in (None, *LOCALES) or theme not in (None, *THEMES):
        abort(400)
    if locale is not None:
        session["locale"] = locale
        if actor_or_none() is not None:
            users.set_locale(db(), actor(), locale)
    if theme is not None:
        session["theme"] = theme
    return redirect(safe_target(request.form.get("next")))
