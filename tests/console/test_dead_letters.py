"""Records that could not be stored: kept whole, stored after all, or discarded."""

from __future__ import annotations

import json

import pytest
from records import EPOCH, record, send
from sqlalchemy import select

from console.services import dead_letters, intake
from console.services.actor import Role
from console.services.dead_letters import Wanted
from console.services.errors import ForbiddenError
from console.store.models import AuditEntry, Finding, FindingReceipt, IncidentEntry, SensorEpoch

TOO_NEW = {"surprise": "of a newer version"}


@pytest.fixture
def letters(anonymous, tree, db):
    """Three rejected records between two good ones; their receipts' ids."""
    batch = [record(n, source_ip=f"10.0.0.{n}") for n in range(1, 6)]
    for number in (1, 2, 3):
        batch[number] |= TOO_NEW
    batch[3] |= {"message": "<script>alert(1)</script>"}
    assert len(send(anonymous, tree.plant_key, batch).json["rejected"]) == 3
    ids = db.scalars(select(FindingReceipt.id).where(FindingReceipt.payload.is_not(None))).all()
    db.rollback()
    return ids


@pytest.fixture
def upgraded(monkeypatch):
    """A console that knows what the records before it could not."""
    accept = intake.FindingRecord.model_validate.__func__

    def tolerant(cls, value):
        return accept(cls, type(value)({key: part for key, part in value.items() if key != "surprise"}))

    monkeypatch.setattr(intake.FindingRecord, "model_validate", classmethod(tolerant))


def test_a_rejected_record_stands_on_a_page_whole_escaped_and_with_its_reason(client, letters):
    page = client.get("/dead-letters/").text
    assert page.count('name="letter"') == 3
    assert "surprise" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert client.get("/dead-letters/?reason=nonsense").text.count('name="letter"') == 0
    assert client.get("/dead-letters/?sensor=1&reason=surprise").text.count('name="letter"') == 3
    assert client.get("/dead-letters/?sensor=abc&page=99999999999999999999").status_code == 200


def test_without_the_cause_gone_a_record_is_refused_again_and_stays(client, db, letters):
    client.submit("/dead-letters/replay", {"letter": letters[0]})
    assert db.get_one(FindingReceipt, letters[0]).payload
    assert len(db.scalars(select(Finding)).all()) == 2


def test_after_an_upgrade_a_record_is_stored_once_with_its_receipt(client, anonymous, tree, db, letters, upgraded):
    answer = client.submit("/dead-letters/replay", {"letter": letters[0]}, follow_redirects=True)
    assert "1 record was stored" in answer.text
    again = client.submit("/dead-letters/replay", {"letter": letters[0]}, follow_redirects=True)
    assert "Nothing was chosen" in again.text
    receipt = db.get_one(FindingReceipt, letters[0])
    assert (receipt.reason, receipt.payload, receipt.count) == (None, None, 1)
    row = db.get_one(Finding, receipt.finding_id)
    assert row.uid == f"s1/{EPOCH}/2"
    life = db.scalars(select(SensorEpoch)).one()
    assert (life.received, life.rejected, life.acknowledged) == (5, 2, 5)
    assert row.evidence.frames == [7, 8]
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(2, source_ip="10.0.0.2")]).json["duplicates"] == 1


def test_all_that_the_filter_shows_are_replayed_at_once_and_it_is_written_down(client, db, letters, upgraded):
    client.submit("/dead-letters/replay", {"all": "1", "reason": "surprise"})
    assert len(db.scalars(select(Finding)).all()) == 5
    assert dead_letters.waiting(db, _administrator(db)) == 0
    entry = db.scalars(select(AuditEntry).where(AuditEntry.action == "dead_letters.replayed")).one()
    assert json.loads(entry.details)["stored"] == 3


def test_a_discarded_record_is_gone_its_number_is_not(client, anonymous, tree, db, letters):
    client.submit("/dead-letters/discard", {"letter": [letters[0], letters[1]]})
    assert 'name="letter"' in client.get("/dead-letters/").text
    receipt = db.get_one(FindingReceipt, letters[0])
    assert (receipt.payload, receipt.finding_id) == (None, None)
    assert receipt.discarded_at is not None
    assert db.scalars(select(AuditEntry).where(AuditEntry.action == "dead_letters.discarded")).one()
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(2)]).json["duplicates"] == 1


def test_the_neighbour_sees_nothing_and_can_do_nothing(mill_client, db, tree, letters, upgraded):
    assert 'name="letter"' not in mill_client.get("/dead-letters/").text
    for action in ("replay", "discard"):
        mill_client.submit(f"/dead-letters/{action}", {"letter": list(letters)})
        mill_client.submit(f"/dead-letters/{action}", {"all": "1"})
    assert dead_letters.waiting(db, tree.plant) == 3


def test_a_viewer_may_look_and_an_analyst_may_not_discard(db, tree, clock, letters):
    for actor, act in (
        (tree.plant_viewer, dead_letters.replay),
        (tree.plant_viewer, dead_letters.discard),
        (tree.plant_analyst, dead_letters.discard),
    ):
        with pytest.raises(ForbiddenError):
            act(db, actor, letters, clock())
    assert dead_letters.listing(db, tree.plant_viewer, Wanted())[1] == 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"finding.count":1', '"finding.count":1,"finding.count":2', 1),
        lambda text: text.replace('"finding.count":1', '"finding.count":NaN', 1),
        lambda text: text.replace('"finding.count":1', '"finding.count":' + "9" * 5000, 1),
        lambda text: text.replace('"finding.count":1', '"finding.count":1,"surprise":"' + "x" * 600_000 + '"', 1),
    ],
    ids=["a key that stands twice", "no number", "an integer of thousands of digits", "a record that is too long"],
)
def test_what_could_not_be_kept_as_it_came_is_never_stored(anonymous, client, tree, db, upgraded, spoil):
    body = json.dumps({"epoch": EPOCH, "findings": [record(1)]}, separators=(",", ":"))
    headers = {"Authorization": f"Bearer {tree.plant_key}"}
    spoiled = spoil(body)
    if "surprise" in spoiled:
        spoiled = spoiled.replace('"rule.severity":"critical"', '"rule.severity":"odd"')
    answer = anonymous.post("/api/v1/findings", data=spoiled.encode(), headers=headers)
    assert (answer.status_code, answer.json["stored"], answer.json["acknowledged"]) == (200, 0, 1)
    client.submit("/dead-letters/replay", {"all": "1"})
    assert not db.scalars(select(Finding)).all()
    kept = db.scalars(select(FindingReceipt)).one().payload
    assert kept.startswith('{"finding.id": "s1/')
    assert kept.splitlines()[-1].startswith("# ")


def test_beyond_the_cap_only_the_beginning_of_a_record_is_kept(anonymous, tree, db, monkeypatch):
    monkeypatch.setattr("console.services.ingest.MAX_WAITING", 1)
    send(anonymous, tree.plant_key, [record(1) | TOO_NEW])
    send(anonymous, tree.plant_key, [record(2) | TOO_NEW])
    first, second = db.scalars(select(FindingReceipt).order_by(FindingReceipt.sequence))
    assert json.loads(first.payload)["surprise"]
    assert len(second.payload) < 1_200


def _administrator(db):
    from console.services.actor import Actor

    organisation = db.scalars(select(FindingReceipt.organisation_id)).first()
    return Actor(None, "test", organisation, Role.ADMINISTRATOR)


def test_who_counts_what_waits_does_not_go_through_all_receipts(store):
    """A batch with a poisoned record asks for it, while it holds the store."""
    waiting = select(FindingReceipt.id).where(FindingReceipt.organisation_id == 1, FindingReceipt.payload.is_not(None))
    entries = select(IncidentEntry.id).where(IncidentEntry.organisation_id == 1, IncidentEntry.incident_id == 1)
    with store.engine.connect() as connection:
        for query, index in (
            (waiting, "ix_finding_receipt_dead_letter"),
            (entries, "ix_incident_entry_organisation_id_incident_id"),
        ):
            text = str(query.compile(store.engine, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
            assert index in plan[0][3]
