"""The user's own account."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("/")
def page() -> Any:
    """The list."""
    return render_template("overview/page.html")
