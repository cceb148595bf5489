"""Days of a site as a kind of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from console.store.models import Site, Summary
from console.store.search.fields import SearchField
from console.store.search.query.sql import Place
from console.store.search.states import State, kind_of

COUNTS = (
    SearchField("summary.findings", "long", "findings that came that day", "当天到达的发现", kept="row"),
    SearchField("summary.critical", "long", "of them critical ones", "其中严重的", kept="row"),
    SearchField("summary.high", "long", "of them high ones", "其中高的", kept="row"),
    SearchField("summary.medium", "long", "of them medium ones", "其中中的", kept="row"),
    SearchField("summary.low", "long", "of them low ones", "其中低的", kept="row"),
    SearchField("summary.informational", "long", "of them informational ones", "其中提示的", kept="row"),
    SearchField("summary.frames", "long", "frames that sensors looked at", "探针检查的报文", kept="row"),
    SearchField("summary.bytes", "long", "their bytes", "其字节数", kept="row"),
    SearchField("summary.assets", "long", "devices that were new that day", "当天新增的资产", kept="row"),
    SearchField("summary.behaviours", "long", "behaviours that were new that day", "当天新增的行为", kept="row"),
)
FIELDS = (
    SearchField("@timestamp", "date", "when the day began, UTC", "当天开始的时间（UTC）", kept="row"),
    SearchField("rule.id", "keyword", "rules that found something that day", "当天有发现的规则", many=True),
    *COUNTS,
    SearchField("site", "keyword", "the place", "厂区", kept="place"),
)
ALIASES = {
    "day": ("@timestamp",), "rule": ("rule.id",), "findings": ("summary.findings",), "critical": ("summary.critical",),
    "high": ("summary.high",), "medium": ("summary.medium",), "low": ("summary.low",), "frames": ("summary.frames",),
    "bytes": ("summary.bytes",), "assets": ("summary.assets",), "behaviours": ("summary.behaviours",),
}  # fmt: skip


def _column(field: SearchField) -> str:
    return field.name.rpartition(".")[2]


def _query() -> Select[Any]:
    return select(Summary).options(joinedload(Summary.site))


def _sites(session: Session, organisation_id: int) -> tuple[Place, ...]:
    sites = session.scalars(select(Site).where(Site.organisation_id == organisation_id))
    return tuple(Place(it.id, "", it.name, "") for it in sites)


def _values(row: Any) -> Mapping[str, Any]:
    rules = [str(it["rule.id"]) for it in row.rules]
    counts = {field.name: getattr(row, _column(field)) for field in COUNTS}
    return {"@timestamp": row.begins_at, "rule.id": rules, **counts}


SUMMARY = State(
    "summary",
    Summary,
    _query,
    FIELDS,
    ALIASES,
    {"@timestamp": Summary.begins_at, **{field.name: getattr(Summary, _column(field)) for field in COUNTS}},
    _values,
    lambda row: f"{row.site_id}/{row.key}",
    lambda row: Place(row.site_id, "", row.site.name, ""),
    Summary.site_id,
    _sites,
    Summary.begins_at,
    "@timestamp",
)
SUMMARIES = kind_of(SUMMARY)
