"""Events in a real Elasticsearch node, and what queries find there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from elasticsearch import Elasticsearch, helpers

from detectors.sigma.convert import index_mapping

MOST_FOUND = 10_000


class EventIndex:
    """An index of events under their own numbers."""

    def __init__(self, client: Elasticsearch, name: str) -> None:
        self._client, self._name = client, name
        self._count = 0

    def add(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Put events into the index, numbered on from the last."""
        actions = (
            {"_index": self._name, "_id": str(number), "_source": event}
            for number, event in enumerate(events, self._count)
        )
        added, errors = helpers.bulk(self._client, actions, chunk_size=2000, refresh="wait_for")
        assert not errors
        self._count += added

    def found(self, queries: Mapping[str, str]) -> dict[str, set[int]]:
        """For each Lucene query the numbers of the events that it finds."""
        searches: list[dict[str, Any]] = []
        for query in queries.values():
            body = {"query_string": {"query": query, "analyze_wildcard": True}}
            searches += [{"index": self._name}, {"query": body, "size": MOST_FOUND, "_source": False}]
        answers = self._client.msearch(searches=searches)["responses"]
        for name, answer in zip(queries, answers, strict=True):
            assert "error" not in answer, f"{name}: {answer}"
            assert answer["hits"]["total"]["value"] < MOST_FOUND
        return {
            name: {int(hit["_id"]) for hit in answer["hits"]["hits"]}
            for name, answer in zip(queries, answers, strict=True)
        }


@contextmanager
def event_index(url: str, name: str) -> Iterator[EventIndex]:
    """An index with the mapping that converted rules need, gone afterwards."""
    client = Elasticsearch(url, request_timeout=60)
    client.indices.create(index=name, **index_mapping())
    try:
        yield EventIndex(client, name)
    finally:
        client.indices.delete(index=name)
        client.close()
