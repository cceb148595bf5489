"""`make bench-ingest`: how many findings a second a console takes, and how soon it acknowledges them.

A real console process on a fresh store, real HTTP on the loopback, findings as our own detectors make them of the
sample captures, with their evidence, in batches of 500. Two extremes: every finding a problem of its own, every finding
a repeat. Then the acknowledgement at 2,000 a second: alone, beside 1,000 requests a second with invalid keys, and
beside a sensor that sends as much as it can. At the end the store is asked whether it holds what was acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from console.run import add_sensor, init_console
from console.settings import Settings
from console.store.engine import open_store
from console.store.models import FindingReceipt
from detectors.finding import FindingId, to_dict
from detectors.pipeline import Pipeline, merge
from sensor.capture.ahead import ahead
from sensor.capture.source import open_capture

ROOT = Path(__file__).resolve().parents[1]
FENGHUO = Path(sys.executable).with_name("fenghuo")
EPOCH = 1_764_000_000
BATCH = 500
SMALL = 200_000  # bytes of a capture that is inspected for the sample


def sample() -> list[bytes]:
    """Findings of the sample captures as the spool holds them; fingerprint and id are left open."""
    lines = []
    for path in sorted((ROOT / "pcaps").glob("*/*.pcap")):
        if path.stat().st_size < SMALL:
            for finding in merge(Pipeline().run(ahead(open_capture(str(path))))):
                record = to_dict(finding, FindingId("SENSOR", EPOCH, 1)) | {"finding.fingerprint": "FINGERPRINT"}
                line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode().replace(b"%", b"%%")
                head = b'"finding.id":"SENSOR/%d/1"' % EPOCH
                line = line.replace(head, b'"finding.id":"%(sensor)s/' + b"%d" % EPOCH + b'/%(sequence)d"')
                lines.append(line.replace(b"FINGERPRINT", b"%(fingerprint)s"))
    return lines


class Console:
    """A console process on a store of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FENGHUO_")}
        self.env = kept | {
            "FENGHUO_DATA_DIR": str(folder), "FENGHUO_PORT": str(self.port), "FENGHUO_DATABASE_URL": database,
        }  # fmt: skip
        self.settings = Settings(data_dir=folder, database_url=database)
        init_console(self.settings, "Plant")
        self._folder = folder
        self.serve()

    def serve(self) -> None:
        """Start it, again after `end`; it answers when this returns."""
        self.log = (self._folder / "log").open("ab")
        self.process = subprocess.Popen(
            [FENGHUO, "console", "run"], cwd=ROOT, env=self.env, stdout=self.log, stderr=self.log
        )
        self.watched = psutil.Process(self.process.pid)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit((self._folder / "log").read_text()) from None
                time.sleep(0.1)

    def cpu(self) -> float:
        """Seconds of processor time that it and the processes beside it took so far."""
        return sum(times.user + times.system for times in self._each(psutil.Process.cpu_times))

    def memory(self) -> int:
        """Bytes that it and the processes beside it have to themselves, with a share of what they share."""
        return sum(memory.pss for memory in self._each(psutil.Process.memory_full_info))

    def _each(self, asked: Callable[[psutil.Process], Any]) -> Iterator[Any]:
        for process in (self.watched, *self.watched.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield asked(process)

    def end(self) -> None:
        """Ask it to end, and wait."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@dataclass
class Sender:
    """One sensor that sends batches and waits for each answer."""

    console: Console
    name: str
    lines: Sequence[bytes]
    sent: int = 0
    refused: int = 0
    answers: list[float] = field(default_factory=list)
    faults: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.key = add_sensor(self.console.settings, self.name, "Works", self.name)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.console.port, timeout=60)

    def body(self, problems: int, size: int = BATCH) -> bytes:
        """The next findings. problems: how many different ones there are; 0: each is new."""
        parts = []
        for sequence in range(self.sent + 1, self.sent + size + 1):
            problem = sequence if problems == 0 else sequence % problems - problems
            fingerprint = hashlib.md5(b"%s%d" % (self.name.encode(), problem), usedforsecurity=False).hexdigest()
            values = {b"sensor": self.name.encode(), b"sequence": sequence, b"fingerprint": fingerprint.encode()}
            parts.append(self.lines[problem % len(self.lines)] % values)
        return b'{"epoch":%d,"findings":[%b]}' % (EPOCH, b",".join(parts))

    def post(self, body: bytes, size: int = BATCH) -> bool:
        """Send it; whether it was taken. The time until the acknowledgement is noted."""
        begin = time.monotonic()
        self.connection.request("POST", "/api/v1/findings", body, {"Authorization": f"Bearer {self.key}"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status == 200:
            self.answers.append(time.monotonic() - begin)
            self.sent += size
            if json.loads(content)["acknowledged"] != self.sent:
                raise SystemExit(f"not acknowledged: {content[:300]!r}")
            return True
        self.refused += 1
        if answer.status != 429:
            self.faults.add(answer.status)
        time.sleep(float(answer.headers.get("Retry-After", 1)))
        return False

    def flood(self, problems: int, until: float) -> None:
        """As much as is taken."""
        while time.monotonic() < until:
            body = self.body(problems)
            while not self.post(body) and time.monotonic() < until:
                pass

    def paced(self, rate: float, size: int, until: float) -> None:
        """`rate` findings a second; the time that a batch waits for its turn counts."""
        due = time.monotonic()
        while due < until:
            body = self.body(0, size)
            time.sleep(max(0.0, due - time.monotonic()))
            late = max(0.0, time.monotonic() - due)
            while not self.post(body, size):
                pass
            self.answers[-1] += late
            due += size / rate


def strangers(console: Console, rate: float, until: float, counts: dict[int, int]) -> None:
    """Requests with invalid keys, each another one."""
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=60)
    number, begin = 0, time.monotonic()
    while time.monotonic() < until:
        number += 1
        key = "fhs_" + hashlib.sha256(b"%d %f" % (number, begin)).hexdigest()[:43]
        try:
            connection.request("POST", "/api/v1/findings", b"{}", {"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (http.client.HTTPException, OSError):
            connection.close()
            status = 0
        counts[status] = counts.get(status, 0) + 1
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def run(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def throughput(console: Console, senders: Sequence[Sender], problems: int, seconds: float) -> str:
    before, cpu, begin = sum(s.sent for s in senders), console.cpu(), time.monotonic()
    run([threading.Thread(target=s.flood, args=(problems, begin + seconds)) for s in senders])
    taken, took = sum(s.sent for s in senders) - before, time.monotonic() - begin
    cost = (console.cpu() - cpu) / taken * 1e6 if taken else 0
    return f"{taken / took:8,.0f} findings/s   {cost:5.0f} us processor time each   {taken:,} in {took:.1f} s"


def latency(sender: Sender, rate: float, size: int, seconds: float) -> str:
    sender.answers.clear()
    sender.paced(rate, size, time.monotonic() + seconds)
    found = sender.answers
    p50, p99 = quantile(found, 0.5), quantile(found, 0.99)
    return f"acknowledged after p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, at most {max(found) * 1e3:.0f} ms"


def results(console: Console, seconds: float, wanted: str) -> Iterator[tuple[str, str]]:
    lines = sample()
    size = sum(map(len, lines)) / len(lines)
    yield "sample", f"{len(lines)} findings, {size:,.0f} bytes on average"
    senders = [Sender(console, f"line-{n}", lines) for n in range(4)]
    first, noisy = senders[0], senders[1]
    counts: dict[int, int] = {}

    def beside(*others: threading.Thread) -> str:
        for other in others:
            other.start()
        told = latency(first, 2000, BATCH, seconds)
        for other in others:
            other.join()
        return told

    def stranger() -> threading.Thread:
        return threading.Thread(target=strangers, args=(console, 250, time.monotonic() + seconds, counts))

    def flood(sender: Sender) -> threading.Thread:
        return threading.Thread(target=sender.flood, args=(0, time.monotonic() + seconds))

    tests = {
        "new, 1 sensor": lambda: throughput(console, senders[:1], 0, seconds),
        "new, 4 sensors": lambda: throughput(console, senders, 0, seconds),
        "repeats, 1 sensor": lambda: throughput(console, senders[:1], 400, seconds),
        "repeats, 4 sensors": lambda: throughput(console, senders, 400, seconds),
        "2,000/s in 500": lambda: latency(first, 2000, 500, seconds),
        "2,000/s in 100": lambda: latency(first, 2000, 100, seconds),
        "2,000/s, 1,000 invalid/s": lambda: beside(*(stranger() for _ in range(4))) + f"; they got {counts}",
        "2,000/s, a noisy sensor": lambda: beside(flood(noisy)) + f"; it was told to wait {noisy.refused} times",
    }
    for name, test in tests.items():
        if re.search(wanted, name):
            yield name, test()
    refused = sum(s.refused for s in senders)
    yield "console", f"{console.memory() / 2**20:,.0f} MiB in all its processes, {refused} batches told to wait"
    faults = set().union(*(s.faults for s in senders))
    yield "other answers", ", ".join(map(str, faults)) or "none"
    with open_store(console.settings.store_url).reader() as session:
        kept = session.scalar(select(func.count()).select_from(FindingReceipt)) or 0
    sent = sum(s.sent for s in senders)
    yield "kept", f"{kept:,} of {sent:,} acknowledged" + ("" if kept >= sent else "   FINDINGS ARE MISSING")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="how long each measurement takes")
    parser.add_argument("--database", default="", help="SQLAlchemy URL of an empty database; otherwise SQLite")
    parser.add_argument("--only", default="", metavar="PATTERN", help="measurements whose name has this in it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-") as folder:
        console = Console(Path(folder), chosen.database)
        try:
            for name, told in results(console, chosen.seconds, chosen.only):
                print(f"{name:26} {told}", flush=True)
        finally:
            console.end()


if __name__ == "__main__":
    main()
