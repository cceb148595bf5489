"""How fast findings are searched: `python -m tools.bench_search [--findings 1000000]`.

Makes a console's store with so many findings of two organisations in a folder of its own (or takes the one that --keep
made before), asks it what the page of findings asks, each question several times, and prints medians in milliseconds:
`list` is the first page with its total, `page` everything that the page of findings needs.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, insert, select

from console.services import findings
from console.services.actor import the_console
from console.services.finding_filter import FindingFilter
from console.store.base import table_of
from console.store.engine import Store, open_store
from console.store.migrations import upgrade
from console.store.models import Finding, Organisation, Segment, Sensor, Site
from console.store.search import embedded
from console.store.search.sql_search import SqlSearch

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
BATCH = 5_000
QUERIES = (
    "",
    "stop controller",
    "控制器被停止",
    '"stopped the controller"',
    "download*",
    "source.ip:10.3.0.0/16",
    "ip:10.3.17.9",
    "rule.id:operation.*",
    "rule.id:*stop",
    "severity >= high",
    "severity:critical -state:false @timestamp >= now-24h",
    "protocol:(modbus OR s7comm) AND NOT technique:T0858",
    "modbus.function_code:15",
    "modbus.address:[100 TO 110]",
    "destination.port:[1 TO 200]",
    "*ontroll*",
    "@timestamp >= now-1h",
    "nothing-has-this-word",
)
RULES = (
    ("operation.s7comm.stop", "Controller stopped", "控制器被停止", "s7comm", "T0858",
     "{0} stopped the controller {1}: its program does not run. Check whether {0} is "
     "an engineering station and who used it.",
     "{0} 停止了控制器 {1}：程序不再运行。请核对 {0} 是否为工程站、由谁使用。"),
    ("operation.s7comm.download", "Program downloaded", "下载程序", "s7comm", "T0843",
     "{0} downloaded blocks to {1}. What the controller does may have changed. Compare it "
     "with the approved program.",
     "{0} 向 {1} 下载了程序块，控制器的行为可能已改变。请与批准的程序比对。"),
    ("scan.functions", "Function codes scanned", "功能码扫描", "modbus", "T0888",
     "{0} tried one function code after the other at {1}, as tools do that look for what a device can do.",
     "{0} 在 {1} 上逐个尝试功能码，探测设备功能的工具正是如此。"),
    ("operation.modbus.write", "Registers written", "写入寄存器", "modbus", "T0836",
     "{0} wrote registers of {1} that it had not written before. Check the change with the people at the line.",
     "{0} 写入了 {1} 中此前从未写过的寄存器。请与现场人员核对。"),
    ("anomaly.length", "Length contradicts bytes", "长度不符", "dnp3", "T0814",
     "A message from {0} to {1} says another length than it has.", "从 {0} 到 {1} 的报文长度与内容不符。"),
)  # fmt: skip


def row(number: int, dice: random.Random, sensor_id: int, organisation_id: int) -> dict[str, Any]:
    """One finding as columns."""
    rule_id, en, zh, protocol, technique, message, message_zh = dice.choice(RULES)
    source, destination = (f"10.{dice.randrange(8)}.{dice.randrange(32)}.{dice.randrange(1, 60)}" for _ in range(2))
    first = NOW - timedelta(seconds=dice.randrange(90 * 86_400))
    values: dict[str, Any] = {"event.action": dice.choice(["read", "write", "stop"])}
    if protocol == "modbus":
        values |= {"modbus.function_code": dice.choice([3, 5, 15, 16, 90]), "modbus.address": dice.randrange(1000)}
    return {
        "organisation_id": organisation_id, "sensor_id": sensor_id, "uid": f"s{organisation_id}/1764000000/{number}",
        "fingerprint": f"{number:032x}", "rule_id": rule_id, "rule_name_en": en, "rule_name_zh": zh,
        "severity": dice.choices([1, 2, 3, 4, 5], [30, 40, 20, 8, 2])[0], "protocol": protocol, "first_seen": first,
        "last_seen": first + timedelta(seconds=dice.randrange(3600)), "received_at": first, "updated_at": first,
        "count": dice.randrange(1, 50), "source_ip": source, "source_port": dice.randrange(40_000, 60_000),
        "destination_ip": destination, "destination_port": dice.choice([102, 502, 20000]), "station": None,
        "techniques": [technique], "message_en": message.format(source, destination),
        "message_zh": message_zh.format(source, destination), "fields": values, "risk": {}, "capture": "",
        "drill": False, "verdict": dice.choice([None, None, None, "real", "false", "expected"]), "verdict_note": "",
    }  # fmt: skip


def fill(store: Store, count: int) -> None:
    """`count` findings, nine tenths of them of organisation 1."""
    dice = random.Random(1)
    with store.transaction() as session:
        sensors = []
        for number in (1, 2):
            session.add(
                Organisation(id=number, name=f"O{number}", kind="enterprise", path=f"/{number}/", created_at=NOW)
            )
            session.flush()
            site = Site(organisation_id=number, name="Works")
            segment = Segment(organisation_id=number, site=site, name="Line")
            sensors.append(Sensor(organisation_id=number, segment=segment, name=f"s{number}", created_at=NOW,
                                  key_hash=str(number), key_hint="", counters={}))  # fmt: skip
        session.add_all(sensors)
        session.flush()
        ids = [sensor.id for sensor in sensors]
    inserting = indexing = 0.0
    for begin in range(0, count, BATCH):
        rows = [
            row(n, dice, ids[n % 10 == 0], 1 + (n % 10 == 0)) for n in range(begin + 1, min(begin + BATCH, count) + 1)
        ]
        for number, made in enumerate(rows, begin + 1):
            made["id"] = number
        with store.transaction() as session:
            at = time.perf_counter()
            session.execute(insert(table_of(Finding)), rows)
            middle = time.perf_counter()
            embedded.add(session, rows)
            inserting, indexing = inserting + middle - at, indexing + time.perf_counter() - middle
        if sys.stderr.isatty():
            print(f"\r{begin + len(rows):,} of {count:,}", end="", file=sys.stderr)
    print(f"\nfilled {count:,}: rows {inserting:.1f} s, index {indexing:.1f} s ({1e6 * indexing / count:.0f} µs each)")


def ask(store: Store, query: str, what: str) -> tuple[float, int]:
    """(seconds, total) of one question, in a session of its own."""
    with store.reader() as session:
        wanted = FindingFilter(q=query)
        asked = findings.Asked(session, SqlSearch(session), the_console(1), wanted, NOW, ZoneInfo("Asia/Shanghai"))
        at = time.perf_counter()
        total = findings.search(asked).total
        if what == "page":
            findings.histogram(asked)
            findings.count_severities(asked)
            findings.count_protocols(asked)
        return time.perf_counter() - at, total


def main() -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=5, help="how often each question is asked")
    parser.add_argument("--keep", type=Path, help="folder of the store, kept and taken again")
    parser.add_argument("--query", action="append", help="ask this instead (several times)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        store = open_store(f"sqlite:///{folder / 'console.db'}")
        upgrade(store)
        with store.reader() as session:
            there = session.scalar(select(func.count(Finding.id)))
        if not there:
            fill(store, chosen.findings)
        print(f"{(folder / 'console.db').stat().st_size / 2**20:,.0f} MiB")
        print(f"{'found':>10} {'list ms':>8} {'page ms':>8}  query")
        for query in chosen.query or QUERIES:
            times = {what: [ask(store, query, what) for _ in range(chosen.times)] for what in ("list", "page")}
            medians = {what: 1000 * statistics.median(t for t, _ in taken) for what, taken in times.items()}
            print(
                f"{times['list'][0][1]:>10,} {medians['list']:>8.0f} {medians['page']:>8.0f}  {query or '(all)'}",
                flush=True,
            )
        store.engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
