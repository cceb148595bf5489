"""Findings as a kind of documents.

Rows are read past the unit of work and their tokens from the embedded index: that makes filling three times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from console.store.base import table_of
from console.store.models import Finding, Segment, Sensor
from console.store.search.document import document
from console.store.search.embedded import finding_search
from console.store.search.fields import mapping
from console.store.search.kinds import Document, Kind, month_of, span
from console.store.search.triggers import document_id
from detectors.finding import Severity

ROW = table_of(Finding).c
WORDS = {int(severity): severity.word for severity in Severity}


def _by_ids(session: Session, ids: Sequence[int]) -> Iterator[Document]:
    return _documents(session, select(*ROW).where(ROW.id.in_(ids)))


def _after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
    query = select(*ROW).where(ROW.id > row_id).order_by(ROW.id).limit(limit)
    if period:
        begin, end = span(period)
        query = query.where(ROW.received_at >= begin, ROW.received_at < end)
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


def _documents(session: Session, query: Select[*tuple[object, ...]]) -> Iterator[Document]:
    rows = session.execute(query).mappings().all()
    index = finding_search.c
    known = select(index.rowid, index.words).where(index.rowid.in_([row["id"] for row in rows]))
    words: dict[int, str] = dict(session.execute(known).all()) if rows else {}
    places = joinedload(Sensor.segment).joinedload(Segment.site)
    wanted = select(Sensor).where(Sensor.id.in_({row["sensor_id"] for row in rows})).options(places)
    sensors = {sensor.id: sensor for sensor in session.scalars(wanted)} if rows else {}
    for values in rows:
        row = SimpleNamespace(**values, severity_word=WORDS[values["severity"]], sensor=sensors[values["sensor_id"]])
        organisation = values["organisation_id"]
        yield Document(
            values["id"],
            organisation,
            document_id(organisation, values["uid"]),
            month_of(values["received_at"]),
            document(row, words.get(values["id"], "")),
        )


FINDINGS = Kind("finding", mapping, _by_ids, _after, _periods, _count)
