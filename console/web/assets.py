"""The organisation's assets: which devices its sensors have seen, what these say of themselves, and what they do."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, render_template, request

from console.services import behaviours, inventory, standing_search
from console.store.search.assets import ASSET
from console.store.search.behaviours import BEHAVIOUR
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import MAX_QUERY
from console.store.search.states import State
from console.store.search.states_search import find_documents
from console.store.search.summaries import SUMMARY
from console.web.context import actor, console, db, now, zone
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


def _listed(state: State, template: str) -> Any:
    """One page of what stands and fits the query; the URL is the whole state."""
    query, problem, page = request.args.get("q", ""), None, standing_search.NOTHING
    asked = standing_search.Asked(state, actor(), query, _page_number(), now(), zone())
    cluster = console().standing.get(state.name)
    try:
        if cluster is None:
            page = standing_search.search(db(), asked)
        else:
            find = find_documents(cluster.ask, state)
            page = standing_search.search(db(), asked, find, lambda: cluster.behind(db()))
    except QueryError as error:
        problem = error
    return render_template(
        template, page=page, query=query, problem=problem, said=said, longest=MAX_QUERY, suggested=state.fields,
        here=request.endpoint,
    )  # fmt: skip


@blueprint.get("/")
def index() -> Any:
    """Devices."""
    return _listed(ASSET, "assets/index.html")


@blueprint.get("/behaviours")
def behaviour_list() -> Any:
    """Who does what to whom."""
    return _listed(BEHAVIOUR, "assets/behaviours.html")


@blueprint.get("/days")
def days() -> Any:
    """What each day was like at each site."""
    return _listed(SUMMARY, "assets/days.html")


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
