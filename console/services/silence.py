"""Which sensors have fallen silent: looked for every second by the worker that holds the lease.

By a clock that nobody sets, beginning with what this watch itself has seen: so neither a clock that is set nor a
console that was restarted makes a sensor silent. Whoever said goodbye may be silent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from console.services.actor import Clock
from console.services.troubles import Kind, begin, end
from console.store.engine import Store
from console.store.models import Sensor, SensorTrouble

log = logging.getLogger(__name__)

QUIET_S = 30.0  # three heartbeats; with the second between two looks it is found in 31 s
ASLEEP_S = 5.0  # a longer pause between two looks was ours: what nobody looked at was not silent


@dataclass(slots=True)
class _Seen:
    """last_seen_at as it stands in the store, since when it has been that (steady), whether it has changed here."""

    at: datetime
    since: float
    changed: bool = False


class SilenceWatch:
    """Calls `tick` often. steady: seconds of a clock that only goes forward."""

    def __init__(self, store: Store, clock: Clock, steady: Callable[[], float]) -> None:
        self._store, self._clock, self._steady = store, clock, steady
        self._seen: dict[int, _Seen] = {}
        self._looked_at = steady()

    def tick(self) -> None:
        """Look once. A store that does not answer is asked again the next time."""
        now_s = self._steady()
        if now_s - self._looked_at > ASLEEP_S:
            for seen in self._seen.values():
                seen.since += now_s - self._looked_at
        self._looked_at = now_s
        try:
            for sensor_id in self._changed(now_s):
                self._write(sensor_id, now_s)
        except SQLAlchemyError:
            log.exception("the store did not answer; sensors are looked at again in a second")

    def _changed(self, now_s: float) -> list[int]:
        """Sensors that have fallen silent, or speak again."""
        with self._store.reader() as session:
            rows = session.execute(
                select(Sensor.id, Sensor.last_seen_at, Sensor.stopped_at, SensorTrouble.began_at)
                .outerjoin(
                    SensorTrouble,
                    (SensorTrouble.sensor_id == Sensor.id)
                    & (SensorTrouble.kind == Kind.SILENT)
                    & SensorTrouble.ended_at.is_(None),
                )
                .where(Sensor.revoked_at.is_(None))
            ).all()
        known = self._seen
        self._seen = {}
        found = []
        for sensor_id, last_seen_at, stopped_at, began_at in rows:
            silent_since: datetime | None = began_at  # of an outer join
            if last_seen_at is None:
                continue
            seen = known.get(sensor_id)
            if seen is None:
                seen = _Seen(last_seen_at, now_s)
            elif seen.at != last_seen_at:
                seen = _Seen(last_seen_at, now_s, changed=True)
            self._seen[sensor_id] = seen
            if silent_since is None:
                if stopped_at is None and now_s - seen.since >= QUIET_S:
                    found.append(sensor_id)
            elif seen.changed or last_seen_at > silent_since:
                found.append(sensor_id)
        return found

    def _write(self, sensor_id: int, now_s: float) -> None:
        """Begin or end it, unless it spoke meanwhile."""
        with self._store.transaction() as session:
            sensor = session.get_one(Sensor, sensor_id)
            seen = self._seen[sensor_id]
            if sensor.revoked_at is not None:
                return
            if sensor.last_seen_at == seen.at and now_s - seen.since >= QUIET_S and sensor.stopped_at is None:
                if begin(session, sensor, Kind.SILENT, self._clock(), {"seconds": round(now_s - seen.since)}):
                    seen.changed = False
                    log.warning("sensor %s is silent", sensor.name)
            elif end(session, sensor, Kind.SILENT, self._clock()):
                log.info("sensor %s speaks again", sensor.name)
