"""A sensor's archive is looked after by itself, within its limits, and what was done is counted."""

from __future__ import annotations

import time

import pytest

from sensor.archive.columns import table_of
from sensor.archive.origin import ArchiveError, Origin
from sensor.archive.store import Archive, Intake
from sensor.archive.upkeep import ALL, ArchiveUpkeep, Limits, look_after
from sensor.archive.verification import faults

DAY = 86_400 * 10**9
NOW = 20_010 * DAY + DAY // 2


def put(archive: Archive, day: int, name: str) -> None:
    rows = [{"@timestamp": day * DAY + at, "frame": at + 1, "network.protocol": "modbus"} for at in range(10)]
    with Intake(archive, Origin("live", name)) as intake:
        intake.add("events", table_of(rows)[0])
        intake.commit(records=10, archived=10)


@pytest.fixture
def archive(tmp_path) -> Archive:
    """Three small files on each of three days: ten days ago, yesterday, today."""
    made = Archive(tmp_path / "archive", create=True)
    for day in (20_000, 20_009, 20_010):
        for number in range(3):
            put(made, day, f"{day}-{number}")
    return made


def test_past_days_become_one_file_each_and_today_is_left_alone(archive):
    done = look_after(archive.folder, ALL, NOW)
    assert [it.day for it in archive.catalogue.files()] == [20_000, 20_009, *[20_010] * 3]
    assert (done["archive.compacted"], done["archive.removed"], done["archive.files"]) == (6, 0, 5)
    assert [it for entry in archive.catalogue.files() for it in faults(archive, entry)] == []
    assert look_after(archive.folder, ALL, NOW)["archive.compacted"] == 0


def test_days_beyond_the_limit_go_and_their_events_are_counted(archive):
    done = look_after(archive.folder, Limits(days=2), NOW)
    assert {it.day for it in archive.catalogue.files()} == {20_009, 20_010}
    assert (done["archive.removed"], done["archive.removed_events"]) == (3, 30)


def test_the_oldest_go_where_all_of_it_is_larger_than_it_may_be(archive):
    largest = sum(it.bytes for it in archive.catalogue.files()[4:])
    look_after(archive.folder, Limits(bytes=largest), NOW)
    assert sum(it.bytes for it in archive.catalogue.files()) <= largest
    assert {it.day for it in archive.catalogue.files()} == {20_009, 20_010}


def test_rounds_are_made_beside_the_sensor_and_told_in_counters(archive):
    put(archive, time.time_ns() // DAY, "now")
    upkeep = ArchiveUpkeep(archive.folder, Limits(days=2), first_s=0.01)
    end = time.monotonic() + 120
    while not upkeep.counters()["archive.files"] and time.monotonic() < end:
        time.sleep(0.02)
    upkeep.close()
    counted = upkeep.counters()
    assert (counted["archive.removed"], counted["archive.removed_events"]) == (9, 90)
    assert (counted["archive.files"], counted["archive.upkeep_failed"]) == (1, 0)


def test_an_archive_that_cannot_be_used_is_told_once_and_counted_each_time(tmp_path):
    with pytest.raises(ArchiveError):
        look_after(tmp_path, ALL, NOW)
    said: list[str] = []
    upkeep = ArchiveUpkeep(tmp_path, ALL, said.append, first_s=0.01, every_s=0.01)
    end = time.monotonic() + 120
    while upkeep.counters()["archive.upkeep_failed"] < 2 and time.monotonic() < end:
        time.sleep(0.02)
    upkeep.close()
    assert len(said) == 1
    assert "is no archive" in said[0]
