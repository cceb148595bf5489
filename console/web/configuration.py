"""Configuration of sensors: files for all of them or for one, which version runs where, and the way back."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from console.services import configuration, sensors
from console.services.actor import Role, load
from console.services.errors import InvalidError
from console.services.indicators import indicators_for
from console.store.models import Sensor
from console.web.context import actor, db, now, role_required
from console.web.errors import refused
from detectors.bundle.signed import MAX_FILE, NAME, SUFFIXES, File

blueprint = Blueprint("configuration", __name__, url_prefix="/configuration")


def _page(sensor_id: int | None, text: str = "", name: str = "") -> Any:
    """text, name: what somebody typed that was refused, to be corrected."""
    one = load(db(), actor(), Sensor, sensor_id) if sensor_id is not None else None
    newest = configuration.newest(db(), actor().organisation_id, sensor_id)
    rows = []
    items = indicators_for(db(), actor().organisation_id, now())["items"]
    for sensor in sensors.all_sensors(db(), actor()):
        wanted = configuration.wanted(db(), sensor, now(), items)
        rows.append((sensor, sensors.state(sensor, now()), wanted, *configuration.running(sensor, wanted.version)))
    return render_template(
        "configuration/page.html",
        one=one,
        newest=newest,
        files=configuration.files_of(newest),
        history=configuration.history(db(), actor(), sensor_id),
        rows=rows,
        suffixes=SUFFIXES,
        key=configuration.key_name(current_app.config["SECRET_KEY"]),
        text=text,
        name=name,
        kind=request.form.get("kind", "") if text else "",
        may_change=actor().may(Role.ANALYST),
    )


def _back(sensor_id: int | None) -> Any:
    if sensor_id is None:
        return redirect(url_for("configuration.index"))
    return redirect(url_for("configuration.of_sensor", sensor_id=sensor_id))


@blueprint.get("/")
def index() -> Any:
    """Files for all sensors, and what each sensor runs."""
    return _page(None)


@blueprint.get("/<int:sensor_id>")
def of_sensor(sensor_id: int) -> Any:
    """Files for one sensor."""
    return _page(sensor_id)


@blueprint.get("/revision/<int:revision_id>")
def revision(revision_id: int) -> Any:
    """One file as it stood in a revision."""
    found, file = configuration.file_in(
        db(), actor(), revision_id, request.args.get("kind", ""), request.args.get("name", "")
    )
    newest = configuration.newest(db(), actor().organisation_id, found.sensor_id, light=True)
    return render_template(
        "configuration/file.html",
        revision=found,
        file=file,
        one=load(db(), actor(), Sensor, found.sensor_id) if found.sensor_id is not None else None,
        current=newest is not None and newest.id == found.id,
        may_change=actor().may(Role.ANALYST),
    )


@blueprint.post("/files")
@role_required(Role.ANALYST)
def put() -> Any:
    """A file for all sensors."""
    return _put(None)


@blueprint.post("/<int:sensor_id>/files")
@role_required(Role.ANALYST)
def put_for_sensor(sensor_id: int) -> Any:
    """A file for one sensor."""
    return _put(sensor_id)


def _put(sensor_id: int | None) -> Any:
    form = request.form
    text, name = form.get("text", "").replace("\r\n", "\n"), form.get("name", "").strip()
    upload = request.files.get("file")
    try:
        if sensor_id is not None:
            load(db(), actor(), Sensor, sensor_id)
        if upload is not None and upload.filename:
            raw = upload.stream.read(MAX_FILE + 1)
            name = name or (upload.filename if NAME.fullmatch(upload.filename) else "")
            try:
                text = raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise InvalidError("The file is not UTF-8 text.") from None
        if not text.strip():
            raise InvalidError("Choose a file, or write its content.")
        kind = form.get("kind", "")
        made = configuration.put_file(db(), actor(), sensor_id, File(kind, name, text), form.get("note", ""), now())
    except InvalidError as error:
        return refused(error, lambda: _page(sensor_id, text[:MAX_FILE], name))
    flash(_("Revision %(number)s is in force. Sensors fetch it with their next heartbeat.", number=made.number))
    return _back(sensor_id)


@blueprint.post("/remove")
@role_required(Role.ANALYST)
def remove() -> Any:
    """Without a file, for all sensors."""
    return _remove(None)


@blueprint.post("/<int:sensor_id>/remove")
@role_required(Role.ANALYST)
def remove_for_sensor(sensor_id: int) -> Any:
    """Without a file, for one sensor."""
    return _remove(sensor_id)


def _remove(sensor_id: int | None) -> Any:
    form = request.form
    kind, name, note = form.get("kind", ""), form.get("name", ""), form.get("note", "")
    try:
        configuration.remove_file(db(), actor(), sensor_id, kind, name, note, now())
    except InvalidError as error:
        return refused(error, lambda: _page(sensor_id))
    flash(_("%(name)s is in force no more.", name=name))
    return _back(sensor_id)


@blueprint.post("/revision/<int:revision_id>/restore")
@role_required(Role.ANALYST)
def restore(revision_id: int) -> Any:
    """Back to the files of a revision."""
    try:
        made = configuration.restore(db(), actor(), revision_id, request.form.get("note", ""), now())
    except InvalidError as error:
        return refused(error, lambda: _page(None))
    flash(_("Revision %(number)s is in force. Sensors fetch it with their next heartbeat.", number=made.number))
    return _back(made.sensor_id)
