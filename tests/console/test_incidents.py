"""Incidents through the pages and services: who may, what is compulsory, what a neighbour sees."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from browser_kit import both_engines
from records import STOP, record, send
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from console.services import incidents
from console.services.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from console.store.engine import Store
from console.store.models import (
    Finding,
    Incident,
    IncidentAddress,
    IncidentEntry,
    IncidentFinding,
    Notification,
    Sensor,
)
from detectors.finding import Severity

pytestmark = both_engines


def newest(store: Store) -> Incident:
    with store.reader() as session:
        incident = session.scalars(select(Incident).order_by(Incident.id.desc())).first()
        assert incident is not None
        return incident


def stored(store: Store, model: Any) -> list[Any]:
    with store.reader() as session:
        return list(session.scalars(select(model).order_by(model.id)))


@pytest.fixture
def quiet_finding(client: Any, tree: Any, store: Store) -> int:
    """A finding of medium severity: it opens no incident by itself."""
    answer = send(client, tree.plant_key, [record(1, severity=Severity.MEDIUM)])
    assert answer.get_json()["stored"] == 1
    return stored(store, Finding)[0].id


@pytest.fixture
def incident(client: Any, quiet_finding: int, store: Store) -> Incident:
    client.submit("/incidents/", {"finding_id": quiet_finding})
    return newest(store)


def test_a_person_opens_an_incident_from_a_finding(client: Any, quiet_finding: int, store: Store) -> None:
    answer = client.submit("/incidents/", {"finding_id": quiet_finding}, follow_redirects=True)
    page = answer.get_data(as_text=True)
    assert "Controller stopped" in page
    incident = newest(store)
    assert (incident.number, incident.state, incident.severity, incident.drill) == (1, "open", 3, False)
    assert incident.opened_by == "Plant admin"


def test_numbers_count_in_each_organisation_by_itself(client: Any, mill_client: Any, tree: Any, store: Store) -> None:
    send(client, tree.plant_key, [record(1)])
    send(client, tree.mill_key, [record(1)])
    send(client, tree.plant_key, [record(2, source_ip="10.9.9.9", destination_ip="10.9.9.8")])
    numbers = [(incident.organisation_id, incident.number) for incident in stored(store, Incident)]
    assert numbers == [
        (tree.plant.organisation_id, 1), (tree.mill.organisation_id, 1), (tree.plant.organisation_id, 2)
    ]  # fmt: skip


def test_closing_without_disposition_or_reason_is_refused(client: Any, incident: Incident, store: Store) -> None:
    path = f"/incidents/{incident.id}/close"
    for form in ({}, {"disposition": "confirmed"}, {"reason": "x"}, {"disposition": "nonsense", "reason": "x"},
                 {"disposition": "confirmed", "reason": "   "}):  # fmt: skip
        client.submit(path, form)
        assert newest(store).state == "open"
    client.submit(path, {"disposition": "false alarm", "reason": "the engineer tested it"})
    closed = newest(store)
    assert (closed.state, closed.disposition, closed.reason) == ("closed", "false alarm", "the engineer tested it")


def test_the_life_of_an_incident_stands_in_its_timeline(client: Any, incident: Incident, store: Store) -> None:
    base = f"/incidents/{incident.id}"
    client.submit(f"{base}/acknowledge")
    client.submit(f"{base}/comments", {"text": "I look at the PLC"})
    client.submit(f"{base}/close", {"disposition": "expected", "reason": "change 17"})
    client.submit(f"{base}/reopen", {"reason": "it was not change 17"})
    entries = stored(store, IncidentEntry)
    assert [entry.kind for entry in entries] == [
        "opened", "nobody to tell", "acknowledged", "comment", "closed", "reopened", "nobody to tell"
    ]  # fmt: skip
    assert {entry.actor_name for entry in entries if entry.kind != "nobody to tell"} == {"Plant admin"}
    page = client.get(base).get_data(as_text=True)
    for told in ("I look at the PLC", "change 17", "it was not change 17"):
        assert told in page
    reopened = newest(store)
    assert (reopened.state, reopened.acknowledged_by, reopened.owner_id, reopened.reason) == ("open", "", None, "")


@pytest.mark.parametrize("statement", ["UPDATE incident_entry SET text = 'x'", "DELETE FROM incident_entry"])
def test_the_database_refuses_to_change_the_timeline(store: Store, incident: Incident, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), store.transaction() as session:
        session.execute(text(statement))
    assert stored(store, IncidentEntry)[0].kind == "opened"


def test_a_drill_stays_a_drill_for_ever(client: Any, quiet_finding: int, store: Store) -> None:
    client.submit("/incidents/", {"finding_id": quiet_finding, "drill": "on"})
    incident = newest(store)
    assert incident.drill
    with pytest.raises(DBAPIError, match="drill"), store.transaction() as session:
        session.execute(text("UPDATE incident SET drill = 0"))
    assert "This is an exercise" in client.get(f"/incidents/{incident.id}").get_data(as_text=True)


def test_a_drills_finding_never_joins_a_real_incident(store: Store, tree: Any, clock: Any, incident: Incident) -> None:
    with store.writer() as session:
        finding = session.scalars(select(Finding)).one()
        copy = Finding(**{c.key: getattr(finding, c.key) for c in Finding.__table__.columns if c.key != "id"})
        copy.drill, copy.uid = True, "s1/1/99"
        session.add(copy)
        session.flush()
        with pytest.raises(ConflictError):
            incidents.add_findings(session, tree.plant, incident.id, [copy.id], clock())


def test_fifty_people_acknowledge_at_once_and_exactly_one_has_it(
    store: Store, tree: Any, clock: Any, incident: Incident
) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(50)

    def acknowledge() -> None:
        start.wait()
        try:
            with store.transaction() as session:
                incidents.acknowledge(session, tree.plant_analyst, incident.id, clock())
            outcomes.append("mine")
        except incidents.AlreadyAcknowledgedError as first:
            outcomes.append(f"already {first.by}")

    threads = [threading.Thread(target=acknowledge) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["already Lin"] * 49 + ["mine"]
    assert [entry.kind for entry in stored(store, IncidentEntry)].count("acknowledged") == 1


def test_a_grave_finding_opens_an_incident_in_the_transaction_of_its_ingest(
    client: Any, tree: Any, store: Store
) -> None:
    send(client, tree.plant_key, [record(1)])
    incident = newest(store)
    assert (incident.automatic, incident.severity, incident.title_zh) == (True, 5, STOP.rule_name.zh)


def test_further_findings_about_the_same_device_join_it(client: Any, tree: Any, store: Store) -> None:
    send(client, tree.plant_key, [record(1, severity=Severity.HIGH)])
    send(client, tree.plant_key, [record(2, source_ip="10.0.0.7", rule_id="operation.s7comm.download")])
    incident = newest(store)
    assert incident.number == 1
    assert incident.severity == 5, "the severity follows the gravest"
    kinds = [entry.kind for entry in stored(store, IncidentEntry)]
    assert kinds == ["opened", "nobody to tell", "finding added", "severity raised"]


def test_a_drills_findings_open_an_incident_of_their_own(client: Any, tree: Any, store: Store) -> None:
    send(client, tree.plant_key, [record(1)])
    with store.transaction() as session:
        session.get_one(Sensor, tree.plant_sensor_id).drill = True
    send(client, tree.plant_key, [record(2, rule_id="exercise")])
    assert [incident.drill for incident in stored(store, Incident)] == [False, True]


def test_a_graver_finding_never_joins_an_acknowledged_incident_in_silence(client: Any, tree: Any, store: Store) -> None:
    send(client, tree.plant_key, [record(1, severity=Severity.HIGH)])
    client.submit(f"/incidents/{newest(store).id}/acknowledge")
    send(client, tree.plant_key, [record(2, severity=Severity.HIGH, rule_id="same.grade")])
    assert newest(store).number == 1
    send(client, tree.plant_key, [record(3, severity=Severity.CRITICAL, rule_id="graver")])
    assert newest(store).number == 2


def test_a_storm_of_findings_does_not_open_an_incident_each(client: Any, tree: Any, store: Store) -> None:
    records = [
        record(number, source_ip=f"10.1.{number}.1", destination_ip=f"10.2.{number}.1") for number in range(1, 41)
    ]
    send(client, tree.plant_key, records)
    assert len(stored(store, Incident)) == 10
    with store.reader() as session:
        assert session.execute(text("SELECT count(*) FROM incident_finding")).scalar() == 40


def test_findings_of_one_batch_each_join_the_incident_of_their_device(client: Any, tree: Any, store: Store) -> None:
    first, second = ({"source_ip": f"10.{n}.0.1", "destination_ip": f"10.{n}.0.2"} for n in (1, 2))
    grave = {"severity": Severity.HIGH}
    send(client, tree.plant_key, [record(1, **first, **grave), record(2, **second, **grave)])
    more = [record(3, **second | {"source_ip": "10.2.0.3"}, rule_id="a"), record(4, **first, rule_id="b", **grave)]
    send(client, tree.plant_key, [*more, record(5, **second, rule_id="c", **grave)])
    rules = {finding.id: finding.rule_id for finding in stored(store, Finding)}
    one, two = (incident.id for incident in stored(store, Incident))
    told = [(entry.incident_id, rules[entry.data["finding"]]) for entry in stored(store, IncidentEntry)
            if entry.kind == "finding added"]  # fmt: skip
    assert told == [(two, "a"), (two, "c"), (one, "b")]
    assert [incident.severity for incident in stored(store, Incident)] == [4, 5], "only that of the gravest rises"
    linked = [(link.incident_id, rules[link.finding_id]) for link in stored(store, IncidentFinding)][2:]
    assert sorted(linked) == [(one, "b"), (two, "a"), (two, "c")]
    addresses = {(it.incident_id, it.address) for it in stored(store, IncidentAddress)}
    assert addresses == {(one, "10.1.0.1"), (one, "10.1.0.2"), (two, "10.2.0.1"), (two, "10.2.0.2"), (two, "10.2.0.3")}


def test_a_policy_of_never_opens_nothing(client: Any, tree: Any, store: Store) -> None:
    client.submit("/contacts/policy", {"opens_at": "", "join_hours": "24"})
    send(client, tree.plant_key, [record(1)])
    assert stored(store, Incident) == []


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/incidents/{id}", None),
        ("/incidents/{id}/acknowledge", {}),
        ("/incidents/{id}/close", {"disposition": "confirmed", "reason": "x"}),
        ("/incidents/{id}/reopen", {"reason": "x"}),
        ("/incidents/{id}/comments", {"text": "x"}),
        ("/incidents/{id}/owner", {"user_id": "4"}),
        ("/incidents/", {"finding_id": "1"}),
    ],
)
def test_a_neighbours_incident_does_not_exist(
    mill_client: Any, incident: Incident, store: Store, path: str, form: dict[str, str] | None
) -> None:
    before = [entry.kind for entry in stored(store, IncidentEntry)]
    for incident_id in (incident.id, 999_999, 10**30):
        target = path.format(id=incident_id)
        answer = mill_client.get(target) if form is None else mill_client.submit(target, form)
        assert answer.status_code == 404, target
    assert [entry.kind for entry in stored(store, IncidentEntry)] == before
    assert "Controller stopped" not in mill_client.get("/incidents/").get_data(as_text=True)


def test_an_incident_is_handed_only_to_users_of_the_organisation(
    store: Store, tree: Any, clock: Any, incident: Incident
) -> None:
    with store.writer() as session:
        incidents.set_owner(session, tree.plant, incident.id, tree.plant_analyst.user_id, clock())
        with pytest.raises(NotFoundError):
            incidents.set_owner(session, tree.plant, incident.id, tree.mill.user_id, clock())


def test_a_viewer_looks_and_changes_nothing(app: Any, store: Store, tree: Any, clock: Any, incident: Incident) -> None:
    viewer = app.test_client().log_in("viewer")
    assert viewer.get(f"/incidents/{incident.id}").status_code == 200
    assert viewer.submit(f"/incidents/{incident.id}/acknowledge").status_code == 403
    assert newest(store).state == "open"
    with store.writer() as session, pytest.raises(ForbiddenError):
        incidents.close(session, tree.plant_viewer, incident.id, "confirmed", "x", clock())


def test_hostile_strings_of_a_finding_stay_text_on_every_page(client: Any, tree: Any, store: Store) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202e"
    rule = type(STOP.rule_name)(zh=attack, en=attack)
    send(client, tree.plant_key, [record(1, rule_name=rule, explanation=rule)])
    incident = newest(store)
    for path in ("/incidents/", f"/incidents/{incident.id}", f"/findings/{stored(store, Finding)[0].id}"):
        page = client.get(path).get_data(as_text=True)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "49" not in page or "{{7*7}}" in page


def test_texts_have_a_limit(store: Store, tree: Any, clock: Any, incident: Incident) -> None:
    with store.writer() as session, pytest.raises(InvalidError):
        incidents.comment(session, tree.plant, incident.id, "x" * 4001, clock())


def test_the_list_shows_the_gravest_unsettled_first(client: Any, tree: Any, store: Store) -> None:
    for number, severity in enumerate((Severity.HIGH, Severity.CRITICAL, Severity.HIGH), start=1):
        send(client, tree.plant_key, [
            record(number, severity=severity, source_ip=f"10.{number}.0.1", destination_ip=f"10.{number}.0.2")
        ])  # fmt: skip
    ids = [incident.id for incident in stored(store, Incident)]
    client.submit(f"/incidents/{ids[1]}/close", {"disposition": "expected", "reason": "planned"})
    page = client.get("/incidents/").get_data(as_text=True)
    order = [page.index(f'href="/incidents/{incident_id}"') for incident_id in (ids[2], ids[0], ids[1])]
    assert order == sorted(order)
    closed = client.get("/incidents/?state=closed").get_data(as_text=True)
    assert f'href="/incidents/{ids[1]}"' in closed
    assert f'href="/incidents/{ids[0]}"' not in closed


def test_opening_an_incident_and_its_first_message_are_one_transaction(
    store: Store, tree: Any, clock: Any, quiet_finding: int
) -> None:
    with store.writer() as session:
        incidents.open_incident(session, tree.plant, [quiet_finding], clock())
        session.rollback()
    assert stored(store, Incident) == []
    assert stored(store, Notification) == []


def test_a_flood_in_one_incident_leaves_a_page_that_people_can_read(client: Any, tree: Any, store: Store) -> None:
    records = [record(number, rule_id=f"rule.{number}") for number in range(1, 401)]
    send(client, tree.plant_key, records)
    page = client.get(f"/incidents/{newest(store).id}").get_data(as_text=True)
    assert "and 300 more" in page
    assert "101 earlier lines are not shown" in page
    assert page.count('<td class="mono">10.0.0.9') == 100
