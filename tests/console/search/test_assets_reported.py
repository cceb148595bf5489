"""Assets: reported by a sensor, kept by the console, shown to its organisation, found in the search cluster."""

from __future__ import annotations

import pytest
from index_kit import Fed
from sqlalchemy import select

from console.services import inventory
from console.store.models import Asset
from console.store.search.assets import ASSETS
from console.store.search.verify import verify
from sensor.reports import ReportError, send_assets

CONTROLLER = {
    "site": "", "segment": "vlan 7", "address": "10.0.0.9", "macs": ["00:0e:8c:00:00:01"],
    "first_seen": "2026-11-22T07:00:00.000000001Z", "last_seen": "2026-11-22T08:00:00.000000Z",
    "roles": [{"role": "controller", "reason": "answers jobs", "reason_zh": "应答作业"}], "protocols": ["s7comm"],
    "facts": [
        {"attribute": "firmware", "value": "V2.6", "component": "", "source": "szl", "frame": 7},
        {"attribute": "order_number", "value": "6ES7 315-2EH14", "component": "", "source": "szl", "frame": 7},
        {"attribute": "vendor", "value": "<b>Siemens</b>", "component": "", "source": "szl", "frame": 7},
    ],
}  # fmt: skip


def report(client, key, assets):
    return client.post("/api/v1/assets", json={"assets": assets}, headers={"Authorization": f"Bearer {key}"})


def test_a_report_is_stored_once_and_the_later_one_counts(client, store, tree):
    assert report(client, tree.plant_key, [CONTROLLER]).json == {"stored": 1, "rejected": []}
    newer = CONTROLLER | {"first_seen": "2026-11-22T07:30:00Z", "last_seen": "2026-11-22T09:00:00Z", "facts": []}
    assert report(client, tree.plant_key, [newer]).json["stored"] == 1
    with store.reader() as session:
        row = session.scalars(select(Asset)).one()
        assert (row.segment, row.address, row.roles) == ("vlan 7", "10.0.0.9", ["controller"])
        assert (row.firmware, row.vendor) == ("V2.6", "<b>Siemens</b>"), "what was said before stays known"
        assert (row.first_seen.hour, row.first_seen.minute, row.last_seen.hour) == (7, 0, 9)
        assert row.organisation_id == tree.plant.organisation_id


def test_another_value_takes_the_place_of_the_one_from_the_same_source_and_roles_add_up(client, store, tree):
    report(client, tree.plant_key, [CONTROLLER])
    said = {"attribute": "firmware", "value": "V3.0", "component": "", "source": "szl", "frame": 9}
    host = [{"role": "host", "reason": "r", "reason_zh": "r"}]
    for changes in ({"facts": [said], "roles": host}, {"roles": [{"role": "gateway"}], "protocols": ["modbus"]}):
        assert report(client, tree.plant_key, [CONTROLLER | {"facts": []} | changes]).json["stored"] == 1
    with store.reader() as session:
        row = session.scalars(select(Asset)).one()
        assert (row.firmware, len(row.facts), row.roles) == ("V3.0", 3, ["gateway", "controller"])
        assert row.protocols == ["modbus", "s7comm"]


def test_who_was_seen_to_write_once_is_no_mere_reader(client, store, tree):
    for role in ("reader", "master", "reader"):
        report(client, tree.plant_key, [CONTROLLER | {"roles": [{"role": role}]}])
    with store.reader() as session:
        assert session.scalars(select(Asset)).one().roles == ["master"]


def test_what_makes_no_sense_is_rejected_with_its_reason_and_the_rest_is_stored(client, tree):
    wrong = [{}, "x", CONTROLLER | {"address": "<script>"}, CONTROLLER | {"facts": [[]]}, CONTROLLER]
    answer = report(client, tree.plant_key, wrong).json
    assert answer["stored"] == 1
    assert [it["place"] for it in answer["rejected"]] == [0, 1, 2, 3]
    assert report(client, tree.plant_key, [CONTROLLER] * 201).status_code == 400
    assert report(client, "wrong", [CONTROLLER]).status_code == 401


def test_a_flood_of_addresses_ends_at_a_limit_that_is_told(client, tree, monkeypatch):
    monkeypatch.setattr(inventory, "MAX_ASSETS", 3)
    answer = report(client, tree.plant_key, [CONTROLLER | {"address": f"10.0.0.{number}"} for number in range(5)]).json
    assert answer["stored"] == 3
    assert {it["reason"] for it in answer["rejected"]} == {"this sensor has too many assets"}


def test_the_page_shows_the_own_assets_with_hostile_words_made_harmless(client, mill_client, tree):
    report(client, tree.plant_key, [CONTROLLER])
    page = client.get("/assets/").text
    assert "10.0.0.9" in page
    assert "6ES7 315-2EH14" in page
    assert "<b>Siemens" not in page
    assert "10.0.0.9" not in mill_client.get("/assets/").text


def test_assets_are_in_the_search_cluster(client, store, settings, clock, tree, elasticsearch_url):
    prefix = f"a{abs(hash(settings.data_dir)):x}"
    changes = {"elasticsearch_url": elasticsearch_url, "elasticsearch_prefix": prefix}
    fed = Fed(store, settings.model_copy(update=changes), clock, ASSETS)
    try:
        fed.settle()
        report(client, tree.plant_key, [CONTROLLER, CONTROLLER | {"address": "00:0e:8c:00:00:02"}])
        fed.settle()
        documents = fed.documents()
        sensor = tree.plant_sensor_id
        assert documents[f"{tree.plant.organisation_id}/{sensor}/vlan 7/10.0.0.9"]["asset.firmware"] == "V2.6"
        compared = verify(store, fed.cluster, ASSETS, clock)
        assert (compared.truth, compared.index, compared.faults) == (2, 2, [])
    finally:
        fed.clean()


def test_a_console_that_is_not_there_gives_one_clear_line():
    with pytest.raises(ReportError, match="cannot be reached"):
        send_assets("http://127.0.0.1:9", "key", [CONTROLLER])
