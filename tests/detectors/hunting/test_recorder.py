"""What a run leaves in the archive: every event counted, chosen ones kept, and trouble told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detectors.contract import Scene
from detectors.hunting import recorder as recording
from detectors.hunting.chooser import MAX_EACH
from detectors.hunting.recorder import Recorder
from detectors.pipeline import Options, Pipeline
from sensor.archive.columns import lines_of
from sensor.archive.compaction import read
from sensor.archive.origin import Origin, Target
from sensor.archive.store import Archive
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder

CAPTURES = Path(__file__).resolve().parents[3] / "pcaps"
CAPTURE = str(sorted(CAPTURES.rglob("*.pcap*"))[0])


def record(folder: Path, capture: str = CAPTURE) -> tuple[Pipeline, list]:
    pipeline = Pipeline(Options(archive=Target(folder, "north", 7), capture=capture), [])
    pipeline.engineering = None
    return pipeline, list(pipeline.run(open_capture(capture)))


def kept(folder: Path, kind: str) -> list[dict]:
    archive = Archive(folder)
    return [line for entry in archive.catalogue.files(kind) for line in lines_of(read(archive, entry))]


def test_every_event_of_a_capture_is_counted_in_behaviours_with_the_way_back_to_its_frames(tmp_path):
    pipeline, findings = record(tmp_path)
    rows = kept(tmp_path, "behaviours")
    assert findings == []
    assert sum(row["archive.count"] for row in rows) == pipeline.events > 0
    (taking,) = Archive(tmp_path).catalogue.takings()
    assert (taking.records, taking.archived, taking.rejected) == (pipeline.events, pipeline.events, 0)
    (origin,) = Archive(tmp_path).catalogue.origins().values()
    assert (origin["path"], origin["sensor"], origin["epoch"]) == (CAPTURE, "north", 7)
    decoder = Decoder()
    frames = {}
    for batch in decoder.decode(open_capture(CAPTURE)):
        for row in range(batch.size):
            frames.setdefault(int(batch.columns.frame[row]), []).append(decoder.view.fields(batch, row))
    for row in rows:
        same = [event["source.ip"] for event in frames[row["frame"]] if event["event.kind"] == row["event.kind"]]
        assert row["source.ip"] in same
        assert row["archive.frame_last"] in frames


def test_the_same_capture_is_taken_once_whatever_its_name(tmp_path):
    record(tmp_path / "archive")
    again = tmp_path / "again.pcap"
    again.write_bytes(Path(CAPTURE).read_bytes())
    before = Archive(tmp_path / "archive").catalogue.files()
    record(tmp_path / "archive", str(again))
    assert Archive(tmp_path / "archive").catalogue.files() == before


def test_an_archive_that_cannot_be_written_is_a_finding_and_nothing_of_the_capture_counts(tmp_path, monkeypatch):
    def full(*_args: object) -> None:
        raise recording.ArchiveError("disk full")

    monkeypatch.setattr(Archive, "write", full)
    pipeline, findings = record(tmp_path)
    assert [it.rule_id for it in findings] == ["sensor.archive-failed"]
    assert "disk full" in findings[0].explanation.en
    assert str(pipeline.events) in findings[0].explanation.en
    assert Archive(tmp_path).catalogue.files() == []
    monkeypatch.undo()
    record(tmp_path)
    assert sum(row["archive.count"] for row in kept(tmp_path, "behaviours")) == pipeline.events


class Live:
    """A recorder on a link whose clock is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder(Target(folder, "north"), interfaces="eth0")
        self.decoder = Decoder()
        self.scene = Scene(self.decoder.view)
        self.batches = [batch for batch in self.decoder.decode(open_capture(CAPTURE)) if batch.size]

    def see(self, shift_ns: int) -> list:
        findings = []
        for batch in self.batches:
            columns = batch.columns._replace(ts_ns=batch.columns.ts_ns + shift_ns)
            batch = batch._replace(columns=columns)
            self.scene.advance(batch)
            self.scene.matcher.observe(self.decoder.view, batch, self.scene.now_ns)
            findings += self.recorder.observe(batch, self.scene)
        return findings

    @property
    def events(self) -> int:
        return sum(batch.size for batch in self.batches)


def test_a_live_run_counts_what_it_wrote_every_two_minutes(tmp_path):
    live = Live(tmp_path)
    for minute in range(0, 60, 2):
        assert live.see(minute * 60 * 10**9) == []
    counted = sum(row["archive.count"] for row in kept(tmp_path, "behaviours"))
    assert counted >= 24 * live.events
    assert list(live.recorder.flush(live.scene)) == []
    assert sum(row["archive.count"] for row in kept(tmp_path, "behaviours")) == 30 * live.events
    (taking,) = Archive(tmp_path).catalogue.takings()
    assert taking.records == taking.archived == 30 * live.events
    per_behaviour = np.unique([row["frame"] for row in kept(tmp_path, "events")], return_counts=True)[1]
    assert per_behaviour.max() <= 2 * MAX_EACH * live.events
    assert taking.left_out + len(kept(tmp_path, "events")) > 0


def test_a_live_run_keeps_what_it_could_not_write_and_writes_it_later(tmp_path, monkeypatch):
    live = Live(tmp_path)
    live.see(0)

    def full(*_args: object) -> None:
        raise recording.ArchiveError("disk full")

    monkeypatch.setattr(Archive, "write", full)
    findings = live.see(6 * 60 * 10**9)
    assert {it.rule_id for it in findings} == {"sensor.archive-failed"}
    monkeypatch.undo()
    live.see(12 * 60 * 10**9)
    assert list(live.recorder.flush(live.scene)) == []
    assert sum(row["archive.count"] for row in kept(tmp_path, "behaviours")) == 3 * live.events
    (taking,) = Archive(tmp_path).catalogue.takings()
    assert taking.rejected == 0


def test_what_does_not_fit_into_memory_is_let_go_counted_and_told(tmp_path, monkeypatch):
    live = Live(tmp_path)

    def full(*_args: object) -> None:
        raise recording.ArchiveError("disk full")

    monkeypatch.setattr(Archive, "write", full)
    monkeypatch.setattr(recording, "MAX_ROWS", 1)
    live.see(0)
    findings = live.see(6 * 60 * 10**9)
    monkeypatch.undo()
    live.see(12 * 60 * 10**9)
    list(live.recorder.flush(live.scene))
    (taking,) = Archive(tmp_path).catalogue.takings()
    assert findings
    assert taking.records == 3 * live.events == taking.archived + taking.rejected
    assert taking.rejected > 0
    assert sum(row["archive.count"] for row in kept(tmp_path, "behaviours")) == taking.archived


def test_a_flood_of_new_behaviours_keeps_their_codes_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "BURST", 1)
    monkeypatch.setattr(recording, "SHARE", 1 << 30)
    pipeline, _ = record(tmp_path)
    rows = kept(tmp_path, "behaviours")
    assert sum(row["archive.count"] for row in rows) == pipeline.events
    narrow = [row for row in rows if not row["archive.described"]]
    assert len(narrow) >= len(rows) - 2
    assert all("source.ip" in row and "network.protocol" in row for row in narrow)


@pytest.mark.parametrize("path", [CAPTURE])
def test_an_origin_is_the_same_for_the_same_octets_only(path):
    one = Origin("capture", path, "aa", "north", 1)
    assert one.id == Origin("capture", "other", "aa", "north", 2).id
    assert one.id != Origin("capture", path, "ab", "north", 1).id
    assert one.id != Origin("zeek", path, "aa", "north", 1).id
