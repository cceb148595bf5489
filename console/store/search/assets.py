"""Assets as a kind of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager

from console.store.models import Asset, Segment, Sensor
from console.store.search.fields import ORGANISATION
from console.store.search.kinds import Document, Kind, month_of, span
from console.store.search.triggers import document_id

KEYWORDS = ("asset.address", "asset.segment", "asset.vendor", "asset.model", "asset.firmware", "asset.name",
            "asset.role", "asset.mac", "asset.fact", "network.protocol", "sensor", "site", "segment")  # fmt: skip
MAX_FACT = 500


def _mapping() -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": "keyword", "ignore_above": 1024} for name in KEYWORDS}
    properties |= {name: {"type": "date"} for name in ("asset.first_seen", "asset.last_seen")}
    properties[ORGANISATION] = {"type": "long"}
    properties["asset.ip"] = {"type": "ip"}
    return {"dynamic": "strict", "subobjects": False, "properties": properties}


def _query() -> Select[Asset]:
    places = contains_eager(Asset.sensor).contains_eager(Sensor.segment).contains_eager(Segment.site)
    return select(Asset).join(Asset.sensor).join(Sensor.segment).join(Segment.site).options(places)


def _by_ids(session: Session, ids: Sequence[int]) -> Iterator[Document]:
    return _documents(session, _query().where(Asset.id.in_(ids)))


def _after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
    query = _query().where(Asset.id > row_id).order_by(Asset.id).limit(limit)
    if period:
        begin, end = span(period)
        query = query.where(Asset.received_at >= begin, Asset.received_at < end)
    return _documents(session, query)


def _periods(session: Session) -> set[str]:
    return {month_of(it) for it in session.scalars(select(Asset.received_at).distinct())}


def _count(session: Session) -> int:
    return session.scalar(select(func.count(Asset.id))) or 0


def _documents(session: Session, query: Select[Asset]) -> Iterator[Document]:
    for row in session.scalars(query):
        key = f"{row.sensor_id}/{row.segment}/{row.address}"
        document = document_id(row.organisation_id, key)
        yield Document(row.id, row.organisation_id, document, month_of(row.received_at), _source(row))


def _source(row: Asset) -> dict[str, Any]:
    facts = [f"{it.get('attribute')}={it.get('value')}"[:MAX_FACT] for it in row.facts]
    found: dict[str, Any] = {
        ORGANISATION: row.organisation_id,
        "asset.address": row.address,
        "asset.ip": row.address if "." in row.address or row.address.count(":") != 5 else None,
        "asset.segment": row.segment,
        "asset.first_seen": _utc(row.first_seen),
        "asset.last_seen": _utc(row.last_seen),
        "asset.vendor": row.vendor,
        "asset.model": row.model,
        "asset.firmware": row.firmware,
        "asset.name": row.name,
        "asset.role": row.roles,
        "asset.mac": row.macs,
        "asset.fact": facts,
        "network.protocol": row.protocols,
        "sensor": row.sensor.name,
        "site": row.sensor.segment.site.name,
        "segment": row.sensor.segment.name,
    }
    return {name: value for name, value in found.items() if value not in ("", None, [])}


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


ASSETS = Kind("asset", _mapping, _by_ids, _after, _periods, _count)
