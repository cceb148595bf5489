"""`fenghuo console index ...`: the search cluster that is fed from the store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from commands import complain
from commands.console import AS_JSON, plainly, settings

if TYPE_CHECKING:
    from console.settings import Settings
    from console.store.engine import Store
    from console.store.search.cluster import Cluster


@click.group()
def index() -> None:
    """The search index in an Elasticsearch cluster (FENGHUO_ELASTICSEARCH_URL): fed from the store, rebuildable."""


@contextmanager
def _opened() -> Iterator[tuple[Settings, Store, Cluster]]:
    """The settings, the store and the cluster; one line and exit code 2 where there is none, or it cannot be used."""
    from console.run import open_migrated
    from console.store.search.cluster import Cluster, ClusterError

    chosen = settings()
    if not chosen.elasticsearch_url:
        complain("no search cluster is set: give its nodes in FENGHUO_ELASTICSEARCH_URL")
        sys.exit(2)
    with plainly():
        try:
            cluster = Cluster(chosen)
        except ValueError as error:
            complain(error)
            sys.exit(2)
        try:
            yield chosen, open_migrated(chosen), cluster
        except ClusterError as error:
            complain(f"the search cluster: {error}")
            sys.exit(2)
        finally:
            cluster.close()


@contextmanager
def _counted(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to tell how far it is; it shows on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda so_far: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda so_far: progress.update(task, completed=so_far)


@index.command("status")
@AS_JSON
def index_status(as_json: bool) -> None:
    """How the index stands. Exit code 1 where documents were refused, or the cluster does not take them."""
    from console.services import search_index
    from console.services.actor import utc_now
    from console.store.search import feed as feeding
    from console.store.search.cluster import ClusterError, State

    with _opened() as (_, store, cluster):
        lines: list[dict[str, Any]] = []
        try:
            health = cluster.health()
            said = {"cluster": health.status, "nodes": health.nodes, "version": health.version}
        except ClusterError as error:
            said = {"cluster": error.state.value, "error": str(error)}
        with store.reader() as session:
            said["indexer"] = "runs" if search_index.works(session, utc_now()) else "does not run"
            for feed in feeding.feeds(session):
                lines.append(
                    {
                        "kind": feed.kind,
                        "state": feed.state,
                        "since": feed.state_at.isoformat(timespec="seconds"),
                        "note": feed.note,
                        "waiting": feeding.backlog(session, feed.kind),
                        "refused": feeding.letters(session, feed.kind),
                        "indexed": feed.indexed,
                        "generation": feed.live,
                        "building": feed.building,
                        "indices": len(feeding.parts_of(session, feed.kind)),
                    }
                )
    if as_json:
        click.echo(json.dumps(said | {"kinds": lines}))
    else:
        click.echo("  ".join(f"{name} {value}" for name, value in said.items()))
        for line in lines:
            click.echo("  ".join(f"{name} {value}" for name, value in line.items() if value not in ("", None)))
    sys.exit(int("error" in said or any(it["refused"] or it["state"] not in (State.OK, State.FILLING) for it in lines)))


@index.command("rebuild")
@click.option("--take-over", is_flag=True, help="Take the names in the cluster from a console that is no more.")
def index_rebuild(take_over: bool) -> None:
    """Fill a new index from the store, then let searches see it in place of the old one, without a gap.

    The console may run meanwhile: then its indexer does the work, and this command shows how far it is.
    """
    from console.services import search_index
    from console.services.actor import utc_now
    from console.services.errors import ConflictError
    from console.store.search import feed as feeding
    from console.store.search.indexer import Indexer
    from console.store.search.registry import KINDS

    with _opened() as (_, store, cluster):
        cluster.health()
        begin, total = time.monotonic(), 0
        for kind in KINDS:
            with store.transaction() as session:
                if take_over:
                    cluster.forget_template(kind.name)
                try:
                    search_index.rebuild(session, kind, utc_now())
                except ConflictError:
                    complain(f"the index of {kind.name}s is being rebuilt already: this shows how far it is")
                total += kind.count(session)
        indexer = Indexer(store, cluster, KINDS, utc_now)
        with _counted("documents", total) as tell:
            try:
                while True:
                    busy = indexer.step()
                    with store.reader() as session:
                        feeds = feeding.feeds(session)
                        tell(sum(feeding.filled(session, kind) for kind in KINDS))
                        if all(feed.building is None for feed in feeds):
                            break
                        stuck = [feed for feed in feeds if feed.note]
                    for feed in stuck[:1]:
                        complain(f"the search cluster: {feed.note}; the rebuild goes on when it is well again")
                        sys.exit(1)
                    if not busy:
                        time.sleep(0.2)
            finally:
                indexer.release()
        took = time.monotonic() - begin
    click.echo(f"{total} documents in {took:.1f} s, {total / took:,.0f} a second")


@index.command("verify")
@click.option("--repair", is_flag=True, help="Let the indexer put right what differs.")
@AS_JSON
def index_verify(repair: bool, as_json: bool) -> None:
    """Compare every document of the index with the store. Exit code 1 where they differ."""
    from console.services.actor import utc_now
    from console.store.search import verify
    from console.store.search.registry import KINDS

    wrong = 0
    with _opened() as (_, store, cluster):
        for kind in KINDS:
            with store.reader() as session:
                total = kind.count(session)
            with _counted(f"{kind.name}s", total) as tell:
                report = verify.verify(store, cluster, kind, utc_now, tell)
            wrong += len(report.faults) + report.more
            line = {
                "kind": kind.name,
                "truth": report.truth,
                "index": report.index,
                "missing": len(report.missing),
                "extra": len(report.extra),
                "different": len(report.different),
                "more": report.more,
                "waiting": report.waiting,
                "refused": report.refused,
                "sha256": report.digests[0],
                "index_sha256": report.digests[1],
            }
            click.echo(json.dumps(line) if as_json else "  ".join(f"{name} {value}" for name, value in line.items()))
            for entry in [] if as_json else report.faults[:20]:
                click.echo(f"  {entry.document_id}")
            if repair and report.faults:
                verify.repair(store, kind, report)
    sys.exit(1 if wrong else 0)
