"""What a capture gave is counted once, whenever the sensor dies: tests/chaos/scenes.py kills it at every step."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from chaos.programs import line, read_line, token_of

from detectors.capture_notes import PENDING, CaptureNotes
from detectors.losses import loss_line
from sensor.spool import Spool, SpoolError


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool", lambda loss: loss_line(loss, "s1", made.epoch), epoch=1_795_000_000)
    yield made
    made.close()


def lines(*tokens: int) -> list[dict[str, object]]:
    return [dict(line(SimpleNamespace(epoch=1_795_000_000), token, 0)) for token in tokens]


def tokens_in(spool: Spool) -> list[int]:
    return [token_of(read_line(record.line)) for record in spool.batch(1000, 1 << 24)]


def interrupted(tmp_path: Path, spool: Spool, taken: int, *tokens: int) -> None:
    """As a crash leaves it: the note is written, and so many findings of it are on disk."""
    notes = CaptureNotes(tmp_path, spool)

    def stop() -> int:
        raise SpoolError("the end")

    flush, spool.flush = spool.flush, stop  # type: ignore[method-assign]
    append, calls = spool.append, []

    def count(build):
        calls.append(build)
        return append(build) if len(calls) <= taken else 0

    spool.append = count  # type: ignore[method-assign]
    with pytest.raises(SpoolError):
        notes.take("one", lines(*tokens))
    spool.flush, spool.append = flush, append  # type: ignore[method-assign]
    spool.flush()


def test_what_a_capture_gave_stands_in_the_spool_once_and_the_capture_counts_as_inspected(tmp_path, spool):
    CaptureNotes(tmp_path, spool).take("one", lines(1, 2, 3))
    again = CaptureNotes(tmp_path, spool)
    assert again.inspected("one")
    assert not again.inspected("two")
    assert tokens_in(spool) == [1, 2, 3]
    assert not (tmp_path / PENDING).exists()


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_after_a_crash_the_rest_is_taken_from_the_note_and_what_was_on_disk_is_not_taken_again(tmp_path, spool, taken):
    spool.append(lambda sequence: line(spool, 97, sequence))
    interrupted(tmp_path, spool, taken, 1, 2, 3)
    assert (tmp_path / PENDING).exists()
    assert CaptureNotes(tmp_path, spool).inspected("one")
    assert tokens_in(spool) == [97, 1, 2, 3]
    ids = [read_line(record.line)["finding.id"] for record in spool.batch(1000, 1 << 24)]
    assert ids == [f"s1/1795000000/{sequence}" for sequence in range(1, 5)]


def test_a_note_for_a_spool_that_is_no_more_counts_nothing_and_the_capture_is_inspected_again(tmp_path, spool):
    interrupted(tmp_path, spool, 1, 1, 2)
    path = tmp_path / PENDING
    head, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(head), "epoch": 7}) + "\n" + "".join(rest))
    assert not CaptureNotes(tmp_path, spool).inspected("one")
    assert tokens_in(spool) == [1]
    assert not path.exists()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]\n", '{"digest": "one", "epoch": 1795000000, "first": 1, "count": 2}\n{}\n']
)
def test_a_damaged_note_is_kept_aside_and_ends_nothing(tmp_path, spool, content):
    (tmp_path / PENDING).write_text(content)
    assert not CaptureNotes(tmp_path, spool).inspected("one")
    assert (tmp_path / PENDING).with_suffix(".damaged").read_text() == content
    assert tokens_in(spool) == []


def test_a_finding_that_the_spool_does_not_take_is_counted_and_the_others_stand(tmp_path, spool):
    large = {**lines(2)[0], "message": "x" * 5_000_000}
    assert CaptureNotes(tmp_path, spool).take("one", [*lines(1), large, *lines(3)]) == 1
    assert tokens_in(spool) == [1, 3]
