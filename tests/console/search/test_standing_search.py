"""What stands is searched in the same language: the rows of both databases and the cluster give the same ids."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from browser_kit import both_engines
from index_kit import Fed
from records import record, send
from sqlalchemy import select

from console.services import summaries
from console.store.models import Asset, Behaviour, Summary
from console.store.search import templates
from console.store.search.query.conditions import Meaning
from console.store.search.query.errors import QueryError
from console.store.search.query.parser import parse_with
from console.store.search.registry import STATES
from console.store.search.states import State, catch_up, kind_of
from console.store.search.states_search import find_documents, find_rows
from console.store.search.verify import verify

pytestmark = both_engines
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPAN = {"first_seen": "2026-11-22T07:00:00.000000Z", "last_seen": "2026-11-22T08:00:00.000000Z"}
DEVICES = [
    {"address": "10.0.0.9", "segment": "vlan 7", "roles": [{"role": "controller"}], "protocols": ["s7comm", "modbus"],
     "macs": ["00:0e:8c:00:00:01"], "facts": [
        {"attribute": "vendor", "value": "Siemens AG", "source": "szl"},
        {"attribute": "order_number", "value": "6ES7 315-2EH14", "source": "szl"},
        {"attribute": "name", "value": "压机 3", "source": "szl"}]},
    {"address": "10.0.0.5", "roles": [{"role": "engineering"}, {"role": "master"}], "protocols": ["s7comm"],
     "last_seen": "2026-11-22T11:30:00.000000Z"},
    {"address": "fe80::1", "roles": [{"role": "reader"}], "protocols": ["modbus"]},
    {"address": "00:80:f4:00:00:02", "roles": [{"role": "publisher"}], "protocols": ["goose"]},
    {"address": "10.1.0.9", "facts": [{"attribute": "vendor", "value": "Schneider_Electric", "source": "umas"}]},
]  # fmt: skip
DEEDS = [
    {"client": "10.0.0.5", "server": "10.0.0.9", "port": 102, "protocol": "s7comm", "action": "stop",
     "operation": "plc_stop", "function": 41, "count": 1, "answered": 1},
    {"client": "10.0.0.5", "server": "10.0.0.9", "port": 502, "protocol": "modbus", "station": 0, "action": "read",
     "operation": "read_holding_registers", "function": 3, "count": 90, "answered": 80, "refused": 10, "variants": 4},
    {"client": "10.0.0.5", "server": "10.0.0.9", "port": 502, "protocol": "modbus", "station": 17, "action": "write",
     "operation": "write_single_register", "function": 6, "count": 5, "unanswered": 5, "segment": "vlan 7"},
    {"client": "01:0c:cd:01:00:01", "server": "00:80:f4:00:00:02", "protocol": "goose", "action": "report",
     "operation": "BAY1/LLN0$GO$gcb", "function": 1, "count": 7},
    {"client": "10.20.0.1", "server": "fe80::1", "protocol": "dnp3", "station": 41, "action": "command",
     "operation": "operate", "function": 4, "count": 2, "answered": 2, "last_seen": "2026-11-22T11:30:00.000000Z"},
]  # fmt: skip


def number(row: Any, name: str) -> int:
    value = getattr(row, name)
    return -1 if value is None else value


Means = Callable[[Any], bool]
QUERIES: dict[str, list[tuple[str, Means]]] = {
    "asset": [
        ("", lambda it: True),
        ("role:controller", lambda it: "controller" in it.roles),
        ("role:(engineering OR publisher)", lambda it: {"engineering", "publisher"} & set(it.roles)),
        ("-role:controller protocol:s7comm", lambda it: "controller" not in it.roles and "s7comm" in it.protocols),
        ("ip:10.0.0.0/16", lambda it: it.address.startswith("10.0.")),
        ("host.ip:10.0.0.0/15", lambda it: it.address.startswith("10.")),
        ("ip:10.0.*", lambda it: it.address.startswith("10.0.")),
        ("ip:*", lambda it: it.address.count(":") != 5),
        ("mac:00*", lambda it: it.macs or it.address.startswith("00")),
        ("mac:00:80:f4:00:00:02", lambda it: it.address.endswith("f4:00:00:02")),
        ("siemens", lambda it: it.vendor == "Siemens AG"),
        ('vendor:"siemens ag"', lambda it: it.vendor == "Siemens AG"),
        ("vendor:*electric", lambda it: it.vendor.startswith("Schneider")),
        ("vendor:sch*_e?ectric", lambda it: it.vendor.startswith("Schneider")),
        ("schneider*", lambda it: it.vendor.startswith("Schneider")),
        ("model:6es7*", lambda it: it.model.startswith("6ES7")),
        ("315-2EH14", lambda it: it.model.startswith("6ES7")),
        ("压机", lambda it: it.name == "压机 3"),
        ("机", lambda it: it.name == "压机 3"),
        ("fact:name=*", lambda it: it.name != ""),
        ('asset.segment:"vlan 7"', lambda it: it.segment == "vlan 7"),
        ("NOT asset.segment:*", lambda it: it.segment == ""),
        ("last_seen>=2026-11-22T09:00", lambda it: it.last_seen.hour >= 9),
        ("@timestamp:2026-11-22", lambda it: True),
        ("first_seen:>2026-11-23", lambda it: False),
        ("sensor:s1", lambda it: True),
        ('site:"north works" role:*', lambda it: bool(it.roles)),
        ("site:nowhere", lambda it: False),
        ("segment:line*", lambda it: True),
        ("site:*", lambda it: True),
    ],
    "behaviour": [
        ("", lambda it: True),
        ("action:stop", lambda it: it.action == "stop"),
        ("action:(write OR command)", lambda it: it.action in ("write", "command")),
        ("operation:read_*", lambda it: it.operation.startswith("read_")),
        ("operation:*register*", lambda it: "register" in it.operation),
        ("registers", lambda it: "registers" in it.operation),
        ("ip:10.0.0.9", lambda it: "10.0.0.9" in (it.client, it.server)),
        ("source:10.20.0.0/16", lambda it: it.client.startswith("10.20.")),
        ("destination.ip:fe80::/10", lambda it: it.server == "fe80::1"),
        ("mac:00:80:f4:00:00:02", lambda it: it.server == "00:80:f4:00:00:02"),
        ("source.mac:*", lambda it: it.client.count(":") == 5),
        ("port:502", lambda it: it.port == 502),
        ("destination.port:[1 TO 200]", lambda it: 1 <= number(it, "port") <= 200),
        ("NOT port:*", lambda it: it.port is None),
        ("station:0", lambda it: it.station == 0),
        ("station>0", lambda it: number(it, "station") > 0),
        ("NOT station>0", lambda it: number(it, "station") <= 0),
        ("count>=5 behaviour.unanswered:0", lambda it: it.count >= 5 and it.unanswered == 0),
        ("behaviour.refused>0", lambda it: it.refused > 0),
        ("behaviour.variants:4", lambda it: it.variants == 4),
        ("protocol:modbus -action:read", lambda it: it.protocol == "modbus" and it.action != "read"),
        ("last_seen>now-40m", lambda it: it.last_seen.hour == 11),
        ("behaviour.segment:vlan*", lambda it: it.segment == "vlan 7"),
        ("sensor:S1 protocol:goose", lambda it: it.protocol == "goose"),
        ("(action:stop OR action:write) AND NOT station:17", lambda it: it.action == "stop"),
    ],
    "summary": [
        ("", lambda it: True),
        ("findings>=2", lambda it: it.findings >= 2),
        ("critical:1", lambda it: it.critical == 1),
        ("critical:0", lambda it: it.critical == 0),
        ("rule:operation.*", lambda it: any(one["rule.id"].startswith("operation.") for one in it.rules)),
        ("rule:*", lambda it: bool(it.rules)),
        ("NOT rule:*", lambda it: not it.rules),
        ("frames>0", lambda it: it.frames > 0),
        ("summary.bytes:[1000 TO *]", lambda it: it.bytes >= 1000),
        ("assets:5 behaviours:5", lambda it: it.assets == 5 and it.behaviours == 5),
        ("day>=now-10d", lambda it: True),
        ("day<2026-01-01", lambda it: False),
        ("site:north*", lambda it: it.site.name.startswith("North")),
        ("site:mill", lambda it: False),
    ],
}  # fmt: skip


@pytest.fixture
def standing(client, store, tree, clock) -> None:
    """Devices, behaviours, findings and traffic of the plant; of the mill, more of the same."""
    for key, factor in ((tree.plant_key, 1), (tree.mill_key, 3)):
        bearer = {"Authorization": f"Bearer {key}"}
        for what, records in (("assets", DEVICES), ("behaviours", DEEDS)):
            sent = [{**SPAN, "run": "r", **it, **({"count": it["count"] * factor} if "count" in it else {})}
                    for it in records]  # fmt: skip
            answer = client.post(f"/api/v1/{what}", json={what: sent}, headers=bearer)
            assert answer.json == {"stored": 5, "rejected": []}
        for started, frames in ((1, 100), (1, 250), (2, 40)):
            beat = {"epoch": 1, "counters": {"sensor.started": started, "frames": frames, "bytes": frames * 60}}
            assert client.post("/api/v1/heartbeat", json=beat, headers=bearer).status_code == 200
    send(client, tree.plant_key, [record(1), record(2, rule_id="scan.functions")])
    summarise(store, clock)
    clock.advance(days=1)
    beat = {"epoch": 1, "counters": {"sensor.started": 2, "frames": 41, "bytes": 41 * 60}}
    client.post("/api/v1/heartbeat", json=beat, headers={"Authorization": f"Bearer {tree.plant_key}"})
    summarise(store, clock)


def summarise(store, clock) -> None:
    for day in summaries.days(clock()):
        with store.reader() as session:
            found = summaries.counted(session, day)
        with store.transaction() as session:
            summaries.store(session, day, found, clock())


def asked(state: State, query: str, zone: str = "UTC") -> Any:
    return parse_with(query, state.names, Meaning(NOW.replace(day=22), ZoneInfo(zone)))


def truth(session: Any, state: State, organisation_id: int, means: Means) -> list[int]:
    rows = session.scalars(state.query().where(state.model.organisation_id == organisation_id))
    order = {"asset": "last_seen", "behaviour": "last_seen", "summary": "begins_at"}[state.name]
    fitting = [row for row in rows if means(row)]
    return [row.id for row in sorted(fitting, key=lambda row: (getattr(row, order), row.id), reverse=True)]


@pytest.mark.parametrize("state", STATES, ids=lambda it: it.name)
def test_the_rows_give_what_a_query_means_of_the_own_organisation_only(store, tree, standing, state):
    with store.reader() as session:
        find = find_rows(session, state)
        for query, means in QUERIES[state.name]:
            for organisation in (tree.plant.organisation_id, tree.mill.organisation_id):
                wanted = truth(session, state, organisation, means)
                if query.startswith(("site:", "segment:")) and organisation != tree.plant.organisation_id:
                    continue  # the mill's place has other names
                found = find(organisation, asked(state, query), 0, 100)
                assert (found.ids, found.total) == (wanted, len(wanted)), (query, organisation)
        assert find(tree.city.organisation_id, asked(state, ""), 0, 100).ids == []


@pytest.fixture
def index_of(elasticsearch_url: str) -> Iterator[Callable[..., Any]]:
    """Makes an index of a state in a real cluster: index_of(session, state) gives the way to ask it."""
    from elasticsearch import Elasticsearch, helpers

    client, made = Elasticsearch(elasticsearch_url, request_timeout=60), []

    def index(session: Any, state: State) -> Callable[[dict[str, Any]], dict[str, Any]]:
        kind = kind_of(state)
        made.append(f"standing-{uuid.uuid4().hex}")
        one = {"number_of_shards": 1, "number_of_replicas": 0}
        client.indices.create(index=made[-1], mappings=templates.mapping(kind, "test"), settings=one)
        documents = kind.after(session, 0, "", 1000)
        rows = [{"_index": made[-1], "_id": it.document_id, "_source": it.source | {templates.ROW: it.row_id}}
                for it in documents]  # fmt: skip
        helpers.bulk(client, rows, refresh=True)
        name = made[-1]
        return lambda body: dict(client.search(index=name, body=body).body)

    yield index
    for name in made:
        client.indices.delete(index=name)
    client.close()


@pytest.mark.parametrize("state", STATES, ids=lambda it: it.name)
def test_the_cluster_gives_the_same_ids_in_the_same_order(store, tree, standing, index_of, state):
    organisation = tree.plant.organisation_id
    with store.reader() as session:
        rows, documents = find_rows(session, state), find_documents(index_of(session, state), state)
        for query, means in QUERIES[state.name]:
            node = asked(state, query)
            found = documents(organisation, node, 0, 100)
            assert found == rows(organisation, node, 0, 100), query
            assert found.ids == truth(session, state, organisation, means), query
        assert documents(organisation, asked(state, ""), 1, 1) == rows(organisation, asked(state, ""), 1, 1)


def test_all_kinds_reach_the_cluster_through_the_outbox_and_leave_it_with_their_rows(
    client, store, settings, clock, tree, standing, elasticsearch_url
):
    prefix = f"s{uuid.uuid4().hex[:12]}"
    changes = {"elasticsearch_url": elasticsearch_url, "elasticsearch_prefix": prefix}
    for state, model in zip(STATES, (Asset, Behaviour, Summary), strict=True):
        kind = kind_of(state)
        fed = Fed(store, settings.model_copy(update=changes), clock, kind)
        try:
            fed.settle()
            compared = verify(store, fed.cluster, kind, clock)
            assert compared.truth == compared.index == kind_count(store, model) > 0, state.name
            assert compared.faults == []
            with store.transaction() as session:
                session.delete(session.scalars(select(model).order_by(model.id)).first())
            fed.settle()
            after = verify(store, fed.cluster, kind, clock)
            assert (after.index, after.faults) == (compared.index - 1, [])
        finally:
            fed.indexer.release()
            fed.clean()


def kind_count(store, model) -> int:
    with store.reader() as session:
        return len(session.scalars(select(model.id)).all())


def test_a_day_counts_what_was_new_and_what_sensors_looked_at_once(store, client, tree, standing, clock):
    with store.reader() as session:
        mine = select(Summary).where(Summary.organisation_id == tree.plant.organisation_id).order_by(Summary.key)
        first, second = session.scalars(mine)
        assert (first.findings, first.assets, first.behaviours) == (2, 5, 5)
        assert first.critical + first.high + first.medium + first.low + first.informational == 2
        assert {it["rule.id"] for it in first.rules} == {record(1)["rule.id"], "scan.functions"}
        assert (first.frames, first.bytes) == (290, 290 * 60), "after a restart the sensor counts from 0"
        assert (second.frames, second.findings) == (1, 0)
        assert (second.begins_at - first.begins_at).days == 1
    summarise(store, clock)  # once more changes nothing
    with store.reader() as session:
        assert [(it.findings, it.frames) for it in session.scalars(mine)] == [(2, 290), (0, 1)]


def test_rows_from_before_an_upgrade_get_their_tokens(store, tree, standing):
    for state in STATES:
        with store.transaction() as session:
            before = {row.id: row.words for row in session.scalars(select(state.model))}
            for row in session.scalars(select(state.model)):
                row.words = ""
        with store.transaction() as session:
            assert catch_up(session, state) == len(before)
        with store.transaction() as session:
            assert catch_up(session, state) == 0
            assert {row.id: row.words for row in session.scalars(select(state.model))} == before


def test_the_pages_find_the_own_rows_and_tell_what_is_wrong_with_a_query(client, mill_client, clock, standing):
    clock.advance(days=-1)  # to when they logged in
    assert "10.0.0.9" in client.get("/assets/?q=role:controller").text
    assert "10.0.0.5" not in client.get("/assets/?q=role:controller").text
    page = client.get("/assets/behaviours?q=action:stop").text
    assert "plc_stop" in page
    assert "write_single_register" not in page
    days = client.get("/assets/days?q=findings>=2").text
    assert "scan.functions" in days
    assert "scan.functions" not in mill_client.get("/assets/days").text
    for path in ("/assets/", "/assets/behaviours", "/assets/days"):
        assert 'role="alert"' in client.get(f"{path}?q=nosuch:1").text
        assert client.get(f"{path}?q=site:nowhere").status_code == 200
    with pytest.raises(QueryError):
        asked(STATES[0], "rule.id:x")
