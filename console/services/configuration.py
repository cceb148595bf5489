"""Configuration of sensors: files that people upload, for all sensors or for one, as signed bundles that sensors pull.

Every change makes a new revision of its scope; going back is one too. What cannot be used is refused before it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import func, select
from sqlalchemy.orm import Session, load_only

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError, NotFoundError
from console.services.indicators import indicators_for
from console.store.models import ConfigRevision, Sensor
from detectors.bundle.check import check
from detectors.bundle.signed import (
    Bundle,
    BundleError,
    File,
    files_digest,
    fingerprint,
    indicators_digest,
    public_of,
    sign,
    version_of,
)

MAX_NOTE = 500
HISTORY = 30  # revisions that a page shows
NO_FILES = files_digest(())


class Running(StrEnum):
    """What a sensor makes of its configuration."""

    IN_FORCE = "in force"
    WAITING = "waiting"  # it has not fetched it yet, or is silent
    REFUSED = "refused"
    UNKNOWN = "unknown"  # a sensor of an older version, or one that never spoke


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sensor is to run. items: the indicators beside it, as they travel."""

    version: str
    serial: int
    items: list[dict[str, Any]]
    revisions: tuple[ConfigRevision, ...]


def signing_key(secret: str) -> Ed25519PrivateKey:
    """The console's key for bundles, made of the secret of the installation: whoever restores that restores this."""
    seed = HKDF(SHA256(), 32, None, b"fenghuo sensor configuration 1").derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def key_name(secret: str) -> str:
    """Fingerprint of the console's public key, which a sensor can be told to trust alone."""
    return fingerprint(public_of(signing_key(secret)))


def _scope(sensor_id: int | None) -> str:
    return "all" if sensor_id is None else str(sensor_id)


def newest(
    session: Session, organisation_id: int, sensor_id: int | None, *, light: bool = False
) -> ConfigRevision | None:
    """The revision that counts for a scope; None where nothing was ever uploaded. light: without its files."""
    query = select(ConfigRevision).where(
        ConfigRevision.organisation_id == organisation_id, ConfigRevision.scope == _scope(sensor_id)
    )
    if light:
        query = query.options(load_only(ConfigRevision.digest, ConfigRevision.number, ConfigRevision.created_at))
    return session.scalar(query.order_by(ConfigRevision.number.desc()).limit(1))


def files_of(revision: ConfigRevision | None) -> tuple[File, ...]:
    """The files of a revision, by kind and name."""
    listed = revision.files if revision is not None else []
    return tuple(sorted(File(it["kind"], it["name"], it["content"]) for it in listed))


def wanted(
    session: Session, sensor: Sensor, now: datetime | None = None, items: list[dict[str, Any]] | None = None
) -> Wanted:
    """What a sensor is to run now: the files for all sensors, its own, and the indicators of bulletins.

    items: the indicators, where the caller has them.
    """
    if items is None:
        items = indicators_for(session, sensor.organisation_id, now)["items"]
    found = (
        newest(session, sensor.organisation_id, None, light=True),
        newest(session, sensor.organisation_id, sensor.id, light=True),
    )
    digests = [it.digest if it is not None else NO_FILES for it in found]
    revisions = tuple(it for it in found if it is not None)
    serial = max((int(it.created_at.timestamp()) for it in revisions), default=0)
    return Wanted(version_of(indicators_digest(items), *digests), serial, items, revisions)


def effective(common: Sequence[File], own: Sequence[File]) -> tuple[File, ...]:
    """Files for all sensors and those of one: of the same kind and name its own counts, of a single kind likewise."""
    singles = {it.kind for it in own if it.kind in ("baseline", "ledger")}
    names = {(it.kind, it.name) for it in own}
    return (*(it for it in common if (it.kind, it.name) not in names and it.kind not in singles), *own)


def bundle_for(session: Session, sensor: Sensor, secret: str, now: datetime | None = None) -> tuple[Wanted, Any]:
    """(what the sensor is to run, the signed bundle of it as JSON)."""
    it = wanted(session, sensor, now)
    files = effective(
        files_of(newest(session, sensor.organisation_id, None)),
        files_of(newest(session, sensor.organisation_id, sensor.id)),
    )
    bundle = Bundle(sensor.name, it.version, it.serial, files, indicators_digest(it.items))
    return it, sign(bundle, signing_key(secret))


def running(sensor: Sensor, version: str) -> tuple[Running, str]:
    """(what the sensor makes of the configuration `version`, by its last heartbeat; why it refuses it)."""
    counters: Mapping[str, Any] = sensor.counters or {}
    if "config.version" not in counters:
        return Running.UNKNOWN, ""
    if counters.get("config.version") == version:
        return Running.IN_FORCE, ""
    if counters.get("config.refused") == version:
        return Running.REFUSED, str(counters.get("config.reason", ""))
    return Running.WAITING, ""


def put_file(
    session: Session, actor: Actor, sensor_id: int | None, file: File, note: str, now: datetime
) -> ConfigRevision:
    """A new file, or another content of one, in force from now on. InvalidError says what is wrong with it."""
    actor.require(Role.ANALYST)
    before = _files(session, actor, sensor_id)
    files = [it for it in before if (it.kind, it.name) != (file.kind, file.name)] + [file]
    if set(files) == set(before):
        raise InvalidError("This file is in force already, as it is.")
    return _revise(session, actor, sensor_id, files, f"put {file.kind}/{file.name}", note, now)


def remove_file(
    session: Session, actor: Actor, sensor_id: int | None, kind: str, name: str, note: str, now: datetime
) -> ConfigRevision:
    """A revision without this file."""
    actor.require(Role.ANALYST)
    before = _files(session, actor, sensor_id)
    files = [it for it in before if (it.kind, it.name) != (kind, name)]
    if len(files) == len(before):
        raise NotFoundError
    return _revise(session, actor, sensor_id, files, f"remove {kind}/{name}", note, now)


def restore(session: Session, actor: Actor, revision_id: int, note: str, now: datetime) -> ConfigRevision:
    """A revision with the files of an earlier one of the same scope."""
    actor.require(Role.ANALYST)
    old = load(session, actor, ConfigRevision, revision_id)
    return _revise(session, actor, old.sensor_id, files_of(old), f"restore {old.number}", note, now)


def _files(session: Session, actor: Actor, sensor_id: int | None) -> tuple[File, ...]:
    if sensor_id is not None:
        load(session, actor, Sensor, sensor_id)
    return files_of(newest(session, actor.organisation_id, sensor_id))


def _revise(
    session: Session,
    actor: Actor,
    sensor_id: int | None,
    files: Sequence[File],
    action: str,
    note: str,
    now: datetime,
) -> ConfigRevision:
    for bundle in _bundles(session, actor, sensor_id, files):
        try:
            check(bundle)
        except BundleError as error:
            raise InvalidError("This cannot be used: %(why)s", why=str(error)) from None
    last = session.scalar(
        select(func.max(ConfigRevision.number)).where(
            ConfigRevision.organisation_id == actor.organisation_id, ConfigRevision.scope == _scope(sensor_id)
        )
    )
    made = ConfigRevision(
        organisation_id=actor.organisation_id,
        sensor_id=sensor_id,
        scope=_scope(sensor_id),
        number=(last or 0) + 1,
        files=[it._asdict() for it in sorted(files)],
        digest=files_digest(files),
        action=action[:200],
        note=" ".join(note.split())[:MAX_NOTE],
        author=actor.name,
        created_at=now,
    )
    session.add(made)
    session.flush()
    details = {"scope": made.scope, "number": made.number, "digest": made.digest, "did": made.action, "note": made.note}
    subject = f"config_revision:{made.id}"
    audit.record(session, actor, actor.organisation_id, "configuration.revised", subject, details, now)
    return made


def _bundles(session: Session, actor: Actor, sensor_id: int | None, files: Sequence[File]) -> list[tuple[File, ...]]:
    """What sensors would get: each different one is tried."""
    if sensor_id is not None:
        common = files_of(newest(session, actor.organisation_id, None))
        return [effective(common, files)]
    found = {effective(files, ())}
    own = session.scalars(
        scoped(actor, ConfigRevision).where(ConfigRevision.sensor_id.is_not(None)).order_by(ConfigRevision.number)
    )
    latest = {it.sensor_id: it for it in own}
    return [*found, *({effective(files, files_of(it)) for it in latest.values()} - found)]


def history(session: Session, actor: Actor, sensor_id: int | None) -> list[ConfigRevision]:
    """The latest revisions of a scope, newest first."""
    query = scoped(actor, ConfigRevision).where(ConfigRevision.scope == _scope(sensor_id))
    return list(session.scalars(query.order_by(ConfigRevision.number.desc()).limit(HISTORY)))


def file_in(session: Session, actor: Actor, revision_id: int, kind: str, name: str) -> tuple[ConfigRevision, File]:
    """A file as it stood in a revision; the first one where none is named."""
    revision = load(session, actor, ConfigRevision, revision_id)
    for it in files_of(revision):
        if (it.kind, it.name) == (kind, name) or not (kind or name):
            return revision, it
    raise NotFoundError
