"""Findings as documents: names in the manner of ECS, the same as `fenghuo inspect` prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from console.store.models import Finding, Incident, IncidentFinding, Segment, Sensor, Site
from console.store.search.kinds import Document, Kind, month_of, span
from console.store.search.triggers import document_id
from detectors.finding import Severity
from sensor.schema import FIELDS, FieldType

MAX_VALUES = 1000  # of one field of one finding
MAX_UNTYPED = 100  # fields of one finding that the schema does not know, or knows otherwise
MAX_UNTYPED_TEXT = 1000
WORDS = {int(severity): severity.word for severity in Severity}

OWN: dict[str, FieldType] = {  # beside those of the schema
    "@timestamp": "date",
    "event.ingested": "date",
    "finding.id": "keyword",
    "finding.fingerprint": "keyword",
    "finding.last_seen": "date",
    "finding.updated": "date",
    "finding.count": "long",
    "finding.station": "long",
    "finding.risk": "double",
    "finding.verdict": "keyword",
    "finding.note": "text",
    "finding.drill": "boolean",
    "finding.untyped": "keyword",
    "incident.number": "long",
    "event.severity": "long",
    "rule.id": "keyword",
    "rule.name": "keyword",
    "rule.name_zh": "keyword",
    "rule.severity": "keyword",
    "threat.technique.id": "keyword",
    "message": "text",
    "message_zh": "text",
    "observer.name": "keyword",
    "observer.site": "keyword",
    "observer.segment": "keyword",
}
COLUMNS = (
    Finding.id, Finding.organisation_id, Finding.uid, Finding.fingerprint, Finding.rule_id, Finding.rule_name_en,
    Finding.rule_name_zh, Finding.severity, Finding.protocol, Finding.first_seen, Finding.last_seen,
    Finding.received_at, Finding.updated_at, Finding.count, Finding.source_ip, Finding.source_port,
    Finding.destination_ip, Finding.destination_port, Finding.station, Finding.techniques, Finding.message_en,
    Finding.message_zh, Finding.fields, Finding.risk, Finding.capture, Finding.drill, Finding.verdict,
    Finding.verdict_note, Sensor.name, Segment.name, Site.name,
)  # fmt: skip


def _query() -> Select[Any]:
    query = select(*COLUMNS).join(Sensor, Sensor.id == Finding.sensor_id).join(Segment, Segment.id == Sensor.segment_id)
    return query.join(Site, Site.id == Segment.site_id)


def _by_ids(session: Session, ids: Sequence[int]) -> Iterator[Document]:
    return _documents(session, session.execute(_query().where(Finding.id.in_(ids))).all())


def _after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
    query = _query().where(Finding.id > row_id).order_by(Finding.id).limit(limit)
    if period:
        begin, end = span(period)
        query = query.where(Finding.received_at >= begin, Finding.received_at < end)
    return _documents(session, session.execute(query).all())


def _periods(session: Session) -> set[str]:
    found = set()
    at = session.scalar(select(func.min(Finding.received_at)))
    while at is not None:
        found.add(month_of(at))
        at = session.scalar(select(func.min(Finding.received_at)).where(Finding.received_at >= span(month_of(at))[1]))
    return found


def _documents(session: Session, rows: Sequence[Any]) -> Iterator[Document]:
    numbers: dict[int, list[int]] = {}
    if rows:
        linked = (
            select(IncidentFinding.finding_id, Incident.number)
            .join(Incident, Incident.id == IncidentFinding.incident_id)
            .where(IncidentFinding.finding_id.in_([row[0] for row in rows]))
        )
        for finding, number in session.execute(linked):
            numbers.setdefault(finding, []).append(number)
    for row in rows:
        yield Document(
            row[0], document_id(row[1], row[2]), month_of(row[11]), _source(row, sorted(numbers.get(row[0], ())))
        )


def _source(row: Any, incidents: list[int]) -> dict[str, Any]:
    (
        _, organisation, uid, fingerprint, rule, name_en, name_zh, severity, protocol, first, last, received, updated,
        count, source, source_port, destination, destination_port, station, techniques, message_en, message_zh, fields,
        risk, capture, drill, verdict, note, sensor, segment, site,
    ) = row  # fmt: skip
    document = _typed(fields)  # first, so that what a sensor says under our names does not count
    document |= {
        "organization.id": organisation,
        "@timestamp": _time(first),
        "finding.last_seen": _time(last),
        "event.ingested": _time(received),
        "finding.updated": _time(updated),
        "finding.id": uid,
        "finding.fingerprint": fingerprint,
        "finding.count": count,
        "finding.drill": drill,
        "rule.id": rule,
        "rule.name": name_en,
        "rule.name_zh": name_zh,
        "rule.severity": WORDS[severity],
        "event.severity": severity,
        "network.protocol": protocol,
        "source.port": source_port,
        "destination.port": destination_port,
        "finding.station": station,
        "finding.risk": risk.get("score") if risk else None,
        "finding.verdict": verdict or "new",
        "finding.note": note,
        "incident.number": incidents,
        "threat.technique.id": techniques,
        "message": message_en,
        "message_zh": message_zh,
        "capture": capture,
        "observer.name": sensor,
        "observer.segment": segment,
        "observer.site": site,
        _end("source", source): source,
        _end("destination", destination): destination,
    }
    return {name: value for name, value in document.items() if value not in ("", None, [])}


def _end(side: str, address: str) -> str:
    """Field of an address: stored is the IP address, or the hardware address where there is none."""
    return f"{side}.mac" if address.count(":") == 5 and len(address) == 17 else f"{side}.ip"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Of what a sensor sent with a finding, that which is what the schema says; the rest as text in one list."""
    document: dict[str, Any] = {}
    untyped: list[str] = []
    for name, value in fields.items():
        known = FIELDS.get(name)
        values = value if isinstance(value, list) else [value]
        if known is not None and len(values) <= MAX_VALUES and _fits(known.type, values):
            document[name] = value
        elif value is not None and len(untyped) < MAX_UNTYPED:
            untyped.append(f"{name}={value}"[:MAX_UNTYPED_TEXT])
    if untyped:
        document["finding.untyped"] = untyped
    return document


def _fits(kind: FieldType, values: Iterable[Any]) -> bool:
    """Whether an index takes the values as this type."""
    if kind in ("keyword", "text"):
        return all(isinstance(value, str) for value in values)
    if kind == "long":
        return all(type(value) is int and -(2**63) <= value < 2**63 for value in values)
    if kind == "double":
        return all(type(value) in (int, float) and math.isfinite(value) for value in values)
    if kind == "boolean":
        return all(isinstance(value, bool) for value in values)
    return kind == "ip" and all(isinstance(value, str) and _is_ip(value) for value in values)


def _is_ip(text: str) -> bool:
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False


FINDINGS = Kind(
    name="finding",
    fields={name: field.type for name, field in FIELDS.items()} | OWN,
    by_ids=_by_ids,
    after=_after,
    periods=_periods,
)
