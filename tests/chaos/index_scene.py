"""Who feeds a search cluster dies at a point, also while all is made anew; after that the index must be the store.

Unlike a World nothing else runs: rows change between the lives, and the outbox and the books of the indices are all
that is left of one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from chaos import programs
from chaos.backing import Backing
from chaos.index_ledger import index_complaints, is_fed, rebuild
from console.run import add_sensor, init_console
from console.services import inventory
from console.services.actor import utc_now
from console.services.ingest import check, ingest
from console.settings import Settings
from console.store.engine import open_store
from console.store.models import Asset, Finding, Lease, Sensor
from console.store.search.cluster import Cluster
from console.store.search.indexer import Indexer
from console.store.search.registry import KINDS
from sensor import failpoints

EPOCH = 1_795_000_000
ADDED = 12
OF_REBUILDING = ("make", "filled", "show", "delete", "forget")  # in the names of points
PATIENCE_S = 60.0


def feed(settings: Settings, log: Path, armed: str) -> None:
    """One life of the process that feeds; it does not end by itself."""
    programs.begin(log, "")
    store, cluster = open_store(settings.store_url), Cluster(settings)
    failpoints.arm(armed)
    Indexer(store, cluster, KINDS, utc_now).run(lambda seconds: bool(time.sleep(seconds)))


class IndexScene:
    """See the module. folder: empty or new."""

    def __init__(self, folder: Path, base: Backing) -> None:
        self._folder, self._base = folder, base
        self._settings = Settings(data_dir=folder, **base.settings())
        init_console(self._settings, "Plant")
        add_sensor(self._settings, programs.SENSOR, "North", "Line 1")
        self._store = open_store(self._settings.store_url)
        self._sequence = 0
        with self._store.transaction() as session:
            self._report_asset(session, session.scalars(select(Sensor)).one())
        self._feed_here()

    def die_at(self, point: str) -> Iterator[str]:
        """A life ends there; what is wrong then."""
        self._change()
        if any(word in point for word in OF_REBUILDING):  # at the others it would make good what is lost there
            rebuild(self._store)
        self._end_lease()
        log = self._folder / "feeder.log"
        process = programs.processes().Process(target=feed, args=(self._settings, log, point))
        programs.start(process)
        end = time.monotonic() + PATIENCE_S
        while programs.alive(process) and time.monotonic() < end:
            time.sleep(0.01)
        if programs.alive(process):
            process.kill()
            programs.wait(process)
            yield "never reached"
            return
        if process.exitcode != -signal.SIGKILL:
            yield f"the feeder ended by itself: {log.read_text('utf-8', 'replace')[-500:]}"
            return
        self._change()
        self._end_lease()
        self._feed_here()
        yield from index_complaints(self._store, self._settings)

    def close(self) -> None:
        """Leave nothing in the cluster."""
        self._base.forget(self._settings.elasticsearch_prefix)
        self._store.engine.dispose()

    def _change(self) -> None:
        """Some findings more, one judged otherwise; an asset comes, one goes."""
        with self._store.transaction() as session:
            sensor = session.scalars(select(Sensor)).one()
            spool = SimpleNamespace(epoch=EPOCH)
            numbers = range(self._sequence + 1, self._sequence + ADDED + 1)
            lines = [programs.line(spool, token, token) for token in numbers]  # type: ignore[arg-type]
            self._sequence += ADDED
            assert not ingest(session, sensor, check(programs.SENSOR, EPOCH, lines), utc_now()).rejected
            oldest = session.scalars(select(Finding).order_by(Finding.id).limit(1)).one()
            oldest.verdict = "false-alarm" if oldest.verdict is None else None
            session.execute(delete(Asset).where(Asset.id.in_(select(Asset.id).order_by(Asset.id).limit(1))))
            self._report_asset(session, sensor)

    def _report_asset(self, session: Session, sensor: Sensor) -> None:
        seen = {"first_seen": "2026-11-22T08:00:00Z", "last_seen": "2026-11-22T08:00:00Z"}
        address = f"10.0.{self._sequence // 250}.{self._sequence % 250}"
        outcome, records = inventory.check(inventory.Report(assets=[{"address": address, **seen}]))
        inventory.store(session, sensor, outcome, records, utc_now())
        assert outcome.stored == 1

    def _end_lease(self) -> None:
        with self._store.transaction() as session:
            session.execute(delete(Lease))

    def _feed_here(self) -> None:
        """Until nothing waits; the index has the same right to fail as long as it comes right."""
        cluster = Cluster(self._settings)
        feeder = Indexer(self._store, cluster, KINDS, utc_now)
        end = time.monotonic() + PATIENCE_S
        while (feeder.step() or not is_fed(self._store)) and time.monotonic() < end:
            pass
        feeder.release()
        cluster.close()
