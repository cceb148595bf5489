"""Dead letters: what sensors sent and the console could not store, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from console.services import dead_letters, sensors
from console.services.actor import Role
from console.services.dead_letters import Wanted
from console.web.context import actor, db, now, role_required

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")


def _positive(text: str, most: int = 2**63 - 1) -> int:
    """The number that a text is, 0 where it is none that could be meant."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    return number if number <= most else 0


def _wanted() -> Wanted:
    return Wanted(request.values.get("reason", "").strip(), _positive(request.values.get("sensor", "")))


def _chosen() -> Iterable[int] | Wanted:
    """Those that are ticked, or all that the filter shows."""
    if "all" in request.form:
        return _wanted()
    return [_positive(number) for number in request.form.getlist("letter")]


def _back() -> Any:
    wanted = _wanted()
    return redirect(url_for("dead_letters.index", reason=wanted.reason or None, sensor=wanted.sensor_id or None))


@blueprint.get("/")
def index() -> Any:
    """The letters that wait, by reason and one by one."""
    wanted, page = _wanted(), max(1, _positive(request.args.get("page", ""), 10**6))
    letters, total = dead_letters.listing(db(), actor(), wanted, page)
    return render_template(
        "dead_letters/index.html",
        letters=letters,
        total=total,
        page=page,
        pages=max(1, -(-total // dead_letters.PAGE_SIZE)),
        reasons=dead_letters.by_reason(db(), actor()),
        sensors={sensor.id: sensor for sensor in sensors.all_sensors(db(), actor())},
        wanted=wanted,
        at_once=dead_letters.AT_ONCE,
    )


@blueprint.post("/replay")
@role_required(Role.ANALYST)
def replay() -> Any:
    """Try to store them again."""
    done = dead_letters.replay(db(), actor(), _chosen(), now())
    if done.stored:
        flash(ngettext("%(num)d record was stored.", "%(num)d records were stored.", done.stored))
    if done.refused:
        text = ngettext(
            "%(num)d record cannot be stored today either.",
            "%(num)d records cannot be stored today either.",
            done.refused,
        )
        flash(text, "error")
    return _left(done.left, done.stored + done.refused)


@blueprint.post("/discard")
@role_required(Role.ADMINISTRATOR)
def discard() -> Any:
    """Let go of them for good."""
    count, left = dead_letters.discard(db(), actor(), _chosen(), now())
    if count:
        flash(ngettext("%(num)d record was discarded.", "%(num)d records were discarded.", count))
    return _left(left, count)


def _left(left: int, done: int) -> Any:
    if left:
        flash(ngettext("%(num)d more is left: do it again.", "%(num)d more are left: do it again.", left))
    elif not done:
        flash(_("Nothing was chosen."), "error")
    return _back()
