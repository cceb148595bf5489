"""Which findings a page shows: the URL is the whole state, this is its meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Literal
from zoneinfo import ZoneInfo

from console.store.search.contract import SORTS, TimeField
from console.store.search.document import plain_address
from console.store.search.fields import FIELDS, STATES
from console.store.search.query.lexer import MAX_QUERY
from console.store.search.query.parser import parse
from console.store.search.query.tree import And, Everything, Node, OneOf, Or, Range, Span, Value
from detectors.finding import Severity

SEVERITIES = {severity.word: severity for severity in reversed(Severity)}
RELATIVE = re.compile(r"now-(\d{1,4})([mhd])", re.ASCII)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
STATE_VALUES = {state: (state,) for state in STATES} | {"open": ("new", "real")}
MAX_TEXT = 200
MAX_PAGE = 100_000


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """A filter as the URL says it; what makes no sense there is left out, but for q, the query that people type.

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
            state=state if state in STATE_VALUES else "",
            ip=_address(one("ip")),
            source=_address(one("source")),
            destination=_address(one("destination")),
            rule=one("rule"),
            technique=one("technique", 20),
            sensor=number("sensor", 2**62),
            q=one("q", MAX_QUERY + 1),
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
        return _whole(moment(self.since, now, zone)), _whole(moment(self.until, now, zone))

    def node(self, now: datetime, zone: ZoneInfo, without: str = "") -> Node:
        """What it means, as the search understands it; QueryError where the text is no query.

        `without` leaves one field out, for counting what its other values would give.
        """
        since, until = self.span(now, zone)
        wanted: list[tuple[str, Node | None]] = [
            ("severity", OneOf(FIELDS["rule.severity"], self.severity) if self.severity else None),
            ("protocol", _any([Value(FIELDS["network.protocol"], name) for name in self.protocol])),
            ("state", OneOf(FIELDS["state"], STATE_VALUES[self.state]) if self.state else None),
            ("ip", _any([*_end("source", self.ip), *_end("destination", self.ip)])),
            ("source", _any(_end("source", self.source))),
            ("destination", _any(_end("destination", self.destination))),
            ("rule", Value(FIELDS["rule.id"], self.rule) if self.rule else None),
            ("technique", Value(FIELDS["threat.technique.id"], self.technique) if self.technique else None),
            ("sensor", Range(FIELDS["sensor.number"], self.sensor, self.sensor) if self.sensor is not None else None),
            ("time", Span(FIELDS[self.time_field], since, until) if since or until else None),
            ("q", parse(self.q, now, zone) if self.q else None),
        ]
        parts = tuple(node for name, node in wanted if node is not None and name != without)
        return And(parts) if parts else Everything()

    @property
    def time_field(self) -> TimeField:
        """The field that since and until mean."""
        return "finding.received" if self.by == "received" else "finding.last_seen"


def _any(nodes: list[Node]) -> Node | None:
    return Or(tuple(nodes)) if nodes else None


def _end(end: str, address: str) -> list[Node]:
    """The address of one end: of IP, otherwise of hardware."""
    if not address:
        return []
    plain = plain_address(address)
    return [Value(FIELDS[f"{end}.ip"], plain) if plain else Value(FIELDS[f"{end}.mac"], address)]


def _address(text: str) -> str:
    """An address in the form in which it is stored; other text stays as it is and finds nothing."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text[:64]


def _whole(found: datetime | None) -> datetime | None:
    """Whole milliseconds, in which every store counts."""
    return found.replace(microsecond=found.microsecond // 1000 * 1000) if found else None


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
