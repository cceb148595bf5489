"""Sensors: state, keys, what was lost on the way."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from console.services import losses, sensors
from console.services.actor import Role, load
from console.services.errors import InvalidError
from console.store.models import Sensor
from console.web.context import actor, console, db, now, role_required
from console.web.errors import refused
from console.web.wording import LOSS_REASONS

blueprint = Blueprint("sensors", __name__, url_prefix="/sensors")


def _page(made: Sensor | None = None, key: str = "") -> Any:
    found = sensors.all_sensors(db(), actor())
    return render_template(
        "sensors/index.html",
        sensors=[(sensor, sensors.state(sensor, now())) for sensor in found],
        lives=sensors.lives(db(), actor()),
        places=sorted({(sensor.segment.site.name, sensor.segment.name) for sensor in found}),
        made=made,
        key=key,
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
        state=sensors.state(sensor, now()),
        lives=sensors.lives(db(), actor()).get(sensor_id, []),
        gaps=sensors.gaps(db(), actor(), sensor_id),
        rejected=sensors.rejected(db(), actor(), sensor_id),
        lost=losses.lost(db(), actor(), sensor_id),
        loss_reasons=LOSS_REASONS,
        lost_ranges=losses.lost_ranges(db(), actor(), sensor_id),
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
