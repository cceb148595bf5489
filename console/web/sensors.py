"""Sensors: state, keys, what was lost on the way."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from console.services import dead_letters, enrolment, losses, sensors, troubles
from console.services.actor import Role, load
from console.services.errors import InvalidError
from console.store.models import EnrolmentToken, Sensor
from console.web.context import actor, console, db, now, role_required
from console.web.counters import grouped
from console.web.errors import refused
from console.web.wording import LOSS_REASONS

blueprint = Blueprint("sensors", __name__, url_prefix="/sensors")


def _page(made: Sensor | None = None, key: str = "", token: str = "", issued: EnrolmentToken | None = None) -> Any:
    found = sensors.all_sensors(db(), actor())
    return render_template(
        "sensors/index.html",
        sensors=[(sensor, sensors.state(sensor, now())) for sensor in found],
        lives=sensors.lives(db(), actor()),
        places=sorted({(sensor.segment.site.name, sensor.segment.name) for sensor in found}),
        troubles=troubles.lasting(db(), actor()),
        tokens=enrolment.waiting(db(), actor(), now()),
        dead_letters=dead_letters.waiting(db(), actor()),
        made=made,
        key=key,
        token=token,
        issued=issued,
        console_url=console().settings.base_url,
    )


@blueprint.get("/")
def index() -> Any:
    """All sensors of the organisation."""
    return _page()


@blueprint.get("/<int:sensor_id>")
def detail(sensor_id: int) -> Any:
    """One sensor: what it counts, what never arrived from it, what could not be stored."""
    sensor = load(db(), actor(), Sensor, sensor_id)
    return render_template(
        "sensors/detail.html",
        sensor=sensor,
        counters=grouped(sensor.counters),
        state=sensors.state(sensor, now()),
        lives=sensors.lives(db(), actor()).get(sensor_id, []),
        gaps=sensors.gaps(db(), actor(), sensor_id),
        lost=losses.lost(db(), actor(), sensor_id),
        loss_reasons=LOSS_REASONS,
        lost_ranges=losses.lost_ranges(db(), actor(), sensor_id),
        troubles=troubles.history(db(), actor(), sensor_id),
        rejected=dead_letters.listing(db(), actor(), dead_letters.Wanted(sensor_id=sensor_id)),
    )


@blueprint.post("/")
@role_required(Role.ADMINISTRATOR)
def add() -> Any:
    """A new sensor; the answer is the only page that ever shows its key."""
    form = request.form
    name, site, segment = form.get("name", ""), form.get("site", ""), form.get("segment", "")
    try:
        made, key = sensors.add_sensor(db(), actor(), name, site, segment, now(), "drill" in form)
    except InvalidError as error:
        return refused(error, _page)
    return _page(made, key)


@blueprint.post("/tokens")
@role_required(Role.ADMINISTRATOR)
def issue() -> Any:
    """A token with which a sensor enrols itself; the answer is the only page that ever shows it."""
    form = request.form
    place = sensors.Place(form.get("name", ""), form.get("site", ""), form.get("segment", ""), "drill" in form)
    try:
        minutes = int(form.get("minutes", "60")) if form.get("minutes", "60").isdecimal() else 0
        issued, token = enrolment.issue(db(), actor(), place, minutes, now())
    except InvalidError as error:
        return refused(error, _page)
    return _page(token=token, issued=issued)


@blueprint.post("/tokens/<int:token_id>/withdraw")
@role_required(Role.ADMINISTRATOR)
def withdraw(token_id: int) -> Any:
    """Take a token back."""
    row = enrolment.withdraw(db(), actor(), token_id, now())
    flash(_("The token for %(name)s is worth nothing any more.", name=row.name))
    return redirect(url_for("sensors.index"))


@blueprint.post("/<int:sensor_id>/rotate")
@role_required(Role.ADMINISTRATOR)
def rotate(sensor_id: int) -> Any:
    """Let the sensor make itself a new key."""
    sensor = sensors.ask_for_rotation(db(), actor(), sensor_id, now())
    flash(_("%(name)s is asked to change its key with its next heartbeat.", name=sensor.name))
    return redirect(url_for("sensors.detail", sensor_id=sensor_id))


@blueprint.post("/<int:sensor_id>/key")
@role_required(Role.ADMINISTRATOR)
def renew(sensor_id: int) -> Any:
    """A new key in place of the old one."""
    return _page(*sensors.renew_key(db(), actor(), sensor_id, now()))


@blueprint.post("/<int:sensor_id>/revoke")
@role_required(Role.ADMINISTRATOR)
def revoke(sensor_id: int) -> Any:
    """Refuse the sensor's key from now on."""
    sensor = sensors.revoke_key(db(), actor(), sensor_id, now())
    flash(_("The key of %(name)s is refused from now on.", name=sensor.name))
    return redirect(url_for("sensors.index"))
