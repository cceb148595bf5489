"""`make bench-index`: the search index under fire, and how fast it is fed.

A store of its own is filled with findings while an indexer, a process of its own, feeds a real Elasticsearch node; both
are killed (SIGKILL) in the middle and started again. At the end every document is compared with the store. Then the
same documents go into fresh indices of the same node: by our bulk requests, by the client's own helpers, and from the
store by a rebuild.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from elasticsearch import helpers
from pydantic import SecretStr
from sqlalchemy import func, select, text

from console import run
from console.services import search_index
from console.services.actor import utc_now
from console.services.ingest import check, ingest
from console.settings import Settings
from console.store.engine import Store
from console.store.models import Finding, Sensor
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.bulk import Bulk, Operation
from console.store.search.cluster import Cluster
from console.store.search.findings import FINDINGS
from console.store.search.indexer import Indexer
from console.store.search.kinds import Document
from console.store.search.parts import BATCH, body
from console.store.search.verify import verify
from detectors.finding import FindingId, Severity, to_dict
from detectors.pipeline import Pipeline, merge
from sensor.capture.ahead import ahead
from sensor.capture.source import open_capture
from tools.elasticsearch_node import Node

ROOT = Path(__file__).resolve().parents[1]
EPOCH = 1_764_000_000
STEP = 5_000  # findings of one transaction of the generator
CAPTURES = ("pcaps/s7comm", "pcaps/modbus")


def sample(store: Store) -> int:
    """Findings of the sample captures, through the console's own door; how many rows they are."""
    found = []
    for folder in CAPTURES:
        for path in sorted((ROOT / folder).glob("*.pcap"))[:12]:
            found += merge(Pipeline().run(ahead(open_capture(str(path)))))
    quiet = [replace(it, severity=min(it.severity, Severity.MEDIUM)) for it in found]  # no incident for each
    records = [to_dict(it, FindingId("bench", EPOCH, number)) for number, it in enumerate(quiet, 1)]
    with store.transaction() as session:
        sensor = session.scalars(select(Sensor)).one()
        outcome = ingest(session, sensor, check("bench", EPOCH, records[:450]), utc_now())
        assert not outcome.rejected, outcome.rejected[:1]
        return session.scalar(select(func.count(Finding.id))) or 0


def multiply(store: Store, rows: int, wanted: int) -> Iterator[int]:
    """Copies of the first `rows` findings under ids of their own, until there are `wanted`; tells how many."""
    columns = [it.name for it in Finding.__table__.columns if it.name not in ("id", "uid")]
    names = ", ".join(columns)
    new_uid = "'bench/' || :epoch || '/' || (:base + id)"
    copy = f"INSERT INTO finding (uid, {names}) SELECT {new_uid}, {names} FROM finding WHERE id <= :rows"
    words = (
        "INSERT INTO finding_search (rowid, words) SELECT f.id, replace(s.words, o.uid, f.uid) FROM finding f"
        " JOIN finding o ON o.id = (f.id - 1) % :rows + 1 JOIN finding_search s ON s.rowid = o.id WHERE f.id > :above"
    )
    have = rows
    while have < wanted:
        with store.transaction() as session:
            above = have
            while have < min(above + STEP, wanted):
                session.execute(text(copy), {"epoch": EPOCH, "base": 10 * have, "rows": rows})
                have += rows
            session.execute(text(words), {"rows": rows, "above": above})
        yield have


def indexer(settings: Settings) -> subprocess.Popen[bytes]:
    """The process that feeds the cluster."""
    given = {
        f"FENGHUO_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
    }
    command = [sys.executable, "-m", "console.store.search.worker"]
    return subprocess.Popen(command, env=dict(os.environ) | given, stderr=subprocess.DEVNULL)


def backlog(store: Store) -> int:
    with store.reader() as session:
        return feeding.backlog(session, FINDINGS.name)


def under_fire(store: Store, settings: Settings, node: Node, wanted: int) -> bool:
    """Fill, feed, kill, restart, compare."""
    process = indexer(settings)
    begin = time.monotonic()
    try:
        while True:  # from here on the triggers write
            with store.reader() as session:
                feed = feeding.feed_of(session, FINDINGS.name)
            if feed is not None and feed.live is not None:
                break
            time.sleep(0.2)
        rows = sample(store)
        killed = False
        for have in multiply(store, rows, wanted):
            if not killed and have > wanted / 2:
                waiting = backlog(store)
                while waiting > 0.9 * have:  # some of it is in the index, and more is on its way
                    time.sleep(0.2)
                    waiting = backlog(store)
                node.kill()
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed = True
                print(f"killed node and indexer: {have:,} findings stored, {waiting:,} of them not indexed", flush=True)
                process = indexer(settings)
        stored = time.monotonic() - begin
        waiting = backlog(store)
        print(f"{have:,} findings stored in {stored:.0f} s; {waiting:,} wait; the node starts again", flush=True)
        node.start()
        since = time.monotonic()
        while left := backlog(store):
            time.sleep(1)
            print(f"  {left:,} wait", end="\r", flush=True) if sys.stdout.isatty() else None
        took = time.monotonic() - since
        print(f"drained {waiting:,} documents in {took:.0f} s: {waiting / max(took, 1):,.0f} a second (node starting)")
    finally:
        process.terminate()
        process.wait(30)
    cluster = Cluster(settings)
    begin = time.monotonic()
    report = verify(store, cluster, FINDINGS, utc_now)
    took = time.monotonic() - begin
    cluster.close()
    print(
        f"compared in {took:.0f} s: store {report.truth:,}, index {report.index:,}, missing {len(report.missing)}, "
        f"extra {len(report.extra)}, different {len(report.different)}, refused {report.refused}"
    )
    return not (report.faults or report.more or report.refused) and report.digests[0] == report.digests[1]


def documents(store: Store, count: int) -> list[Document]:
    """The first documents of the store."""
    found: list[Document] = []
    while len(found) < count:
        with store.reader() as session:
            more = list(FINDINGS.after(session, found[-1].row_id if found else 0, "", BATCH))
        if not more:
            break
        found += more
    return found


def rates(store: Store, settings: Settings, count: int) -> float:
    """The same documents by three ways into fresh indices; gives ours over the best of theirs."""
    made = documents(store, count)
    cluster = Cluster(settings.model_copy(update={"elasticsearch_timeout": 120}))
    client = cluster.client
    mapping = templates.mapping(FINDINGS, "bench")
    actions = [{"_id": it.document_id, "_source": {**it.source, "fenghuo.row": it.row_id}} for it in made]
    lists = [made[at : at + BATCH] for at in range(0, len(made), BATCH)]

    def ours(index: str) -> None:
        with Bulk(cluster) as bulk:
            operations = ([Operation(index, it.document_id, 1, body(it, 1)) for it in part] for part in lists)
            for results in bulk.send(operations):
                assert all(it.fate.name == "DONE" for it in results)

    ways: dict[str, Callable[[str], object]] = {
        "our bulk requests": ours,
        "helpers.streaming_bulk": lambda index: sum(
            ok for ok, _ in helpers.streaming_bulk(client, iter(actions), index=index, chunk_size=BATCH)
        ),
        "helpers.parallel_bulk": lambda index: sum(
            ok for ok, _ in helpers.parallel_bulk(client, iter(actions), index=index, chunk_size=BATCH, thread_count=4)
        ),
    }
    best: dict[str, float] = {}
    for turn in range(3):  # in turns, for the machine is not alone
        for name, way in ways.items():
            index = f"bench-{turn}"
            client.indices.create(index=index, mappings=mapping, settings={"index.number_of_replicas": 0})
            begin = time.monotonic()
            way(index)
            took = time.monotonic() - begin
            client.indices.refresh(index=index)
            assert client.count(index=index)["count"] == len(made)
            client.indices.delete(index=index)
            best[name] = max(best.get(name, 0.0), len(made) / took)
    for name, rate in best.items():
        print(f"{name:24} {rate:10,.0f} documents a second (best of 3, {len(made):,} documents)")
    cluster.close()
    theirs = max(rate for name, rate in best.items() if name.startswith("helpers"))
    return best["our bulk requests"] / theirs


def rebuild(store: Store, settings: Settings) -> float:
    """Documents a second of a rebuild from the store, all in one process."""
    cluster = Cluster(settings)
    with store.transaction() as session:
        search_index.rebuild(session, FINDINGS, utc_now())
        total = FINDINGS.count(session)
    feeder = Indexer(store, cluster, (FINDINGS,), utc_now)
    begin = time.monotonic()
    while True:
        feeder.step()
        with store.reader() as session:
            feed = feeding.feed_of(session, FINDINGS.name)
        if feed is not None and feed.building is None:
            break
    rate = total / (time.monotonic() - begin)
    feeder.release()
    cluster.close()
    print(f"{'rebuild from the store':24} {rate:10,.0f} documents a second ({total:,} documents)")
    return rate


def main() -> int:
    """Exit code 1 where the index is not the store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--findings", type=int, default=1_000_000, help="how many (default %(default)s)")
    parser.add_argument("--compared", type=int, default=50_000, help="documents of each way (default %(default)s)")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the node ends too
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-") as folder:
        settings = Settings(data_dir=Path(folder), elasticsearch_url=f"http://127.0.0.1:{port}")
        run.init_console(settings, "Bench")
        run.add_sensor(settings, "bench", "Bench", "Line 1")
        store = run.open_migrated(settings)
        node = Node({"http.port": str(port)})
        try:
            node.start()
            same = under_fire(store, settings, node, chosen.findings)
            share = rates(store, settings, chosen.compared)
            print(f"ours / the client's best helper: {share:.0%}")
            rebuild(store, settings)
        finally:
            node.stop()
    print("the index is the store" if same else "THE INDEX IS NOT THE STORE")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
