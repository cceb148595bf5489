"""What detectors are told of slow protocols, whether or not there are events beside them."""

from __future__ import annotations

from collections.abc import Iterator

from support import slow_wire as wire
from support.wire import Talk, frames, read_coils

from detectors.contract import Scene
from detectors.finding import Finding
from detectors.pipeline import Pipeline
from sensor.events import EventBatch

ASKS = wire.arp(1, (wire.HOST_MAC, "10.1.0.5"), ("00:00:00:00:00:00", "10.1.0.20"))


class Listener:
    """Notes what it is shown."""

    name = "listener"

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []
        self.evidence = 0

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        for notice in scene.slow:
            self.heard.append((notice.message.protocol, notice.count, scene.now_ns))
            exhibit = scene.exhibit()
            scene.show_notice(exhibit, notice)
            shown = exhibit.take()
            assert shown.frames == (notice.frame,)
            assert shown.pdus[0]["network.protocol"] == notice.message.protocol
            self.evidence += len(shown.pcap) > 24
        return iter(())

    def flush(self, scene: Scene) -> Iterator[Finding]:
        return iter(())


def test_a_capture_without_any_event_is_heard_batch_by_batch_and_its_time_passes() -> None:
    listener = Listener()
    batches = [frames([ASKS, wire.lldp()]), frames([ASKS], first=3)]
    assert not list(Pipeline(detectors=[listener]).run(batches))
    first, second = (int(batch.ts_ns[-1]) for batch in batches)
    assert listener.heard == [("arp", 1, first), ("lldp", 1, first), ("arp", 1, second)]
    assert listener.evidence == 3


def test_a_message_among_events_is_heard_once() -> None:
    listener, talk = Listener(), Talk()
    list(Pipeline(detectors=[listener]).run([frames([talk.asks(read_coils(1)), ASKS, talk.asks(read_coils(2)), ASKS])]))
    assert [(protocol, count) for protocol, count, _ in listener.heard] == [("arp", 2)]


def test_what_waits_on_a_live_link_between_two_ticks_is_bounded_and_counted(monkeypatch) -> None:
    monkeypatch.setattr("detectors.contract.SLOW_KEPT", 3)
    pipeline = Pipeline(detectors=[])
    for number in range(5):
        packet = wire.arp(1, (wire.HOST_MAC, "10.1.0.5"), (wire.ALL, f"10.1.0.{number}"))
        pipeline.scene.remember(frames([packet], first=number + 1)._replace(clock_ns=1_700_000_000_000_000_000))
    assert pipeline.scene.slow_refused == 2
