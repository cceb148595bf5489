"""The sensors' API: findings, heartbeats, configuration. See docs/architecture.md, "Sensor to console"."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask_limiter.util import get_remote_address
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import HTTPException

from console.api.turns import Turns
from console.services import behaviours as behaviour_service
from console.services import configuration, enrolment, heartbeats, inventory, sensors
from console.services.batches import Caller, UnknownKeyError, take
from console.services.errors import ConflictError
from console.services.ingest import Outcome
from console.services.intake import Enrolment, Heartbeat, NewKey, parse
from console.services.sensors import Key
from console.store.log_keeper import LogKeeper
from console.store.models import Sensor
from console.takers import NoTakersError, SameBatchError, StoreBusyError, TakerLostError, Takers
from console.web.context import commit, console, db, now, public
from console.web.security import csrf, limiter
from sensor.failpoints import failpoint

log = logging.getLogger(__name__)
blueprint = Blueprint("ingest", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # no cookie is read here: a key comes with each request


class Unauthorised(HTTPException):
    """No key, or one that is not known or was revoked; nobody can tell which."""

    code = 401
    description = "A sensor key is needed: Authorization: Bearer <key>."

    def get_headers(self, *_args: Any) -> list[tuple[str, str]]:
        """With the scheme that is wanted."""
        return [("Content-Type", "application/json"), ("WWW-Authenticate", 'Bearer realm="fenghuo"')]


def _key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _caller() -> str:
    # By key as well as by address: behind one address of a plant stand many sensors, and one wrong key is no reason to
    # stop the others.
    return f"{get_remote_address()}:{hashlib.sha256(_key().encode()).hexdigest()}"


def _refused(response: Response) -> bool:
    return response.status_code == 401


limiter.limit("20/minute", key_func=_caller, deduct_when=_refused)(blueprint)


def _sensor() -> Sensor:
    sensor = sensors.find_by_key(db(), _key(), now())
    if sensor is None:
        raise Unauthorised
    return sensor


def _busy(seconds: int, status: int, message: str) -> Any:
    return jsonify(error=message), status, {"Retry-After": str(seconds)}


@dataclass(frozen=True, slots=True)
class _Intake:
    """What an application takes in at a time. writing: held by who writes; threads queue for it here, for SQLite's own
    waiting is a poll, and unfair. Other databases let several write. takers: processes that do the work, if any.
    reporting: held while what stands is stored."""

    turns: Turns
    writing: AbstractContextManager[Any]
    takers: Takers | None = None
    reporting: threading.Lock = field(default_factory=threading.Lock)


@blueprint.record_once
def _bound(state: Any) -> None:
    """Batches taken at a time are bounded for the whole application: more would only wait in memory."""
    own = state.app.extensions["fenghuo"]
    sqlite = own.store.engine.dialect.name == "sqlite"
    state.app.extensions["fenghuo_ingest"] = _Intake(
        Turns(own.settings.ingest_at_once), threading.Lock() if sqlite else nullcontext()
    )


def employ(app: Flask, takers: Takers) -> None:
    """Let batches be taken in by other processes from now on."""
    app.extensions["fenghuo_ingest"] = replace(app.extensions["fenghuo_ingest"], takers=takers)


def keep_log(app: Flask) -> LogKeeper | None:
    """Begin to keep the store's log short; None where that is the database's own matter."""
    engine = app.extensions["fenghuo"].store.engine
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    keeper = LogKeeper(Path(engine.url.database), app.extensions["fenghuo_ingest"].writing)
    keeper.start()
    return keeper


def _intake() -> _Intake:
    return cast(_Intake, current_app.extensions["fenghuo_ingest"])


@blueprint.post("/findings")
@public
def findings() -> Any:
    """Store a batch; the answer leaves after the commit."""
    with console().store.reader() as reader:  # who has no key makes nobody wait and nothing parsed
        sensor = sensors.find_by_key(reader, _key(), now())
        if sensor is None:
            raise Unauthorised
        caller = Caller(sensor.name, sensor.id, _key())
        organisation_id = sensor.organisation_id
    with _intake().turns.turn(organisation_id, caller.sensor_id) as granted:
        return _store(caller) if granted else _busy(1, 429, "Too many batches at a time.")


def _store(caller: Caller) -> Any:
    try:
        outcome = _take(caller, request.get_data(cache=False))
    except UnknownKeyError:
        raise Unauthorised from None
    except (IntegrityError, SameBatchError):  # the same batch came twice at a time: the second attempt finds the first
        return _busy(1, 503, "The same findings are being stored.")
    except TakerLostError as error:
        log.error("%s", error)
        return _busy(1, 503, "The findings may not have been stored.")
    except StoreBusyError:
        return _busy(5, 503, "The store is busy. Try again in a moment.")
    rejected = [{"finding.id": finding_id, "reason": reason} for finding_id, reason in outcome.rejected]
    return jsonify(
        acknowledged=outcome.acknowledged, stored=outcome.stored, duplicates=outcome.duplicates, rejected=rejected
    )


def _take(caller: Caller, body: bytes) -> Outcome:
    intake, clock = _intake(), console().clock

    @contextmanager
    def turn() -> Iterator[datetime]:
        with intake.writing:
            yield clock()

    if intake.takers is not None:
        with suppress(NoTakersError):  # then the console does it itself
            return intake.takers.take(caller, body, intake.writing, clock)
    return take(console().store, caller, body, turn)


@blueprint.post("/assets")
@public
def assets() -> Any:
    """What the sensor knows of its devices."""
    return _report(inventory)


@blueprint.post("/behaviours")
@public
def behaviours() -> Any:
    """Who does what to whom, as the sensor sees it."""
    return _report(behaviour_service)


def _report(kind: Any) -> Any:
    """Store what stands. kind: the service with its Report, `check` and `store`."""
    with console().store.reader() as reader:
        if sensors.find_by_key(reader, _key(), now()) is None:
            raise Unauthorised
    with _one_report() as granted:
        if not granted:
            return _busy(1, 429, "Another report is being stored.")
        outcome, records = kind.check(parse(kind.Report, request.get_data(cache=False)))
        with _intake().writing:
            kind.store(db(), _sensor(), outcome, records, now())
            failpoint("reports.before_commit")
            commit()
            failpoint("reports.after_commit")
    rejected = [{"place": place, "reason": why} for place, why in sorted(outcome.rejected)]
    return jsonify(stored=outcome.stored, rejected=rejected)


@contextmanager
def _one_report() -> Iterator[bool]:
    """What stands is stored for one sensor at a time; who comes meanwhile holds no thread that a finding may need."""
    turn = _intake().reporting
    granted = turn.acquire(blocking=False)
    try:
        yield granted
    finally:
        if granted:
            turn.release()


@blueprint.post("/heartbeat")
@public
def heartbeat() -> Any:
    """The sensor is alive; tells it whether there is other configuration."""
    with console().store.reader() as reader:
        if sensors.find_by_key(reader, _key(), now()) is None:
            raise Unauthorised
    came_at = now()  # before it waits for its turn
    beat: Heartbeat = parse(Heartbeat, request.get_data(cache=False))
    with _intake().writing:
        sensor = _sensor()
        heartbeats.receive(db(), sensor, beat.epoch, beat.counters, came_at)
        answer = {
            "config_version": configuration.wanted(db(), sensor, now()).version,
            "time": now().timestamp(),
            "rotate_key": sensor.rotation_asked_at is not None,
        }
        commit()
    return jsonify(answer)


@blueprint.get("/config")
@public
def config() -> Any:
    """What the sensor is to look for, and under which name it sends; with its files as a signed bundle."""
    sensor = _sensor()
    wanted, bundle = configuration.bundle_for(db(), sensor, current_app.config["SECRET_KEY"], now())
    answer = jsonify(version=wanted.version, indicators=wanted.items, sensor=sensor.name, bundle=bundle)
    answer.set_etag(wanted.version)
    return answer.make_conditional(request)


@blueprint.post("/key")
@public
def key() -> Any:
    """The sensor has made itself a new key: its hash and its beginning. The old one stays valid for a while."""
    sensor = _sensor()
    wanted: NewKey = parse(NewKey, request.get_data(cache=False))
    try:
        sensors.rotate_key(db(), sensor, _key(), Key.made_elsewhere(wanted.key_hash, wanted.key_hint), now())
    except ConflictError as error:
        commit()  # that there are two is worth telling
        return jsonify(error=str(error)), error.status
    return jsonify(sensor=sensor.name)


@blueprint.post("/enrol")
@public
def enrol() -> Any:
    """Somebody brings a token and the hash of a key that it made itself."""
    wanted: Enrolment = parse(Enrolment, request.get_data(cache=False))
    sensor = enrolment.redeem(db(), wanted.token, Key.made_elsewhere(wanted.key_hash, wanted.key_hint), now())
    if sensor is None:
        raise Unauthorised("This token is not valid: it was used, withdrawn, or its time is over.")
    return jsonify(sensor=sensor.name)
