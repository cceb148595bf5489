"""The indexer: what waits in the outbox goes into the index, what the index lacks is filled in from the truth.

One process works at a time, under a lease; nothing waits in its memory, so it may be killed at any moment. The truth is
never waited for by the index, nor the other way round: a cluster that is down only makes the outbox longer. Each
document goes under its outbox id as an external version, what is filled in under version 0: whatever comes late, or
twice, or from a process that has lost its lease, never takes the place of something newer.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import update

from console.notify import lease
from console.services.actor import Clock
from console.store.engine import Store
from console.store.models import IndexFeed
from console.store.search import feed as feeding
from console.store.search.bulk import Bulk, Fate, Operation, Result
from console.store.search.cluster import Cluster, ClusterError, State
from console.store.search.feed import Entry
from console.store.search.kinds import Kind
from console.store.search.parts import BATCH, LISTS, Parts, body
from sensor.failpoints import failpoint

log = logging.getLogger(__name__)

LEASE = "index"
MAX_ATTEMPTS = 10  # of a document that fails alone
IDLE_S = 1.0  # until the outbox is looked at again
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0  # between attempts while the cluster cannot
# Of the indices that one document goes to, the worst counts.
ORDER = (Fate.DONE, Fate.NEWER, Fate.REFUSED, Fate.AGAIN, Fate.NO_INDEX, Fate.LATER)


@dataclass(slots=True)
class Batch:
    """Documents that wait, with the operations for every index that each goes to. owners: place of each one's entry."""

    entries: list[Entry]
    operations: list[Operation] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def fates(self, results: list[Result]) -> list[Result]:
        """What became of each entry; one that goes nowhere, because its month is no longer kept, is done."""
        found = [Result(Fate.DONE)] * len(self.entries)
        for place, result in zip(self.owners, results, strict=True):
            if ORDER.index(result.fate) > ORDER.index(found[place].fate):
                found[place] = result
        return found


class Indexer:
    """Feeds kinds into a cluster. `step` does some of what there is to do; `run` does it until it is stopped."""

    def __init__(self, store: Store, cluster: Cluster, kinds: tuple[Kind, ...], clock: Clock) -> None:
        self._store, self._cluster, self._clock = store, cluster, clock
        self._parts = [Parts(store, cluster, kind, clock) for kind in kinds]
        self._owner = secrets.token_hex(16)
        self._pause_s = 0.0

    def run(self, stop: Callable[[float], bool]) -> None:
        """Work until stop(seconds), which waits that long, says so."""
        pause = 0.0
        while not stop(pause):
            try:
                pause = 0.0 if self.step() else max(self._pause_s, IDLE_S)
            except Exception:  # whatever it is, the truth goes on, and so does the next attempt
                log.exception("the indexer failed; it tries again")
                pause = LONGEST_PAUSE_S
        self.release()

    def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end."""
        with self._store.transaction() as session:
            lease.release(session, LEASE, self._owner, self._clock())

    def hold(self) -> bool:
        """Take or keep the lease; False while another process works."""
        with self._store.transaction() as session:
            return lease.hold(session, LEASE, self._owner, self._clock())

    def step(self) -> bool:
        """Some of the work; whether there is more to do at once."""
        busy = False
        for parts in self._parts:
            if not self.hold():
                return False
            failpoint("index.after_lease")
            try:
                busy |= self._work(parts)
            except ClusterError as error:
                self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                parts.suspect()  # who knows what comes back
                log.warning("the index of %ss waits (%s): %s", parts.kind.name, error.state, error)
                with self._store.transaction() as session:
                    feeding.say(session, parts.kind.name, error.state, str(error), self._clock())
                return False
        self._pause_s = 0.0
        return busy

    def _work(self, parts: Parts) -> bool:
        kind = parts.kind
        with self._store.reader() as session:
            feed = feeding.feed_of(session, kind.name)
        if feed is None:
            with self._store.transaction() as session:
                feeding.switch_on(session, kind, self._clock())
        parts.check()
        more = self._drain(parts)
        more |= parts.fill()
        state = State.FILLING if more and feed is not None and feed.building is not None else State.OK
        if feed is None or (feed.state, feed.note) != (state, ""):
            with self._store.transaction() as session:
                feeding.say(session, kind.name, state, "", self._clock())
        return more

    def _drain(self, parts: Parts) -> bool:
        """Send what waits, some lists of it; whether there may be more. ClusterError where not all of it was taken."""
        batches: list[Batch] = []
        trouble: list[Result] = []
        count = 0

        def operations() -> Iterator[list[Operation]]:
            for batch in self._batches(parts):
                if trouble:
                    return
                batches.append(batch)
                yield batch.operations

        with Bulk(self._cluster) as bulk:
            for results in bulk.send(operations()):
                batch = batches.pop(0)
                count += len(batch.entries)
                trouble += self._settle(parts, batch, batch.fates(results))
        if trouble:
            raise ClusterError(trouble[0].state if trouble[0].state is not State.OK else State.FAULT, trouble[0].reason)
        return count >= BATCH * LISTS

    def _batches(self, parts: Parts) -> Iterator[Batch]:
        after = 0
        for _ in range(LISTS):
            with self._store.reader() as session:
                entries = feeding.waiting(session, parts.kind.name, after, BATCH)
                documents = {it.document_id: it for it in parts.kind.by_ids(session, [it.row_id for it in entries])}
            if not entries:
                return
            after = entries[-1].id
            targets = parts.targets({it.period for it in entries})
            batch = Batch(entries)
            for place, entry in enumerate(entries):
                document = documents.get(entry.document_id)
                content = body(document, entry.id) if document else None
                for index in targets[entry.period]:
                    batch.operations.append(Operation(index, entry.document_id, entry.id, content))
                    batch.owners.append(place)
            failpoint("index.after_claim")
            yield batch

    def _settle(self, parts: Parts, batch: Batch, fates: list[Result]) -> list[Result]:
        """Write down what became of a batch; gives what keeps the rest waiting."""
        by_fate: dict[Fate, list[tuple[Entry, Result]]] = {fate: [] for fate in Fate}
        for entry, result in zip(batch.entries, fates, strict=True):
            fate = result.fate
            if fate is Fate.NEWER and result.current == entry.id:
                fate = Fate.DONE  # sent before, and the answer was lost
            if fate is Fate.AGAIN and entry.attempts + 1 >= MAX_ATTEMPTS:
                fate = Fate.REFUSED
            by_fate[fate].append((entry, result))
        kind, now = parts.kind.name, self._clock()
        finished = [entry for entry, _ in by_fate[Fate.DONE]]
        failpoint("index.before_settle")
        with self._store.transaction() as session:
            feeding.done(session, kind, finished)
            failpoint("index.after_done")
            feeding.refused(session, kind, [(entry, result.reason) for entry, result in by_fate[Fate.REFUSED]], now)
            feeding.again(session, [entry for entry, _ in by_fate[Fate.AGAIN]])
            feeding.touch(session, kind, [entry for entry, _ in by_fate[Fate.NEWER]])
            if finished:
                values = {"indexed": IndexFeed.indexed + len(finished), "worked_at": now}
                session.execute(update(IndexFeed).where(IndexFeed.kind == kind).values(**values))
            if any(result.current > feeding.newest_version(session) for _, result in by_fate[Fate.NEWER]):
                parts.suspect()
            failpoint("index.before_settle_commit")
        failpoint("index.after_settle_commit")
        if by_fate[Fate.NO_INDEX]:
            parts.suspect()
        return [result for fate in (Fate.LATER, Fate.AGAIN, Fate.NO_INDEX) for _, result in by_fate[fate]]
