"""Is the index what the truth says? Every id and every content of both, side by side in the order of the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from elastic_transport import TransportError
from elasticsearch import ApiError
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.services.actor import Clock
from console.store.engine import Store
from console.store.models import IndexDeadLetter, IndexOutbox
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.cluster import Cluster, fault
from console.store.search.feed import Entry
from console.store.search.kinds import Document, Kind

BATCH = 2000
KEEP_ALIVE = "2m"
MAX_LISTED = 10_000  # differences that are looked at again and named; further ones are counted


class Indexed(NamedTuple):
    """A document as the index has it."""

    row_id: int
    document_id: str
    period: str
    source: dict[str, Any]


@dataclass(slots=True)
class Report:
    """What was compared. missing, extra, different: entries that the index lacks, has too many, or has otherwise.

    waiting, refused: documents that differ because they are in the outbox or among the dead letters. more: differences
    beyond MAX_LISTED. digests: of all ids and contents, truth and index.
    """

    truth: int = 0
    index: int = 0
    missing: list[Entry] = field(default_factory=list)
    extra: list[Entry] = field(default_factory=list)
    different: list[Entry] = field(default_factory=list)
    waiting: int = 0
    refused: int = 0
    more: int = 0
    digests: tuple[str, str] = ("", "")

    @property
    def faults(self) -> list[Entry]:
        """All that is wrong and will not come right by itself."""
        return [*self.missing, *self.extra, *self.different]


def verify(
    store: Store, cluster: Cluster, kind: Kind, clock: Clock, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Compare; the console may go on meanwhile. ClusterError where the index cannot be read. progress: rows so far."""
    report = Report()
    hashes = hashlib.sha256(), hashlib.sha256()
    suspects: list[tuple[Document | None, Indexed | None]] = []
    cluster.refresh(kind.name)
    ours, theirs = _truth(store, cluster, kind, clock), _indexed(cluster, kind)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        order = _order(mine, other)
        left, right = (mine if order <= 0 else None), (other if order >= 0 else None)
        if left is not None:
            report.truth += 1
            _hash(hashes[0], left.document_id, left.source)
            mine = next(ours, None)
        if right is not None:
            report.index += 1
            _hash(hashes[1], right.document_id, right.source)
            other = next(theirs, None)
        if left is None or right is None or left.source != right.source:
            if len(suspects) < MAX_LISTED:
                suspects.append((left, right))
            else:
                report.more += 1
        if (report.truth + report.index) % BATCH == 0:
            progress(report.truth)
    progress(report.truth)
    report.digests = hashes[0].hexdigest(), hashes[1].hexdigest()
    with store.reader() as session:
        for left, right in suspects:
            _judge(session, kind, left, right, report)
    return report


def _order(mine: Document | None, other: Indexed | None) -> int:
    """Negative: the truth's row comes first; positive: the index's; 0: both are of one document."""
    if mine is None or other is None:
        return 1 if mine is None else -1
    left, right = (mine.row_id, mine.document_id), (other.row_id, other.document_id)
    return (left > right) - (left < right)


def _hash(total: Any, document_id: str, source: dict[str, Any]) -> None:
    total.update(document_id.encode())
    total.update(json.dumps(source, sort_keys=True).encode())


def _truth(store: Store, cluster: Cluster, kind: Kind, clock: Clock) -> Iterator[Document]:
    after, now = 0, clock()
    while True:
        with store.reader() as session:
            documents = list(kind.after(session, after, "", BATCH))
        for document in documents:
            if not templates.expired(document.period, cluster.days, now):
                yield document
        if len(documents) < BATCH:
            return
        after = documents[-1].row_id


def _indexed(cluster: Cluster, kind: Kind) -> Iterator[Indexed]:
    try:
        name = templates.alias(cluster.prefix, kind.name)
        if not cluster.client.indices.exists_alias(name=name):  # of this kind there was no document yet
            return
        pit = cluster.client.open_point_in_time(index=name, keep_alive=KEEP_ALIVE)["id"]
        try:
            after = None
            while True:
                hits = cluster.client.search(
                    pit={"id": pit, "keep_alive": KEEP_ALIVE},
                    size=BATCH,
                    sort=[{templates.ROW: "asc"}, {"_shard_doc": "asc"}],
                    search_after=after,
                    track_total_hits=False,
                )["hits"]["hits"]
                for hit in hits:
                    source = hit["_source"]
                    row = int(source.pop(templates.ROW))
                    source.pop(templates.VERSION, None)
                    period = hit["_index"].rsplit("-", 1)[1].replace(".", "-")
                    yield Indexed(row, hit["_id"], period, source)
                if len(hits) < BATCH:
                    return
                after = hits[-1]["sort"]
        finally:
            cluster.client.options(ignore_status=404).close_point_in_time(id=pit)
    except (ApiError, TransportError) as error:
        raise fault(error) from None


def _judge(session: Session, kind: Kind, left: Document | None, right: Indexed | None, report: Report) -> None:
    """Look again at two that differed: what is under way is no fault."""
    one = left or right
    assert one is not None
    here = (kind.name, one.document_id)
    if session.scalar(
        select(IndexOutbox.id).where(IndexOutbox.kind == here[0], IndexOutbox.document_id == here[1]).limit(1)
    ):
        report.waiting += 1
        return
    if session.scalar(
        select(IndexDeadLetter.id).where(IndexDeadLetter.kind == here[0], IndexDeadLetter.document_id == here[1])
    ):
        report.refused += 1
        return
    now = next((it for it in kind.by_ids(session, [one.row_id]) if it.document_id == one.document_id), None)
    if (now.source if now else None) != (left.source if left else None):
        report.waiting += 1  # it changed while we compared
        return
    organisation = int(one.document_id.partition("/")[0])
    entry = Entry(0, organisation, one.row_id, one.document_id, one.period, 0)
    listed = report.missing if right is None else report.extra if left is None else report.different
    listed.append(entry)


def repair(store: Store, kind: Kind, report: Report) -> None:
    """Let the indexer write, or delete, what was found wrong."""
    with store.transaction() as session:
        feeding.touch(session, kind.name, report.faults)
