"""What the worker does beside sending: delete what is over its time, sum days up, export audit checkpoints."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from console.installation_key import installation_key
from console.notify import lease
from console.services import audit_checkpoints, retention, summaries
from console.services.actor import Clock, utc_now
from console.settings import Settings
from console.store.engine import Store
from console.store.search.registry import STATES
from console.store.search.states import catch_up

log = logging.getLogger(__name__)

UPKEEP = "upkeep"  # the lease of whoever does it
RETENTION_S = 300.0
SUMMARY_S = 120.0
CHECKPOINT_S = 30.0  # so that the newest is never older than a minute


class Upkeep:
    """One worker's part; of several workers on one store one does it at a time."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = utc_now) -> None:
        self._store, self._clock = store, clock
        self._data_dir = settings.data_dir
        self._file = Path(settings.audit_checkpoint_file or settings.data_dir / "audit_checkpoints.jsonl")
        self._owner = secrets.token_hex(16)
        self._last = ""  # the ends that were exported last

    def _mine(self, session: Session) -> bool:
        return lease.hold(session, UPKEEP, self._owner, self._clock())

    def sweep(self) -> None:
        """Delete what is over its time, unless another worker does."""
        try:
            for (organisation, name), rows in retention.sweep(self._store, self._clock, self._mine).items():
                log.info("retention: %d rows of %s of organisation %d deleted", rows, name, organisation)
        except SQLAlchemyError:
            log.exception("retention was interrupted; it goes on in the next round")

    def summarise(self) -> None:
        """Count today and yesterday again, and make the tokens of what stands without, as after an upgrade."""
        try:
            now = self._clock()
            for day in summaries.days(now):
                with self._store.reader() as session:
                    found = summaries.counted(session, day)
                with self._store.transaction() as session:
                    if not self._mine(session):
                        return
                    summaries.store(session, day, found, now)
            for state in STATES:
                more = True
                while more:
                    with self._store.transaction() as session:
                        more = self._mine(session) and catch_up(session, state) > 0
        except SQLAlchemyError:
            log.exception("the summaries of days were not brought up to date; the next round does it")

    def checkpoint(self) -> None:
        """Append a checkpoint where a chain has grown since the last one."""
        try:
            with self._store.transaction() as session:
                if not self._mine(session):
                    return
            with self._store.reader() as session:
                line = audit_checkpoints.make(session, installation_key(self._data_dir), self._clock())
            ends = str(sorted(audit_checkpoints.parse(line).ends.items()))
            if ends != self._last:
                audit_checkpoints.append(self._file, line)
                self._last = ends
        except (SQLAlchemyError, OSError, ValueError):
            log.exception("no checkpoint of the audit log was written to %s", self._file)
