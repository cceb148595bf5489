"""The archive keeps what was committed, all of it or nothing, and knows what it holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from ipaddress import ip_network

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.archive.catalogue import NAME, VERSION
from sensor.archive.columns import arrow_type, column, lines_of, table_of, together
from sensor.archive.compaction import compact, merged, read
from sensor.archive.origin import ArchiveError, Origin
from sensor.archive.retention import outdated, prune
from sensor.archive.store import MAX_DAYS, Archive, Intake, counted
from sensor.archive.terms import span_of, term, text_of
from sensor.archive.verification import faults, leftovers

HOUR, DAY = 3600 * 10**9, 86_400 * 10**9
BEGIN = 20_000 * DAY


def row(at: int = 0, source: str = "10.0.0.1", **more: object) -> dict[str, object]:
    return {"@timestamp": BEGIN + at, "frame": 1, "source.ip": source, "network.protocol": "modbus", **more}


def behaviour(at: int, name: str, count: int = 1, **more: object) -> dict[str, object]:
    ends = {"archive.last": BEGIN + at, "archive.frame_last": 1}
    return row(at, **{"archive.behaviour": name, "archive.count": count, **ends, **more})


def put(archive: Archive, kind: str, lines: list[dict[str, object]], name: str = "a") -> None:
    with Intake(archive, Origin("live", name)) as intake:
        intake.add(kind, table_of(lines)[0])
        intake.commit(records=len(lines), archived=len(lines))


@pytest.fixture
def archive(tmp_path) -> Archive:
    return Archive(tmp_path / "archive", create=True)


def parquet_files(archive: Archive) -> list[str]:
    return sorted(f"{it.parent.name}/{it.name}" for it in archive.folder.glob("*/*"))


def test_what_is_committed_is_in_files_by_day_with_span_counts_and_hash(archive):
    put(archive, "events", [row(0), row(DAY), row(DAY + 5, "10.0.0.2")])
    first, second = archive.catalogue.files("events")
    assert (first.rows, second.rows) == (1, 2)
    assert (second.first_ns, second.last_ns) == (BEGIN + DAY, BEGIN + DAY + 5)
    assert second.protocols == ("modbus",)
    assert not [*faults(archive, first), *faults(archive, second), *leftovers(archive)]
    (number,) = duckdb.execute("select count(*) from read_parquet(?)", [f"{archive.folder}/*/*.parquet"]).fetchone()
    assert number == 3


def test_nothing_counts_before_it_is_committed(archive):
    with Intake(archive, Origin("capture", "x", "00")) as intake:
        intake.add("events", table_of([row()])[0])
        assert intake.rows == 1
        assert archive.catalogue.files() == []
    assert parquet_files(archive) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from sensor.archive import store
from sensor.archive.catalogue import Catalogue
from sensor.archive.columns import table_of
from sensor.archive.origin import Origin
point = sys.argv[2]
def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)
for where, name in ((store.os, "fsync"), (store.os, "replace"), (Catalogue, "add")):
    if name == point:
        setattr(where, name, die)
archive = store.Archive(Path(sys.argv[1]))
with store.Intake(archive, Origin("capture", "x", "00")) as intake:
    intake.add("events", table_of([{"@timestamp": 5, "frame": 2}])[0])
    intake.commit(records=1, archived=1)
"""


@pytest.mark.parametrize("point", ["fsync", "replace", "add", "nowhere"])
def test_a_writer_that_is_killed_leaves_all_or_nothing_and_the_next_one_cleans_up(archive, point):
    put(archive, "events", [row()])
    done = subprocess.run([sys.executable, "-c", KILLED, str(archive.folder), point], check=False)
    assert done.returncode == (0 if point == "nowhere" else -signal.SIGKILL)
    taken = point == "nowhere"
    assert archive.catalogue.taken(Origin("capture", "x", "00")) is taken
    assert len(archive.catalogue.files()) == 1 + taken
    assert bool(list(leftovers(archive))) is (point in ("replace", "add"))
    put(archive, "events", [row()], "b")
    assert list(leftovers(archive)) == []
    assert len(parquet_files(archive)) == 2 + taken
    assert not any(path.endswith(".partial") for path in parquet_files(archive))


def test_nobody_takes_away_the_files_of_a_writer_that_is_not_done(archive):
    with Intake(archive, Origin("capture", "x", "00")) as intake:
        intake.add("events", table_of([row()])[0])
        put(archive, "events", [row(5)], "b")
        intake.commit(records=1, archived=1)
    assert [list(faults(archive, it)) for it in archive.catalogue.files()] == [[], []]


def test_a_full_disk_is_an_error_and_leaves_nothing(archive, monkeypatch):
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match="No space left"), Intake(archive, Origin("live", "a")) as intake:
        intake.add("events", table_of([row()])[0])
    monkeypatch.undo()
    assert archive.catalogue.files() == []
    assert not any(path.endswith(".parquet") for path in parquet_files(archive))


def test_hostile_times_of_any_day_make_a_bounded_number_of_files(archive):
    put(archive, "events", [row(day * DAY - BEGIN) for day in range(-100, 500)])
    entries = archive.catalogue.files()
    assert len(entries) == MAX_DAYS + 1
    assert sum(it.rows for it in entries) == 600
    assert entries[-1].last_ns == 499 * DAY


def test_an_older_file_without_a_column_reads_as_null(archive):
    put(archive, "events", [row(0)])
    put(archive, "events", [row(1, **{"modbus.address": 7})])
    list(compact(archive, 1 << 40, pytest.fail))
    (entry,) = archive.catalogue.files()
    assert read(archive, entry)["modbus.address"].to_pylist() == [None, 7]


def test_compaction_leaves_one_file_a_day_with_the_same_sums(archive):
    for at in range(5):
        put(archive, "behaviours", [behaviour(at, "x", 2), behaviour(HOUR + at, "x"), behaviour(at, "y", 3)])
    put(archive, "behaviours", [behaviour(DAY, "x")])
    (done,) = compact(archive, 1 << 40, pytest.fail)
    assert (done.old, done.new) == (5, 1)
    day, other = archive.catalogue.files()
    assert (day.rows, day.events, other.rows) == (3, 30, 1)
    assert len(parquet_files(archive)) == 2
    counts = {
        line["archive.behaviour"]: line["archive.count"]
        for line in lines_of(read(archive, day))
        if line["@timestamp"] < "2024-10-04T01"
    }
    assert counts == {"x": 10, "y": 15}
    assert list(compact(archive, 1 << 40, pytest.fail)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * HOUR), st.sampled_from(["x", "y", None]), st.integers(1, 9), st.booleans(),
            st.one_of(st.none(), st.integers(-5, 5)),
        ),
        min_size=1,
    )
)  # fmt: skip
def test_merging_keeps_counts_times_and_ranges_of_each_behaviour_and_hour(rows):
    lines = [
        behaviour(
            at,
            name,
            count,
            anomalies=["gap"] if odd else None,
            **{"archive.value_max": value, "archive.value_min": value},
        )
        for at, name, count, odd, value in rows
    ]
    lines[0]["archive.origin"] = None
    table = table_of(lines)[0]
    small = merged(table)
    assert counted(small) == counted(table)

    def sums(lines):
        found = {}
        for line in lines:
            key = (line.get("archive.behaviour"), line["@timestamp"][:13])
            known = found.setdefault(key, [0, set(), set(), set()])
            known[0] += line["archive.count"]
            known[1].update([line["@timestamp"], line["archive.last"]])
            known[2].update(line.get("anomalies", ()))
            known[3].update(line[name] for name in ("archive.value_min", "archive.value_max") if name in line)
        return {
            key: (count, min(times), max(times), odd, min(values, default=0), max(values, default=0))
            for key, (count, times, odd, values) in found.items()
        }

    assert sums(lines_of(small)) == sums(lines_of(table))
    named = [line for line in lines_of(small) if "archive.behaviour" in line]
    assert len(named) == len({(line["archive.behaviour"], line["@timestamp"][:13]) for line in named})


def test_a_compaction_that_finds_a_damaged_file_leaves_all_as_it_was(archive):
    put(archive, "events", [row(0)])
    put(archive, "events", [row(1)])
    broken = archive.path(archive.catalogue.files()[0])
    broken.write_bytes(broken.read_bytes()[:-9])
    said: list[object] = []
    assert list(compact(archive, 1 << 40, said.append)) == []
    assert "verify" in str(said[0])
    assert len(archive.catalogue.files()) == 2


def test_verification_names_what_is_damaged_missing_or_not_counted(archive):
    put(archive, "events", [row(0), row(DAY), row(2 * DAY)])
    first, second, third = archive.catalogue.files()
    archive.path(first).write_bytes(b"PAR1")
    archive.path(second).unlink()
    with sqlite3.connect(archive.folder / NAME) as db:
        db.execute("delete from terms where file = ?", (third.number,))
    stray = archive.path(third).with_name("events-0.parquet")
    stray.write_bytes(b"")
    said = [next(faults(archive, it)) for it in (first, second, third)]
    assert "SHA-256" in said[0]
    assert "No such file" in said[1]
    assert "index" in said[2]
    assert str(stray) in next(leftovers(archive))


def test_retention_removes_the_oldest_and_counts_what_went(archive):
    put(archive, "events", [row(day * DAY) for day in range(6)])
    put(archive, "behaviours", [behaviour(0, "x", 9)])
    entries = archive.catalogue.files()
    removal = outdated(entries, first_day=20_002, max_bytes=sum(it.bytes for it in entries if it.day > 20_003))
    assert {why: len(found) for why, found in removal.items()} == {"age": 3, "size": 2}
    prune(archive, removal)
    assert [it.day for it in archive.catalogue.files()] == [20_004, 20_005]
    assert len(parquet_files(archive)) == 2
    gone = archive.catalogue.removals()
    assert sum(it["files"] for it in gone) == 5
    assert sum(it["events"] for it in gone) == 4 + 9
    assert sum(it["bytes"] for it in gone) == sum(it.bytes for it in entries if it.day < 20_004)


def test_files_that_are_read_just_now_stay_on_disk_until_later(archive):
    put(archive, "events", [row(0)])
    with archive.locked("reading"):
        prune(archive, outdated(archive.catalogue.files(), first_day=1 << 40, max_bytes=None))
        assert archive.catalogue.files() == []
        assert len(parquet_files(archive)) == 1
    archive.clean()
    assert parquet_files(archive) == []


def test_the_index_finds_addresses_networks_and_hashes_exactly(archive):
    mac, sha = "00:11:22:33:44:55", "ab" * 32
    put(archive, "events", [row(0, "10.0.0.7"), row(DAY, "2001:db8::5"), row(2 * DAY, **{"artifact.sha256": sha})])
    put(archive, "events", [{"@timestamp": BEGIN, "source.mac": mac}])
    numbers = {it.name: it.number for it in archive.catalogue.files()}
    assert len(numbers) == 4

    def holding(*texts: str) -> int:
        spans = [span_of(ip_network(text)) for text in texts if "/" in text]
        terms = [octets for text in texts if "/" not in text and (octets := term(text))]
        return len(archive.catalogue.holding(terms, spans))

    assert holding("10.0.0.7") == 1
    assert holding("10.0.0.8") == 0
    assert holding("10.0.0.0/29") == 2  # 10.0.0.1 is the source of the hash's row
    assert holding("2001:db8::/32", mac, sha) == 3
    assert holding("0.0.0.0/0") == 2


@given(st.one_of(st.ip_addresses().map(str), st.binary(min_size=6, max_size=6).map(lambda it: it.hex(":"))))
def test_a_term_leads_back_to_its_text(text):
    octets = term(text)
    assert octets is not None
    assert term(text_of(octets)) == octets


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(), st.booleans(), st.lists(st.integers())), max_size=6))
def test_values_that_do_not_fit_their_column_are_null_and_counted(values):
    for name in ("modbus.address", "modbus.function", "modbus.values", "modbus.device_id.more_follows"):
        array, unfit = column(list(values), name)
        assert array.type == arrow_type(name)
        assert array.null_count == sum(value is None for value in values) + unfit


def test_an_archive_of_another_version_or_none_at_all_is_refused_in_words(tmp_path, archive):
    with pytest.raises(ArchiveError, match="is no archive"):
        Archive(tmp_path / "nowhere")
    with sqlite3.connect(archive.folder / NAME) as db:
        db.execute(f"pragma user_version = {VERSION + 1}")
    with pytest.raises(ArchiveError, match="newer program"):
        Archive(archive.folder)
    (archive.folder / NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(ArchiveError, match="cannot be used"):
        Archive(archive.folder)


def test_a_catalogue_of_others_leads_to_no_file_outside_its_folder(tmp_path, archive):
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"x")
    with sqlite3.connect(archive.folder / NAME) as db:
        db.execute("insert into doomed values ('../outside.parquet')")
    archive.clean()
    assert outside.exists()
    put(archive, "events", [row(0)])
    with sqlite3.connect(archive.folder / NAME) as db:
        db.execute("update files set name = '../outside.parquet'")
    with pytest.raises(ArchiveError, match="no file of an archive"):
        archive.catalogue.files()
    with sqlite3.connect(archive.folder / NAME) as db:
        db.execute("update files set name = '2024-01-01/events-0123456789abcdef.parquet', columns = '{'")
    with pytest.raises(ArchiveError, match="cannot be used"):
        archive.catalogue.files()


def test_tables_with_different_columns_become_one_in_the_order_of_the_schema():
    found = together([table_of([{"modbus.address": 1}])[0], table_of([{"@timestamp": 1, "frame": 2}])[0]])
    assert found.column_names == ["@timestamp", "frame", "modbus.address"]


def test_a_file_is_plain_parquet(archive):
    put(archive, "events", [row(0, **{"modbus.values": [1, 2]})])
    (entry,) = archive.catalogue.files()
    assert pq.read_schema(archive.path(entry)).names == list(entry.columns)
