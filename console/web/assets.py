"""The organisation's assets: which devices its sensors have seen, and what these say of themselves."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from console.services import inventory
from console.web.context import actor, db

blueprint = Blueprint("assets", __name__, url_prefix="/assets")


@blueprint.get("/")
def index() -> Any:
    """One page of them."""
    given = request.args.get("page", "1")
    number = int(given) if given.isascii() and given.isdigit() and len(given) < 7 else 1
    return render_template("assets/index.html", page=inventory.page(db(), actor(), number))
