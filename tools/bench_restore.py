"""How long a backup, its restore and the verification take: `python -m tools.bench_restore --findings 1000000`.

Findings with evidence and receipts, and entries of the audit log, are made directly in SQL; nothing of the host but
this process is used. Prints one line for each step: seconds, rows a second, and seconds of one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import insert, select, text

from console import maintenance
from console.run import init_console
from console.services import sensors
from console.services.actor import the_console
from console.settings import Settings
from console.store.audit_chain import Entry, canonical_time, entry_hash
from console.store.base import table_of
from console.store.engine import Store, open_store
from console.store.models import AuditEntry, AuditHead, Finding, FindingEvidence, FindingReceipt, SensorEpoch

BATCH = 10_000
T = TypeVar("T")


def timed(what: str, rows: int, work: Callable[[], T]) -> T:
    """Run, and print how long it took."""
    begun = time.perf_counter()
    result = work()
    took = time.perf_counter() - begun
    print(f"{what:<28}{took:9.1f} s   {rows / max(took, 1e-9):12,.0f} rows/s", flush=True)
    return result


def fill(store: Store, findings: int, entries: int) -> None:
    """Rows as a plant would have them: each finding with evidence and a receipt; a chain of audit entries."""
    now = datetime(2026, 11, 22, 8, tzinfo=UTC)
    with store.transaction() as session:
        sensor, _ = sensors.add_sensor(session, the_console(1), "bench", "Works", "Line 1", now)
        session.add(
            SensorEpoch(organisation_id=1, sensor_id=sensor.id, epoch=1, acknowledged=findings, highest=findings,
                        received=findings, rejected=0, duplicates=0, swept=0, first_at=now, last_at=now)
        )  # fmt: skip
        sensor_id = sensor.id
    for first in range(1, findings + 1, BATCH):
        numbers = range(first, min(first + BATCH, findings + 1))
        with store.transaction() as session:
            session.execute(insert(table_of(Finding)), [_finding(number, sensor_id, now) for number in numbers])
            session.execute(
                insert(table_of(FindingEvidence)),
                [{"organisation_id": 1, "finding_id": n, "frames": [n], "pdus": [{"n": n}], "pcap": b"\xd4\xc3" * 60}
                 for n in numbers],
            )  # fmt: skip
            session.execute(
                insert(table_of(FindingReceipt)),
                [{"organisation_id": 1, "sensor_id": sensor_id, "epoch": 1, "sequence": n, "received_at": now,
                  "finding_id": n, "count": 1} for n in numbers],
            )  # fmt: skip
    with store.transaction() as session:
        head = session.scalars(select(AuditHead).where(AuditHead.organisation_id == 1)).one()
        rows = []
        for number in range(entries):
            at = now + timedelta(seconds=number)
            entry = Entry(1, head.sequence + 1, canonical_time(at), "user:1", "Lin", "finding.judged",
                          f"finding:{number}", '{"note":"seen on site","verdict":"real"}')  # fmt: skip
            head.sequence, head.hash = entry.sequence, entry_hash(head.hash, entry)
            rows.append(
                {"organisation_id": 1, "sequence": entry.sequence, "at": at, "actor": entry.actor, "hash": head.hash,
                 "actor_name": entry.actor_name, "action": entry.action, "subject": entry.subject,
                 "details": entry.details}
            )  # fmt: skip
            if len(rows) == BATCH:
                session.execute(insert(table_of(AuditEntry)), rows)
                rows = []
        if rows:
            session.execute(insert(table_of(AuditEntry)), rows)


def _finding(number: int, sensor_id: int, now: datetime) -> dict[str, object]:
    at = now + timedelta(seconds=number)
    return {
        "id": number, "organisation_id": 1, "sensor_id": sensor_id, "uid": f"bench/1/{number}",
        "fingerprint": f"{number:032x}", "rule_id": "operation.s7comm.stop", "rule_name_en": "Controller stopped",
        "rule_name_zh": "控制器被停止", "severity": number % 5 + 1, "protocol": "s7comm", "first_seen": at,
        "last_seen": at, "received_at": at, "updated_at": at, "count": 1, "source_ip": f"10.0.{number % 250}.5",
        "source_port": 49152, "destination_ip": "10.0.0.9", "destination_port": 102, "station": None,
        "techniques": ["T0858"], "message_en": "A station stopped the controller's program.",
        "message_zh": "工程站停止了控制器的程序。", "fields": {"event.action": "stop", "s7comm.function": 41},
        "risk": {}, "capture": "", "drill": False, "verdict": None, "verdict_note": "", "verdict_at": None,
        "verdict_by_id": None,
    }  # fmt: skip


def main() -> None:
    """Fill, back up, restore, verify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the audit log")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder otherwise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="fenghuo-bench-") as folder:
        source, target = Settings(data_dir=Path(folder) / "a"), Settings(data_dir=Path(folder) / "b")
        init_console(source, "Bench")
        store = open_store(source.store_url)
        rows = 3 * arguments.findings + arguments.entries
        timed("fill", rows, lambda: fill(store, arguments.findings, arguments.entries))
        store.engine.dispose()
        archive = Path(folder) / "backup.tar"
        timed("search index (first start)", arguments.findings, lambda: maintenance.verify_audit(source, [], _quiet))
        found = timed("verify audit chain", arguments.entries, lambda: maintenance.verify_audit(source, [], _quiet))
        assert all(one.fault is None for one in found)
        timed("backup", rows, lambda: maintenance.back_up(source, archive, "", _quiet))
        print(f"archive: {archive.stat().st_size / 2**20:,.0f} MiB")
        timed("restore, verified, indexed", rows, lambda: maintenance.restore_from(target, archive, "", "", _quiet))
        restored = open_store(target.store_url)
        with restored.reader() as session:
            assert session.scalar(text("SELECT count(*) FROM finding")) == arguments.findings
        restored.engine.dispose()


def _quiet(*_arguments: object) -> None:
    """No progress."""


if __name__ == "__main__":
    main()
