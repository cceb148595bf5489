"""The spool keeps what it promised: through crashes at any byte, damage, full disks, and two who want it."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensor.spool import Spool, SpoolError
from sensor.spool_files import LOSS, MAX_RECORD_BYTES, SEGMENT_HEADER, Record

# Thousands of syncs: in memory where there is such a directory. What is tested is what the files hold, not the disk.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROOT = Path(__file__).parents[2]
EPOCH = 1_764_000_000


def open_spool(directory, **options) -> Spool:
    return Spool(directory, build_loss, **{"clock": lambda: EPOCH, **options})


def build_loss(loss):
    return {"lost": loss.why, "of": loss.findings}


def surviving(spool) -> list[int]:
    """Sequences whose own finding comes; the others must come as stand-ins, so that none is missing."""
    records = everything(spool)
    stand_for = [number for it in records for number in range(it.first, it.sequence + 1)]
    assert stand_for == list(range(spool.acknowledged + 1, spool.safe + 1))
    for record in records:
        assert (record.severity == LOSS) == (record.line == b'{"lost":"damaged","of":%d}' % record.span)
    return [record.sequence for record in records if record.severity != LOSS]


def finding(text):
    """What a detector would have the spool build, with its sequence in it."""
    return lambda sequence: {"finding.id": f"s/{EPOCH}/{sequence}", "message": text}


def line(sequence, text) -> bytes:
    record = {"finding.id": f"s/{EPOCH}/{sequence}", "message": text}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def fill(spool, count, text="x"):
    for _ in range(count):
        spool.append(finding(text))
    return spool.flush()


def everything(spool) -> list[Record]:
    return spool.batch(1_000_000, 1 << 40)


def sequences(spool) -> list[int]:
    return [record.sequence for record in everything(spool)]


def kill(spool):
    """What the end of a process does: nothing is flushed, the descriptors and the lock go."""
    spool._segments.end()
    if spool._directory_file >= 0:
        os.close(spool._directory_file)
    spool._directory_file = -1


def segments(directory) -> list[Path]:
    return sorted(Path(directory).glob("*.segment"))


def test_findings_come_out_in_order_with_gap_free_sequences_from_1(tmp_path):
    spool = open_spool(tmp_path)
    assert [spool.append(finding(text)) for text in "abc"] == [1, 2, 3]
    assert everything(spool) == [], "nothing may be sent before it is on disk"
    assert spool.depth == 3
    assert spool.flush() == 3
    assert everything(spool) == [Record(i, line(i, text)) for i, text in enumerate("abc", 1)]
    assert spool.epoch == EPOCH


def test_what_was_not_acknowledged_comes_again_after_a_restart(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 5)
    assert len(spool.batch(3, 1 << 20)) == 3
    spool.acknowledge(2)
    spool.close()
    spool = open_spool(tmp_path, clock=lambda: EPOCH + 999)
    assert spool.epoch == EPOCH, "a spool keeps the epoch of its making"
    assert (spool.acknowledged, spool.safe, spool.depth) == (2, 5, 3)
    assert sequences(spool) == [3, 4, 5]
    assert spool.append(finding("next")) == 6


def test_closing_flushes(tmp_path):
    spool = open_spool(tmp_path)
    spool.append(finding("last words"))
    spool.close()
    assert sequences(open_spool(tmp_path)) == [1]


def test_a_batch_is_bounded_by_number_and_by_bytes_but_never_empty(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 10, "y" * 100)
    size = len(line(1, "y" * 100))
    assert len(spool.batch(4, 1 << 20)) == 4
    assert len(spool.batch(500, 3 * size)) == 3
    assert len(spool.batch(500, 3 * size - 1)) == 2
    assert len(spool.batch(500, 1)) == 1


def test_late_and_repeated_acknowledgements_change_nothing(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 5)
    everything(spool)
    spool.acknowledge(4)
    spool.acknowledge(2)
    spool.acknowledge(4)
    assert sequences(spool) == [5]


def test_an_acknowledgement_of_what_was_never_sent_is_an_error_that_names_the_cause(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 5)
    spool.batch(2, 1 << 20)
    with pytest.raises(SpoolError, match="another sensor uses a copy"):
        spool.acknowledge(3)
    assert sequences(spool) == [1, 2, 3, 4, 5]


def test_segments_that_are_acknowledged_are_deleted_and_no_others(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1000)
    for _ in range(40):
        fill(spool, 1, "z" * 100)
    whole = len(segments(tmp_path))
    assert whole > 4
    everything(spool)
    spool.acknowledge(20)
    assert sequences(spool) == list(range(21, 41))
    assert 1 < len(segments(tmp_path)) < whole
    spool.acknowledge(40)
    assert len(segments(tmp_path)) <= 1
    assert fill(spool, 1) == 41
    assert sequences(spool) == [41]


def test_the_state_is_safe_before_anything_is_deleted(tmp_path, monkeypatch):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(3):
        fill(spool, 1)
    everything(spool)
    steps = []

    def noting(name, real):
        def step(*args, **options):
            steps.append(name)
            return real(*args, **options)

        return step

    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    spool.acknowledge(2)
    assert steps == ["fsync", "replace", "fsync", "unlink", "unlink"]


def test_nothing_is_handed_out_before_it_is_noted_that_it_will_be(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 5)
    spool.batch(3, 1 << 20)
    kill(spool)
    for path in segments(tmp_path):
        path.unlink()  # the disk lost what was safe
    spool = open_spool(tmp_path)
    assert spool.append(finding("new")) == 6, "some may be in the console: another finding must not have their ids"
    spool.flush()
    assert surviving(spool) == [6]
    assert (spool.lost_count, spool.lost) == (5, ((1, 5),))


def test_losing_everything_leaves_a_queue_of_stand_ins_not_a_stuck_one(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 3)
    everything(spool)
    kill(spool)
    segments(tmp_path)[0].write_bytes(b"")
    spool = open_spool(tmp_path)
    assert surviving(spool) == []
    assert (spool.depth, spool.lost) == (3, ((1, 3),))
    assert spool.batch(2, 1 << 20) == [Record(3, b'{"lost":"damaged","of":3}', LOSS, "damaged", 0, 3)]
    spool.acknowledge(3)
    assert (spool.depth, spool.lost_count) == (0, 3)


@pytest.fixture
def in_memory():
    with tempfile.TemporaryDirectory(prefix="spool-", dir=IN_MEMORY) as directory:
        yield Path(directory)


def test_every_flipped_byte_of_a_segment_costs_one_block_at_most_and_is_noticed(in_memory):
    home = in_memory / "whole"
    spool = open_spool(home)
    ends = []
    for _ in range(3):
        fill(spool, 2, "text")
        ends.append(segments(home)[0].stat().st_size)
    everything(spool)
    kill(spool)
    content = segments(home)[0].read_bytes()
    copy = in_memory / "copy"
    for at in range(len(content)):
        shutil.copytree(home, copy)
        segments(copy)[0].write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        spool = open_spool(copy)
        got = surviving(spool)
        if at < SEGMENT_HEADER.size:
            assert got == [1, 2, 3, 4, 5, 6]
            assert spool.lost_count == 0
        else:
            broken = 2 * next(i for i, end in enumerate(ends) if at < end) + 1
            assert got == [i for i in range(1, 7) if i not in (broken, broken + 1)]
            assert (spool.lost_count, spool.lost) == (2, ((broken, broken + 1),))
            assert surviving(spool) == got
            assert spool.lost_count == 2, "a loss is counted once, however often it is met"
        kill(spool)
        spool = open_spool(copy)
        assert spool.append(finding("next")) == 7
        kill(spool)
        shutil.rmtree(copy)


def test_damage_in_an_older_segment_leaves_the_others_alone(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(4):
        fill(spool, 2)
    kill(spool)
    segments(tmp_path)[1].write_bytes(b"\0" * 300)
    spool = open_spool(tmp_path)
    assert surviving(spool) == [1, 2, 5, 6, 7, 8]
    assert spool.lost == ((3, 4),)
    spool.acknowledge(8)
    assert spool.depth == 0


@pytest.mark.parametrize("damage", [b"", b"0", b"garbage", b"00000000 {}", "消".encode(), b"\xff" * 40], ids=repr)
def test_a_damaged_state_file_does_not_stop_the_spool_and_loses_nothing(tmp_path, damage):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(4):
        fill(spool, 1)
    everything(spool)
    spool.acknowledge(2)
    kill(spool)
    (tmp_path / "state.json").write_bytes(damage)
    spool = open_spool(tmp_path, clock=lambda: EPOCH + 5)
    assert spool.epoch == EPOCH
    assert sequences(spool) == [3, 4]
    spool.acknowledge(4)  # the console may know of it from before
    assert spool.append(finding("next")) == 5


def test_segments_of_another_spool_are_set_aside(tmp_path):
    other = open_spool(tmp_path / "other", clock=lambda: 1)
    fill(other, 9)
    kill(other)
    spool = open_spool(tmp_path / "mine")
    fill(spool, 2)
    kill(spool)
    shutil.copy(segments(tmp_path / "other")[0], tmp_path / "mine" / f"{7:020d}.segment")
    spool = open_spool(tmp_path / "mine")
    assert sequences(spool) == [1, 2]
    aside = {path.name for path in (tmp_path / "mine" / "quarantine").iterdir()}
    assert sorted(name.endswith(".why") for name in aside) == [False, True]


def test_a_spool_belongs_to_one_process_at_a_time(tmp_path):
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolError, match="in use by another sensor"):
        open_spool(tmp_path)
    spool.close()
    open_spool(tmp_path).close()


def test_a_directory_that_cannot_be_used_gives_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SpoolError, match=r"cannot be opened: (File exists|Not a directory)") as caught:
            open_spool(path)
        assert "\n" not in str(caught.value)


def test_text_of_any_kind_survives(tmp_path):
    texts = ["烽火", "\n\r\0\x1b", "\ud800 lone", "\u2028", '"\\', "😀"]
    spool = open_spool(tmp_path)
    for text in texts:
        spool.append(finding(text))
    spool.flush()
    records = everything(spool)
    assert [json.loads(record.line)["message"] for record in records] == texts
    assert all(b"\n" not in record.line for record in records)


def test_what_is_no_json_or_too_long_is_refused_and_takes_no_sequence(tmp_path):
    spool = open_spool(tmp_path)
    for bad, error in ((float("nan"), ValueError), (b"bytes", TypeError), ("x" * MAX_RECORD_BYTES, ValueError)):
        with pytest.raises(error):
            spool.append(lambda _, bad=bad: {"message": bad})
    assert spool.append(finding("good")) == 1
    spool.flush()
    assert sequences(spool) == [1]


@pytest.mark.parametrize("room", [0, 5, 60, 120])
def test_a_full_disk_loses_nothing_and_needs_no_restart(tmp_path, room):
    spool = open_spool(tmp_path)
    fill(spool, 3)
    size = segments(tmp_path)[0].stat().st_size
    for _ in range(5):
        spool.append(finding("in the way"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, before[1]))
    try:
        with pytest.raises(SpoolError, match="cannot be written"):
            spool.flush()
        assert (spool.safe, spool.depth) == (3, 8)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # not even room for a segment's header
        with pytest.raises(SpoolError, match="cannot be written"):
            spool.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert sequences(spool) == [1, 2, 3]
    assert spool.flush() == 8
    assert sequences(spool) == list(range(1, 9))
    kill(spool)
    spool = open_spool(tmp_path)
    assert sequences(spool) == list(range(1, 9))
    assert (spool.lost_count, spool.torn_bytes) == (0, 0)


def test_a_file_whose_sync_failed_is_never_trusted_again(tmp_path, monkeypatch):
    spool = open_spool(tmp_path)
    fill(spool, 2)
    spool.append(finding("third"))
    synced = []
    real = os.fsync

    def fails_once(file):
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.flush()
    assert spool.safe == 2
    assert spool.flush() == 3
    assert synced[0] not in synced[1:]
    assert sequences(spool) == [1, 2, 3]


def aside(directory) -> list[str]:
    """What the notes in the quarantine say."""
    return sorted(path.read_text().strip() for path in (directory / "quarantine").glob("*.why"))


def test_a_segment_that_cannot_be_read_is_set_aside_with_its_range_and_the_rest_is_delivered(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(4):
        fill(spool, 2)
    broken = segments(tmp_path)[1]
    broken.unlink()
    broken.mkdir()  # reading it is an error of the system
    assert surviving(spool) == [1, 2, 5, 6, 7, 8]
    assert spool.lost == ((3, 4),)
    assert aside(tmp_path) == [f"{broken.name}: it cannot be read (Is a directory); sequences 3 to 4"]
    assert fill(spool, 1) == 9


def test_the_same_at_start(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(4):
        fill(spool, 2)
    kill(spool)
    broken = segments(tmp_path)[1]
    broken.unlink()
    broken.mkdir()
    spool = open_spool(tmp_path)
    assert surviving(spool) == [1, 2, 5, 6, 7, 8]
    assert aside(tmp_path) == [f"{broken.name}: it cannot be read (Is a directory); sequences 3 to 4"]


def test_segments_of_another_version_are_set_aside_not_deleted(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1)
    for _ in range(3):
        fill(spool, 2)
    everything(spool)
    kill(spool)
    for path in segments(tmp_path)[1:]:
        path.write_bytes(b"FHSPOOL1" + bytes(200))
    spool = open_spool(tmp_path)
    assert surviving(spool) == [1, 2]
    assert spool.lost == ((3, 6),)
    notes = aside(tmp_path)
    assert len(notes) == 2
    assert all("no segment of this version" in note for note in notes)
    assert notes[0].endswith("sequences 3 to 4")


def test_a_damaged_state_file_is_kept_for_whoever_looks_for_the_cause(tmp_path):
    spool = open_spool(tmp_path)
    fill(spool, 1)
    kill(spool)
    (tmp_path / "state.json").write_bytes(b"00000000 {}")
    open_spool(tmp_path)
    assert aside(tmp_path) == ["state.json: it cannot be read (its checksum is wrong)"]


def test_the_quarantine_is_bounded(tmp_path):
    for n in range(30):
        (tmp_path / "state.json").write_bytes(b"rubbish %d" % n)
        kill(open_spool(tmp_path))
    assert len(list((tmp_path / "quarantine").iterdir())) <= 2 * 16


def test_rubbish_behind_what_could_be_written_hides_nothing_of_the_next_segment(tmp_path, monkeypatch):
    spool = open_spool(tmp_path)
    fill(spool, 2)
    spool.append(finding("third"))
    real = os.fsync

    def fails_once(file):
        monkeypatch.setattr(os, "fsync", real)
        monkeypatch.setattr(os, "ftruncate", refuses)
        raise OSError(errno.EIO, "Input/output error")

    def refuses(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.flush()
    assert spool.flush() == 3
    kill(spool)
    first = segments(tmp_path)[0]
    content = first.read_bytes()
    first.write_bytes(content[:-3] + b"???")  # what was never synced never came to the disk whole
    spool = open_spool(tmp_path)
    assert surviving(spool) == [1, 2, 3]
    assert spool.lost_count == 0


PROGRAM = """
import sys
from sensor.spool import Spool
spool = Spool(sys.argv[1], lambda loss: {}, segment_bytes=2000)
while True:
    for _ in range(3):
        spool.append(lambda sequence: {"n": sequence, "text": "t" * 150})
    print(spool.flush(), flush=True)
    records = spool.batch(2, 1 << 20)
    spool.acknowledge(records[-1].sequence)
    print(-spool.acknowledged, flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_safe(tmp_path):
    safe = acknowledged = 0
    for cycle in range(8):
        run = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        lines = [run.stdout.readline() for _ in range(3 + 7 * cycle)]
        run.kill()
        lines += run.stdout.read().splitlines()
        run.wait()
        numbers = [int(text) for text in lines if text.strip()]
        safe, acknowledged = max(numbers), -min(numbers)
        spool = open_spool(tmp_path)
        assert spool.safe >= safe
        assert spool.acknowledged >= acknowledged
        records = everything(spool)
        assert [record.sequence for record in records] == list(range(spool.acknowledged + 1, spool.safe + 1))
        assert all(json.loads(record.line)["n"] == record.sequence for record in records)
        assert spool.lost_count == 0
        kill(spool)


class SpoolMachine(RuleBasedStateMachine):
    """The spool beside a list, with crashes at every byte of what was being written."""

    @initialize(segment_bytes=st.sampled_from([1, 300, 1 << 20]))
    def begin(self, segment_bytes):
        self.directory = Path(tempfile.mkdtemp(prefix="spool-", dir=IN_MEMORY))
        self.segment_bytes = segment_bytes
        self.spool = open_spool(self.directory, segment_bytes=segment_bytes)
        self.texts: list[str] = []  # of every finding ever taken, by sequence - 1
        self.safe = self.acknowledged = self.handed_out = 0

    def reopen(self):
        self.spool = open_spool(self.directory, segment_bytes=self.segment_bytes)
        assert self.spool.epoch == EPOCH
        assert self.spool.lost_count == 0

    @rule(text=st.text(max_size=30))
    def append(self, text):
        self.texts.append(text)
        assert self.spool.append(finding(text)) == len(self.texts)

    @rule()
    def flush(self):
        assert self.spool.flush() == len(self.texts)
        self.safe = len(self.texts)

    @rule(most=st.integers(1, 6), most_bytes=st.sampled_from([1, 150, 1 << 20]))
    def batch(self, most, most_bytes):
        records = self.spool.batch(most, most_bytes)
        begin = self.acknowledged
        assert len(records) <= min(most, self.safe - begin)
        assert bool(records) == (self.safe > begin)
        for sequence, record in enumerate(records, begin + 1):
            assert record.sequence == sequence
            assert json.loads(record.line)["message"] == self.texts[sequence - 1]
            assert json.loads(record.line)["finding.id"].endswith(f"/{sequence}")
        self.handed_out = max(self.handed_out, begin + len(records))

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data())
    def acknowledge(self, data):
        sequence = data.draw(st.integers(0, self.handed_out))
        self.spool.acknowledge(sequence)
        self.acknowledged = max(self.acknowledged, sequence)

    @rule()
    def restart(self):
        self.spool.close()
        self.safe = len(self.texts)
        self.reopen()

    @rule()
    def crash(self):
        kill(self.spool)
        del self.texts[self.safe :]
        self.reopen()

    @rule(data=st.data())
    def crash_while_flushing(self, data):
        before = {path: path.stat().st_size for path in segments(self.directory)}
        self.spool.flush()
        kill(self.spool)
        for path in segments(self.directory):
            size = path.stat().st_size
            if size > before.get(path, -1):
                os.truncate(path, data.draw(st.integers(before.get(path, 0), size)))
        self.reopen()
        assert self.safe <= self.spool.safe <= len(self.texts)
        self.safe = self.spool.safe
        del self.texts[self.safe :]

    @rule(text=st.binary(max_size=20))
    def crash_while_storing_the_state(self, text):
        kill(self.spool)
        del self.texts[self.safe :]
        (self.directory / "state.json.new").write_bytes(text)
        self.reopen()

    @invariant()
    def figures_agree(self):
        if hasattr(self, "spool"):
            assert self.spool.safe == self.safe
            assert self.spool.acknowledged == self.acknowledged
            assert self.spool.depth == len(self.texts) - self.acknowledged

    def teardown(self):
        if hasattr(self, "spool"):
            kill(self.spool)
            shutil.rmtree(self.directory)


SpoolMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestSpoolAgainstAList = SpoolMachine.TestCase
