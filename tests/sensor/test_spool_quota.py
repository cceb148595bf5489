"""A spool without room gives up the least grave findings, the oldest first, and its ledger is exact to the unit."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from chaos.points import read_points
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.ledger import EPOCH, Books, graded, noise, told

from sensor import failpoints
from sensor.lanes import Lanes
from sensor.spool import LEAST_QUOTA_BYTES, Spool, SpoolError
from sensor.spool_files import LOSS

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROOT = Path(__file__).parents[2]
LOW, MEDIUM, HIGH, CRITICAL = 2, 3, 4, 5


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="spool-", dir=IN_MEMORY) as directory:
        yield Path(directory)


def open_spool(directory, **options) -> Spool:
    return Spool(directory, told, **{"clock": lambda: EPOCH, "quota_bytes": LEAST_QUOTA_BYTES, **options})


def kill(spool) -> None:
    spool._segments.end()
    if spool._directory_file >= 0:
        os.close(spool._directory_file)
    spool._directory_file = -1


class Generator:
    """Findings, and the books of what was made."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = Random(seed)
        self.made: list[tuple[str, int, int]] = []

    def make(self, spool: Spool, severity: int, length: int = 600) -> None:
        rule, events = f"rule.{severity}.{self.chance.randrange(3)}", self.chance.randrange(1, 9)
        self.made.append((rule, severity, events))
        assert spool.append(graded(rule, severity, noise(self.chance, length), events)) == len(self.made)

    def agrees(self, books: Books) -> None:
        """generator == store + ledger, by rule and severity, of findings and of events."""
        findings: Counter[tuple[str, int]] = Counter()
        events: Counter[tuple[str, int]] = Counter()
        for rule_id, severity, count in self.made:
            findings[rule_id, severity] += 1
            events[rule_id, severity] += count
        assert findings == books.stored + books.lost
        assert events == books.events + books.lost_events


def directory_bytes(directory) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def test_the_quota_is_kept_and_only_the_lowest_severity_is_given_up_the_oldest_first(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for n in range(600):
        generator.make(spool, (LOW, LOW, LOW, HIGH, LOW, LOW, LOW, CRITICAL)[n % 8], 300)
        if n % 10 == 9:
            spool.flush()
            assert directory_bytes(home) <= LEAST_QUOTA_BYTES + 4096  # and the state file
    books.drain(spool)
    generator.agrees(books)
    assert {severity for _, severity in books.lost} == {LOW}
    kept = [n for n, why in books.known.items() if why.startswith("rule.2")]
    lost = [n for n, why in books.known.items() if why == "shed"]
    assert len(kept) > 20
    assert max(lost) < min(kept), "the oldest are given up first"
    assert spool.shed == len(lost)


def test_a_tenth_of_the_quota_is_for_critical_findings_alone(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for _ in range(30):
        for _ in range(10):
            generator.make(spool, MEDIUM)
        spool.flush()
    used = directory_bytes(home)
    assert used <= LEAST_QUOTA_BYTES * 0.9 + 4096
    shed = spool.shed
    assert shed > 0
    for _ in range(10):
        generator.make(spool, CRITICAL, 400)
    spool.flush()
    assert spool.shed == shed, "there is room for them, nothing else had to go"
    assert directory_bytes(home) > used
    books.drain(spool)
    generator.agrees(books)
    assert {severity for _, severity in books.lost} == {MEDIUM}


def test_graver_findings_are_given_up_when_nothing_less_grave_is_left(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for severity in (LOW, MEDIUM, HIGH, CRITICAL):
        for _ in range(20):
            for _ in range(12):
                generator.make(spool, severity)
            spool.flush()
    books.drain(spool)
    generator.agrees(books)
    assert {severity for _, severity in books.stored} == {CRITICAL}
    assert sum(books.lost[key] for key in books.lost if key[1] < CRITICAL) == 3 * 240


def test_a_console_that_is_asked_again_and_again_in_vain_does_not_keep_room_from_grave_findings(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    lanes = Lanes(spool)
    for severity in (LOW, CRITICAL):
        for _ in range(10):
            for _ in range(12):
                generator.make(spool, severity)
            spool.flush()
            parcel = lanes.take(500, 8 << 20)
            assert parcel.records[-1].sequence == 12, "what it may have already, and no more"
            lanes.failed(parcel)
            lanes.again()
    while parcel := lanes.take(500, 8 << 20):
        lanes.arrived(parcel, books.take(parcel.records))
    generator.agrees(books)
    assert books.stored.total() > 12
    assert {severity for _, severity in books.lost} == {LOW}


def test_new_findings_of_low_severity_give_way_where_everything_else_is_graver(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for severity in (CRITICAL, LOW):
        for _ in range(20):
            for _ in range(12):
                generator.make(spool, severity)
            spool.flush()
    books.drain(spool)
    generator.agrees(books)
    assert sum(books.stored[key] for key in books.stored if key[1] == LOW) == 0


def test_the_ledger_of_a_long_flood_stays_small(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for _ in range(300):
        for _ in range(40):
            generator.make(spool, LOW, 100)
        spool.flush()
    assert directory_bytes(home) <= LEAST_QUOTA_BYTES + 4096
    records = spool.batch(100_000, 1 << 30)
    losses = [record for record in records if record.severity == LOSS]
    assert sum(record.span for record in losses) > 10_000
    assert len(losses) < 20, "what adjoins is one loss"
    assert len(list(home.glob("*.segment"))) < 20
    spool.acknowledge(books.take(records))
    generator.agrees(books)


def test_what_the_console_may_have_seen_is_never_given_up_behind_its_back(home):
    spool, generator, books = open_spool(home), Generator(), Books()
    for _ in range(20):
        generator.make(spool, HIGH)
    spool.flush()
    books.take(spool.batch(5, 1 << 20))  # the reply is lost
    books.take(spool.grave(4, 1 << 20, after=5))
    for _ in range(40):
        for _ in range(10):
            generator.make(spool, HIGH)
        spool.flush()
    books.drain(spool)
    generator.agrees(books)
    assert books.untold == 0
    assert sum(books.lost.values()) > 0


def test_a_full_disk_costs_low_findings_in_memory_and_none_that_were_safe(home):
    spool, generator, books = open_spool(home, max_waiting_bytes=50_000, quota_bytes=1 << 24), Generator(), Books()
    for severity in (LOW, CRITICAL):
        generator.make(spool, severity)
    spool.flush()
    with mock.patch.object(os, "write", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        for n in range(1000):
            generator.make(spool, LOW if n % 20 else CRITICAL)
            if n % 50 == 0:
                with pytest.raises(SpoolError, match="No space left"):
                    spool.flush()
            assert spool._waiting <= 50_000
    assert spool.flush() == 1002
    books.drain(spool)
    generator.agrees(books)
    assert {severity for _, severity in books.lost} == {LOW}
    assert sum(books.stored[key] for key in books.stored if key[1] == CRITICAL) == 51


def test_a_disk_that_others_filled_takes_critical_findings_in_the_place_of_low_ones(home):
    spool, generator, books = open_spool(home, quota_bytes=1 << 20), Generator(), Books()
    for _ in range(30):
        for _ in range(20):
            generator.make(spool, LOW)
        spool.flush()
    room = directory_bytes(home) + 10_000
    real = os.write

    def write(file, data):
        if directory_bytes(home) + len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    with mock.patch.object(os, "write", write):
        for _ in range(20):
            for _ in range(5):
                generator.make(spool, CRITICAL)
            spool.flush()
    books.drain(spool)
    generator.agrees(books)
    assert {severity for _, severity in books.lost} == {LOW}


CALLS = ("write", "fsync", "open", "replace", "unlink", "ftruncate", "rename", "posix_fallocate")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_any_call_breaks_no_promise(home, number):
    def life(directory, fails_at):
        """How many calls of the disk a short life makes; the one of that number fails, and the two after it."""
        calls = itertools.count(1)

        def failing(real):
            def call(*args, **options):
                if fails_at <= next(calls) < fails_at + 3:
                    raise OSError(number, os.strerror(number))
                return real(*args, **options)

            return call

        spool, generator, books = open_spool(directory, segment_bytes=3000), Generator(), Books()
        safe = 0
        patches = [mock.patch.object(os, name, failing(getattr(os, name))) for name in CALLS]
        for patch in patches:
            patch.start()
        try:
            for n in range(16):
                for severity in (LOW, LOW, HIGH, CRITICAL):
                    generator.make(spool, severity, 900 if n % 2 else 2500)
                try:
                    safe = spool.flush()
                    assert safe == len(generator.made)
                    if n % 5 == 4:
                        spool.acknowledge(books.take(spool.batch(7, 1 << 20)))
                except SpoolError:
                    pass
                assert spool.safe >= safe
        finally:
            for patch in patches:
                patch.stop()
        spool.flush()
        kill(spool)
        spool = open_spool(directory, segment_bytes=3000)
        assert spool.safe == len(generator.made)
        books.drain(spool)
        generator.agrees(books)
        assert books.untold == 0
        kill(spool)
        return next(calls)

    whole = life(home / "none", 1 << 30)
    assert whole > 60
    for n in range(1, whole):
        life(home / str(n), n)
        shutil.rmtree(home / str(n))


MIX = (1,) * 10 + (2,) * 20 + (4, 5)
PROGRAM = f"""
MIX = {MIX}
import sys
from random import Random
from support.ledger import graded, noise, told
from sensor.spool import Spool
chance = Random(int(sys.argv[2]))
spool = Spool(sys.argv[1], told, quota_bytes=1, segment_bytes=4000)
while True:
    for _ in range(8):
        severity = chance.choice(MIX)
        spool.append(graded("rule." + str(severity), severity, noise(chance, 500)))
        print(severity, end=" ")
    print(spool.flush(), flush=True)
"""


class Life:
    """Runs of PROGRAM on one spool, each killed, and what they made."""

    def __init__(self, home: Path) -> None:
        self.home, self.made, self.runs = home, [], 0

    def until_killed(self, failpoint: str = "", lines: int = 0) -> int:
        """One run, killed at a failpoint or after so many flushes; gives its exit code."""
        self.runs += 1
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", failpoints.VARIABLE: failpoint}
        command = [sys.executable, "-c", PROGRAM, self.home, str(self.runs)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        text = [run.stdout.readline() for _ in range(lines)]
        if lines:
            run.kill()
        text += run.stdout.read().splitlines(keepends=True)
        run.wait()
        run.stdout.close()
        said = [[int(word) for word in line.split()] for line in text if line.endswith("\n")]
        for *severities, safe in said:
            self.made += severities
            assert safe == len(self.made)
        self._count_what_was_not_told(len(said))
        return run.returncode

    def _count_what_was_not_told(self, flushes: int) -> None:
        """The last flush may be safe though nobody was told; the same chance tells what it held."""
        spool = open_spool(self.home)
        untold = spool.safe - len(self.made)
        kill(spool)
        assert untold in (0, 8)
        chance = Random(self.runs)
        for n in range(8 * flushes + untold):
            severity = chance.choice(MIX)
            noise(chance, 500)
            if n >= 8 * flushes:
                self.made.append(severity)

    def agrees(self) -> None:
        """What was made is what is left and what the ledger counts; no critical finding is among the lost."""
        spool, books = open_spool(self.home), Books()
        books.drain(spool)
        kill(spool)
        assert Counter((f"rule.{severity}", severity) for severity in self.made) == books.stored + books.lost
        assert books.lost
        assert not [key for key in books.lost if key[1] == CRITICAL]


def test_kill_9_while_findings_are_given_up_leaves_an_exact_ledger(home):
    life = Life(home)
    for cycle in range(5):
        life.until_killed(lines=20 + 3 * cycle)
    life.agrees()


def test_dying_at_every_step_of_giving_up_leaves_an_exact_ledger(home):
    points = [name for name in read_points() if name.startswith(("spool.before_rewrite", "spool.after_rewrite"))]
    points += [name for name in read_points() if "merge" in name]
    assert len(points) == 7
    life = Life(home)
    for point in sorted(points):
        assert life.until_killed(failpoint=f"{point}:3") == -signal.SIGKILL, point
    life.agrees()


class QuotaMachine(RuleBasedStateMachine):
    """A spool with little room beside the books of its generator and of a console, through crashes and full disks."""

    @initialize(seed=st.integers(0, 99))
    def begin(self, seed):
        self.directory = Path(tempfile.mkdtemp(prefix="spool-", dir=IN_MEMORY))
        self.generator, self.books = Generator(seed), Books()
        self.full = False
        self.damaged = False
        self.safe = 0
        self.real = os.write
        self.patch = mock.patch.object(os, "write", self.write)
        self.patch.start()
        self.open()

    def write(self, file, data):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(file, data)

    def open(self):
        self.spool = open_spool(self.directory, segment_bytes=4000, max_waiting_bytes=20_000)

    @rule(severity=st.sampled_from([1, 2, 2, 2, 3, 4, 5]), many=st.integers(1, 12), length=st.sampled_from([50, 3000]))
    def append(self, severity, many, length):
        for _ in range(many):
            self.generator.make(self.spool, severity, length)

    @rule()
    def flush(self):
        if self.full and len(self.generator.made) > self.safe:
            with pytest.raises(SpoolError):
                self.spool.flush()
        else:
            self.safe = self.spool.flush()
            assert self.safe == len(self.generator.made)
            assert directory_bytes(self.directory) <= LEAST_QUOTA_BYTES + 8192

    @rule(answered=st.booleans(), ahead=st.booleans())
    def send(self, answered, ahead):
        try:
            if ahead:
                self.books.take(self.spool.grave(5, 1 << 20, self.books.acknowledged))
            acknowledged = self.books.take(self.spool.batch(20, 1 << 20))
            if answered:
                self.spool.acknowledge(acknowledged)
        except SpoolError:
            assert self.full

    @rule()
    def crash(self):
        kill(self.spool)
        self.full = False
        del self.generator.made[self.safe :]
        self.open()
        assert self.spool.safe == self.safe

    @rule()
    def fill_the_disk(self):
        self.full = True

    @rule()
    def space_returns(self):
        self.full = False

    @precondition(lambda self: not self.full)
    @rule(at=st.floats(0, 1, exclude_max=True), which=st.integers(0, 50))
    def damage(self, at, which):
        self.flush()
        kill(self.spool)
        paths = sorted(self.directory.glob("*.segment"))
        if paths:
            path = paths[which % len(paths)]
            content = bytearray(path.read_bytes())
            content[int(at * len(content))] ^= 0x55
            path.write_bytes(content)
            self.damaged = True
        self.open()
        # The end of the last segment may have been cut off as torn: what nobody was promised is made again.
        del self.generator.made[self.spool.safe :]
        self.safe = self.spool.safe

    def teardown(self):
        if not hasattr(self, "spool"):
            return
        self.full = False
        self.spool.flush()
        self.books.drain(self.spool)
        kill(self.spool)
        self.patch.stop()
        shutil.rmtree(self.directory)
        assert sorted(self.books.known) == list(range(1, len(self.generator.made) + 1))
        if not self.damaged:
            assert self.books.untold == 0
            self.generator.agrees(self.books)


QuotaMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestQuotaAgainstBooks = QuotaMachine.TestCase
