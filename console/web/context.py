"""What a view may ask for: the store's session of this request, who asks, what time it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar, cast
from zoneinfo import ZoneInfo

from flask import current_app, g, has_request_context, request
from flask_login import UserMixin, current_user
from sqlalchemy.orm import Session

from console.services.actor import Actor, Clock, Role
from console.settings import Settings
from console.store.engine import Store
from console.store.search.asking import Asking
from console.store.search.choice import FallingBack
from console.store.search.contract import Search
from console.store.search.elastic_search import ElasticSearch
from console.store.search.sql_search import SqlSearch

P = ParamSpec("P")
R = TypeVar("R")

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Console:
    """What the application was made with."""

    settings: Settings
    store: Store
    clock: Clock
    cluster: Asking | None = None  # where searches are sent first
    standing: Mapping[str, Asking] = field(default_factory=dict)  # the same for what stands, by kind


class WebUser(UserMixin):  # type: ignore[misc]
    """The logged-in user of a request, as Flask-Login wants one."""

    def __init__(self, actor: Actor, token: str, login: str, locale: str | None) -> None:
        self.actor = actor
        self.token = token
        self.login = login
        self.locale = locale

    def get_id(self) -> str:
        """What the signed cookie holds: the token of the login session, not the user's id."""
        return self.token


def console() -> Console:
    """Settings, store and clock of the running application."""
    return cast(Console, current_app.extensions["fenghuo"])


def now() -> datetime:
    """The time by the application's clock, UTC."""
    return console().clock()


def zone() -> ZoneInfo:
    """The time zone of the installation."""
    return ZoneInfo(console().settings.timezone)


def db() -> Session:
    """The database session of this request: one that may write where the method may; committed with a good answer."""
    if "session" not in g:
        store = console().store
        g.session = store.reader() if request.method in SAFE_METHODS else store.writer()
    return cast(Session, g.session)


def search_of_request() -> Search:
    """The store that searches findings for this request."""
    if "search" not in g:
        g.search = SqlSearch(db())
        cluster = console().cluster
        if cluster is not None:
            g.search = FallingBack(ElasticSearch(cluster.ask), g.search, cluster.behind(db()))
    return cast(Search, g.search)


def commit() -> None:
    """Commit the session of this request now, if there is one."""
    if "session" in g:
        g.session.commit()


def rollback() -> None:
    """Forget what this request did to the database so far."""
    if "session" in g:
        g.session.rollback()


def close_session(_error: BaseException | None = None) -> None:
    """Give the connection back; what was not committed is rolled back."""
    session = g.pop("session", None)
    if session is not None:
        session.close()


def actor_or_none() -> Actor | None:
    """Who is logged in, if anybody."""
    if not has_request_context() or not current_user or not current_user.is_authenticated:
        return None
    return cast(WebUser, current_user).actor


def actor() -> Actor:
    """Who is logged in. Views are reached by logged-in users only, unless they are marked `public`."""
    found = actor_or_none()
    if found is None:
        raise RuntimeError("a public view asked who is logged in")
    return found


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view that needs no login: it is for everybody, or checks by itself who calls."""
    view.public = True  # type: ignore[attr-defined]
    return view


def role_required(role: Role) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Only users with at least this role reach the view; others get 403."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            actor().require(role)
            return view(*args, **kwargs)

        return checked

    return decorate
