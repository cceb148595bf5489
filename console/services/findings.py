"""Findings for people: lists, counts, verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import Select, extract, func, or_, select
from sqlalchemy.orm import Session, joinedload

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError
from console.services.finding_filter import SORTS, FindingFilter
from console.store.models import Finding, FindingEvidence, Segment, Sensor

PAGE_SIZE = 50
MAX_BUCKETS = 60
STEPS = tuple(  # seconds: what people call a round time
    [60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600] + [days * 86400 for days in (1, 2, 7, 30, 90, 365, 3650, 36500)]
)


class Verdict(StrEnum):
    """What people decided about a finding."""

    REAL = "real"
    EXPECTED = "expected"  # it happened, and somebody had planned it
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. total: of all pages."""

    rows: list[Finding]
    total: int
    number: int

    @property
    def first(self) -> int:
        """Number of the first row in the whole list, from 1."""
        return (self.number - 1) * PAGE_SIZE + 1

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-self.total // PAGE_SIZE))


@dataclass(frozen=True, slots=True)
class Bar:
    """Findings of one stretch of time, by severity."""

    since: datetime
    until: datetime
    by_severity: dict[int, int]

    @property
    def total(self) -> int:
        """All severities together."""
        return sum(self.by_severity.values())


def _filtered(actor: Actor, wanted: FindingFilter, now: datetime, zone: ZoneInfo, without: str = "") -> Select[Finding]:
    return scoped(actor, Finding).where(*wanted.clauses(now, zone, without))


def search(session: Session, actor: Actor, wanted: FindingFilter, now: datetime, zone: ZoneInfo) -> Page:
    """One page of the organisation's findings, with sensors and places."""
    query = _filtered(actor, wanted, now, zone)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    number = min(wanted.page, max(1, -(-total // PAGE_SIZE)))
    column = SORTS[wanted.sort.removeprefix("-")]
    order = column.desc() if wanted.sort.startswith("-") else column.asc()
    rows = session.scalars(
        query.options(joinedload(Finding.sensor).joinedload(Sensor.segment).joinedload(Segment.site))
        .order_by(order, Finding.last_seen.desc(), Finding.id.desc())
        .limit(PAGE_SIZE)
        .offset((number - 1) * PAGE_SIZE)
    )
    return Page(list(rows), total, number)


def count_severities(
    session: Session, actor: Actor, wanted: FindingFilter, now: datetime, zone: ZoneInfo
) -> dict[int, int]:
    """How many findings of each severity the other conditions leave."""
    query = _filtered(actor, wanted, now, zone, "severity")
    counted = query.with_only_columns(Finding.severity, func.count()).group_by(Finding.severity)
    return {int(level): int(number) for level, number in session.execute(counted)}


def count_protocols(
    session: Session, actor: Actor, wanted: FindingFilter, now: datetime, zone: ZoneInfo
) -> list[tuple[str, int]]:
    """Protocols that the other conditions leave, the most frequent first."""
    query = _filtered(actor, wanted, now, zone, "protocol")
    counted = query.with_only_columns(Finding.protocol, func.count()).group_by(Finding.protocol)
    rows = [(name, number) for name, number in session.execute(counted) if name]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def newer_than(
    session: Session, actor: Actor, wanted: FindingFilter, after_id: int, now: datetime, zone: ZoneInfo
) -> int:
    """How many findings of this filter came after the one with that id."""
    query = _filtered(actor, wanted, now, zone).where(Finding.id > after_id)
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def latest_id(session: Session, actor: Actor) -> int:
    """Id of the organisation's newest finding, 0 when it has none."""
    return session.scalar(scoped(actor, Finding).with_only_columns(func.max(Finding.id))) or 0


def histogram(session: Session, actor: Actor, wanted: FindingFilter, now: datetime, zone: ZoneInfo) -> list[Bar]:
    """Findings of the filter over time, in at most MAX_BUCKETS bars of a round length without holes between them."""
    column = Finding.received_at if wanted.by == "received" else Finding.last_seen
    query = _filtered(actor, wanted, now, zone)
    low, high = session.execute(query.with_only_columns(func.min(column), func.max(column))).one()
    since, until = wanted.span(now, zone)
    low, high = since or low, (until - timedelta(microseconds=1) if until else None) or high
    if wanted.since and not wanted.until and high is not None:
        high = max(high, now)
    if low is None or high is None or high < low:
        return []
    first, last = int(low.timestamp()), int(high.timestamp())
    offset = int((zone.utcoffset(low.replace(tzinfo=None)) or timedelta()).total_seconds())  # days begin at midnight
    step = next((s for s in STEPS if (last - first) // s + 2 <= MAX_BUCKETS), STEPS[-1])
    seconds = extract("epoch", column) + offset
    bucket = (seconds - seconds % step) / step
    counts: dict[int, Counter[int]] = {}
    grouped = query.with_only_columns(bucket, Finding.severity, func.count()).group_by(bucket, Finding.severity)
    for number, severity, count in session.execute(grouped):
        counts.setdefault(round(number), Counter())[severity] += count
    return [
        Bar(_at(number * step - offset), _at((number + 1) * step - offset), dict(counts.get(number, {})))
        for number in range((first + offset) // step, (last + offset) // step + 1)
    ]


def _at(seconds: int) -> datetime:
    """Seconds since 1970, kept within the calendar."""
    return datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), tz=UTC)


def one(session: Session, actor: Actor, finding_id: int) -> Finding:
    """One finding of the organisation, with sensor and place."""
    return load(session, actor, Finding, finding_id)


def evidence_of(session: Session, actor: Actor, finding_id: int) -> FindingEvidence:
    """The evidence of one finding of the organisation."""
    return one(session, actor, finding_id).evidence


def similar(session: Session, actor: Actor, finding: Finding, limit: int = 8) -> list[Finding]:
    """Other findings of the same rule, or between the same two addresses on the same sensor, latest first."""
    pair = (Finding.source_ip == finding.source_ip) & (Finding.destination_ip == finding.destination_ip)
    alike = or_(Finding.rule_id == finding.rule_id, pair & (Finding.sensor_id == finding.sensor_id))
    return list(
        session.scalars(
            scoped(actor, Finding)
            .where(alike, Finding.id != finding.id)
            .order_by((Finding.fingerprint == finding.fingerprint).desc(), Finding.last_seen.desc())
            .limit(limit)
        )
    )


def judge(session: Session, actor: Actor, finding_id: int, verdict: Verdict | None, note: str, now: datetime) -> None:
    """Record what people decided, None: it is new again. A reason is wanted for whatever is put aside."""
    actor.require(Role.ANALYST)
    finding = load(session, actor, Finding, finding_id)
    note = note.strip()[:2000]
    if verdict in (Verdict.EXPECTED, Verdict.FALSE) and not note:
        raise InvalidError("Say why: whoever sees it next will ask.")
    finding.verdict, finding.verdict_note = verdict, note if verdict else ""
    finding.verdict_at, finding.verdict_by_id = (now, actor.user_id) if verdict else (None, None)
    details = {"finding": finding.uid, "verdict": verdict, "note": note}
    audit.record(session, actor, actor.organisation_id, "finding.judged", f"finding:{finding.id}", details, now)


@dataclass(frozen=True, slots=True)
class Target:
    """An asset that findings point at: (site, segment, address)."""

    address: str
    sensor: Sensor
    findings: int
    worst: int
    last_seen: datetime


def top_targets(session: Session, actor: Actor, limit: int = 6) -> list[Target]:
    """Devices at which unsettled findings point, the worst first; one address on two segments is two devices."""
    worst, number, last = func.max(Finding.severity), func.count(), func.max(Finding.last_seen)
    rows = session.execute(
        scoped(actor, Finding)
        .join(Finding.sensor)
        .where(Finding.destination_ip != "", or_(Finding.verdict.is_(None), Finding.verdict == Verdict.REAL))
        .with_only_columns(Finding.destination_ip, func.min(Finding.sensor_id), number, worst, last)
        .group_by(Finding.destination_ip, Sensor.segment_id)
        .order_by(worst.desc(), number.desc(), Finding.destination_ip)
        .limit(limit)
    ).all()
    places = joinedload(Sensor.segment).joinedload(Segment.site)
    known = {
        sensor.id: sensor
        for sensor in session.scalars(scoped(actor, Sensor).where(Sensor.id.in_([r[1] for r in rows])).options(places))
    }
    return [Target(address, known[s], n, w, seen) for address, s, n, w, seen in rows]
