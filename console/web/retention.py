"""How long what is kept, and legal holds; for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext

from console.services import holds, retention
from console.services.actor import Role
from console.services.errors import ConflictError, InvalidError, NotFoundError
from console.services.finding_filter import moment
from console.services.holds import NewHold
from console.web.context import actor, db, now, role_required, zone
from console.web.errors import refused

blueprint = Blueprint("retention", __name__, url_prefix="/retention")

CLASSES = {
    "findings_critical": lazy_gettext("Critical findings"),
    "findings_high": lazy_gettext("High findings"),
    "findings_medium": lazy_gettext("Medium findings"),
    "findings_low": lazy_gettext("Low findings"),
    "findings_informational": lazy_gettext("Informational findings"),
    "evidence": lazy_gettext("Frames and decoded messages of findings"),
    "receipts": lazy_gettext("Receipts of what sensors sent"),
    "notifications": lazy_gettext("Messages that were sent"),
    "sessions": lazy_gettext("Logins that ended"),
    "assets": lazy_gettext("Devices, since they were reported last"),
    "behaviours": lazy_gettext("Behaviours of devices, since they were reported last"),
    "summaries": lazy_gettext("Summaries of days"),
    "audit": lazy_gettext("Audit log"),
}


def _page() -> Any:
    return render_template(
        "retention/page.html",
        names=CLASSES,
        classes=retention.CLASSES,
        rules=retention.rules_of(db(), actor().organisation_id),
        most=retention.MAX_DAYS,
        holds=holds.listing(db(), actor()),
        now=now(),
    )


def _number(text: str) -> int | None:
    """A number that was typed, None for an empty field; InvalidError otherwise."""
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidError("That is not a number.")
    return int(text)


def _time(text: str) -> datetime | None:
    if not text.strip():
        return None
    found = moment(text.strip(), now(), zone())
    if found is None:
        raise InvalidError("That is not a time.")
    return found


@blueprint.get("/")
@role_required(Role.ADMINISTRATOR)
def index() -> Any:
    """Rules and holds of the own organisation."""
    return _page()


@blueprint.post("/rules")
@role_required(Role.ADMINISTRATOR)
def set_rules() -> Any:
    """Keep each class for so many days; an empty field: for ever."""
    try:
        for name in retention.CLASSES:
            if name in request.form:
                retention.set_rule(db(), actor(), name, _number(request.form[name]), now())
    except InvalidError as error:
        return refused(error, _page)
    flash(_("The retention was saved."))
    return redirect(url_for("retention.index"))


@blueprint.post("/holds")
@role_required(Role.ADMINISTRATOR)
def place() -> Any:
    """Hold an incident, a finding or a time range from now on."""
    form = request.form
    try:
        wanted = NewHold(
            _number(form.get("incident", "")),
            _number(form.get("finding", "")),
            _time(form.get("since", "")),
            _time(form.get("until", "")),
            form.get("reason", ""),
            _time(form.get("ends_at", "")),
        )
        holds.place(db(), actor(), wanted, now())
    except NotFoundError:
        return refused(InvalidError("There is no such finding."), _page)
    except InvalidError as error:
        return refused(error, _page)
    flash(_("Nothing of it will be deleted."))
    return redirect(url_for("retention.index"))


@blueprint.post("/holds/<int:hold_id>/lift")
@role_required(Role.ADMINISTRATOR)
def lift(hold_id: int) -> Any:
    """Ask to lift a hold, or agree to it."""
    try:
        hold = holds.lift(db(), actor(), hold_id, now())
    except ConflictError as error:
        return refused(error, _page)
    flash(_("The hold is lifted.") if hold.lifted_at else _("Another administrator must agree before it is lifted."))
    return redirect(url_for("retention.index"))


@blueprint.post("/holds/<int:hold_id>/keep")
@role_required(Role.ADMINISTRATOR)
def keep(hold_id: int) -> Any:
    """Refuse a lifting that was asked for."""
    try:
        holds.keep(db(), actor(), hold_id, now())
    except ConflictError as error:
        return refused(error, _page)
    flash(_("The hold goes on."))
    return redirect(url_for("retention.index"))
