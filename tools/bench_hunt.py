"""How long a hunt takes: a bulletin's indicators over years of behaviours.

Generates an archive as a sensor would have left it, through the archive's own writer: a plant of 40 controllers that
six stations poll, 1,250 behaviours in every hour of every day, and each day some addresses that are seen once (laptops,
scanners). Then `fenghuo hunt` runs as a new process, with the files out of the page cache and again with them in it.
Every answer is compared with a naive scan of all files by DuckDB.

    python -m tools.bench_hunt DIR [--days 1095] [--indicators 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sensor.archive.columns import TIME, table_of
from sensor.archive.digest import behaviour_digest
from sensor.archive.origin import Origin
from sensor.archive.store import Archive, Intake

ROOT = Path(__file__).resolve().parents[1]
HOUR, DAY = 3600 * 10**9, 86_400 * 10**9
FIRST_DAY = 19_000  # 2022-01-08
CONTROLLERS, BEHAVIOURS, ODD = 40, 1250, 25
READS = {3: "read_holding_registers", 4: "read_input_registers", 1: "read_coils"}
WRITES = {5: "write_single_coil", 6: "write_single_register", 16: "write_multiple_registers"}


def behaviours(choose: random.Random) -> list[dict[str, Any]]:
    """What stations ask controllers all day: nine of ten read."""
    found = []
    for number in range(BEHAVIOURS):
        code, name = choose.choice(list((WRITES if number % 10 == 0 else READS).items()))
        fields = {
            "source.ip": f"10.1.0.{10 + number % 6}",
            "destination.ip": f"10.1.{1 + number % CONTROLLERS}.20",
            "network.transport": "tcp",
            "network.protocol": "modbus",
            "event.kind": "request",
            "event.outcome": "asked",
            "event.action": "write" if code in WRITES else "read",
            "modbus.unit_id": 1 + number % 3,
            "modbus.function_code": code,
            "modbus.function": name,
            "modbus.address": 100 * number % 10_000,
            "modbus.quantity": choose.choice([1, 10, 50, 125]),
        }
        found.append(row_of(fields))
    return found


def row_of(fields: dict[str, Any]) -> dict[str, Any]:
    """A behaviour as the archive describes it."""
    return {
        **fields,
        "destination.port": 502,
        "archive.behaviour": behaviour_digest(fields),
        "archive.described": True,
    }


def stranger(number: int) -> str:
    """An address that is seen on one day only."""
    mixed = number * 2654435761 % (1 << 32)
    return f"{mixed % 90 + 11}.{mixed >> 8 & 255}.{mixed >> 16 & 255}.{mixed >> 24 & 255}"


def day_rows(day: int, steady: pa.Table, dice: np.random.Generator, per_hour: np.ndarray) -> pa.Table:
    """One day: every behaviour in every hour, and a few strangers who ask once or some times."""
    odd = [
        row_of(
            {
                "source.ip": stranger(day * ODD + at),
                "destination.ip": f"10.1.{1 + at}.20",
                "network.transport": "tcp",
                "network.protocol": "modbus",
                "event.kind": "request",
                "event.outcome": "asked",
                "event.action": "identify",
                "modbus.unit_id": 1,
                "modbus.function_code": 43,
                "modbus.function": "encapsulated_interface_transport",
            }
        )
        for at in range(ODD)
    ]
    rows = pa.concat_tables([*[steady] * 24, table_of(odd)[0]], promote_options="default")
    hour = np.r_[np.repeat(np.arange(24), BEHAVIOURS), dice.integers(0, 24, ODD)]
    counts = np.r_[dice.poisson(np.tile(per_hour, 24)) + 1, dice.integers(1, 5, ODD)]
    begin = (FIRST_DAY + day) * DAY + hour * HOUR
    first = begin + dice.integers(0, HOUR // 60, len(hour))
    last = np.where(counts == 1, first, begin + dice.integers(59 * HOUR // 60, HOUR, len(hour)))
    frames = np.sort(dice.integers(1, 10**7, len(hour)))
    for name, values in (
        ("@timestamp", pa.array(first).cast(TIME)), ("archive.last", pa.array(last).cast(TIME)),
        ("frame", pa.array(frames)), ("archive.frame_last", pa.array(frames + counts)),
        ("archive.count", pa.array(counts)),
    ):  # fmt: skip
        rows = rows.append_column(name, values)
    return rows


def generate(folder: Path, days: int, pdus: int) -> None:
    """Fill an archive; days that are there already stay."""
    archive = Archive(folder, create=True)
    done = len(archive.catalogue.files("behaviours"))
    steady = table_of(behaviours(random.Random(1)))[0]
    share = np.random.default_rng(2).pareto(1.2, BEHAVIOURS) + 0.2  # some are polled each second, most seldom
    per_hour = share / share.sum() * (pdus / days / 24)
    with Intake(archive, Origin("live", "bench", sensor="bench")) as intake:
        for day in range(done, days):
            intake.add("behaviours", day_rows(day, steady, np.random.default_rng(day), per_hour))
            if day % 100 == 99 or day == days - 1:
                intake.commit(records=0, archived=0)
                print(f"  {day + 1} days", flush=True)


def indicators(count: int, days: int) -> list[str]:
    """Addresses of a bulletin: one in a hundred was here on one day, one is a station that was here every day."""
    dice = random.Random(3)
    seen = [stranger(dice.randrange(days) * ODD + dice.randrange(ODD)) for _ in range(count // 100)]
    never = [f"198.{18 + at // 65536}.{at // 256 % 256}.{at % 256}" for at in range(count - len(seen))]
    return [*seen, *never]


def forget(folder: Path) -> None:
    """Take the files out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def hunt(folder: Path, *arguments: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """How long a whole process took, by the clock and of the processor, and (rows, events) by name."""
    command = [sys.executable, "fenghuo.py", "hunt", "--archive", str(folder), "--format", "jsonl", "--limit", "100"]
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode in (0, 1), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return f"{seconds:.2f} s ({used:.2f} s of a processor)", {
        it["hunt.total"]: (it["rows"], it["events"]) for it in lines if "hunt.total" in it
    }


def scan(folder: Path, where: str, values: list[Any]) -> tuple[float, list[tuple[Any, ...]]]:
    """The same asked of DuckDB, which reads every file."""
    import duckdb

    begin = time.perf_counter()
    rows = duckdb.execute(f"select {where} group by 1", [f"{folder}/*/behaviours*.parquet", *values]).fetchall()
    return time.perf_counter() - begin, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=1095)
    parser.add_argument("--pdus", type=int, default=10**9)
    parser.add_argument("--indicators", type=int, default=1000)
    given = parser.parse_args()
    print(f"generating {given.days} days of {given.pdus:,} PDUs in {given.folder}", flush=True)
    begin = time.perf_counter()
    generate(given.folder, given.days, given.pdus)
    files = Archive(given.folder).catalogue.files()
    rows, events = sum(it.rows for it in files), sum(it.events for it in files)
    octets = sum(it.bytes for it in files)
    seconds = time.perf_counter() - begin
    print(f"{len(files):,} files, {rows:,} rows, {events:,} PDUs, {octets / 1e6:,.0f} MB; {seconds:.0f} s")
    names = indicators(given.indicators, given.days)
    bulletin = given.folder / "bulletin.txt"
    for title, wanted in (("bulletin", names), ("bulletin, and a station of the plant", [*names, "10.1.0.12"])):
        bulletin.write_text("\n".join(wanted))
        forget(given.folder)
        cold, found = hunt(given.folder, "--indicators", str(bulletin))
        warm, again = hunt(given.folder, "--indicators", str(bulletin))
        naive, rows_found = scan(
            given.folder,
            '"source.ip", count(*), sum("archive.count"), min("@timestamp"), max("archive.last") '
            'from read_parquet(?) where "source.ip" in '
            "(select unnest(?::varchar[]))",
            [wanted],
        )
        assert found == again == {name: (rows, events) for name, rows, events, *_ in rows_found}
        print(
            f"{title}: {len(wanted):,} indicators, {len(found)} found in {sum(it[0] for it in found.values()):,} rows:"
            f" {cold} cold, {warm} warm; naive scan {naive:.2f} s, same answer"
        )
    warm, found = hunt(given.folder, "--rule", "operation.modbus.write-coils")
    naive, rows_found = scan(
        given.folder,
        '1, count(*), sum("archive.count"), min("@timestamp"), max("archive.last") from read_parquet(?)'
        """ where "modbus.function_code" in (5, 15) and "network.protocol" = 'modbus'""",
        [],
    )
    assert list(found.values()) == [row[1:3] for row in rows_found]
    print(f"a rule over every file: {warm}, {list(found.values())}; naive scan {naive:.2f} s, same answer")


if __name__ == "__main__":
    main()
