"""Which findings a page shows: the URL is the whole state, this is its meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, String, cast, or_
from sqlalchemy.orm import InstrumentedAttribute

from console.store.models import Finding
from detectors.finding import Severity

SEVERITIES = {severity.word: severity for severity in reversed(Severity)}
RELATIVE = re.compile(r"now-(\d{1,4})([mhd])", re.ASCII)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
STATES = ("new", "real", "expected", "false", "open")
BASES = ("seen", "received")
SORTS: dict[str, InstrumentedAttribute[Any]] = {
    "severity": Finding.severity,
    "time": Finding.last_seen,
    "received": Finding.received_at,
    "count": Finding.count,
    "rule": Finding.rule_id,
    "source": Finding.source_ip,
    "destination": Finding.destination_ip,
    "protocol": Finding.protocol,
}
MAX_TEXT = 200
MAX_PAGE = 100_000


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """A filter as the URL says it; what makes no sense there is left out.

    since, until: as typed ("now-24h", "2026-11-22T08:00" in the console's zone). by: whether they mean the time of the
    latest event or the arrival of the first record. ip: either end. sort: a key of SORTS, "-" before it: descending.
    """

    severity: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    state: str = ""
    ip: str = ""
    source: str = ""
    destination: str = ""
    rule: str = ""
    technique: str = ""
    sensor: int | None = None
    q: str = ""
    since: str = ""
    until: str = ""
    by: Literal["seen", "received"] = "seen"
    sort: str = "-severity"
    page: int = 1

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> FindingFilter:
        """From the lists of values in a query string."""

        def one(name: str, limit: int = MAX_TEXT) -> str:
            return next(iter(query.get(name, ())), "").strip()[:limit]

        def number(name: str, limit: int) -> int | None:
            text = one(name)
            return min(int(text), limit) if text.isascii() and text.isdigit() and len(text) < 19 else None

        state, by, sort = one("state"), one("by"), one("sort")
        return cls(
            severity=tuple(word for word in SEVERITIES if word in query.get("severity", ())),
            protocol=tuple(dict.fromkeys(p[:64] for p in query.get("protocol", ()) if p))[:20],
            state=state if state in STATES else "",
            ip=_address(one("ip")),
            source=_address(one("source")),
            destination=_address(one("destination")),
            rule=one("rule"),
            technique=one("technique", 20),
            sensor=number("sensor", 2**62),
            q=one("q"),
            since=one("from", 40),
            until=one("to", 40),
            by="received" if by == "received" else "seen",
            sort=sort if sort.removeprefix("-") in SORTS else "-severity",
            page=max(number("page", MAX_PAGE) or 1, 1),
        )

    def query(self, **changes: Any) -> dict[str, Any]:
        """Arguments of the URL of this filter with changes; another filter begins at its first page."""
        changed = replace(self, page=changes.pop("page", 1), **changes)
        names = {"since": "from", "until": "to"}
        plain = FindingFilter()
        return {
            names.get(field.name, field.name): getattr(changed, field.name)
            for field in fields(self)
            if getattr(changed, field.name) != getattr(plain, field.name)
        }

    @property
    def narrowed(self) -> bool:
        """True when it leaves anything out."""
        return replace(self, sort="-severity", page=1, by="seen") != FindingFilter()

    def span(self, now: datetime, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
        """Begin and end of the time wanted, UTC; None where there is none or what was typed is no time."""
        return moment(self.since, now, zone), moment(self.until, now, zone)

    def clauses(self, now: datetime, zone: ZoneInfo, without: str = "") -> list[ColumnElement[bool]]:
        """Conditions on Finding; `without` leaves one field out, for counting what its other values would give."""
        column = Finding.received_at if self.by == "received" else Finding.last_seen
        since, until = self.span(now, zone)
        wanted: list[tuple[str, ColumnElement[bool] | None]] = [
            ("severity", Finding.severity.in_([SEVERITIES[w] for w in self.severity]) if self.severity else None),
            ("protocol", Finding.protocol.in_(self.protocol) if self.protocol else None),
            ("state", self._state()),
            ("ip", or_(Finding.source_ip == self.ip, Finding.destination_ip == self.ip) if self.ip else None),
            ("source", Finding.source_ip == self.source if self.source else None),
            ("destination", Finding.destination_ip == self.destination if self.destination else None),
            ("rule", Finding.rule_id == self.rule if self.rule else None),
            ("technique", _holds(self.technique) if self.technique else None),
            ("sensor", Finding.sensor_id == self.sensor if self.sensor is not None else None),
            ("time", column >= since if since else None),
            ("time", column < until if until else None),
            *(("q", Finding.search_text.icontains(word, autoescape=True)) for word in self.q.split()[:10]),
        ]
        return [clause for name, clause in wanted if clause is not None and name != without]

    def _state(self) -> ColumnElement[bool] | None:
        if self.state == "new":
            return Finding.verdict.is_(None)
        if self.state == "open":
            return or_(Finding.verdict.is_(None), Finding.verdict == "real")
        return Finding.verdict == self.state if self.state else None


def _holds(technique: str) -> ColumnElement[bool]:
    return cast(Finding.techniques, String).contains(f'"{technique}"', autoescape=True)


def _address(text: str) -> str:
    """An address in the form in which it is stored; other text stays as it is and finds nothing."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text[:64]


def moment(text: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """ "now", "now-24h" or ISO 8601 as a time in UTC; without a zone it is the console's."""
    if text == "now":
        return now
    relative = RELATIVE.fullmatch(text)
    if relative:
        return now - int(relative[1]) * UNITS[relative[2]]
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
