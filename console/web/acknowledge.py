"""The page behind the link of a message: looking changes nothing, one button acknowledges, no login."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, make_response, render_template
from flask_babel import force_locale

from console.notify.link import Links
from console.services import acknowledgement
from console.web.context import console, db, now, public
from console.web.security import csrf, limiter

blueprint = Blueprint("acknowledge", __name__, url_prefix="/acknowledge")
# The signed token in the path is the authority, not a cookie: there is nothing that a forged request could borrow.
csrf.exempt(blueprint)


@blueprint.get("/<token>")
@public
@limiter.limit("60/minute")
def page(token: str) -> Any:
    """What the message was about, and the button."""
    return _shown(acknowledgement.look(db(), _links(), token, now()), token)


@blueprint.post("/<token>")
@public
@limiter.limit("60/minute")
def acknowledge(token: str) -> Any:
    """Acknowledge, or say who was first."""
    return _shown(acknowledgement.acknowledge(db(), _links(), token, now()), token)


def _links() -> Links:
    return Links(current_app.config["SECRET_KEY"], console().settings.base_url)


def _shown(view: acknowledgement.LinkView, token: str) -> Any:
    with force_locale(view.contact.locale):
        response = make_response(render_template("acknowledge/page.html", view=view, token=token))
    response.headers["Referrer-Policy"] = "no-referrer"  # the address of this page is the right to acknowledge
    response.headers["X-Robots-Tag"] = "noindex"
    return response
