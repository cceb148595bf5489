"""Heartbeats: a sensor says that it is alive, and its counters; the console makes of them whether it sees anything.

What is judged, is judged by the number of beats and by the time at which they came here: the sensor's clock may be
wrong and the console's may be set. Counters by these names mean something here; all are shown on the sensor's page.

    <interface>.state, .frames, .dropped, .lost_before    of each interface (sensor/capture/interface.py)
    sensor.time        the sensor's clock, seconds since 1970
    clock.skew_s       by how much it found its clock ahead of the console's
    sensor.instance    a random word of its process
    sensor.goodbye     true in the last one before a planned stop
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from console.services.summaries import count_traffic
from console.services.troubles import Kind, begin, end
from console.store.models import Sensor
from detectors.finding import Text

FLAT_BEATS, FLAT_SPAN = (
    5,
    timedelta(seconds=40),
)  # no frame for so many beats and so long: blind, before a minute is over
DOWN_BEATS = 2  # a link that is down for one beat may be a cable that is changed
DROP_BEATS, DROP_SHARE = 3, 0.05  # more than a twentieth of the frames lost, three beats long
SKEW_S, SKEW_BEATS = 2.0, 2
INSTANCES = 8  # processes that are remembered: one of them that comes back was never gone
CLONE_SPAN = timedelta(hours=1)  # after so long without another sign it is over
UP = "up"
MAX_INTERFACES = 64  # that are looked at; a sensor has a few


def receive(session: Session, sensor: Sensor, epoch: int, counters: dict[str, Any], now: datetime) -> None:
    """A heartbeat came. The caller commits."""
    before = sensor.health or {}
    health: dict[str, Any] = {"interfaces": _interfaces(before.get("interfaces", {}), counters, now)}
    count_traffic(session, sensor, counters, now)
    sensor.last_seen_at = sensor.heartbeat_at = now
    sensor.heartbeat_epoch = epoch
    sensor.counters = counters
    sensor.stopped_at = now if counters.get("sensor.goodbye") is True else None
    _judge_sight(session, sensor, health["interfaces"], now)
    health |= _judge_clock(session, sensor, before, counters, now)
    health |= _judge_identity(session, sensor, before, f"{counters.get('sensor.instance', '')}:{epoch}"[:100], now)
    sensor.health = health


def _interfaces(before: dict[str, Any], counters: dict[str, Any], now: datetime) -> dict[str, Any]:
    """For each interface how long it has been flat, down or losing: numbers of beats."""
    names = sorted(key.removesuffix(".state") for key in counters if key.endswith(".state"))[:MAX_INTERFACES]
    return {name: _interface(before.get(name), name, counters, now) for name in names}


def _interface(last: dict[str, Any] | None, name: str, counters: dict[str, Any], now: datetime) -> dict[str, Any]:
    frames = _number(counters, f"{name}.frames")
    lost = _number(counters, f"{name}.dropped") + _number(counters, f"{name}.lost_before")
    state = str(counters.get(f"{name}.state"))[:32]
    new = {
        "state": state,
        "frames": frames,
        "lost": lost,
        "flat": 0,
        "down": 0,
        "losing": 0,
        "moved_at": now.timestamp(),
    }
    if last is None:
        return new | {"down": int(state != UP)}
    came, missed = frames - last["frames"], lost - last["lost"]
    if came == 0:
        new |= {"flat": last["flat"] + 1, "moved_at": last["moved_at"]}
    if state != UP:
        new["down"] = last["down"] + 1
    if missed > 0 and missed > DROP_SHARE * (max(came, 0) + missed):
        new["losing"] = last["losing"] + 1
    return new


def _number(counters: dict[str, Any], name: str) -> int:
    value = counters.get(name, 0)
    return value if type(value) is int else 0


def _judge_sight(session: Session, sensor: Sensor, interfaces: dict[str, Any], now: datetime) -> None:
    zh, en = [], []
    for name, it in interfaces.items():
        if it["down"] >= DOWN_BEATS:
            zh.append(f"接口 {name} 为 {it['state']}")
            en.append(f"interface {name} is {it['state']}")
        elif it["flat"] >= FLAT_BEATS and abs(now.timestamp() - it["moved_at"]) >= FLAT_SPAN.total_seconds():
            zh.append(f"接口 {name} 没有收到任何帧")
            en.append(f"no frame comes in on {name}")
        elif it["losing"] >= DROP_BEATS:
            zh.append(f"接口 {name} 正在大量丢帧")
            en.append(f"{name} loses more than {DROP_SHARE:.0%} of its frames")
    if en and sensor.stopped_at is None:
        begin(session, sensor, Kind.BLIND, now, {"examples": Text("；".join(zh), "; ".join(en))})
    elif not any(it["flat"] or it["down"] or it["losing"] for it in interfaces.values()):
        end(session, sensor, Kind.BLIND, now)


def _judge_clock(
    session: Session, sensor: Sensor, before: dict[str, Any], counters: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """By its clock as the beat came, which was on its way for a while, and by what it measured of ours, there and back:
    the one that is nearer to ours is nearer to the truth."""
    clock: Any = counters.get("sensor.time")
    measured: Any = counters.get("clock.skew_s")
    skews = [value - ours for value, ours in ((clock, now.timestamp()), (measured, 0.0)) if _is_number(value)]
    if not skews:
        return {}
    skew = min(skews, key=abs)
    beats = before.get("skewed", 0) + 1 if abs(skew) > SKEW_S else 0
    if beats >= SKEW_BEATS:
        begin(session, sensor, Kind.CLOCK, now, {"seconds": f"{skew:+.1f}"})
    elif beats == 0:
        end(session, sensor, Kind.CLOCK, now)
    return {"skewed": beats, "skew_s": round(skew, 3)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judge_identity(
    session: Session, sensor: Sensor, before: dict[str, Any], instance: str, now: datetime
) -> dict[str, Any]:
    known: list[str] = before.get("instances", [])
    seen_at = before.get("cloned_at")
    if instance in known[:-1]:
        examples = Text("两个进程轮流报到", "heartbeats of two processes take turns")
        begin(session, sensor, Kind.CLONED, now, {"examples": examples})
        seen_at = now.timestamp()
    elif seen_at is not None and abs(now.timestamp() - seen_at) > CLONE_SPAN.total_seconds():
        end(session, sensor, Kind.CLONED, now)
        seen_at = None
    others = [it for it in known if it != instance]
    return {"instances": [*others, instance][-INSTANCES:], "cloned_at": seen_at}
