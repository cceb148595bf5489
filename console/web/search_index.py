"""The search index, for administrators: is the cluster fed, what waits, what did it refuse."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from console.services import search_index
from console.services.actor import Role
from console.store.search.cluster import Cluster, ClusterError, State
from console.web.context import actor, console, db, now, role_required

blueprint = Blueprint("search_index", __name__, url_prefix="/search-index")
PATIENCE_S = 3.0  # for the cluster to say how it is: people wait for the page

STATES = {
    State.OK: lazy_gettext("In step with the store"),
    State.FILLING: lazy_gettext("Being filled from the store"),
    State.UNREACHABLE: lazy_gettext("No node answers"),
    State.REFUSED: lazy_gettext("The cluster refuses us"),
    State.READ_ONLY: lazy_gettext("The cluster takes no documents: a disk is nearly full"),
    State.BUSY: lazy_gettext("The cluster asks for patience"),
    State.FAULT: lazy_gettext("The cluster reports a fault"),
}
KINDS = {
    "finding": lazy_gettext("Findings"),
    "asset": lazy_gettext("Assets"),
    "behaviour": lazy_gettext("Behaviours"),
    "summary": lazy_gettext("Days"),
}


@blueprint.get("/")
@role_required(Role.ADMINISTRATOR)
def index() -> Any:
    """How each kind of documents stands, and what of the organisation's the cluster refused."""
    settings, health, fault = console().settings, None, ""
    if settings.elasticsearch_url:
        try:
            cluster = Cluster(settings.model_copy(update={"elasticsearch_timeout": PATIENCE_S}))
            try:
                health = cluster.health()
            finally:
                cluster.close()
        except (ClusterError, ValueError) as error:
            fault = str(error)
    return render_template(
        "search_index/page.html",
        health=health,
        fault=fault,
        works=search_index.works(db(), now()),
        standings=search_index.standings(db(), actor()),
        letters=search_index.dead_letters(db(), actor()),
        states=STATES,
        kinds=KINDS,
    )


@blueprint.post("/retry")
@role_required(Role.ADMINISTRATOR)
def retry_all() -> Any:
    """Try everything again that was refused."""
    number = search_index.retry_all(db(), actor())
    flash(ngettext("%(num)d document is tried again.", "%(num)d documents are tried again.", number))
    return redirect(url_for("search_index.index"))


@blueprint.post("/<int:letter_id>/retry")
@role_required(Role.ADMINISTRATOR)
def retry(letter_id: int) -> Any:
    """Try one document again."""
    search_index.retry(db(), actor(), letter_id)
    flash(_("The document is tried again; it leaves the list when the index takes it."))
    return redirect(url_for("search_index.index"))
