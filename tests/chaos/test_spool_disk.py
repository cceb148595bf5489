"""The spool on a disk that dies, tears, loses power or fails at every single call: what was promised arrives once."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.disk import NEVER, Disk, Killed
from sensor.spool import Spool, SpoolError

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SEGMENT_BYTES = 700  # a few flushes
ROUNDS = 10
PAIRS = 150  # of a kill and another one while the spool recovers


class Far:
    """The console's side: what it has by epoch and sequence. It answers after its commit, and is never lost here."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], bytes] = {}
        self.doubled: list[str] = []

    def take(self, spool: Spool, most: int) -> bool:
        """One batch of the spool; False where none waits."""
        records = spool.batch(most, 1 << 20)
        for record in records:
            before = self.held.setdefault((spool.epoch, record.sequence), record.line)
            if before != record.line:
                self.doubled.append(f"{record.sequence} was {before!r}, is {record.line!r}")
        if records:
            end = next(n for n in itertools.count(1) if (spool.epoch, n) not in self.held) - 1
            spool.acknowledge(end)
        return bool(records)

    def tokens(self) -> list[str]:
        return sorted(json.loads(line).get("token", line.decode()) for line in self.held.values())


class Run:
    """A sensor's life on one folder, in several processes. promised: tokens that a flush has said are safe."""

    def __init__(self) -> None:
        self.far = Far()
        self.promised: set[str] = set()
        self._numbers = itertools.count(1)
        self._clock = itertools.count(1_764_000_000)

    def open(self, folder: Path) -> Spool:
        return Spool(
            folder,
            lambda loss: {"lost": f"{loss.first}-{loss.last}"},
            lambda: next(self._clock),
            segment_bytes=SEGMENT_BYTES,
        )

    def work(self, folder: Path, rounds: int = ROUNDS) -> None:
        """Findings come and are sent; trouble with the disk is met as `fenghuo sensor run` meets it: later again."""
        spool = self.reopen(folder)
        waiting: list[str] = []
        for number in range(rounds):
            for _ in range(1 + number % 3):
                token = f"t{next(self._numbers)}"
                spool.append(lambda sequence, token=token: {"token": token, "text": "x" * (sequence % 90)})
                waiting.append(token)
            try:
                spool.flush()
                self.promised.update(waiting)
                waiting.clear()
                self.far.take(spool, 3)
            except SpoolError:
                continue
        for _ in range(100):
            try:
                spool.flush()
                self.promised.update(waiting)
                if not self.far.take(spool, 3):
                    spool.close()
                    return
            except SpoolError:
                continue
        raise AssertionError("the spool never recovered")

    def reopen(self, folder: Path) -> Spool:
        """The sensor is started again until its folder can be used, as systemd does."""
        for _ in range(50):
            try:
                return self.open(folder)
            except SpoolError:
                continue
        raise AssertionError("the spool cannot be opened again")

    def check(self) -> None:
        """Everything that was promised has arrived, and nothing took the place of something else."""
        assert self.far.doubled == []
        arrived = self.far.tokens()
        assert sorted(set(arrived)) == arrived, "one finding under two sequences"
        assert self.promised <= set(arrived)
        assert not [token for token in arrived if not token.startswith("t")], "something was damaged"


@pytest.fixture
def folders() -> Iterator[Iterator[Path]]:
    """New folders, as many as are asked for, in memory where possible."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        yield (make(Path(root) / str(number)) for number in itertools.count())


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def calls(folders: Iterator[Path]) -> list[str]:
    """What a whole life of a spool asks of the disk."""
    run, folder = Run(), next(folders)
    with Disk(folder).watched() as disk:
        run.work(folder / "spool")
    disk.close()
    run.check()
    return disk.names


def test_the_disk_sees_every_kind_of_call(folders):
    names = calls(folders)
    assert {name.split()[0] for name in names} >= {"mkdir", "open", "write", "fsync", "replace", "unlink"}
    assert len(names) > 100


def test_a_kill_before_each_call_loses_nothing(folders):
    for at in range(1, len(calls(folders)) + 1):
        run, folder = Run(), next(folders)
        with Disk(folder, kill_at=at).watched() as disk, pytest.raises(Killed):
            run.work(folder / "spool")
        disk.close()
        run.work(folder / "spool")
        run.check()


def test_a_kill_in_the_middle_of_each_write_loses_nothing(folders):
    writes = [at for at, name in enumerate(calls(folders), 1) if name.startswith("write")]
    assert writes
    for at in writes:
        run, folder = Run(), next(folders)
        with Disk(folder, tear_at=at).watched() as disk, pytest.raises(Killed):
            run.work(folder / "spool")
        disk.close()
        run.work(folder / "spool")
        run.check()


def test_a_second_kill_while_the_spool_recovers_loses_nothing(folders):
    chance, count = random.Random(20261122), len(calls(folders))
    for _ in range(PAIRS):
        run, folder = Run(), next(folders)
        kinds = {chance.choice(["kill_at", "tear_at"]): chance.randint(1, count)}
        for kind in (kinds, {"kill_at": chance.randint(1, 12)}):
            with Disk(folder, **kind).watched() as disk, contextlib.suppress(Killed):
                run.work(folder / "spool")
            disk.close()
        run.work(folder / "spool")
        run.check()


@pytest.mark.parametrize("chances", [1, 4], ids=["what was not synced is gone", "it is there or not by chance"])
def test_a_loss_of_power_before_each_call_loses_nothing(folders, chances):
    count = len(calls(folders))
    for at in range(1, count + 1):
        for number in range(chances):
            run, folder, after = Run(), next(folders), next(folders)
            with Disk(folder, kill_at=at).watched() as disk, pytest.raises(Killed):
                run.work(folder / "spool")
            disk.after_power_loss(after / "disk", random.Random(at * 100 + number) if chances > 1 else None)
            disk.close()
            run.work(after / "disk" / "spool")
            run.check()


@pytest.mark.parametrize("lasting", [1, 7, 40], ids=["once", "seven times", "for long"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_an_error_at_each_call_loses_nothing_and_needs_no_restart(folders, error, lasting):
    for at in range(1, len(calls(folders)) + 1):
        run, folder = Run(), next(folders)
        with Disk(folder, fail_at=at, fail_for=lasting, error=error).watched() as disk:
            run.work(folder / "spool")
        assert disk.failed > 0
        disk.close()
        run.check()


def test_no_call_is_left_out(folders):
    """The numbers that the other tests walk through reach to the end of a life."""
    count = len(calls(folders))
    run, folder = Run(), next(folders)
    with Disk(folder, kill_at=count + 1).watched() as disk:
        run.work(folder / "spool")
    disk.close()
    assert (disk.calls, count < NEVER) == (count, True)
