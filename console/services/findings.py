"""Findings for people: lists, counts, verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_
from sqlalchemy.orm import Session, joinedload

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError
from console.services.finding_filter import FindingFilter
from console.store.models import Finding, FindingEvidence, Segment, Sensor
from console.store.search.contract import Search, Wanted
from console.store.search.fields import FIELDS, LEVELS
from console.store.search.query.tree import And, Node, Range

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter that somebody looks through, at a time: what every question about a list begins with."""

    session: Session
    search: Search
    actor: Actor
    filter: FindingFilter
    now: datetime
    zone: ZoneInfo

    def wanted(self, without: str = "", also: Node | None = None) -> Wanted:
        """What is asked of the store; QueryError where the text is no query. without: see FindingFilter.node."""
        node = self.filter.node(self.now, self.zone, without)
        return Wanted(self.actor.organisation_id, node if also is None else And((node, also)))


NOTHING = Page([], 0, 1)


def search(asked: Asked) -> Page:
    """One page of the organisation's findings, with sensors and places."""
    wanted, sort, number = asked.wanted(), asked.filter.sort, asked.filter.page
    found = asked.search.find(wanted, sort, (number - 1) * PAGE_SIZE, PAGE_SIZE)
    last = max(1, -(-found.total // PAGE_SIZE))
    if number > last:
        number = last
        found = asked.search.find(wanted, sort, (number - 1) * PAGE_SIZE, PAGE_SIZE)
    place = {row_id: place for place, row_id in enumerate(found.ids)}
    rows = asked.session.scalars(
        scoped(asked.actor, Finding)  # whatever the index says, only the own rows are shown
        .where(Finding.id.in_(found.ids))
        .options(joinedload(Finding.sensor).joinedload(Sensor.segment).joinedload(Segment.site))
    )
    return Page(sorted(rows, key=lambda row: place[row.id]), found.total, number)


def count_severities(asked: Asked) -> dict[int, int]:
    """How many findings of each severity the other conditions leave."""
    counted = asked.search.count(asked.wanted("severity"), "rule.severity")
    return {LEVELS[word]: number for word, number in counted.items()}


def count_protocols(asked: Asked) -> list[tuple[str, int]]:
    """Protocols that the other conditions leave, the most frequent first."""
    counted = asked.search.count(asked.wanted("protocol"), "network.protocol")
    return sorted(counted.items(), key=lambda row: (-row[1], row[0]))


def newer_than(asked: Asked, after_id: int) -> int:
    """How many findings of this filter came after the one with that id."""
    newer = Range(FIELDS["finding.number"], after_id + 1, None)
    return asked.search.find(asked.wanted(also=newer), "-time", 0, 0).total


def latest_id(session: Session, actor: Actor) -> int:
    """Id of the organisation's newest finding, 0 when it has none."""
    return session.scalar(scoped(actor, Finding).with_only_columns(func.max(Finding.id))) or 0


def histogram(asked: Asked) -> list[Bar]:
    """Findings of the filter over time, in at most MAX_BUCKETS bars of a round length without holes between them."""
    wanted, field = asked.wanted(), asked.filter.time_field
    span = asked.search.span(wanted, field)
    since, until = asked.filter.span(asked.now, asked.zone)
    low = since or (span[0] if span else None)
    high = (until - timedelta(microseconds=1) if until else None) or (span[1] if span else None)
    if since and not until and high is not None:
        high = max(high, asked.now)
    if low is None or high is None or high < low:
        return []
    first, last = int(low.timestamp()), int(high.timestamp())
    offset = int((asked.zone.utcoffset(low.replace(tzinfo=None)) or timedelta()).total_seconds())  # days from midnight
    step = next((s for s in STEPS if (last - first) // s + 2 <= MAX_BUCKETS), STEPS[-1])
    counts: dict[int, dict[int, int]] = {}
    for (number, severity), count in asked.search.histogram(wanted, field, step, offset).items():
        counts.setdefault(number, {})[severity] = count
    return [
        Bar(_at(number * step - offset), _at((number + 1) * step - offset), counts.get(number, {}))
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
