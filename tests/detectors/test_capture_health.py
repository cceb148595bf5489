"""What the sensor did not see is a finding: lost frames with exact counts, interfaces on which nothing comes in."""

from __future__ import annotations

from support.findings import BEGINS_NS, of
from support.wire import SECOND

from detectors.capture_health import CaptureHealth
from detectors.contract import Scene
from detectors.finding import Finding, Severity
from sensor.capture.interface import Health, LinkState
from sensor.decode.decoder import Decoder
from sensor.events import NO_EVENTS, EventBatch

NOTHING = EventBatch(NO_EVENTS, 0, NO_EVENTS.forward, NO_EVENTS.forward)


class Watch:
    """The detector over a time in which interfaces change."""

    def __init__(self) -> None:
        self.now: tuple[Health, ...] = ()
        self._detector = CaptureHealth(lambda: self.now)
        self._scene = Scene(Decoder().view)
        self.found: list[Finding] = []

    def see(self, second: float, *health: Health, final: bool = False) -> None:
        self.now = health
        self._scene.clock_ns = self._scene.now_ns = BEGINS_NS + round(second * SECOND)
        look = self._detector.flush(self._scene) if final else self._detector.observe(NOTHING, self._scene)
        self.found += look


def test_every_lost_frame_is_counted_once() -> None:
    watch = Watch()
    watch.see(0, Health("eth1", LinkState.UP, frames=10))
    watch.see(1, Health("eth1", LinkState.UP, frames=20, dropped=7))
    for second in range(2, 11):
        watch.see(second, Health("eth1", LinkState.UP, frames=20 + second, dropped=7 + second))
    watch.see(11, Health("eth1", LinkState.UP, frames=40, dropped=30, unread=2), final=True)
    lost = of(watch.found, "sensor.frames-lost")
    assert [it.count for it in lost] == [7, 25]
    assert "eth1" in lost[1].explanation.en
    assert "32 frames" in lost[1].explanation.en
    assert "ring full: 30, unread: 2" in lost[1].explanation.zh


def test_two_interfaces_are_two_problems() -> None:
    watch = Watch()
    watch.see(0, Health("eth1", LinkState.UP, dropped=1), Health("eth2", LinkState.UP, dropped=2))
    assert sorted(it.count for it in watch.found) == [1, 2]
    assert len({it.fingerprint for it in watch.found}) == 2


def test_an_interface_that_is_gone_is_told_after_seconds_and_once() -> None:
    watch = Watch()
    watch.see(0, Health("eth1", LinkState.UP, frames=10))
    for second in range(1, 30):
        watch.see(second, Health("eth1", LinkState.DOWN, frames=10))
    (blind,) = watch.found
    assert (blind.rule_id, blind.severity) == ("sensor.blind", Severity.HIGH)
    assert "for 5 seconds (it is switched off)" in blind.explanation.en
    assert "接口被关闭" in blind.explanation.zh


def test_silence_is_told_after_a_minute_and_again_when_it_comes_back_and_goes() -> None:
    watch = Watch()
    for second in range(59):
        watch.see(second, Health("eth1", LinkState.UP))
    assert not watch.found
    watch.see(61, Health("eth1", LinkState.UP))
    assert len(watch.found) == 1
    watch.see(100, Health("eth1", LinkState.UP, frames=1))
    for second in range(101, 170):
        watch.see(second, Health("eth1", LinkState.UP, frames=1))
    assert [it.rule_id for it in watch.found] == ["sensor.blind"] * 2


def test_traffic_that_flows_and_a_clock_that_is_set_back_say_nothing() -> None:
    watch = Watch()
    for second in range(200):
        watch.see(second, Health("eth1", LinkState.UP, frames=second, lost_before=3, sent=second))
    watch.see(-5000, Health("eth1", LinkState.UP, frames=199))
    watch.see(-4950, Health("eth1", LinkState.UP, frames=199))
    assert not watch.found
