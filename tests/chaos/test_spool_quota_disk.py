"""A spool that gives findings up, on a disk that dies or loses power at every call: the books stay exact."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.disk import Disk, Killed
from chaos.test_spool_disk import MEMORY
from sensor.spool import LEAST_QUOTA_BYTES, Spool
from sensor.spool_loss import Loss

ROUNDS = 24
EACH = 2
LINE = 2_400  # characters that do not compress below a half: 24 rounds need more than the quota
LEVELS = ("low", "medium", "low", "critical")
EPOCH = 1_764_000_000


class Books:
    """Findings by severity: appended, promised by a flush, arrived, and counted as lost; and lines by sequence."""

    def __init__(self) -> None:
        self.appended: Counter[str] = Counter()
        self.promised: Counter[str] = Counter()
        self.held: dict[int, str] = {}
        self.doubled: list[str] = []
        self._chance = random.Random(1)

    def fill(self, folder: Path) -> None:
        """Nobody takes anything, until the quota makes the spool give findings up."""
        spool = self.open(folder)
        for number in range(ROUNDS):
            taken: Counter[str] = Counter()
            for _ in range(EACH):
                severity = LEVELS[(number + taken.total()) % len(LEVELS)]
                text = f"{self._chance.getrandbits(4 * LINE):x}"
                spool.append(lambda n, severity=severity, text=text: finding(severity, n, text))
                taken[severity] += 1
                self.appended[severity] += 1
            spool.flush()
            self.promised += taken
        spool.close()

    def drain(self, folder: Path) -> None:
        """A console comes back and takes everything."""
        spool = self.open(folder)
        while records := spool.batch(10, 1 << 20):
            for record in records:
                line = record.line.decode()
                if self.held.setdefault(record.sequence, line) != line:
                    self.doubled.append(line)
            spool.acknowledge(records[-1].sequence)
        assert spool.depth == 0
        spool.close()

    def open(self, folder: Path) -> Spool:
        return Spool(folder, lost, lambda: EPOCH, segment_bytes=4096, quota_bytes=LEAST_QUOTA_BYTES)

    def check(self) -> Counter[str]:
        """By severity: promised <= arrived + lost <= appended. Gives what was lost."""
        arrived: Counter[str] = Counter()
        gone: Counter[str] = Counter()
        for line in map(json.loads, self.held.values()):
            if "tally" in line:
                assert line["why"] == "shed", "something was damaged"
                gone.update(line["tally"])
            else:
                arrived[line["rule.severity"]] += 1
        assert self.doubled == []
        for severity in set(LEVELS):
            both = arrived[severity] + gone[severity]
            assert self.promised[severity] <= both <= self.appended[severity], severity
        assert gone["critical"] == 0
        return gone


def finding(severity: str, sequence: int, text: str) -> dict[str, object]:
    return {"finding.id": f"s/1/{sequence}", "rule.id": severity, "rule.severity": severity, "text": text}


def lost(loss: Loss) -> dict[str, object]:
    tally: Counter[str] = Counter()
    for (rule, _), (findings, _) in loss.tally.items():
        tally[rule] += findings
    return {"why": loss.why, "tally": tally}


@pytest.fixture
def folder_of() -> object:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:

        def make(name: object) -> Path:
            folder = Path(root) / str(name)
            folder.mkdir()
            return folder

        yield make


Make = Callable[[object], Path]


def count_calls(folder: Path) -> int:
    books = Books()
    with Disk(folder).watched() as disk:
        books.fill(folder / "spool")
    disk.close()
    books.drain(folder / "spool")
    assert books.check()["low"] > 3, "the quota was not reached"
    assert any(name.startswith("replace") and "segment" in name for name in disk.names), "no segment was rewritten"
    return disk.calls


def test_a_kill_before_each_call_leaves_exact_books(folder_of: Make) -> None:
    for at in range(1, count_calls(folder_of("whole")) + 1):
        books, folder = Books(), folder_of(at)
        with Disk(folder, kill_at=at).watched() as disk, pytest.raises(Killed):
            books.fill(folder / "spool")
        disk.close()
        books.drain(folder / "spool")
        books.check()


def test_a_loss_of_power_before_each_call_leaves_exact_books(folder_of: Make) -> None:
    for at in range(1, count_calls(folder_of("whole")) + 1):
        books, folder = Books(), folder_of(at)
        after = folder_of(f"after {at}")
        with Disk(folder, kill_at=at).watched() as disk, pytest.raises(Killed):
            books.fill(folder / "spool")
        chance = random.Random(at) if at % 2 else None
        disk.after_power_loss(after / "disk", chance)
        disk.close()
        books.drain(after / "disk" / "spool")
        books.check()
