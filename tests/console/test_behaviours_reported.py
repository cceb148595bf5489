"""Behaviours: reported by a sensor, each count added once, kept within limits, deleted when their time is over."""

from __future__ import annotations

from typing import Any

from browser_kit import both_engines
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from console.services import behaviours, retention
from console.services.standing import Outcome
from console.store.models import Asset, Behaviour, Sensor

pytestmark = both_engines

READS = {
    "segment": "vlan 7", "client": "10.0.0.5", "server": "10.0.0.9", "port": 502, "protocol": "modbus", "station": 1,
    "function": 3, "subfunction": -1, "operation": "read_holding_registers", "action": "read",
    "first_seen": "2026-11-22T07:00:00.000000Z", "last_seen": "2026-11-22T08:00:00.000000Z", "count": 10, "answered": 9,
    "refused": 1, "unanswered": 0, "variants": 2, "run": "r1",
}  # fmt: skip


def report(client: Any, key: str, records: list[Any]) -> Any:
    return client.post("/api/v1/behaviours", json={"behaviours": records}, headers={"Authorization": f"Bearer {key}"})


def test_a_count_is_added_once_however_often_it_is_reported_and_runs_add_up(client, store, tree):
    other = READS | {"run": "r2", "count": 4, "answered": 4}
    for record in (READS, READS, READS | {"count": 15, "answered": 14}, other):
        assert report(client, tree.plant_key, [record]).json == {"stored": 1, "rejected": []}
    with store.reader() as session:
        row = session.scalars(select(Behaviour)).one()
        assert (row.count, row.answered, row.refused, row.unanswered) == (19, 18, 2, 0)
        assert (row.organisation_id, row.operation, row.port, row.station) == (
            tree.plant.organisation_id, "read_holding_registers", 502, 1)  # fmt: skip


def test_what_makes_no_sense_is_rejected_with_its_reason_and_the_rest_is_stored(client, tree):
    wrong = [{}, 7, READS | {"client": "<b>"}, READS | {"count": -1}, READS | {"port": 70000}, READS | {"run": ""}]
    answer = report(client, tree.plant_key, [*wrong, READS]).json
    assert answer["stored"] == 1
    assert [it["place"] for it in answer["rejected"]] == [0, 1, 2, 3, 4, 5]
    assert report(client, tree.plant_key, [READS] * 201).status_code == 400
    assert report(client, "wrong", [READS]).status_code == 401


def test_a_flood_of_behaviours_ends_at_a_limit_that_is_told(client, store, tree, monkeypatch):
    monkeypatch.setattr(behaviours, "MAX_BEHAVIOURS", 3)
    answer = report(client, tree.plant_key, [READS | {"function": number} for number in range(5)]).json
    assert answer["stored"] == 3
    assert [it["reason"] for it in answer["rejected"]] == ["this sensor has too many behaviours"] * 2
    again = report(client, tree.plant_key, [READS | {"function": 0, "count": 99}, READS | {"function": 9}]).json
    assert (again["stored"], len(again["rejected"])) == (1, 1), "what is known is still brought up to date"


def test_a_sensor_reaches_its_own_organisation_only(client, store, tree):
    report(client, tree.plant_key, [READS])
    report(client, tree.mill_key, [READS | {"count": 1}])
    with store.reader() as session:
        found = {row.organisation_id: row.count for row in session.scalars(select(Behaviour))}
    assert found == {tree.plant.organisation_id: 10, tree.mill.organisation_id: 1}


def test_what_was_not_reported_for_long_is_deleted_and_the_rest_stays(client, store, tree, clock):
    asset = {"segment": "", "address": "10.0.0.9", "first_seen": READS["first_seen"], "last_seen": READS["last_seen"]}
    bearer = {"Authorization": f"Bearer {tree.plant_key}"}
    report(client, tree.plant_key, [READS, READS | {"function": 4}])
    client.post("/api/v1/assets", json={"assets": [asset, asset | {"address": "10.0.0.5"}]}, headers=bearer)
    clock.advance(days=300)
    report(client, tree.plant_key, [READS | {"count": 11}])
    clock.advance(days=100)
    gone = retention.sweep(store, clock)
    assert gone[tree.plant.organisation_id, "behaviours"] == 1
    with store.reader() as session:
        assert [row.function for row in session.scalars(select(Behaviour))] == [3]
        assert len(session.scalars(select(Asset)).all()) == 2
    clock.advance(days=1_000)
    retention.sweep(store, clock)
    with store.reader() as session:
        assert not session.scalars(select(Asset)).all()


@given(reports=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(1, 3)), max_size=12))
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_are_exact_whatever_is_repeated(store, tree, clock, reports):
    """Runs one after the other, each growing, each report sent several times."""
    total, records = 0, []
    for run, (_, more, times) in enumerate(sorted(reports)):
        for count in (more, 2 * more):
            records += [READS | {"run": f"r{run}", "count": count, "answered": count}] * times
        total += 2 * more
    with store.transaction() as session:
        sensor = session.get_one(Sensor, tree.plant_sensor_id)
        for record in records:
            outcome, checked = behaviours.check(behaviours.Report(behaviours=[record]))
            behaviours.store(session, sensor, outcome, checked, clock())
            assert outcome == Outcome(stored=1)
        row = session.scalars(select(Behaviour)).one_or_none()
        assert (row.count if row else 0) == total
        session.rollback()


def test_the_page_of_a_device_shows_what_it_does_and_with_whom_and_programs_get_the_same(client, mill_client, db, tree):
    bearer = {"Authorization": f"Bearer {tree.plant_key}"}
    seen = {"segment": "vlan 7", "first_seen": READS["first_seen"], "last_seen": READS["last_seen"]}
    fact = {"attribute": "vendor", "value": "<b>Siemens</b>", "source": "szl", "frame": 7}
    devices = [seen | {"address": "10.0.0.9", "facts": [fact]}, seen | {"address": "10.0.0.5"}]
    client.post("/api/v1/assets", json={"assets": devices}, headers=bearer)
    report(client, tree.plant_key, [READS, READS | {"operation": "<i>write", "function": 6, "action": "write"}])
    report(client, tree.plant_key, [READS | {"server": "10.0.0.77"}, READS | {"segment": "vlan 8", "count": 4711}])
    number = db.scalars(select(Asset.id).where(Asset.address == "10.0.0.9")).one()
    page = client.get(f"/assets/{number}").text
    assert "read_holding_registers" in page
    assert "<b>Siemens" not in page
    assert "<i>write" not in page
    assert "10.0.0.77" not in page, "another device"
    assert "4,711" not in page, "another segment"
    other = db.scalars(select(Asset.id).where(Asset.address == "10.0.0.5")).one()
    assert f'href="/assets/{other}"' in page, "whom it talks with is one click away"
    told = client.get(f"/assets/{number}/behaviours.json").json
    assert (told["asset"], told["total"]) == ("10.0.0.9", 2)
    assert {it["action"] for it in told["behaviours"]} == {"read", "write"}
    assert told["behaviours"][0]["answered"] == 9
    assert mill_client.get(f"/assets/{number}/behaviours.json").status_code == 404
