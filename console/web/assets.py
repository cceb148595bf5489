"""The organisation's assets: which devices its sensors have seen, what these say of themselves, and what they do."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, render_template, request

from console.services import behaviours, inventory
from console.web.context import actor, db
from console.web.language import locale
from detectors.assets.asset import ATTRIBUTES
from detectors.assets.words import NAMES, VERBS
from detectors.finding import Text

blueprint = Blueprint("assets", __name__, url_prefix="/assets")


def _page_number() -> int:
    given = request.args.get("page", "1")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 7 else 1


def said(word: str) -> str:
    """A role, an attribute or a verb in the reader's language; what is none as it is."""
    text = ATTRIBUTES.get(word) or NAMES.get(word) or VERBS.get(word) or Text(word, word)
    return text.zh if locale() == "zh" else text.en


@blueprint.get("/")
def index() -> Any:
    """One page of them."""
    return render_template("assets/index.html", page=inventory.page(db(), actor(), _page_number()), said=said)


@blueprint.get("/<int:asset_id>")
def show(asset_id: int) -> Any:
    """One device: what it says of itself, with the frame that shows it; what it does and what is done to it."""
    asset = inventory.load_asset(db(), actor(), asset_id)
    page = behaviours.of_asset(db(), actor(), asset, _page_number())
    peers = inventory.beside(db(), actor(), asset, {it.client for it in page.rows} | {it.server for it in page.rows})
    return render_template("assets/detail.html", asset=asset, page=page, peers=peers, said=said)


@blueprint.get("/<int:asset_id>/behaviours.json")
def export(asset_id: int) -> Any:
    """One page of what it does and what is done to it, for programs."""
    asset = inventory.load_asset(db(), actor(), asset_id)
    page = behaviours.of_asset(db(), actor(), asset, _page_number())
    return jsonify(
        asset=asset.address,
        segment=asset.segment,
        total=page.total,
        page=page.number,
        pages=page.pages,
        behaviours=[behaviours.as_record(row) for row in page.rows],
    )
