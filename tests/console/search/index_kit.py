"""A console's store and a real cluster, with the indexer between them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from records import EPOCH, STOP, record
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services.ingest import check, ingest
from console.settings import Settings
from console.store.engine import Store
from console.store.models import Finding, IndexOutbox, Sensor
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.cluster import Cluster
from console.store.search.findings import FINDINGS
from console.store.search.indexer import Indexer
from console.store.search.kinds import Document, Kind


class Faults:
    """Stands before a cluster, passes everything on, and does with bulk requests what it is told.

    of_requests: the status with which all are refused, and searches where also_searches. of_items: what each item's
    answer becomes. lose_answers: so many requests are passed on, and the connection is cut instead of an answer.
    longest: bytes of a request, beyond: 413. logins: the Authorization headers that came.
    """

    def __init__(self, url: str) -> None:
        self.of_requests: int | None = None
        self.also_searches = False
        self.of_items: dict[str, Any] | None = None
        self.lose_answers = self.too_long = 0
        self.longest = 2**30
        self.logins: set[str | None] = set()
        faults, upstream = self, httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._upstream = upstream

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                refusing = "_bulk" in self.path or (faults.also_searches and "_search" in self.path)
                if refusing and faults.of_requests is not None:
                    return self._say(faults.of_requests, b'{"error": {"type": "told", "reason": "to refuse"}}')
                if "_bulk" in self.path and len(body) > faults.longest:
                    faults.too_long += 1
                    return self._say(413, b"")
                faults.logins.add(self.headers["Authorization"])
                names = ("content-type", "accept")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                answer = upstream.request(self.command, self.path, content=body, headers=headers)
                content = answer.content
                if "_bulk" in self.path:
                    if faults.lose_answers:
                        faults.lose_answers -= 1
                        self.close_connection = True
                        return None
                    if faults.of_items is not None:
                        items = [{"index": faults.of_items} for _ in answer.json()["items"]]
                        content = json.dumps({"errors": True, "items": items}).encode()
                return self._say(answer.status_code, content, answer.headers.get("content-type", "application/json"))

            def _say(self, status: int, content: bytes, of: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", of)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Faults:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._upstream.close()


class Fed:
    """One store, one cluster, one indexer. `clock` is the test's."""

    def __init__(self, store: Store, settings: Settings, clock: Any, kind: Kind = FINDINGS) -> None:
        self.store, self.settings, self.clock, self.kind = store, settings, clock, kind
        self.cluster = Cluster(settings)
        self.alias = templates.alias(settings.elasticsearch_prefix, kind.name)
        self.indexer = Indexer(store, self.cluster, (kind,), clock)
        self._sequence = 0

    def another(self, kind: Kind | None = None) -> None:
        """Go on with another indexer, as if the process had been started again."""
        self.indexer.release()
        self.indexer = Indexer(self.store, self.cluster, (kind or self.kind,), self.clock)

    @contextmanager
    def through(self, faults: Faults) -> Iterator[Indexer]:
        """An indexer that reaches the cluster by way of `faults`."""
        self.indexer.release()
        cluster = Cluster(self.settings.model_copy(update={"elasticsearch_url": faults.url}))
        indexer = Indexer(self.store, cluster, (self.kind,), self.clock)
        try:
            yield indexer
        finally:
            indexer.release()
            cluster.close()

    def send(self, count: int, now: datetime | None = None, sensor_id: int | None = None) -> list[int]:
        """New findings of a sensor, each a problem of its own; gives their ids."""
        first, self._sequence = self._sequence + 1, self._sequence + count
        records = [
            record(number, replace(STOP, source_ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"))
            for number in range(first, first + count)
        ]
        with self.store.transaction() as session:
            query = select(Sensor).order_by(Sensor.id)
            sensor = session.scalars(query.where(Sensor.id == sensor_id) if sensor_id else query).first()
            assert sensor is not None
            outcome = ingest(session, sensor, check(sensor.name, EPOCH, records), now or self.clock())
            assert outcome.stored == count, outcome.rejected
            uids = [f"{sensor.name}/{EPOCH}/{number}" for number in range(first, first + count)]
            return list(session.scalars(select(Finding.id).where(Finding.uid.in_(uids)).order_by(Finding.id)))

    def settle(self, indexer: Indexer | None = None, steps: int = 60) -> None:
        """Let the indexer work until nothing waits and nothing is being filled."""
        for _ in range(steps):
            busy = (indexer or self.indexer).step()
            with self.store.reader() as session:
                feed = feeding.feed_of(session, self.kind.name)
                parts = feeding.parts_of(session, self.kind.name)
                unfilled = any(part.filled_to is not None or not part.uuid for part in parts)
                waits = feeding.backlog(session, self.kind.name)
            if not busy and feed is not None and feed.building is None and not waits and not unfilled:
                return
        raise AssertionError(f"the index does not settle: {self.state()}")

    def state(self) -> tuple[str, str]:
        """State of the feed, and what the cluster said."""
        with self.store.reader() as session:
            feed = feeding.feed_of(session, self.kind.name)
            return (feed.state, feed.note) if feed else ("", "")

    def waiting(self) -> list[IndexOutbox]:
        """What waits."""
        with self.store.reader() as session:
            return list(session.scalars(select(IndexOutbox).order_by(IndexOutbox.id)))

    def indices(self) -> list[str]:
        """Names of the indices that searches see."""
        return sorted(self.cluster.client.indices.get_alias(name=self.alias).body)

    def documents(self) -> dict[str, dict[str, Any]]:
        """All documents that searches see."""
        self.cluster.client.indices.refresh(index=self.alias)
        hits = self.cluster.client.search(index=self.alias, size=10_000)["hits"]["hits"]
        found = {hit["_id"]: hit["_source"] for hit in hits}
        assert len(found) == len(hits), "a document is in two indices"
        return found

    def truth(self) -> set[str]:
        """Ids that the index should have."""
        with self.store.reader() as session:
            rows = session.execute(select(Finding.organisation_id, Finding.uid))
            return {f"{organisation}/{uid}" for organisation, uid in rows}

    def clean(self) -> None:
        """Leave nothing in the cluster."""
        client = self.cluster.client.options(ignore_status=404)
        for name in self.cluster.indices(self.kind.name):
            client.indices.delete(index=name)
        client.indices.delete_index_template(name=self.alias)
        self.cluster.close()


def spoiled(spoil: set[int]) -> Kind:
    """Findings, of which those with these row ids have a field that no mapping knows."""

    def bad(documents: Iterator[Document]) -> Iterator[Document]:
        for it in documents:
            yield replace(it, source=it.source | {"no.such.field": 1}) if it.row_id in spoil else it

    def by_ids(session: Session, ids: Any) -> Iterator[Document]:
        return bad(FINDINGS.by_ids(session, ids))

    def after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
        return bad(FINDINGS.after(session, row_id, period, limit))

    return replace(FINDINGS, by_ids=by_ids, after=after)


@contextmanager
def fed_by(store: Store, settings: Settings, clock: Any, url: str, **changes: Any) -> Iterator[Fed]:
    """What feeds the cluster at `url`, under a prefix of its own."""
    prefix = f"t{abs(hash(settings.data_dir)):x}"[:30]
    fed = Fed(
        store,
        settings.model_copy(update={"elasticsearch_url": url, "elasticsearch_prefix": prefix, **changes}),
        clock,
    )
    try:
        yield fed
    finally:
        fed.clean()
