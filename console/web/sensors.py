"""Sensors: state, keys, what was lost."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

blueprint = Blueprint("sensors", __name__, url_prefix="/sensors")


@blueprint.get("/")
def index() -> Any:
    """The list."""
    return render_template("overview/page.html")
