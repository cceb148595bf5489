"""The embedded store's answers: the embedded index and the truth beside it, in one database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, extract, func, select
from sqlalchemy.orm import Session, joinedload

from console.store.models import Finding, Segment, Sensor
from console.store.search.contract import Countable, Found, TimeField, Wanted
from console.store.search.query.sql import Place, compile_query
from detectors.finding import Severity

ORDERS: dict[str, Any] = {
    "severity": Finding.severity,
    "time": Finding.last_seen,
    "received": Finding.received_at,
    "count": Finding.count,
    "rule": Finding.rule_id,
    "source": Finding.source_ip,
    "destination": Finding.destination_ip,
    "protocol": Finding.protocol,
}
TIMES: dict[TimeField, Any] = {"finding.last_seen": Finding.last_seen, "finding.received": Finding.received_at}


class SqlSearch:
    """Search (console.store.search.contract) within a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._places: dict[int, tuple[Place, ...]] = {}

    def find(self, wanted: Wanted, sort: str, first: int, size: int) -> Found:
        """See Search."""
        where = self.where(wanted)
        total = self._session.scalar(select(func.count()).select_from(Finding).where(where)) or 0
        column = ORDERS[sort.removeprefix("-")]
        order = column.desc() if sort.startswith("-") else column.asc()
        rows = select(Finding.id).where(where).order_by(order, Finding.last_seen.desc(), Finding.id.desc())
        return Found(list(self._session.scalars(rows.limit(size).offset(first))), total)

    def count(self, wanted: Wanted, field: Countable) -> dict[str, int]:
        """See Search."""
        column: Any = Finding.severity if field == "rule.severity" else Finding.protocol
        counted = select(column, func.count()).where(self.where(wanted)).group_by(column)
        rows = self._session.execute(counted)
        return {Severity(value).word if isinstance(value, int) else value: number for value, number in rows if value}

    def span(self, wanted: Wanted, field: TimeField) -> tuple[datetime, datetime] | None:
        """See Search."""
        column = TIMES[field]
        low, high = self._session.execute(select(func.min(column), func.max(column)).where(self.where(wanted))).one()
        return None if low is None else (low, high)

    def histogram(self, wanted: Wanted, field: TimeField, step: int, offset: int) -> dict[tuple[int, int], int]:
        """See Search."""
        seconds = extract("epoch", TIMES[field]) + offset
        bucket = (seconds - seconds % step) / step
        grouped = select(bucket, Finding.severity, func.count()).where(self.where(wanted))
        rows = self._session.execute(grouped.group_by(bucket, Finding.severity))
        return {(round(number), severity): count for number, severity, count in rows}

    def where(self, wanted: Wanted) -> ColumnElement[bool]:
        """The condition on Finding."""
        organisation_id = wanted.organisation_id
        if organisation_id not in self._places:
            self._places[organisation_id] = tuple(self._sensors(organisation_id))
        return compile_query(self._session, organisation_id, wanted.node, self._places[organisation_id])

    def _sensors(self, organisation_id: int) -> list[Place]:
        query = select(Sensor).where(Sensor.organisation_id == organisation_id)
        found = self._session.scalars(query.options(joinedload(Sensor.segment).joinedload(Segment.site)))
        return [Place(it.id, it.name, it.segment.site.name, it.segment.name) for it in found]
