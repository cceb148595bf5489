"""One batch of a sensor, from the bytes of its body to the commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from console.services import sensors
from console.services.ingest import Outcome, check, ingest, prepare
from console.services.intake import Batch, parse
from console.store.engine import Store
from sensor.failpoints import failpoint

Turn = Callable[[], AbstractContextManager[datetime]]  # waits until the batch may write; gives the time


class UnknownKeyError(Exception):
    """The key is none that is known, or was revoked meanwhile."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: a sensor's name and id, and the key that it showed."""

    name: str
    sensor_id: int
    key: str


def take(store: Store, caller: Caller, body: bytes, turn: Turn) -> Outcome:
    """Store a batch and commit. InvalidError: the body is none; UnknownKeyError.

    What takes long comes first, before the batch has its turn, and may be done for several batches at a time.
    """
    batch: Batch = parse(Batch, body)
    checked = check(caller.name, batch.epoch, batch.findings)
    with store.reader() as reader:
        prepare(reader, caller.sensor_id, checked)
    with turn() as now, store.writer() as session:
        try:
            failpoint("ingest.before_store")
            sensor = sensors.find_by_key(session, caller.key, now)
            if sensor is None:
                raise UnknownKeyError
            outcome = ingest(session, sensor, checked, now)
            failpoint("ingest.before_commit")
            session.commit()
        except BaseException:
            session.rollback()  # closing alone would leave a commit that failed open on its connection
            raise
    failpoint("ingest.after_commit")
    return outcome
