"""Errors as answers: a page for people, JSON for programs; never a traceback."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, flash, jsonify, render_template, request
from flask_babel import gettext
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from console.services.errors import ServiceError
from console.web import context
from console.web.security import limiter

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Install the handlers."""
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OperationalError, _store_busy)
    app.register_error_handler(Exception, _fault)


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> Any:
    context.rollback()
    if request.path.startswith("/api/"):
        return jsonify(error=message), status, headers or {}
    try:
        page = render_template("errors/error.html", status=status, message=message)
    except Exception:  # the page itself needs what is broken, for instance the store
        log.exception("the error page could not be shown")
        page = message
    return page, status, headers or {}


def _service_error(error: ServiceError) -> Any:
    message = gettext(error.message, **error.values) if error.message else ""
    return _answer(error.status, message)


def refused(error: ServiceError, page: Callable[[], Any]) -> Any:
    """What a form asked for makes no sense: the page again, saying why, and nothing is changed."""
    context.rollback()
    flash(gettext(error.message, **error.values), "error")
    return page(), error.status


def _http_error(error: HTTPException) -> Any:
    if error.response is not None or (error.code is not None and error.code < 400):
        return error
    headers = {
        name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "WWW-Authenticate")
    }
    if isinstance(error, RateLimitExceeded) and limiter.current_limit is not None:
        headers["Retry-After"] = str(max(1, math.ceil(limiter.current_limit.reset_at - time.time())))
    return _answer(error.code or 500, _public(error), headers)


def _public(error: HTTPException) -> str:
    """Bland text: for programs the framework's, for people a sentence that says what to do, or nothing."""
    if request.path.startswith("/api/"):
        return str(error.description or error.name) if (error.code or 500) < 500 else str(error.name)
    if isinstance(error, CSRFError):
        return str(gettext("This form does not come from a page of this session. Open the page again, then send it."))
    if error.code == 413:
        return str(gettext("That is more than the console takes at once."))
    return ""


def _store_busy(error: OperationalError) -> Any:
    log.exception("the store did not answer", exc_info=error)
    return _answer(503, gettext("The store is busy. Try again in a moment."), {"Retry-After": "5"})


def _fault(error: Exception) -> Any:
    log.exception("%s %s failed", request.method, request.path, exc_info=error)
    return _answer(500, gettext("The console made a mistake. It has been logged."))
