"""`make bench-outage`: the console is down while findings arrive; then it drains them while more keep coming.

A real console on a fresh store, a real spool and uplink over real HTTP. Findings are those of the sample captures with
addresses, times and fingerprints of their own. A tenth are new problems, the others are seen again; with `--new 1` each
is a problem of its own, the costliest case. Measured are how fast the queue is stored while live findings go on, and
how long a critical one of now takes until it stands in the store. At the end the books are compared: what was made is
what is stored and what is counted as lost, by rule and severity. `--quota 8` (MiB) lets the spool be too small for the
outage; then only the least grave may be missing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from console.run import add_sensor
from console.store.engine import Store, open_store
from console.store.models import Finding, LostCount
from detectors.finding import Severity
from detectors.losses import loss_line
from sensor.spool import QUOTA_BYTES, Spool
from sensor.uplink import Uplink
from tools.bench_ingest import Console
from tools.bench_spool import Findings

FLUSH_S = 0.2  # as the sensor program does
CRITICAL_EACH_S = 1.0
LOOK_S = 0.1  # how often the store is asked for critical findings
PATIENCE_S = 3600.0
LEVELS = ("informational", "low", "low", "medium", "medium", "medium", "high")


@dataclass
class Generator:
    """Makes findings at a rate, as detectors would, and keeps the books. made: by rule and severity, once flushed."""

    spool: Spool
    findings: Findings
    rate: int
    sensor: str
    made: Counter[tuple[str, int]] = field(default_factory=Counter)
    critical: dict[str, float] = field(default_factory=dict)  # id: when it was flushed
    flushes: list[float] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; a critical finding each second."""
        begin, made = time.monotonic(), 0
        next_critical = begin
        while not stop.is_set():
            due = int((time.monotonic() - begin) * self.rate)
            waiting: list[str] = []
            for number in range(made, due):
                self._append(LEVELS[number % len(LEVELS)])
            made = due
            if time.monotonic() >= next_critical:
                next_critical += CRITICAL_EACH_S
                sequence = self._append("critical")
                waiting.append(f"{self.sensor}/{self.spool.epoch}/{sequence}")
            at = time.monotonic()
            self.spool.flush()
            self.flushes.append(time.monotonic() - at)
            self.critical.update(dict.fromkeys(waiting, time.monotonic()))
            stop.wait(FLUSH_S)

    def _append(self, severity: str) -> int:
        def build(sequence: int) -> dict[str, object]:
            line = self.findings(sequence, severity)
            line["finding.id"] = f"{self.sensor}/{self.spool.epoch}/{sequence}"
            self.made[line["rule.id"], int(Severity[severity.upper()])] += 1
            return line

        return self.spool.append(build)


def watch(store: Store, stop: threading.Event, seen: dict[str, float]) -> None:
    """When each critical finding was first found in the store, by the clock of this program."""
    while not stop.wait(LOOK_S):
        with store.reader() as session:
            critical = (Finding.organisation_id == 1, Finding.severity == int(Severity.CRITICAL))  # there is an index
            found = session.scalars(select(Finding.uid).where(*critical)).all()
        now = time.monotonic()
        for uid in found:
            seen.setdefault(uid, now)


def books(store: Store, made: Counter[tuple[str, int]]) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """What is stored of the rules that were made, and what is counted as lost, by rule and severity."""
    with store.reader() as session:
        rows = session.execute(
            select(Finding.rule_id, Finding.severity, func.sum(Finding.count)).group_by(
                Finding.rule_id, Finding.severity
            )
        )
        rules = {rule for rule, _ in made}
        stored = Counter({(rule, severity): int(count) for rule, severity, count in rows if rule in rules})
        lost: Counter[tuple[str, int]] = Counter()
        for count in session.scalars(select(LostCount)):
            lost[count.rule_id, count.severity] += count.findings
    return stored, lost


def measure(folder: Path, minutes: float, rate: int, quota: int, new: float) -> bool:
    """Outage, drain, books; whether these agree."""
    (folder / "console").mkdir()
    console = Console(folder / "console", "")
    key = add_sensor(console.settings, "outage", "Works", "Line 1")
    console.end()
    spool = Spool(folder / "spool", lambda loss: loss_line(loss, "outage", spool.epoch), quota_bytes=quota)
    generator = Generator(spool, Findings(None, 4000, new), rate, "outage")
    sender = Uplink(f"http://127.0.0.1:{console.port}", key, spool)
    stop_making, stop_sending, stop_looking = threading.Event(), threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=generator.run, args=(stop_making,)),
        threading.Thread(target=sender.run, args=(stop_sending, dict, lambda _config: None)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(60 * minutes)
    depth, used = spool.depth, spool.used_bytes
    flushes = generator.flushes
    print(f"outage   {depth:,} wait after {minutes:g} min at {rate:,}/s; {used / 2**20:,.0f} MiB on disk", flush=True)
    print(f"         a flush took {statistics.median(flushes) * 1e3:.0f} ms (median), {max(flushes) * 1e3:.0f} at most")
    console.serve()
    store = open_store(console.settings.store_url)
    seen: dict[str, float] = {}
    looking = threading.Thread(target=watch, args=(store, stop_looking, seen))
    looking.start()
    try:
        begin, before = time.monotonic(), spool.acknowledged
        while spool.depth > 2 * rate and time.monotonic() < begin + PATIENCE_S:
            time.sleep(0.1)
        took, stored = time.monotonic() - begin, spool.acknowledged - before
        stop_making.set()
        threads[0].join()
        until = time.monotonic() + PATIENCE_S
        while spool.depth and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(2 * LOOK_S)
    finally:
        stop_looking.set()
        stop_sending.set()
        looking.join()
        threads[1].join()
        console.end()
    live = [seen[uid] - at for uid, at in generator.critical.items() if begin <= at <= begin + took and uid in seen]
    print(f"drain    {stored:,} in {took:.0f} s while {rate:,}/s went on: {stored / took:,.0f} findings/s")
    if live:
        late = f"{statistics.median(live):.2f} s (median), {max(live):.2f} s at most"
        print(f"critical {len(live)} made during the drain stood in the store after {late}")
    kept, lost = books(store, generator.made)
    store.engine.dispose()
    sender.close()
    spool.close()
    return compare(generator.made, kept, lost)


def compare(made: Counter[tuple[str, int]], kept: Counter[tuple[str, int]], lost: Counter[tuple[str, int]]) -> bool:
    """Print the books; whether they agree to the unit, by rule and severity."""
    print(f"books    made {made.total():,} = stored {kept.total():,} + counted as lost {lost.total():,}")
    for severity in Severity:
        one = [sum(count for (_, level), count in book.items() if level == severity) for book in (made, kept, lost)]
        if one[2]:
            print(f"         {severity.word:14} made {one[0]:,}, stored {one[1]:,}, lost {one[2]:,}")
    wrong = {key for key in made | kept | lost if made[key] != kept[key] + lost[key]}
    for rule, severity in sorted(wrong)[:10]:
        key = (rule, severity)
        print(f"         WRONG {rule} {severity}: made {made[key]}, stored {kept[key]}, lost {lost[key]}")
    return not wrong


def main() -> int:
    """Exit code 1 where the books do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long the console is down (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=2000, help="findings a second (default: %(default)s)")
    parser.add_argument("--new", type=float, default=0.1, help="share of new problems (default: %(default)s)")
    parser.add_argument("--quota", type=float, default=QUOTA_BYTES / 2**20, help="MiB of the spool")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fenghuo-outage-") as folder:
        return 0 if measure(Path(folder), options.minutes, options.rate, int(options.quota * 2**20), options.new) else 1


if __name__ == "__main__":
    sys.exit(main())
