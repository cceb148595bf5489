"""Live capture on a wire of our own: every frame is received or counted as lost, nothing is sent, nothing ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.wire import Talk

from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health, LinkState
from sensor.capture.live import LiveSource
from sensor.capture.packet_ring import LiveError, PacketRing
from sensor.capture.pcap import empty_columns
from sensor.capture.write import small_pcap
from tools.wires import ROOT, Wire, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)
PATIENCE_S = 60.0
NUMBER = slice(14, 22)  # of the frames that tools/send_frames.py makes
CAPTURE_UNTIL_KILLED = """
from sensor.capture.live import LiveSource
source = LiveSource(["mirror"])
print("ready", flush=True)
print(sum(frames.size for frames in source))
"""


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    try:
        with made.inside():
            yield made
    finally:
        made.remove()


def read(source: LiveSource, enough: Callable[[list[FrameBatch]], bool]) -> list[FrameBatch]:
    """Batches until there are enough, and then the rest that comes at the end."""
    batches: list[FrameBatch] = []
    end = time.monotonic() + PATIENCE_S
    for batch in source:
        batches.append(batch)
        if enough(batches) or time.monotonic() > end:
            source.stop()
    return batches


def count(batches: list[FrameBatch]) -> int:
    return sum(batch.size for batch in batches)


def contents(batches: list[FrameBatch]) -> list[bytes]:
    return [
        batch.data[at : at + length].tobytes()
        for batch in batches
        for at, length in zip(batch.offset.tolist(), batch.captured.tolist(), strict=True)
    ]


def numbers(batches: list[FrameBatch]) -> list[int]:
    return [int.from_bytes(frame[NUMBER], "big") for frame in contents(batches)]


def capture_of(path: Path, frames: list[bytes]) -> str:
    path.write_bytes(small_pcap(1, [(n * 1000, frame, len(frame)) for n, frame in enumerate(frames)]))
    return str(path)


def test_every_frame_is_received_once_in_order_with_its_time_and_nothing_is_sent(wire: Wire) -> None:
    before_ns = time.time_ns()
    with LiveSource(["mirror"]) as source, wire.sending("--count", "20000", "--rate", "20000"):
        batches = read(source, lambda got: count(got) >= 20_000)
    assert numbers(batches) == list(range(20_000))
    assert source.health == (Health("mirror", LinkState.UP, frames=20_000),)
    times = np.concatenate([batch.ts_ns for batch in batches])
    assert before_ns < times[0]
    assert times[-1] < time.time_ns()
    assert (np.diff(times) >= 0).all()
    assert (times % 1000 != 0).any()  # nanoseconds
    assert [batch.first for batch in batches] == [1 + count(batches[:n]) for n in range(len(batches))]
    assert wire.link("tap", there=True)["stats64"]["rx"]["packets"] == 0


def test_at_overload_what_was_received_and_what_is_reported_lost_is_what_was_sent(wire: Wire) -> None:
    with LiveSource(["mirror"], ring_bytes=1 << 20) as source:
        sent = wire.send("--count", "200000")  # while nobody reads
        read(source, lambda got: not got[-1].size)
    (health,) = source.health
    assert health.dropped > 0
    assert health.frames > 0
    assert health.frames + health.dropped + health.unread + health.lost_before == sent == 200_000


def test_what_nobody_read_before_the_end_is_counted_as_unread(wire: Wire) -> None:
    with LiveSource(["mirror"]) as source:
        assert next(source).size == 0
        wire.send("--count", "1000", "--rate", "50000")
    (health,) = source.health
    assert (health.frames, health.unread) == (0, 1000)


def test_at_the_end_everything_that_was_received_is_given_out(wire: Wire) -> None:
    with LiveSource(["mirror"]) as source:
        wire.send("--count", "1000", "--rate", "50000")
        source.stop()  # the last block is still open
        assert count(list(source)) == 1000
    assert source.health[0].unread == 0


def test_silence_gives_batches_without_frames_in_which_time_passes(wire: Wire) -> None:
    with LiveSource(["mirror"]) as source:
        batches = read(source, lambda got: len(got) >= 3)
    clocks = [batch.clock_ns for batch in batches]
    assert count(batches) == 0
    assert clocks[0] < clocks[1] < clocks[2] < time.time_ns()


def test_the_interface_hears_everything_while_it_is_captured_and_is_left_as_it_was(wire: Wire) -> None:
    assert wire.link()["promiscuity"] == 0
    with LiveSource(["mirror"], fanout=2):
        assert wire.link()["promiscuity"] > 0
    assert wire.link()["promiscuity"] == 0
    with LiveSource(["mirror"], promiscuous=False):
        assert wire.link()["promiscuity"] == 0


def test_the_interface_is_left_as_it_was_also_when_the_sensor_is_killed(wire: Wire) -> None:
    command = wire.command(sys.executable, "-c", CAPTURE_UNTIL_KILLED)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert wire.link()["promiscuity"] == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wire.link()["promiscuity"] == 0


def test_tags_of_virtual_lans_stand_where_they_stood_on_the_wire(wire: Wire, tmp_path: Path) -> None:
    addresses, payload = bytes.fromhex("ffffffffffff02000000c0de"), bytes.fromhex("88b5") + bytes(range(60))
    tag, outer = bytes.fromhex("8100e064"), bytes.fromhex("88a80fff")
    frames = [addresses + tags + payload for tags in (b"", tag, outer + tag, bytes.fromhex("81000000"))]
    with LiveSource(["mirror"]) as source:
        wire.send("--count", "4", "--capture", capture_of(tmp_path / "tags.pcap", frames))
        batches = read(source, lambda got: count(got) >= 4)
    assert contents(batches) == frames
    assert [int(length) for batch in batches for length in batch.wire] == [len(frame) for frame in frames]


def test_long_frames_are_whole_and_a_snap_length_cuts_them(wire: Wire, tmp_path: Path) -> None:
    wire.plug("jumbo", "sender", mtu=9000)
    frame = bytes.fromhex("ffffffffffff02000000c0de88b5") + os.urandom(9000)
    capture = capture_of(tmp_path / "jumbo.pcap", [frame])
    for snap, there in ((65535, len(frame)), (100, 100)):
        with LiveSource(["jumbo"], snap=snap) as source:
            wire.send("--count", "1", "--capture", capture, interface="sender")
            (got,) = contents(batches := read(source, lambda got: count(got) >= 1))
        assert got == frame[:there]
        assert [int(length) for batch in batches for length in batch.wire] == [len(frame)]


def test_two_rings_see_each_frame_once_and_both_directions_of_a_connection_in_one(wire: Wire, tmp_path: Path) -> None:
    talks = [Talk(sport=40_000 + n) for n in range(50)]
    frames = [frame for talk in talks for frame in (talk.asks(b"question"), talk.answers(b"answer"))]
    one = PacketRing("mirror", 1 << 20, promiscuous=True)
    two = PacketRing("mirror", 1 << 20, promiscuous=True, join=one)
    rings = (one, two)
    for ring in rings:
        ring.open(1 << 16)
    wire.send("--count", "100", "--rate", "1000", "--capture", capture_of(tmp_path / "talks.pcap", frames))
    time.sleep(0.3)
    got: list[list[bytes]] = []
    for ring in rings:
        blocks, size, rows, _ = ring.ready(1 << 20)
        data, columns = np.empty(size, np.uint8), empty_columns(rows)
        ring.take(blocks, data, 0, columns, 0)
        got.append(contents([FrameBatch(data, *columns, first=1)]))
        ring.close()
    assert sorted(got[0] + got[1]) == sorted(frames)
    assert all(got)
    ports = [{sorted((frame[34:36], frame[36:38]))[1] for frame in ring} for ring in got]
    assert ports[0].isdisjoint(ports[1])


def test_frames_of_two_rings_and_two_interfaces_come_in_the_order_of_their_times(wire: Wire) -> None:
    wire.plug("mirror2", "tap2")
    many = ("--count", "3000", "--rate", "6000")
    with (
        LiveSource(["mirror", "mirror2"], fanout=2) as source,
        wire.sending(*many),
        wire.sending(*many, interface="tap2"),
    ):
        batches = read(source, lambda got: count(got) >= 6000)
    times = np.concatenate([batch.ts_ns for batch in batches])
    assert (np.diff(times) >= 0).all()
    assert sorted(numbers(batches)) == sorted([*range(3000), *range(3000)])
    assert [health.frames for health in source.health] == [3000, 3000]


def test_an_interface_may_go_down_and_come_up_again(wire: Wire) -> None:
    def state(wanted: LinkState) -> Callable[[list[FrameBatch]], bool]:
        return lambda got: source.health[0].state == wanted

    with LiveSource(["mirror"]) as source:
        for change, wanted in (("down", LinkState.DOWN), ("up", LinkState.UP)):
            wire.set("mirror", change)
            wait(source, state(wanted))
        wire.send("--count", "10", "--rate", "1000")
        assert numbers(read(source, lambda got: count(got) >= 10)) == list(range(10))


def test_an_interface_that_is_down_at_first_is_waited_for(wire: Wire) -> None:
    wire.set("mirror", "down")
    with LiveSource(["mirror"]) as source:
        assert source.health[0].state == LinkState.DOWN
        wire.set("mirror", "up")
        wait(source, lambda got: source.health[0].state == LinkState.UP)
        wire.send("--count", "10", "--rate", "1000")
        assert numbers(read(source, lambda got: count(got) >= 10)) == list(range(10))


def test_an_interface_may_disappear_and_return_and_its_counts_go_on(wire: Wire) -> None:
    with LiveSource(["mirror"]) as source:
        wire.send("--count", "10", "--rate", "1000")
        wire.unplug()
        first = wait(source, lambda got: source.health[0].state == LinkState.MISSING)
        wire.plug()
        wait(source, lambda got: source.health[0].state == LinkState.UP)
        wire.send("--count", "7", "--rate", "1000")
        then = read(source, lambda got: count(got) >= 7)
    assert (numbers(first), numbers(then)) == (list(range(10)), list(range(7)))
    assert source.health == (Health("mirror", LinkState.UP, frames=17),)
    assert then[0].first == 11 or then[0].size == 0


def wait(source: LiveSource, enough: Callable[[list[FrameBatch]], bool]) -> list[FrameBatch]:
    """Batches until there are enough, without an end of the source."""
    batches: list[FrameBatch] = []
    end = time.monotonic() + PATIENCE_S
    while not enough(batches):
        batches.append(next(source))
        assert time.monotonic() < end
    return batches


def with_capabilities(wire: Wire, capabilities: str) -> subprocess.CompletedProcess[str]:
    """Capture on the wire with these capabilities and no others; ends at once."""
    script = CAPTURE_UNTIL_KILLED.replace(
        "print(sum", "source.stop()\nprint(open('/proc/self/status').read())\nprint(sum"
    )
    limited = ["setpriv", f"--bounding-set={capabilities}", "--inh-caps=-all", sys.executable, "-c", script]
    return subprocess.run(wire.command(*limited), capture_output=True, text=True, cwd=ROOT, check=False)


def test_it_needs_the_capability_net_raw_and_no_other(wire: Wire) -> None:
    done = with_capabilities(wire, "-all,+net_raw")
    assert "CapEff:\t0000000000002000" in done.stdout, done.stderr
    assert done.stdout.startswith("ready")
    assert done.returncode == 0


def test_without_the_capability_it_says_what_to_do(wire: Wire) -> None:
    done = with_capabilities(wire, "-all")
    last = done.stderr.strip().splitlines()[-1]
    assert "CAP_NET_RAW" in last
    assert "AmbientCapabilities" in last
    assert "setcap" in last


def test_an_interface_that_is_not_there_is_named_with_those_that_are(wire: Wire) -> None:
    with pytest.raises(LiveError, match=r"no interface is named mirrorr; this machine has lo, mirror$"):
        LiveSource(["mirror", "mirrorr"])
    assert wire.link()["promiscuity"] == 0
