"""Dead letters: records of sensors that could not be stored. They are kept with the reason until somebody has them
stored after all, for instance after an upgrade that knows them, or discards them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from console.services import audit, problems
from console.services.actor import Actor, Role, scoped
from console.services.drafts import Draft
from console.services.errors import InvalidError
from console.services.intake import FindingRecord, explain
from console.services.json_body import ambiguous, parse_json
from console.store.models import FindingReceipt, Sensor, SensorEpoch

MAX_RECORD = 512 * 1024  # characters of a record that are kept; a longer one cannot be replayed
MAX_WAITING = 20_000  # of an organisation that are kept whole; of those after them only the beginning is
BEGINNING = 1_000
PAGE_SIZE = 50
AT_ONCE = 500  # letters of one click: as many as of a batch


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ones. reason: words of it; sensor_id: 0 for every sensor."""

    reason: str = ""
    sensor_id: int = 0


@dataclass(slots=True)
class Replayed:
    """How many were stored, how many were refused again, and whether more are left that were meant."""

    stored: int = 0
    refused: int = 0
    left: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def kept(record: Any, whole: bool) -> str:
    """A rejected record as it is kept. What is not as it came ends in a line that says so, and is no JSON."""
    two_ways = ambiguous(record)
    if isinstance(record, dict):
        record = {"finding.id": "", **record}  # first, so that a cut never takes it
    odd: list[str] = []

    def stand_in(value: object) -> str:
        odd.append(repr(value))
        return repr(value)

    text = json.dumps(record, ensure_ascii=False, default=stand_in)
    limit = MAX_RECORD if whole else BEGINNING
    if len(text) > limit:
        return f"{text[:limit]}\n# cut: the record has {len(text)} characters"
    if odd or two_ways:
        return f"{text}\n# not as it came: JSON that has no one meaning"
    return text


def listing(session: Session, actor: Actor, wanted: Wanted, page: int = 1) -> tuple[Sequence[FindingReceipt], int]:
    """One page of them, the latest first, and how many there are."""
    query = _query(actor, wanted)
    start = (max(page, 1) - 1) * PAGE_SIZE
    rows = session.scalars(query.order_by(FindingReceipt.id.desc()).limit(PAGE_SIZE).offset(start)).all()
    return rows, _count(session, query)


def by_reason(session: Session, actor: Actor, limit: int = 20) -> Sequence[tuple[str, int]]:
    """How many for each reason, the most frequent first."""
    number = func.count()
    rows = (
        _query(actor, Wanted()).with_only_columns(FindingReceipt.reason, number)
        .group_by(FindingReceipt.reason).order_by(number.desc()).limit(limit)
    )  # fmt: skip
    return [(reason or "", count) for reason, count in session.execute(rows)]


def waiting(session: Session, actor: Actor) -> int:
    """How many wait for somebody."""
    return _count(session, _query(actor, Wanted()))


def replay(session: Session, actor: Actor, chosen: Iterable[int] | Wanted, now: datetime) -> Replayed:
    """Try to store letters again, by their ids or all that are wanted, up to AT_ONCE. Each that succeeds is stored
    once, under its receipt; one that does not stays, with the reason of today. The caller commits."""
    actor.require(Role.ANALYST)
    done = Replayed()
    letters, done.left = _chosen(session, actor, chosen)
    by_sensor: dict[int, list[tuple[FindingReceipt, FindingRecord]]] = {}
    for letter in letters:
        try:
            record = FindingRecord.model_validate(parse_json((letter.payload or "").encode("utf-8", "replace")))
        except ValidationError as error:
            letter.reason = explain(error)
        except InvalidError:
            pass  # it was kept in part only, and says so at its end
        else:
            by_sensor.setdefault(letter.sensor_id, []).append((letter, record))
            continue
        done.refused += 1
        done.reasons[letter.reason or ""] = done.reasons.get(letter.reason or "", 0) + 1
    for sensor_id, pairs in by_sensor.items():
        sensor = session.get_one(Sensor, sensor_id)
        rows = problems.store(session, sensor, [Draft(record) for _, record in pairs], now)
        for (letter, record), row in zip(pairs, rows, strict=True):
            letter.finding_id, letter.count, letter.reason, letter.payload = row, record.count, None, None
            done.stored += 1
    _settle(session, [letter for pairs in by_sensor.values() for letter, _ in pairs])
    if letters:
        details = {"stored": done.stored, "refused": done.refused, "identities": _names(letters)}
        audit.record(session, actor, actor.organisation_id, "dead_letters.replayed", "", details, now)
    return done


def discard(session: Session, actor: Actor, chosen: Iterable[int] | Wanted, now: datetime) -> tuple[int, int]:
    """Let go of letters for good; how many, and how many are left. Their receipts stay: nothing is sent again."""
    actor.require(Role.ADMINISTRATOR)
    letters, left = _chosen(session, actor, chosen)
    for letter in letters:
        letter.payload, letter.discarded_at = None, now
    if letters:
        reasons = sorted({letter.reason or "" for letter in letters})
        details = {"count": len(letters), "reasons": reasons[:20], "identities": _names(letters)}
        audit.record(session, actor, actor.organisation_id, "dead_letters.discarded", "", details, now)
    return len(letters), left


def _query(actor: Actor, wanted: Wanted) -> Select[FindingReceipt]:
    query = scoped(actor, FindingReceipt).where(FindingReceipt.payload.is_not(None))
    if wanted.sensor_id:
        query = query.where(FindingReceipt.sensor_id == wanted.sensor_id)
    if wanted.reason:
        query = query.where(FindingReceipt.reason.contains(wanted.reason[:200], autoescape=True))
    return query


def _count(session: Session, query: Select[FindingReceipt]) -> int:
    return session.scalar(select(func.count()).select_from(query.with_only_columns(FindingReceipt.id).subquery())) or 0


def _chosen(session: Session, actor: Actor, chosen: Iterable[int] | Wanted) -> tuple[Sequence[FindingReceipt], int]:
    """The oldest AT_ONCE of those that are meant, locked where the database locks rows, and how many more there are."""
    if isinstance(chosen, Wanted):
        query = _query(actor, chosen)
    else:
        ids = {number for number in chosen if 0 < number < 2**63}
        if len(ids) > AT_ONCE:
            raise InvalidError("That is too many at once.")
        query = _query(actor, Wanted()).where(FindingReceipt.id.in_(ids))
    total = _count(session, query)
    letters = session.scalars(query.order_by(FindingReceipt.id).limit(AT_ONCE).with_for_update()).all()
    return letters, total - len(letters)


def _settle(session: Session, letters: Sequence[FindingReceipt]) -> None:
    """What was stored after all is not counted as rejected any more."""
    counts: dict[tuple[int, int], int] = {}
    for letter in letters:
        key = letter.sensor_id, letter.epoch
        counts[key] = counts.get(key, 0) + 1
    for (sensor_id, epoch), number in counts.items():
        session.execute(
            update(SensorEpoch)
            .where(SensorEpoch.sensor_id == sensor_id, SensorEpoch.epoch == epoch)
            .values(rejected=SensorEpoch.rejected - number)
        )


def _names(letters: Sequence[FindingReceipt]) -> list[Any]:
    return [f"{letter.sensor_id}/{letter.epoch}/{letter.sequence}" for letter in letters[:100]]
