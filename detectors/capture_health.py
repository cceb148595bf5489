"""What the sensor did not see: frames that were lost on an interface, and interfaces on which nothing comes in.

Counts every frame that the kernel or the capture lost (sensor/capture/interface.py), with totals that are exact. An
interface counts as blind when it is down, missing or without carrier for BLIND_AFTER_NS, or silent for SILENT_AFTER_NS:
a mirror port always carries something, if only the switch's own frames. Blind to frames that the switch did not mirror,
and to frames that an interface dropped before they came to us: those the heartbeat tells. Nothing to say in a capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from detectors import knowledge
from detectors.contract import Scene
from detectors.finding import Finding, Text
from detectors.problem import Problem
from sensor.capture.interface import Health, LinkState
from sensor.events import EventBatch

BLIND_AFTER_NS = 5 * 10**9
SILENT_AFTER_NS = 60 * 10**9
STATES = {
    LinkState.UP: Text("接口正常但没有流量", "it is up, but silent"),
    LinkState.NO_CARRIER: Text("没有载波：网线未连接", "no carrier: the cable is not connected"),
    LinkState.DOWN: Text("接口被关闭", "it is switched off"),
    LinkState.MISSING: Text("接口不存在", "it is gone"),
}


class _Link:
    """What is known of one interface."""

    def __init__(self, interface: str, now_ns: int, lost: Problem, blind: Problem) -> None:
        self.interface = interface
        self.lost, self.blind = lost, blind
        self.frames = 0
        self.seen_ns = now_ns  # when it was last heard, or first looked at
        self.told = False


class CaptureHealth:
    """See the module. health: of all interfaces; None where there are none."""

    name = "capture_health"

    def __init__(self, health: Callable[[], Sequence[Health]] | None = None) -> None:
        self._health = health
        self._rules = knowledge.detector_rules()
        self._links: dict[str, _Link] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._look(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._look(scene, final=True)

    def _look(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        if self._health is None:
            return
        now_ns = max(scene.now_ns, scene.clock_ns)
        for health in self._health():
            it = self._links.get(health.interface) or self._link(health.interface, scene, now_ns)
            yield from self._lost(it, health, now_ns, final=final)
            yield from self._blind(it, health, now_ns)

    def _link(self, interface: str, scene: Scene, now_ns: int) -> _Link:
        problems = (
            Problem(
                self._rules[rule], scene.exhibit(), protocol="", fields={"observer.ingress.interface.name": interface}
            )
            for rule in ("sensor.frames-lost", "sensor.blind")
        )
        it = self._links[interface] = _Link(interface, now_ns, *problems)
        return it

    def _lost(self, it: _Link, health: Health, now_ns: int, *, final: bool) -> Iterator[Finding]:
        it.lost.add(health.dropped + health.unread - it.lost.total, now_ns, now_ns)
        if it.lost.open and (final or it.lost.due(now_ns)):
            reasons = {"ring full": health.dropped, "unread": health.unread}
            examples = ", ".join(f"{reason}: {count}" for reason, count in reasons.items() if count)
            yield it.lost.record(now_ns, {"interface": it.interface, "examples": examples})

    def _blind(self, it: _Link, health: Health, now_ns: int) -> Iterator[Finding]:
        heard, it.frames = health.frames != it.frames, health.frames
        if heard or now_ns < it.seen_ns:  # or the clock was set back
            it.seen_ns, it.told = now_ns, False
            return
        after_ns = SILENT_AFTER_NS if health.state == LinkState.UP else BLIND_AFTER_NS
        if it.told or now_ns - it.seen_ns < after_ns:
            return
        it.told = True
        it.blind.add(1, it.seen_ns, now_ns)
        seconds = (now_ns - it.seen_ns) // 10**9
        yield it.blind.record(now_ns, {"interface": it.interface, "seconds": seconds, "state": STATES[health.state]})
