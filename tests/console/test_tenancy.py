"""The tenancy matrix: every route with an id, asked by the neighbour. A route without a row in it fails."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from browser_kit import both_engines
from records import record, send
from sqlalchemy import select

from console.notify.channels import channels
from console.services import bulletins, contacts, enrolment, holds, peers, sensors, subscriptions
from console.services.subscriptions import NewSubscription
from console.store.base import Base
from console.store.models import Asset, ConfigRevision, Finding, Incident, IndexDeadLetter
from detectors.finding import Text

pytestmark = both_engines


CANARY = "canary-4711"
NOWHERE = 987_654

# Routes whose argument is no id of a row, or whose argument is itself what lets somebody in (tested where they are).
OTHERWISE = {
    "static": "files that are the same for everybody",
    "findings.news": "a lower bound; the findings counted are the own ones (test_findings.py)",
    "acknowledge.page": "a signed link",
    "acknowledge.acknowledge": "a signed link",
    "bulletins.by_stix_id": "a name that travels; the release decision is asked (test_bulletins.py)",
}

FORM = {  # what every form of the console wants, so that nothing is refused before the id is looked at
    "verdict": "real",
    "note": "x",
    "reason": "x",
    "text": "x",
    "disposition": "confirmed",
    "owner": "1",
    "user_id": "1",
    "channel": "email",
    "email.address": "duty@example.org",
    "enabled": "1",
    "title_en": "x",
    "tlp": "amber",
    "colour": "yellow",
    "reason_en": "x",
    "reason_zh": "x",
    "confirm": "1",
}


@pytest.fixture
def theirs(db, client, tree, clock, settings) -> dict[str, int]:
    """By the argument's name in routes: id of a row of the plant."""
    name = Text(zh=CANARY, en=CANARY)
    assert send(client, tree.plant_key, [record(1, rule_name=name, explanation=name, capture=CANARY)]).json["stored"]
    seen = {"segment": CANARY, "first_seen": "2026-11-22T07:00:00Z", "last_seen": "2026-11-22T07:00:00Z"}
    for what, more in (
        ("assets", {"address": "10.9.8.7"}),
        ("behaviours", {"client": "10.9.8.7", "server": "10.9.8.6", "protocol": CANARY, "count": 1, "run": "r"}),
    ):
        bearer = {"Authorization": f"Bearer {tree.plant_key}"}
        assert client.post(f"/api/v1/{what}", json={what: [seen | more]}, headers=bearer).json["stored"] == 1
    contact = contacts.add_contact(db, tree.plant, CANARY, "en", clock())
    email = channels(settings)["email"]
    fields = {"address": f"{CANARY}@example.org"}
    address = contacts.add_address(db, tree.plant, contact.id, email, fields, clock())
    bulletin = bulletins.draft(db, tree.plant, bulletins.Content(title_en=CANARY, title_zh=CANARY), clock())
    peer, _ = peers.register(db, tree.plant, CANARY, sorted(peers.RELATIONS)[0], clock())
    wanted = NewSubscription(CANARY, "https://203.0.113.9/taxii2/", CANARY, CANARY)
    subscription = subscriptions.subscribe(db, tree.plant, wanted, clock(), allow_private=False)
    letter = IndexDeadLetter(
        organisation_id=tree.plant.organisation_id, kind="finding", row_id=1, document_id=CANARY, period="2026-11",
        reason=CANARY, attempts=1, first_at=clock(), last_at=clock(),
    )  # fmt: skip
    db.add(letter)
    file = {"kind": "tags", "name": f"{CANARY}.csv", "content": CANARY}
    revision = ConfigRevision(
        organisation_id=tree.plant.organisation_id, scope="all", number=1, files=[file], digest="0" * 64,
        action=CANARY, note=CANARY, author=CANARY, created_at=clock(),
    )  # fmt: skip
    db.add(revision)
    token, _ = enrolment.issue(db, tree.plant, sensors.Place(CANARY, CANARY, CANARY), 60, clock())
    span = holds.NewHold(since=clock() - timedelta(hours=1), until=clock(), reason=CANARY)
    hold = holds.place(db, tree.plant, span, clock())
    db.commit()
    found = {
        "asset_id": db.scalars(select(Asset.id)).one(),
        "finding_id": db.scalars(select(Finding.id)).one(),
        "incident_id": db.scalars(select(Incident.id)).one(),  # opened by the policy
        "sensor_id": tree.plant_sensor_id,
        "user_id": tree.plant_viewer.user_id,
        "contact_id": contact.id,
        "address_id": address.id,
        "bulletin_id": bulletin.id,
        "peer_id": peer.id,
        "subscription_id": subscription.id,
        "hold_id": hold.id,
        "letter_id": letter.id,
        "revision_id": revision.id,
        "token_id": token.id,
    }
    db.rollback()
    return found


def everything(db, organisation_id: int) -> dict[str, list[tuple[object, ...]]]:
    """All rows of an organisation."""
    rows = {}
    for table in Base.metadata.sorted_tables:
        if "organisation_id" in table.columns:
            mine = table.select().where(table.columns.organisation_id == organisation_id).order_by(table.columns.id)
            rows[table.name] = [tuple(row) for row in db.execute(mine)]
    db.rollback()
    return rows


def routes(app):
    """(method, rule) of every route with an argument that the console's pages have."""
    for rule in app.url_map.iter_rules():
        if rule.arguments and rule.endpoint not in OTHERWISE and not rule.endpoint.startswith("taxii."):
            for method in sorted(rule.methods & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
                yield method, rule


def test_the_neighbour_cannot_tell_what_is_ours_from_what_does_not_exist(app, db, client, mill_client, tree, theirs):
    before = everything(db, tree.plant.organisation_id)
    csrf = mill_client.token()
    tried = 0
    for method, rule in routes(app):
        assert rule.arguments <= theirs.keys(), f"{rule.rule} has no row in the tenancy matrix"
        answers = []
        for ids in (theirs, dict.fromkeys(theirs, NOWHERE)):
            path = re.sub(r"<int:(\w+)>", lambda match, ids=ids: str(ids[match[1]]), rule.rule)
            form = {} if method == "GET" else {"data": {**FORM, "csrf_token": csrf}}
            answer = mill_client.open(path, method=method, **form)
            assert CANARY not in answer.text, rule.rule
            # tokens against forged requests differ each time, and the page names its own address for going back to
            body = re.sub(r'(name="csrf_token" value|name="next" value)="[^"]*"', "", answer.text)
            answers.append((answer.status_code, body))
        assert answers[0] == answers[1], rule.rule
        assert answers[0][0] == 404, rule.rule
        tried += 1
    assert tried >= 25
    assert everything(db, tree.plant.organisation_id) == before


def test_the_owner_reaches_what_the_neighbour_does_not(app, client, theirs):
    # otherwise the test above would pass with routes that answer 404 to everybody
    for method, rule in routes(app):
        if method == "GET":
            path = re.sub(r"<int:(\w+)>", lambda match: str(theirs[match[1]]), rule.rule)
            assert client.get(path).status_code in (200, 400), rule.rule  # 400: there is nothing to export yet


def test_lists_and_counts_of_the_neighbour_know_nothing_of_us(app, mill_client, theirs):
    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and not rule.arguments and rule.endpoint.split(".")[0] not in ("taxii", "ingest"):
            assert CANARY not in mill_client.get(rule.rule, follow_redirects=True).text, rule.rule


def test_a_body_cannot_name_rows_of_another_organisation(db, mill_client, tree, theirs):
    before = everything(db, tree.plant.organisation_id)
    for path, form in (
        ("/incidents/", {"finding_id": theirs["finding_id"]}),
        ("/incidents/", {"finding_id": NOWHERE, "incident_id": theirs["incident_id"]}),
        ("/contacts/escalation", {"address_id": theirs["address_id"], "wait": 5, "rounds": 1}),
        ("/bulletins/new", {"finding": theirs["finding_id"], "title_en": "x", "tlp": "amber", "colour": "yellow"}),
    ):
        answer = mill_client.submit(path, form)
        assert CANARY not in answer.text, path
    assert everything(db, tree.plant.organisation_id) == before
    linked = Base.metadata.tables["incident_finding"]
    assert not db.execute(linked.select().where(linked.columns.organisation_id == tree.mill.organisation_id)).all()
