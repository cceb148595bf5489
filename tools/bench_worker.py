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


def in_place(path: str) -> tuple[float, float, int, int]:
    """(seconds, processor time, frames, problems)."""
    begin, cpu = time.perf_counter(), time.process_time()
    pipeline = Pipeline(Options())
    found = merge(pipeline.run(ahead(open_capture(path))))
    return time.perf_counter() - begin, time.process_time() - cpu, pipeline.counters()["frames"], len(found)


def through(server: ForkServer, path: str, folder: Path) -> tuple[float, float, float, int, int]:
    """(seconds of the start of a worker, seconds from its first frame on, processor time of both,
    with the start; frames, problems)."""
    begin = time.perf_counter()
    found: list[object] = []
    services = Services()
    worker = Worker(server, Setup(Options(), live=False), found.append, services, Quarantine(folder))
    while not worker.held:
        time.sleep(0.001)
    ready, cpu = time.perf_counter(), time.process_time()
    for frames in ahead(open_capture(path)):
        worker.put(frames)
    counters = worker.finish()
    end, cpu = time.perf_counter(), time.process_time() - cpu
    worker.close()
    cpu += worker.cpu_s
    return ready - begin, end - ready, cpu, counters["frames"], len(merge(found))  # type: ignore[arg-type]


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
            alone, alone_cpu, frames, problems = in_place(path)
            start, fed, cpu, also, same = through(server, path, Path(name) / "quarantine")
            assert (frames, problems) == (also, same), "both ways must find the same"
            rows.append((alone, fed, alone_cpu, cpu))
            print(f"in place {alone:.3f} s ({alone_cpu:.3f} s of processor time), through a worker {fed:.3f} s"
                  f" ({cpu:.3f} s), its start {start:.3f} s")  # fmt: skip
        alone, fed, alone_cpu, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"medians of {wanted.rounds}, {frames:,} frames: {fed / alone:.2f} of the time, "
              f"{cpu / alone_cpu:.2f} of the processor time")  # fmt: skip
    server.close()


if __name__ == "__main__":
    main()
