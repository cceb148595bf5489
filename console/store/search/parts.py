"""The indices of a kind: made, watched, filled from the truth, shown, and deleted when their time is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from pydantic_core import to_json
from sqlalchemy import update
from sqlalchemy.orm import Session

from console.services.actor import Clock
from console.store.engine import Store
from console.store.models import IndexFeed, IndexPart
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.bulk import Bulk, Fate, Operation, Result
from console.store.search.cluster import Cluster, ClusterError, State
from console.store.search.feed import Entry
from console.store.search.kinds import Document, Kind
from sensor.failpoints import failpoint

log = logging.getLogger(__name__)

BATCH = 1000  # documents of one list for the bulk
LISTS = 20  # of one turn: then the lease is renewed and the outbox is looked after
CHECK_EVERY = timedelta(seconds=30)  # whether the indices are still those that we made


def body(document: Document, version: int) -> bytes:
    """A document as JSON, with what it needs to be compared with the truth."""
    source = document.source | {templates.ROW: document.row_id, templates.VERSION: version}
    try:
        return to_json(source, inf_nan_mode="strings")  # a fifth of the time that the standard library takes
    except ValueError:  # half a surrogate pair, which no index takes
        return json.dumps(source, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


class Parts:
    """See the module. Whoever holds the indexer's lease may call it; ClusterError says what could not be done."""

    def __init__(self, store: Store, cluster: Cluster, kind: Kind, clock: Clock) -> None:
        self.kind = kind
        self._store, self._cluster, self._clock = store, cluster, clock
        self._checked: datetime | None = None

    def suspect(self) -> None:
        """Something is not as it should be: look again before anything else is done."""
        self._checked = None

    def check(self) -> None:
        """Every so often, and after trouble: are the indices those that we made? What is missing is made."""
        now = self._clock()
        if self._checked is None or not timedelta() <= now - self._checked < CHECK_EVERY:
            with self._store.reader() as session:
                installation = self._feed(session).installation
            self._cluster.put_template(self.kind, installation)
            self._compare(installation, now)
            if self._checked is None:
                self._notice_restored_truth()
            self._checked = now
        self._make_missing()

    def targets(self, periods: Collection[str]) -> dict[str, list[str]]:
        """For each month the indices that a document goes to: those that are seen and those that are being filled.

        None for a month that is no longer kept. A month that begins gets its indices here.
        """
        found = self._known(periods)
        now = self._clock()
        missing = [period for period, names in found.items() if not all(names.values())]
        if missing:
            with self._store.transaction() as session:
                for period in missing:
                    for generation, name in found[period].items():
                        if name is None and not templates.expired(period, self._cluster.days, now):
                            feeding.add_part(session, self.kind.name, generation, period, now, filled_to=None)
            self._make_missing()
            found = self._known(periods)
        return {period: [name for name in names.values() if name] for period, names in found.items()}

    def fill(self) -> bool:
        """Some of the filling; whether there is more of it. When all is filled, searches see the new generation."""
        with self._store.reader() as session:
            feed = self._feed(session)
            parts = feeding.parts_of(session, self.kind.name, (feed.live, feed.building))
            building, unfilled = feed.building, [part for part in parts if part.filled_to is not None]
        if unfilled:
            self._fill(unfilled[0])
            return True
        if building is not None:
            self._show(building)
        return False

    def _feed(self, session: Session) -> IndexFeed:
        feed = feeding.feed_of(session, self.kind.name)
        if feed is None:
            raise ClusterError(State.FAULT, f"the index of {self.kind.name}s was switched off meanwhile")
        return feed

    def _known(self, periods: Collection[str]) -> dict[str, dict[int, str | None]]:
        """For each month: generation to the name of its index, None where there is none."""
        with self._store.reader() as session:
            feed = self._feed(session)
            generations = [number for number in (feed.live, feed.building) if number is not None]
            found: dict[str, dict[int, str | None]] = {period: dict.fromkeys(generations) for period in periods}
            for part in feeding.parts_of(session, self.kind.name, generations):
                if part.period in found and part.uuid:
                    found[part.period][part.generation] = part.name
        return found

    def _compare(self, installation: str, now: datetime) -> None:
        """Indices that are there with those that should be: what is over goes, what is missing is to be made anew."""
        there = self._cluster.indices(self.kind.name)
        with self._store.reader() as session:
            feed = self._feed(session)
            kept = (feed.live, feed.building)
            new_day = self._checked is None or self._checked.date() != now.date()
            oldest = min(self.kind.periods(session), default="") if new_day else ""
            parts = feeding.parts_of(session, self.kind.name)
        mine = set()
        for part in parts:
            over = templates.expired(part.period, self._cluster.days, now) or part.period < oldest
            if part.generation not in kept or over:
                self._cluster.delete(part.name)
                self._forget(part)
                continue
            mine.add(part.name)
            if part.uuid and there.get(part.name, ("", ""))[0] != part.uuid:
                log.warning("the index %s is not the one that was made: it is filled anew", part.name)
                with self._store.transaction() as session:
                    found = session.get_one(IndexPart, part.id)
                    found.uuid, found.filled_to = "", 0
        for name, (_, owner) in there.items():
            if name not in mine and owner == installation:
                self._cluster.delete(name)  # of a generation that was given up

    def _forget(self, part: IndexPart) -> None:
        with self._store.transaction() as session:
            session.delete(session.get_one(IndexPart, part.id))

    def _make_missing(self) -> None:
        with self._store.reader() as session:
            feed = self._feed(session)
            live = feed.live
            parts = feeding.parts_of(session, self.kind.name, (live, feed.building))
        for part in parts:
            if part.uuid:
                continue
            name = templates.part_name(self._cluster.prefix, self.kind.name, part.generation, part.period)
            self._cluster.delete(name)  # what a killed process left, or somebody else made
            failpoint("index.before_make")
            uuid = self._cluster.make(self.kind.name, name, part.period, seen=part.generation == live)
            failpoint("index.after_make")
            with self._store.transaction() as session:
                found = session.get_one(IndexPart, part.id)
                found.name, found.uuid = name, uuid
            failpoint("index.after_make_commit")

    def _notice_restored_truth(self) -> None:
        """An index with versions that the outbox never gave shows a later state than a truth that was restored."""
        newest = self._cluster.newest_version(self.kind.name)
        with self._store.transaction() as session:
            if newest > feeding.newest_version(session):
                log.warning("the index of %ss is newer than the truth: it is rebuilt", self.kind.name)
                feed = self._feed(session)
                if feed.building is None:
                    feeding.begin_building(session, self.kind, feed, self._clock())

    def _fill(self, part: IndexPart) -> None:
        """Write the next documents of a part, under version 0: whatever the outbox has sent stays."""
        lists: list[list[Document]] = []

        def operations() -> Iterator[list[Operation]]:
            after = part.filled_to or 0
            for _ in range(LISTS):
                with self._store.reader() as session:
                    documents = list(self.kind.after(session, after, part.period, BATCH))
                lists.append(documents)
                yield [Operation(part.name, it.document_id, 0, body(it, 0)) for it in documents]
                if len(documents) < BATCH:
                    return
                after = documents[-1].row_id

        with Bulk(self._cluster) as bulk:
            for results in bulk.send(operations()):
                self._filled(part, lists.pop(0), results)

    def _filled(self, part: IndexPart, documents: list[Document], results: list[Result]) -> None:
        for result in results:
            if result.fate is Fate.NO_INDEX:
                self.suspect()
            if result.fate in (Fate.LATER, Fate.NO_INDEX):
                raise ClusterError(result.state if result.fate is Fate.LATER else State.FILLING, result.reason)
        # What fails alone goes through the outbox, which counts attempts.
        failing = (Fate.REFUSED, Fate.AGAIN)
        failed = [it for it, result in zip(documents, results, strict=True) if result.fate in failing]
        failpoint("index.before_filled")
        with self._store.transaction() as session:
            feeding.touch(session, self.kind.name, [_entry(it) for it in failed])
            found = session.get(IndexPart, part.id)
            if found is not None and found.uuid == part.uuid:
                found.filled_to = documents[-1].row_id if len(documents) == BATCH else None
            written = IndexFeed.indexed + len(documents) - len(failed)
            session.execute(
                update(IndexFeed)
                .where(IndexFeed.kind == self.kind.name)
                .values(indexed=written, worked_at=self._clock())
            )
        failpoint("index.after_filled_commit")

    def _show(self, building: int) -> None:
        """Let searches see a generation that is full, in one step; the one before goes."""
        with self._store.reader() as session:
            parts = feeding.parts_of(session, self.kind.name)
        self._cluster.refresh(self.kind.name)
        failpoint("index.before_show")
        self._cluster.show(self.kind.name, [part.name for part in parts if part.generation == building])
        failpoint("index.after_show")
        with self._store.transaction() as session:
            feed = self._feed(session)
            if feed.building != building:  # a further one was begun meanwhile
                return
            feed.live, feed.building = building, None
        failpoint("index.after_show_commit")
        log.info("searches see generation %d of the index of %ss", building, self.kind.name)
        for part in parts:
            if part.generation != building:
                self._cluster.delete(part.name)
                failpoint("index.after_delete")
                self._forget(part)
        failpoint("index.after_forget")


def _entry(document: Document) -> Entry:
    return Entry(0, document.organisation_id, document.row_id, document.document_id, document.period, 0)
