"""What a hunt finds is what a naive look at every row finds, however few files are opened for it."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.hunting.indicator_list import seek
from detectors.hunting.search import Search
from detectors.hunting.wanted import condition, impossible, needed
from detectors.sigma.tree import all_of, any_of, predicate
from sensor.archive.columns import lines_of, table_of
from sensor.archive.compaction import read
from sensor.archive.origin import Origin
from sensor.archive.store import Archive, Intake

DAY, DAYS = 86_400 * 10**9, 15
HOSTS = [f"10.0.{third}.{last}" for third in range(3) for last in range(3)] + ["2001:db8::1"]


def behaviour(day: int, source: str, destination: str, code: int, count: int) -> dict[str, object]:
    begin = day * DAY
    return {
        "@timestamp": begin, "archive.last": begin + 1000, "frame": 1, "archive.frame_last": 9, "archive.count": count,
        "archive.described": True, "archive.behaviour": f"{source}{destination}{code}", "source.ip": source,
        "destination.ip": destination, "event.kind": "request", "network.protocol": "modbus",
        "modbus.function_code": code,
    }  # fmt: skip


def build(folder, rows) -> Archive:
    archive = Archive(folder, create=True)
    with Intake(archive, Origin("live", "a")) as intake:
        intake.add("behaviours", table_of(rows)[0])
        intake.commit(records=len(rows), archived=len(rows))
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    rows = [
        behaviour(day, HOSTS[day % len(HOSTS)], HOSTS[(day * day + 3) % len(HOSTS)], day % 4, day + 1)
        for day in range(DAYS)
    ]
    return build(tmp_path_factory.mktemp("archive"), rows)


@cache
def all_rows(archive: Archive) -> list[dict]:
    return [row for entry in archive.catalogue.files() for row in lines_of(read(archive, entry))]


def run(search: Search) -> Search:
    for _ in search.run(lambda _done, _all: None):
        pass
    assert search.broken == []
    return search


hosts = st.sampled_from([*HOSTS, "192.0.2.1"])
leaves = st.one_of(
    st.builds(lambda side, some: ["in", f"{side}.ip", some], st.sampled_from(["source", "destination"]),
              st.lists(hosts, min_size=1, max_size=3)),
    st.builds(lambda third: ["cidr", "source.ip", f"10.0.{third}.0/24"], st.integers(0, 4)),
    st.builds(lambda code: ["in", "modbus.function_code", [code]], st.integers(0, 5)),
    st.builds(lambda text: ["in", "network.protocol", [text]], st.sampled_from(["modbus", "dnp3"])),
    st.just(["exists", "dnp3.function_code", False]),
)  # fmt: skip
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda part: ["not", part], inner),
        st.builds(lambda join, parts: join(parts), st.sampled_from([all_of, any_of]), st.lists(inner, min_size=1)),
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nodes, st.integers(0, DAYS), st.integers(0, DAYS))
def test_conditions_find_every_row_that_satisfies_them(archive, node, since, until):
    search = run(Search(archive, [condition("x", "", node)], since_ns=since * DAY, until_ns=until * DAY))
    holds = predicate(node)
    rows = [row for row in all_rows(archive) if holds(row)]
    rows = [row for row in rows if since * DAY <= day_of(row) * DAY + 1000 and day_of(row) < until]
    total = search.totals.get("x")
    assert (total.rows if total else 0) == len(rows)
    assert (total.events if total else 0) == sum(row["archive.count"] for row in rows)


def day_of(row: dict) -> int:
    return row["archive.count"] - 1


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.sampled_from([*HOSTS, "192.0.2.1", "10.0.1.0/24", "2001:db8::/32", "0.0.0.0/0"]), min_size=1))
def test_indicators_find_every_row_that_names_them_at_either_end(archive, names):
    search = run(Search(archive, sought=[seek(name) for name in sorted(names)]))
    for name in names:
        network = ip_network(name)
        rows = [
            row
            for row in all_rows(archive)
            if any(ip_address(row[f"{side}.ip"]) in network for side in ("source", "destination"))
        ]
        total = search.totals.get(seek(name).name)
        assert (total.rows if total else 0) == len(rows)
        assert (total.events if total else 0) == sum(row["archive.count"] for row in rows)


def test_only_files_that_hold_an_indicator_are_opened(archive):
    assert run(Search(archive, sought=[seek("192.0.2.1")])).opened == 0
    one = run(Search(archive, sought=[seek("10.0.0.0")]))
    assert 0 < one.opened < one.files == DAYS
    asked = condition("x", "", ["and", ["in", "source.ip", ["10.0.0.0"]], ["in", "modbus.function_code", [0]]])
    assert run(Search(archive, [asked])).opened <= one.opened


def test_a_file_without_an_index_is_opened_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("sensor.archive.terms.MAX_TERMS", 1)
    archive = build(tmp_path, [behaviour(1, "10.0.0.1", "10.0.0.2", 3, 4)])
    assert not archive.catalogue.files()[0].indexed
    assert run(Search(archive, sought=[seek("10.0.0.2")])).totals["10.0.0.2"].events == 4
    asked = condition("x", "", ["in", "source.ip", ["10.0.0.1"]])
    assert run(Search(archive, [asked])).totals["x"].events == 4


def test_rows_are_described_up_to_a_limit_and_counted_beyond_it(archive):
    search = Search(archive, [condition("x", "", ["true"])], most=7)
    assert len(list(search.run(lambda _done, _all: None))) == 7
    assert search.totals["x"].rows == DAYS


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_searched(tmp_path):
    archive = build(tmp_path, [behaviour(day, "10.0.0.1", "10.0.0.2", 3, 1) for day in range(3)])
    archive.path(archive.catalogue.files()[1]).write_bytes(b"PAR1")
    search = Search(archive, [condition("x", "", ["true"])])
    assert len(list(search.run(lambda _done, _all: None))) == 2
    assert "verify" in search.broken[0]


@given(nodes)
def test_what_a_condition_needs_is_never_more_than_it_needs(node):
    row = {"source.ip": "203.0.113.9", "destination.ip": "203.0.113.10", "modbus.function_code": 0}
    if predicate(node)({**row, "network.protocol": "modbus"}):
        assert needed(node) is None
    assert impossible(["false"], None)  # type: ignore[arg-type]


def test_values_of_single_events_are_asked_of_events_and_what_may_match_besides_is_counted(tmp_path):
    archive = build(tmp_path, [behaviour(1, "10.0.0.1", "10.0.0.2", 3, 40)])
    with Intake(archive, Origin("live", "a")) as intake:
        event = {"@timestamp": DAY, "event.kind": "request", "modbus.function_code": 3, "modbus.values": [7]}
        intake.add("events", table_of([event, {**event, "modbus.values": [8]}])[0])
        intake.commit(records=2, archived=2)
    node = ["and", ["in", "modbus.function_code", [3]], ["in", "modbus.values", [7]]]
    search = run(Search(archive, [condition("x", "", node)]))
    assert search.totals["x"].rows == 1
    assert search.unsure == 40
