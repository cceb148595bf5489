"""What rules find in the archive is what the stream engine found in the traffic, event for event."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from detectors.hunting import chooser
from detectors.hunting.search import Search
from detectors.hunting.wanted import of_rules
from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import shipped
from sensor.archive.compaction import compact
from sensor.archive.origin import Target
from sensor.archive.store import Archive
from sensor.capture.source import open_capture

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "captures"
OURS = sorted((ROOT / "pcaps").rglob("*.pcap*"))
CASES = (
    "modbus/icsnpp-modbus__modbus_example",
    "modbus/quickdraw__modbus_test_data_part1",
    "s7comm/icsnpp-s7comm__snap7",
    "dnp3/quickdraw__dnp3_test_data_part1",
    "iec104/zeek-iec104__iec104",
    "enip/icsnpp-enip__enip_cip_example",
    "bacnet/icsnpp-bacnet__bacnet_example",
    "goose/icsnpp-goose__GOOSE",
)


class Counting:
    """Counts the events that the stream engine's matcher names for each rule."""

    name = "counting"

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def observe(self, batch, scene):
        matcher = scene.matcher
        for behaviour, count in zip(*np.unique(batch.columns.behaviour, return_counts=True), strict=True):
            for number in matcher.numbers(int(behaviour)):
                self.events[matcher.rules[number].id] += int(count)
        for number, rows in matcher.late:
            self.events[matcher.rules[number].id] += len(rows)
        return ()

    def flush(self, scene):
        return ()


def by_stream(path: Path, folder: Path) -> Counter[str]:
    counting = Counting()
    pipeline = Pipeline(Options(archive=Target(folder), capture=str(path)), [counting])
    pipeline.engineering = None
    assert list(pipeline.run(open_capture(str(path)))) == []
    assert not pipeline.scene.matcher.unseen  # otherwise the stream engine itself missed something
    return counting.events


def by_archive(folder: Path) -> Counter[str]:
    search = Search(Archive(folder), of_rules(shipped().rules), most=0)
    assert list(search.run(lambda _done, _all: None)) == []
    assert search.broken == []
    return Counter({name: total.events for name, total in search.totals.items()})


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "MAX_EACH", 1 << 30)


@pytest.mark.parametrize("path", OURS[:: max(len(OURS) // 5, 1)], ids=lambda path: path.stem)
def test_rules_find_in_the_archive_what_they_found_in_our_captures(path, tmp_path):
    assert by_stream(path, tmp_path) == by_archive(tmp_path)


def test_rules_find_something_in_our_captures(tmp_path):
    found = Counter()
    for path in OURS[:50]:
        found += by_stream(path, tmp_path)
    assert len(found) > 20
    assert found == by_archive(tmp_path)
    assert list(compact(Archive(tmp_path), 1 << 40, pytest.fail))
    assert found == by_archive(tmp_path)


@pytest.mark.captures
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine")
@pytest.mark.parametrize("case", CASES)
def test_rules_find_in_the_archive_what_they_found_in_captures_of_others(case, tmp_path):
    (path, *_) = sorted((SHARED / case).rglob("capture.pcap*"))
    assert by_stream(path, tmp_path) == by_archive(tmp_path)
