"""Findings as a kind of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager

from console.store.models import Finding, Segment, Sensor
from console.store.search.document import document
from console.store.search.fields import mapping
from console.store.search.kinds import Document, Kind, month_of, span
from console.store.search.triggers import document_id


def _query() -> Select[Finding]:
    places = contains_eager(Finding.sensor).contains_eager(Sensor.segment).contains_eager(Segment.site)
    return select(Finding).join(Finding.sensor).join(Sensor.segment).join(Segment.site).options(places)


def _by_ids(session: Session, ids: Sequence[int]) -> Iterator[Document]:
    return _documents(session, _query().where(Finding.id.in_(ids)))


def _after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
    query = _query().where(Finding.id > row_id).order_by(Finding.id).limit(limit)
    if period:
        begin, end = span(period)
        query = query.where(Finding.received_at >= begin, Finding.received_at < end)
    return _documents(session, query)


def _periods(session: Session) -> set[str]:
    found = set()
    at = session.scalar(select(func.min(Finding.received_at)))
    while at is not None:
        found.add(month_of(at))
        at = session.scalar(select(func.min(Finding.received_at)).where(Finding.received_at >= span(month_of(at))[1]))
    return found


def _count(session: Session) -> int:
    return session.scalar(select(func.count(Finding.id))) or 0


def _documents(session: Session, query: Select[Finding]) -> Iterator[Document]:
    for row in session.scalars(query):
        yield Document(
            row.id,
            row.organisation_id,
            document_id(row.organisation_id, row.uid),
            month_of(row.received_at),
            document(row),
        )


FINDINGS = Kind("finding", mapping, _by_ids, _after, _periods, _count)
