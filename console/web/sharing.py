"""Peers and subscriptions: who may fetch our bulletins, whose we fetch."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext, ngettext

from console.services import peers, subscriptions
from console.services.actor import Role, load
from console.services.errors import ConflictError, InvalidError
from console.services.subscriptions import NewSubscription
from console.sharing import collection
from console.sharing.taxii_client import Budget
from console.sharing.tlp import Relation
from console.store.models import Peer, Subscription
from console.web.context import actor, close_session, commit, console, db, now, role_required, rollback

blueprint = Blueprint("sharing", __name__, url_prefix="/sharing")

RELATIONS = {
    Relation.DESCENDANT: lazy_gettext("Below us: gets AMBER, GREEN and CLEAR"),
    Relation.COMMUNITY: lazy_gettext("Beside us, of the community: gets GREEN and CLEAR"),
    Relation.ANCESTOR: lazy_gettext("Above us: gets GREEN and CLEAR, and what names it"),
}
# Somebody waits for the answer of the button; what is left over is pulled by the worker.
BUTTON_BUDGET = Budget(seconds=20.0, step_s=5.0)


@blueprint.get("/")
@role_required(Role.ADMINISTRATOR)
def index() -> Any:
    """Both lists."""
    return _page()


def _page(made: tuple[Peer, str] | None = None) -> Any:
    """made: a peer registered just now and its password, which is never shown again."""
    return render_template(
        "sharing/index.html",
        peers=peers.all_peers(db(), actor()),
        subscriptions=subscriptions.all_subscriptions(db(), actor()),
        collection=collection.find(db(), actor().organisation_id),
        relations=RELATIONS,
        made=made,
        discovery=console().settings.base_url + url_for("taxii.discovery"),
        private_allowed=console().settings.peer_private,
    )


@blueprint.post("/peers")
@role_required(Role.ADMINISTRATOR)
def add_peer() -> Any:
    """Register a peer; its password is shown on the page that answers, and nowhere else."""
    try:
        made = peers.register(db(), actor(), request.form.get("name", ""), request.form.get("relation", ""), now())
    except InvalidError as error:
        return _refused(error)
    return _page(made)


@blueprint.post("/peers/<int:peer_id>/revoke")
@role_required(Role.ADMINISTRATOR)
def revoke_peer(peer_id: int) -> Any:
    """Refuse a peer from now on."""
    peers.revoke(db(), actor(), peer_id, now())
    flash(gettext("The peer was revoked."))
    return _back()


@blueprint.post("/subscriptions")
@role_required(Role.ADMINISTRATOR)
def subscribe() -> Any:
    """Begin to pull a collection."""
    form = request.form
    wanted = NewSubscription(
        name=form.get("name", ""),
        url=form.get("url", ""),
        username=form.get("username", "").strip(),
        password=form.get("password", "").strip(),
        collection=form.get("collection", "").strip(),
        interval_s=form.get("interval_minutes", default=5, type=int) * 60,
    )
    try:
        subscriptions.subscribe(db(), actor(), wanted, now(), allow_private=console().settings.peer_private)
    except InvalidError as error:
        return _refused(error)
    flash(gettext("The subscription was added. Pull it to see whether it works."))
    return _back()


@blueprint.post("/subscriptions/<int:subscription_id>/pull")
@role_required(Role.ADMINISTRATOR)
def pull(subscription_id: int) -> Any:
    """Pull now."""
    load(db(), actor(), Subscription, subscription_id)
    commit()
    close_session()  # no transaction stays open while another console makes us wait
    settings = console().settings
    try:
        report = subscriptions.pull(
            console().store, subscription_id, console().clock, allow_private=settings.peer_private, budget=BUTTON_BUDGET
        )
    except ConflictError as error:  # the worker was a moment earlier
        return _refused(error)
    if report.error:
        flash(gettext(report.error), "error")
    fresh = report.counts["added"]
    flash(ngettext("%(num)d new object came in.", "%(num)d new objects came in.", fresh))
    return _back()


@blueprint.post("/subscriptions/<int:subscription_id>/enabled")
@role_required(Role.ADMINISTRATOR)
def set_enabled(subscription_id: int) -> Any:
    """Pause or resume."""
    subscriptions.set_enabled(db(), actor(), subscription_id, request.form.get("enabled") == "1", now())
    return _back()


def _refused(error: InvalidError | ConflictError) -> Any:
    rollback()
    flash(gettext(error.message, **error.values), "error")
    return _back()


def _back() -> Any:
    return redirect(url_for("sharing.index"), 303)
