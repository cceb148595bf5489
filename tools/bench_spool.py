"""What the spool and the uplink carry: findings in, bytes on disk, findings out to a console that only acknowledges.

    python -m tools.bench_spool [--seconds 20] [--rate 2000] [--findings FILE.jsonl]

Findings are those that the detectors make of the repository's own captures (or of a file that `fenghuo inspect --format
jsonl` wrote), with addresses, times and fingerprints of their own. The console is another process: a bare HTTP server
on loopback that reads each request, looks for the sequences and answers. First the queue grows while nobody takes it;
then it drains while as many findings go on coming in, now and then a critical one, whose way is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from sensor.spool import SEGMENT_BYTES, Spool
from sensor.spool_loss import Loss
from sensor.uplink import Uplink

ROOT = Path(__file__).resolve().parents[1]
FLUSH_S = 0.2  # as the sensor program does
CRITICAL_EACH_S = 1.0
SEQUENCE = re.compile(rb'"finding\.id":"bench/\d+/(\d+)"')


class Contiguous:
    """Numbers that arrived, as the highest without a gap and those beyond."""

    def __init__(self) -> None:
        self.end = 0
        self.beyond: set[int] = set()

    def add(self, numbers: list[int]) -> int:
        """Take them; gives the highest without a gap below."""
        self.beyond.update(number for number in numbers if number > self.end)
        while self.end + 1 in self.beyond:
            self.end += 1
            self.beyond.remove(self.end)
        return self.end


def serve(port: Connection, critical: Connection) -> None:
    """A console that keeps nothing: acknowledges, and says when a critical finding came."""
    listener = socket.create_server(("127.0.0.1", 0))
    port.send(listener.getsockname()[1])
    arrived, lock = Contiguous(), threading.Lock()

    def talk(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while stream.readline():
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                body = stream.read(length)
                if b'"rule.severity":"critical"' in body:
                    critical.send((time.monotonic(), body.count(b'"rule.severity":"critical"')))
                with lock:
                    end = arrived.add([int(number) for number in SEQUENCE.findall(body)])
                answer = json.dumps(
                    {
                        "acknowledged": end,
                        "stored": 0,
                        "duplicates": 0,
                        "rejected": [],
                        "config_version": "",
                        "indicators": [],
                    }
                ).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


KNOWN = 2_000  # problems of a severity that are seen again


class Findings:
    """Findings like real ones, without end.

    new: which share of them are problems of their own; the others are seen again, the same thing at another time.
    """

    def __init__(self, file: Path | None, longest: int, new: float = 1.0) -> None:
        lines = file.read_text("utf-8") if file else _inspected()
        read = [json.loads(line) for line in lines.splitlines()]
        self._kinds = [it for it in read if len(json.dumps(it)) <= longest]
        for kind in self._kinds:
            kind["rule.severity"] = "low"
            kind["finding.count"] = 1
        self._chance = Random(1)
        self._new = new
        self._problems: dict[str, list[dict[str, Any]]] = {}  # by severity, the latest
        self.bytes = 0

    def __call__(self, sequence: int, severity: str = "low") -> dict[str, Any]:
        chance = self._chance
        known = self._problems.setdefault(severity, [])
        if known and chance.random() >= self._new:
            line = chance.choice(known).copy()
        else:
            line = chance.choice(self._kinds).copy()
            line["finding.fingerprint"] = f"{chance.getrandbits(128):032x}"
            line["source.ip"] = f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(256)}"
            line["rule.severity"] = severity
            if len(known) < KNOWN:
                known.append(line)
            else:
                known[chance.randrange(KNOWN)] = line
            line = line.copy()
        line["finding.id"] = f"bench/1/{sequence}"
        seconds, micros = divmod(sequence * 500, 1_000_000)
        line["@timestamp"] = line["finding.last_seen"] = (
            f"2026-11-22T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}Z"
        )
        return line


def _inspected() -> str:
    captures = [str(path) for path in sorted((ROOT / "pcaps").rglob("*.pcap"))]
    command = [sys.executable, str(ROOT / "fenghuo.py"), "inspect", "--format", "jsonl", *captures]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout


def cpu_s() -> float:
    """Seconds of processor that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def bare_console() -> Iterator[tuple[str, Connection]]:
    """Its address, and what it says of critical findings."""
    port, port_there = multiprocessing.Pipe()
    critical, critical_there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(port_there, critical_there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.recv()}", critical
    finally:
        process.terminate()
        process.join()


def feed(spool: Spool, findings: Findings, rate: int, stop: threading.Event, born: list[float]) -> None:
    """Findings at a rate, with a critical one each second, until `stop`; when those were flushed goes to `born`."""
    begin = time.monotonic()
    made, next_critical = 0, begin + CRITICAL_EACH_S
    while not stop.is_set():
        due = int((time.monotonic() - begin) * rate)
        for _ in range(due - made):
            spool.append(findings)
        made = due
        if time.monotonic() >= next_critical:
            next_critical += CRITICAL_EACH_S
            spool.append(lambda sequence: findings(sequence, "critical"))
            born.append(time.monotonic())
        spool.flush()
        stop.wait(FLUSH_S)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="how long the queue grows")
    parser.add_argument("--rate", type=int, default=2000, help="findings a second that come in")
    parser.add_argument("--findings", type=Path, help="what `fenghuo inspect --format jsonl` wrote")
    parser.add_argument("--longest", type=int, default=4000, help="bytes of the longest findings that are taken")
    options = parser.parse_args()
    findings = Findings(options.findings, options.longest)
    mean = statistics.mean(len(json.dumps(findings(1), ensure_ascii=False).encode()) for _ in range(1000))
    with tempfile.TemporaryDirectory(prefix="bench-spool-", dir=".") as folder, bare_console() as (url, critical):
        spool = Spool(Path(folder) / "spool", _told, clock=lambda: 1)
        count = int(options.seconds * options.rate)
        per_flush = int(options.rate * FLUSH_S)
        before, begin = cpu_s(), time.monotonic()
        flushes = []
        for _ in range(count // per_flush):
            for _ in range(per_flush):
                spool.append(findings)
            at = time.monotonic()
            spool.flush()
            flushes.append(time.monotonic() - at)
        wall, used = time.monotonic() - begin, cpu_s() - before
        each = (spool.used_bytes - SEGMENT_BYTES) / spool.safe  # without the room that is kept for a full disk
        hour = each * options.rate * 3600 / 1e9
        typical, worst = statistics.median(flushes) * 1e3, max(flushes) * 1e3
        core = used / spool.safe * options.rate
        print(f"findings of {mean:.0f} bytes on average, flushed by {per_flush}")
        print(f"in:    {spool.safe / wall:,.0f} a second; {core:.0%} of a core at {options.rate}/s;")
        print(f"       a flush takes {typical:.0f} ms (median), {worst:.0f} ms at most")
        print(f"disk:  {each:.0f} bytes each ({each / mean:.0%}); an hour at {options.rate}/s: {hour:.2f} GB")
        _drain(spool, findings, options.rate, url, critical)
        spool.close()


def _drain(spool: Spool, findings: Findings, rate: int, url: str, critical: Connection) -> None:
    uplink, stop = Uplink(url, "key", spool), threading.Event()
    born: list[float] = []
    threads = [
        threading.Thread(target=feed, args=(spool, findings, rate, stop, born)),
        threading.Thread(target=uplink.run, args=(stop, dict, lambda config: None)),
    ]
    depth, before, begin = spool.depth, cpu_s(), time.monotonic()
    sent_before = spool.acknowledged
    for thread in threads:
        thread.start()
    while spool.depth > rate:
        time.sleep(0.05)
    wall, used = time.monotonic() - begin, cpu_s() - before
    sent = spool.acknowledged - sent_before
    stop.set()
    for thread in threads:
        thread.join()
    uplink.close()
    came: list[float] = []
    while critical.poll(0.5):
        at, count = critical.recv()
        came += [at] * count
    late = [at - made for made, at in zip(born, came, strict=False)]
    core = used / wall
    print(f"out:   {depth:,} waiting and {rate}/s coming in: {sent / wall:,.0f} a second sent, {core:.0%} of a core")
    if late:
        typical, worst = statistics.median(late) * 1e3, max(late)
        print(f"ahead: {len(late)} critical findings, {typical:.0f} ms (median), {worst:.2f} s at most")


def _told(loss: Loss) -> dict[str, Any]:
    return {"finding.id": f"bench/1/{loss.last}"}


if __name__ == "__main__":
    main()
