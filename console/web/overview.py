"""The first page: what is going on, and what to do next."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
def page() -> Any:
    """Numbers that link to lists."""
    return render_template("overview/page.html")
