"""`make bench-live`: how many frames a second are captured live without loss, and what is reported when it is too many.

On a wire of our own: two network namespaces and a veth pair, frames sent from one end at a rate that is lowered until
none is lost. Needs root. Suricata listens on the same wire in its turn, where it is installed. Every frame is accounted
for: sent = received + dropped by the ring + dropped by the interface before it came to the ring; a line says when not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from detectors.pipeline import Options, Pipeline
from sensor.capture.frame_ring import FrameRing
from sensor.capture.frames import FrameBatch
from sensor.capture.live import LiveSource
from sensor.decode.decoder import Decoder, compile_ahead
from tools import contenders, traffic
from tools.traces import write
from tools.wires import Wire, why_not

RATES = (0, 800_000, 600_000, 400_000, 300_000, 200_000, 150_000, 100_000, 70_000, 50_000, 30_000, 20_000, 10_000)
SECONDS = 3.0  # of sending at each rate
SETTLE_S = 0.7  # until the last block of the ring has come
RING = 1 << 30


class Tried(NamedTuple):
    """What one program made of one rate. messages: industrial ones that it decoded, None where it does not say."""

    rate: float
    sent: int
    received: int
    dropped: int
    before: int
    messages: int | None
    cpu: float

    @property
    def lost(self) -> int:
        return self.sent - self.received


Take = Callable[[Wire, Callable[[], tuple[int, float]]], Tried]


def ours(work: Callable[[Iterator[FrameBatch]], int | None]) -> Take:
    """The live source, with something that takes its batches."""

    def take(wire: Wire, send: Callable[[], tuple[int, float]]) -> Tried:
        outcome: list[tuple[int, float]] = []

        def drive() -> None:
            outcome.append(send())
            time.sleep(SETTLE_S)
            source.stop()

        with LiveSource(["mirror"]) as source:
            driver = threading.Thread(target=drive)
            driver.start()
            begin = time.process_time()
            messages = work(source)
            cpu = time.process_time() - begin
            driver.join()
        (sent, seconds), (health,) = outcome[0], source.health
        return Tried(sent / seconds, sent, health.frames, health.dropped, health.lost_before, messages, cpu)

    return take


def receive(frames: Iterator[FrameBatch]) -> int | None:
    for _ in frames:
        pass
    return None


def decode(frames: Iterator[FrameBatch]) -> int | None:
    return sum(events.size for events in Decoder().decode(frames))


def detect(frames: Iterator[FrameBatch]) -> int | None:
    pipeline = Pipeline(Options(learn_s=60))
    for _ in pipeline.run(frames):
        pass
    return pipeline.events


def record(frames: Iterator[FrameBatch]) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        ring = FrameRing(folder, RING)

        def kept() -> Iterator[FrameBatch]:
            for batch in frames:
                ring.append(batch)
                yield batch

        messages = detect(kept())
        ring.close()
        if ring.skipped:
            print(f"      of these {ring.skipped} were not recorded: the disk is too slow")
        return messages


@contextmanager
def listening(wire: Wire, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Suricata on the mirror end, once it listens."""
    others = "\n".join(f"    {name}: {{enabled: no}}" for name in contenders.OTHER_PARSERS)
    settings = contenders.SURICATA.format(log=contenders.LOG, others=others)
    settings = settings.replace("stats: {enabled: no}", "stats: {enabled: yes, interval: 1}")
    settings = settings.replace("types: [modbus, dnp3]", "types: [modbus, dnp3, stats]")
    settings += "af-packet: [{interface: mirror, threads: 1, tpacket-v3: yes, ring-size: 200000, block-size: 262144}]\n"
    (folder / "suricata.yaml").write_text(settings)
    said = folder / "said"
    command = ["suricata", "-c", str(folder / "suricata.yaml"), "-S", os.devnull, "-k", "none", "--runmode", "workers"]
    with said.open("wb") as out:
        process = subprocess.Popen([*command, "--af-packet", "-l", str(folder)], stdout=out, stderr=out)
    try:
        end = time.monotonic() + 60
        while b"Engine started" not in said.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise contenders.ProgramError(said.read_text(errors="replace"))
            time.sleep(0.2)
        time.sleep(1)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def suricata(wire: Wire, send: Callable[[], tuple[int, float]]) -> Tried:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = wire.link()["stats64"]["rx"]["dropped"]
        with listening(wire, folder):
            sent, seconds = send()
            time.sleep(SETTLE_S + 1)
        before = wire.link()["stats64"]["rx"]["dropped"] - before
        lines = (folder / contenders.LOG).read_bytes().splitlines()
        last = json.loads([line for line in lines if b'"event_type":"stats"' in line][-1])["stats"]
        messages = sum(2 if b'"response":' in line else 1 for line in lines if b'"event_type":"modbus"' in line)
        dropped = last["capture"]["kernel_drops"]
        received = last["capture"]["kernel_packets"] - dropped
        return Tried(sent / seconds, sent, received, dropped, before, messages, float("nan"))


PROGRAMS: dict[str, Take] = {
    "receive only": ours(receive),
    "decode": ours(decode),
    "decode and detect": ours(detect),
    "decode, detect and record": ours(record),
    "suricata, af-packet workers": suricata,
}


def tell(name: str, tried: Tried) -> None:
    told = "" if tried.messages is None else f"{tried.messages:>9,} messages"
    print(
        f"  {name:<28}{tried.rate:>10,.0f}/s sent {tried.sent:>9,}  received {tried.received:>9,}  ring dropped "
        f"{tried.dropped:>8,}  interface dropped {tried.before:>7,}  {told}",
        flush=True,
    )
    if tried.received + tried.dropped + tried.before != tried.sent:
        print(f"      {tried.sent - tried.received - tried.dropped - tried.before:,} frames are not accounted for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500_000, help="frames in the trace that is sent")
    parser.add_argument("--all", action="store_true", help="show every rate that was tried")
    options = parser.parse_args()
    reason = why_not()
    if reason:
        sys.exit(f"no wire of one's own can be made here: {reason}")
    print("compiling ...", flush=True)
    compile_ahead()
    wire = Wire()
    try:
        with tempfile.TemporaryDirectory() as folder, wire.inside():
            trace = Path(folder) / "polling.pcap"
            write(traffic.traces()["modbus"], options.frames, trace)
            for name, take in PROGRAMS.items():
                if name.startswith("suricata") and not shutil.which("suricata"):
                    continue
                for rate in RATES:
                    count = options.frames if not rate else min(options.frames, int(rate * SECONDS))

                    def send(rate: int = rate, count: int = count) -> tuple[int, float]:
                        arguments = ("--capture", str(trace), "--count", str(count), "--rate", str(rate))
                        with wire.sending(*arguments) as process:
                            said, _ = process.communicate()
                        told = json.loads(said)
                        return int(told["sent"]), float(told["seconds"])

                    tried = take(wire, send)
                    if options.all or not rate or not tried.lost:
                        tell(name, tried)
                    if not tried.lost:
                        break
    finally:
        wire.remove()


if __name__ == "__main__":
    main()
