"""Findings: the list and one finding."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

blueprint = Blueprint("findings", __name__, url_prefix="/findings")


@blueprint.get("/")
def index() -> Any:
    """The list."""
    return render_template("overview/page.html")
