"""Incidents: the list, one incident, and what people do to it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext

from console.services import escalation, incidents, users
from console.services.actor import Role, load
from console.services.errors import ConflictError, InvalidError
from console.services.timeline import timeline
from console.store.models import Incident
from console.web.context import actor, actor_or_none, db, now, rollback
from console.web.wording import (
    CHANNEL_LABELS,
    DELIVERY_STATES,
    DISPOSITIONS,
    ENTRY_KINDS,
    INCIDENT_STATES,
    MESSAGE_KINDS,
)

blueprint = Blueprint("incidents", __name__, url_prefix="/incidents")


@blueprint.app_context_processor
def words() -> dict[str, Any]:
    """What templates need for incidents and messages, wherever a page includes them."""
    reader = actor_or_none()
    return {
        "may_handle": reader is not None and reader.may(Role.ANALYST),
        "incident_states": INCIDENT_STATES,
        "dispositions": DISPOSITIONS,
        "delivery_states": DELIVERY_STATES,
        "entry_kinds": ENTRY_KINDS,
        "message_kinds": MESSAGE_KINDS,
        "channel_labels": CHANNEL_LABELS,
        "incidents_of": lambda finding: incidents.incidents_of(db(), actor(), finding.id),
        "unsettled_incidents": lambda: incidents.unsettled(db(), actor()),
    }


@blueprint.get("/")
def index() -> Any:
    """The list, by state."""
    state = request.args.get("state", "")
    page = min(max(request.args.get("page", 1, type=int), 1), 100_000)
    rows, total = incidents.listing(db(), actor(), state, page)
    return render_template(
        "incidents/index.html",
        rows=rows,
        total=total,
        state=state if state in INCIDENT_STATES else "",
        page=page,
        pages=-(-total // incidents.PAGE_SIZE),
        counts=incidents.counts(db(), actor()),
    )


@blueprint.get("/<int:incident_id>")
def show(incident_id: int) -> Any:
    """One incident with its findings, timeline and messages."""
    incident = load(db(), actor(), Incident, incident_id)
    findings, finding_count = incidents.findings_of(db(), actor(), incident)
    entries, entry_count = timeline(db(), actor(), incident)
    return render_template(
        "incidents/show.html",
        incident=incident,
        findings=findings,
        finding_count=finding_count,
        entries=entries,
        entry_count=entry_count,
        ladder=incidents.ladder(db(), actor(), incident),
        next_call=escalation.next_call(db(), actor(), incident),
        worker_runs=escalation.worker_runs(db(), now()),
        users=users.members(db(), actor()),
    )


@blueprint.post("/")
def create() -> Any:
    """Open an incident from findings, or add them to one that is chosen."""
    chosen = request.form.get("incident_id", type=int)
    findings = request.form.getlist("finding_id", type=int)
    if chosen:
        incident = incidents.add_findings(db(), actor(), chosen, findings, now())
        flash(gettext("Added to incident #%(number)d.", number=incident.number))
    else:
        title, drill = request.form.get("title", ""), "drill" in request.form
        incident = incidents.open_incident(db(), actor(), findings, now(), title, drill)
        flash(gettext("Incident #%(number)d is open.", number=incident.number))
    return _back(incident.id)


@blueprint.post("/<int:incident_id>/acknowledge")
def acknowledge(incident_id: int) -> Any:
    """Take it."""
    try:
        incidents.acknowledge(db(), actor(), incident_id, now())
    except incidents.AlreadyAcknowledgedError as first:
        flash(gettext("%(name)s has already acknowledged this incident.", name=first.by), "error")
    else:
        flash(gettext("You have this incident now. Nobody else is called."))
    return _back(incident_id)


@blueprint.post("/<int:incident_id>/close")
def close(incident_id: int) -> Any:
    """Settle it."""
    disposition, reason = request.form.get("disposition", ""), request.form.get("reason", "")
    return _done(incident_id, incidents.close, disposition, reason, now())


@blueprint.post("/<int:incident_id>/reopen")
def reopen(incident_id: int) -> Any:
    """Take up a settled one again."""
    return _done(incident_id, incidents.reopen, request.form.get("reason", ""), now())


@blueprint.post("/<int:incident_id>/comments")
def comment(incident_id: int) -> Any:
    """Add a remark."""
    return _done(incident_id, incidents.comment, request.form.get("text", ""), now())


@blueprint.post("/<int:incident_id>/owner")
def set_owner(incident_id: int) -> Any:
    """Hand it to somebody."""
    user_id = request.form.get("user_id", type=int)
    if user_id is None:
        abort(400)
    return _done(incident_id, incidents.set_owner, user_id, now())


def _done(incident_id: int, change: Any, *arguments: Any) -> Any:
    """Call a service on the incident; what a person can correct comes back as a message on the page."""
    try:
        change(db(), actor(), incident_id, *arguments)
    except (InvalidError, ConflictError) as error:
        rollback()
        flash(gettext(error.message, **error.values), "error")
    return _back(incident_id)


def _back(incident_id: int) -> Any:
    return redirect(url_for("incidents.show", incident_id=incident_id), 303)
