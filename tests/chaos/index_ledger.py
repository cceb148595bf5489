"""What the search cluster holds, beside what the store holds: asked of the cluster itself, not of who feeds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from elasticsearch import Elasticsearch, helpers
from sqlalchemy import func, select

from console.services import search_index
from console.services.actor import utc_now
from console.settings import Settings
from console.store.engine import Store
from console.store.models import Finding, IndexDeadLetter, IndexFeed, IndexOutbox
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.cluster import Cluster
from console.store.search.findings import FINDINGS
from console.store.search.registry import KINDS
from console.store.search.verify import verify


def is_fed(store: Store) -> bool:
    """Whether nothing waits, nothing is being built, and every kind is seen."""
    with store.reader() as session:
        feeds = session.scalars(select(IndexFeed)).all()
        waiting = session.scalar(select(func.count(IndexOutbox.id))) or 0
    return waiting == 0 and len(feeds) == len(KINDS) and all(it.building is None and it.live for it in feeds)


def rebuild(store: Store) -> None:
    """Ask for every index to be made anew from the truth, as an administrator does; one that is being made goes on."""
    with store.transaction() as session:
        for kind in KINDS:
            feed = feeding.feed_of(session, kind.name)
            if feed is not None and feed.building is None:
                search_index.rebuild(session, kind, utc_now())


def index_complaints(store: Store, settings: Settings) -> list[str]:
    """How the index differs from the store; nothing where each document stands there once, as the store has it now."""
    return list(_complaints(store, settings))


def _complaints(store: Store, settings: Settings) -> Iterator[str]:
    client = Elasticsearch(settings.elasticsearch_url, request_timeout=30)
    try:
        alias = templates.alias(settings.elasticsearch_prefix, FINDINGS.name)
        client.indices.refresh(index=alias)
        held: Counter[tuple[str, int]] = Counter()
        for hit in helpers.scan(client, index=alias, _source=["finding.id", "finding.count"]):
            held[hit["_id"].split("/", 1)[1], hit["_source"]["finding.count"]] += 1
        shown = set(client.indices.get_alias(name=alias).body)
        there = set(client.indices.get(index=f"{alias}-*", expand_wildcards="all").body)
    finally:
        client.close()
    with store.reader() as session:
        wanted = Counter((uid, count) for uid, count in session.execute(select(Finding.uid, Finding.count)))
        letters = session.scalar(select(func.count(IndexDeadLetter.id))) or 0
    if lost := wanted - held:
        yield f"index: {sum(lost.values())} findings are not there, or with another count: {next(iter(lost))}"
    if more := held - wanted:
        yield f"index: {sum(more.values())} findings too many, or with another count: {next(iter(more))}"
    if letters:
        yield f"index: {letters} documents were refused"
    if there != shown:
        yield f"index: left behind, seen by no search: {sorted(there - shown)}"
    cluster = Cluster(settings)
    try:
        for kind in KINDS:
            report = verify(store, cluster, kind, utc_now)
            if report.faults or report.more or report.waiting or report.digests[0] != report.digests[1]:
                yield (
                    f"index of {kind.name}s: store {report.truth}, index {report.index}, missing {len(report.missing)},"
                    f" extra {len(report.extra)}, different {len(report.different)}, waiting {report.waiting}"
                )
    finally:
        cluster.close()
