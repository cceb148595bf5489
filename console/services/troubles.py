"""What is wrong with a sensor, as a finding of the console itself: it goes the way of all findings, to incidents and to
people, and says when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from console.services import incidents, problems
from console.services.actor import Actor, scoped, the_console
from console.services.drafts import Draft
from console.services.intake import FindingRecord
from console.services.timeline import note
from console.store.models import EntryKind, Finding, Sensor, SensorTrouble
from detectors import knowledge
from detectors.finding import Finding as Claim
from detectors.finding import FindingId, Text, rfc3339, to_dict

AGAIN_WITHIN = timedelta(minutes=10)  # what comes back so soon is the same trouble, and nobody is called anew


class Kind(StrEnum):
    """Stored as its value; its rule, in rules/knowledge/console.yaml, says what it means."""

    SILENT = "silent"  # nothing comes from it
    BLIND = "blind"  # it reports, but sees no traffic
    CLOCK = "clock"  # its clock and ours are apart
    CLONED = "cloned"  # two speak with its key


RULES = {
    Kind.SILENT: "sensor.silent",
    Kind.BLIND: "sensor.sees-nothing",  # sensor.blind is what a sensor says of itself
    Kind.CLOCK: "sensor.clock",
    Kind.CLONED: "sensor.cloned",
}


def begin(session: Session, sensor: Sensor, kind: Kind, now: datetime, values: Mapping[str, Any]) -> bool:
    """Tell of it, unless it is told already; whether it was news. values: for the rule's sentence. No commit."""
    last = session.scalar(_of(sensor, kind).order_by(SensorTrouble.id.desc()).limit(1))
    if last is not None and last.ended_at is None:
        return False
    if last is not None and last.ended_at is not None and now - last.ended_at < AGAIN_WITHIN:
        trouble = last
        trouble.ended_at = None
    else:
        trouble = SensorTrouble(
            organisation_id=sensor.organisation_id, sensor_id=sensor.id, kind=kind, began_at=now, ended_at=None
        )
        session.add(trouble)
    session.flush()
    rule = knowledge.detector_rules()[RULES[kind]]
    at_ns = int(now.timestamp() * 1e6) * 1000
    claim = Claim(
        rule.id, rule.name, rule.severity, "", at_ns, at_ns, rule.explain({"sensor": sensor.name} | dict(values)),
        fields={"sensor.name": sensor.name, "trouble.id": trouble.id},
    )  # fmt: skip
    # No sensor's name has an "@" in it, so no sensor can have sent this id.
    record = to_dict(claim, FindingId(f"{sensor.name}@console", trouble.id, max(1, int(now.timestamp()))))
    first_seen = rfc3339(int(trouble.began_at.timestamp() * 1e6) * 1000)
    (trouble.finding_id,) = problems.store(
        session, sensor, [Draft(FindingRecord.model_validate(record | {"@timestamp": first_seen}))], now
    )
    return True


def end(session: Session, sensor: Sensor, kind: Kind, now: datetime) -> bool:
    """It is over: the finding says so, and so do its incidents; whether there was anything to end. No commit."""
    trouble = session.scalar(_of(sensor, kind).where(SensorTrouble.ended_at.is_(None)))
    if trouble is None:
        return False
    trouble.ended_at = now
    finding = session.get(Finding, trouble.finding_id) if trouble.finding_id else None
    if finding is None:
        return True
    over = Text(zh=f"已于 {_utc(now)} 恢复。", en=f"Over since {_utc(now)}.")
    session.execute(
        update(Finding)
        .where(Finding.id == finding.id)
        .values(
            last_seen=max(finding.last_seen, now),
            updated_at=now,
            message_zh=finding.message_zh + over.zh,
            message_en=f"{finding.message_en} {over.en}",
            fields=finding.fields | {"trouble.ended_at": rfc3339(int(now.timestamp() * 1e6) * 1000)},
        )
    )
    console = the_console(sensor.organisation_id)
    for incident in incidents.incidents_of(session, console, finding.id):
        note(session, incident, EntryKind.RECOVERED, console, now, finding=finding.id, rule=finding.rule_id)
    return True


def lasting(session: Session, actor: Actor) -> dict[int, list[SensorTrouble]]:
    """By sensor id: what is wrong at the moment, longest first."""
    found: dict[int, list[SensorTrouble]] = {}
    rows = scoped(actor, SensorTrouble).where(SensorTrouble.ended_at.is_(None)).order_by(SensorTrouble.began_at)
    for trouble in session.scalars(rows):
        found.setdefault(trouble.sensor_id, []).append(trouble)
    return found


def history(session: Session, actor: Actor, sensor_id: int, limit: int = 20) -> list[SensorTrouble]:
    """What was wrong with a sensor, the latest first."""
    rows = scoped(actor, SensorTrouble).where(SensorTrouble.sensor_id == sensor_id)
    return list(session.scalars(rows.order_by(SensorTrouble.id.desc()).limit(limit)))


def _of(sensor: Sensor, kind: Kind) -> Any:
    return select(SensorTrouble).where(
        SensorTrouble.organisation_id == sensor.organisation_id,
        SensorTrouble.sensor_id == sensor.id,
        SensorTrouble.kind == kind,
    )


def _utc(now: datetime) -> str:
    return f"{now:%Y-%m-%d %H:%M:%S} UTC"
