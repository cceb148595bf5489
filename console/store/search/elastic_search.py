"""Elasticsearch's answers to the same questions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from console.store.search.contract import Countable, Found, SearchAwayError, TimeField, Wanted
from console.store.search.fields import LEVELS, RANK
from console.store.search.query.elastic import compile_query

MAX_WINDOW = 10_000  # hits that an index counts off for pages (index.max_result_window)
MAX_VALUES = 1_000  # different values of one field that are counted
NUMBER = "finding.number"
ORDERS = {
    "severity": RANK,
    "time": "finding.last_seen",
    "received": "finding.received",
    "count": "finding.count",
    "rule": "rule.id",
    "protocol": "network.protocol",
}

# Sends the body of a search to the findings' alias and gives the answer; SearchAwayError where there is none.
Ask = Callable[[dict[str, Any]], dict[str, Any]]


class ElasticSearch:
    """Search (console.store.search.contract) in a cluster."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def find(self, wanted: Wanted, sort: str, first: int, size: int) -> Found:
        """See Search. The order of addresses and pages far behind are the embedded store's."""
        name = ORDERS.get(sort.removeprefix("-"))
        if name is None or first + size > MAX_WINDOW:
            raise SearchAwayError("left to the embedded index", alone=True)
        down = "desc" if sort.startswith("-") else "asc"
        order = [{name: {"order": down, "missing": "_last" if down == "desc" else "_first"}},
                 {"finding.last_seen": "desc"}, {NUMBER: "desc"}]  # fmt: skip
        answer = self._search(wanted, size=size, sort=order, track_total_hits=True, docvalue_fields=[NUMBER],
                              **{"from": first})  # fmt: skip
        hits = answer["hits"]
        return Found([int(hit["fields"][NUMBER][0]) for hit in hits["hits"]], hits["total"]["value"])

    def count(self, wanted: Wanted, field: Countable) -> dict[str, int]:
        """See Search."""
        counted = {"terms": {"field": field, "size": MAX_VALUES}}
        answer = self._search(wanted, size=0, aggs={"values": counted})
        return {it["key"]: it["doc_count"] for it in answer["aggregations"]["values"]["buckets"]}

    def span(self, wanted: Wanted, field: TimeField) -> tuple[datetime, datetime] | None:
        """See Search."""
        aggs = {"low": {"min": {"field": field}}, "high": {"max": {"field": field}}}
        found = self._search(wanted, size=0, aggs=aggs)["aggregations"]
        low, high = found["low"]["value"], found["high"]["value"]
        return None if low is None else (_moment(low), _moment(high))

    def histogram(self, wanted: Wanted, field: TimeField, step: int, offset: int) -> dict[tuple[int, int], int]:
        """See Search."""
        bars = {
            "date_histogram": {
                "field": field,
                "fixed_interval": f"{step}s",
                "offset": f"{-offset}s",
                "min_doc_count": 1,
            },
            "aggs": {"levels": {"terms": {"field": RANK, "size": len(LEVELS)}}},
        }
        found = self._search(wanted, size=0, aggs={"bars": bars})["aggregations"]["bars"]["buckets"]
        return {
            ((bar["key"] // 1000 + offset) // step, level["key"]): level["doc_count"]
            for bar in found
            for level in bar["levels"]["buckets"]
        }

    def _search(self, wanted: Wanted, **rest: Any) -> dict[str, Any]:
        query = compile_query(wanted.organisation_id, wanted.node)
        answer = self._ask({"query": query, "_source": False, **rest})
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            raise SearchAwayError("a part of the index did not answer")
        return answer


def _moment(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
