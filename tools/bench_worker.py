"""What it costs to decode and detect in a process of its own, beside doing so in place: the ratio, in one run.

    python -m tools.bench_worker [--packets 1000000] [--rounds 3]

Modbus polling over 64 connections (tools/traffic.py), from the page cache, with all detectors; both ways in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from detectors.pipeline import Options, Pipeline, merge
from detectors.worker.fork_server import ForkServer
from detectors.worker.quarantine import Quarantine
from detectors.worker.services import Services
from detectors.worker.setup import Setup
from detectors.worker.supervisor import Worker
from sensor.capture.ahead import ahead
from sensor.capture.source import open_capture
from tools.traces import write
from tools.traffic import traces


def in_place(path: str) -> tuple[float, int, int]:
    """(seconds, frames, problems)."""
    begin = time.perf_counter()
    pipeline = Pipeline(Options())
    found = merge(pipeline.run(ahead(open_capture(path))))
    return time.perf_counter() - begin, pipeline.counters()["frames"], len(found)


def through(server: ForkServer, path: str, folder: Path) -> tuple[float, float, int, int]:
    """(seconds with the start of a worker, seconds from its first frame on, frames, problems)."""
    begin = time.perf_counter()
    found: list[object] = []
    services = Services()
    worker = Worker(server, Setup(Options(), live=False), found.append, services, Quarantine(folder))
    while not worker.held:
        time.sleep(0.001)
    ready = time.perf_counter()
    for frames in ahead(open_capture(path)):
        worker.put(frames)
    counters = worker.finish()
    end = time.perf_counter()
    worker.close()
    return end - begin, end - ready, counters["frames"], len(merge(found))  # type: ignore[arg-type]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capture", help="this one instead")
    parser.add_argument("--trace", choices=sorted(traces()), default="modbus", help="of tools/traffic.py")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    server = ForkServer()
    begin = time.perf_counter()
    server.start()
    while not server.ready(0.05):
        pass
    print(f"fork server ready after {time.perf_counter() - begin:.2f} s")
    with tempfile.TemporaryDirectory() as name:
        path = wanted.capture
        if path is None:
            path = str(Path(name) / "modbus.pcap")
            write(traces()[wanted.trace], wanted.packets, Path(path))
        rows = []
        in_place(path)
        for _ in range(wanted.rounds):
            alone, frames, problems = in_place(path)
            whole, fed, also, same = through(server, path, Path(name) / "quarantine")
            assert (frames, problems) == (also, same), "both ways must find the same"
            rows.append((alone, fed, whole))
            ratio, start = fed / alone, whole - fed
            print(f"in place {alone:.3f} s, through a worker {fed:.3f} s ({ratio:.2f}), its start {start:.3f} s")
        alone, fed, whole = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"median of {wanted.rounds}, {frames:,} frames: {alone:.3f} s, {fed:.3f} s, ratio {fed / alone:.2f}")
    server.close()


if __name__ == "__main__":
    main()
