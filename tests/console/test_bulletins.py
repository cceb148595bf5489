"""Bulletins on their way: from a finding to a draft, to its recipients, through their hands, and lifted."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from browser_kit import both_engines
from records import STOP, record, send
from sqlalchemy import select

from console.services import bulletin_reading, bulletins, indicators, sightings, subscriptions
from console.services.actor import Actor
from console.services.bulletins import Content
from console.services.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from console.services.subscriptions import NewSubscription
from console.sharing.document import Colour
from console.sharing.patterns import address_match, operation_match
from console.sharing.tlp import Tlp
from console.store.models import Bulletin, Finding, Release, SharedObject

pytestmark = both_engines


FIELDS = {"network.protocol": "s7comm", "s7comm.function": 41}
OPERATION = operation_match(FIELDS, "operation.s7comm.stop")
PUBLIC = "8.8.4.4"


@pytest.fixture
def finding_id(anonymous, tree, db) -> int:
    """A stopped controller at the plant, commanded from a public address."""
    assert send(anonymous, tree.plant_key, [record(1, source_ip=PUBLIC)]).status_code == 200
    found = db.scalars(select(Finding.id)).one()
    db.rollback()
    return found


def content(*recipients: Actor, tlp: Tlp = Tlp.AMBER, **more) -> Content:
    return Content(
        title_en="Stopped", title_zh="停机", body_en="seen", colour=Colour.ORANGE, tlp=tlp, matches=[OPERATION],
        organisations=[actor.organisation_id for actor in recipients], **more,
    )  # fmt: skip


def issued(db, author: Actor, now, *recipients: Actor, **more) -> Bulletin:
    """Issued and committed; what is given back holds no transaction open."""
    made = bulletins.draft(db, author, content(*recipients, **more), now)
    bulletins.issue(db, author, made.id, now)
    db.commit()
    db.refresh(made)
    db.expunge(made)
    db.rollback()
    return made


# Writing


def test_a_bulletin_from_a_finding_is_filled_and_offers_the_operation_and_public_addresses_only(db, tree, finding_id):
    _, made, offered = bulletins.from_finding(db, tree.plant, finding_id)
    assert STOP.rule_name.en in made.title_en
    assert STOP.rule_name.zh in made.title_zh
    assert made.techniques == ["T0858"]
    assert made.matches == [OPERATION, address_match(PUBLIC)]
    assert [offer.match.text for offer in offered if not offer.offered] == ["10.0.0.9"]
    assert "10.0.0.9" not in made.body_en + made.body_zh + made.title_en + made.title_zh


def test_nothing_of_a_draft_can_be_fetched_or_read_by_its_recipient(db, tree, clock):
    made = bulletins.draft(db, tree.city, content(tree.plant), clock())
    db.commit()
    assert bulletin_reading.listed(db, tree.plant, received=True) == []
    with pytest.raises(NotFoundError):
        bulletin_reading.read(db, tree.plant, made.id)
    assert db.scalars(select(SharedObject)).all() == []


def test_the_preview_names_recipients_and_the_peers_that_the_label_lets_in(db, tree, clock):
    from console.services import peers

    peers.register(db, tree.city, "Province", "ancestor", clock())
    below, _ = peers.register(db, tree.city, "District", "descendant", clock())
    peers.register(db, tree.city, "Neighbour", "community", clock())
    made = bulletins.draft(db, tree.city, content(tree.plant, peers=[below.id]), clock())
    preview = bulletins.audience(db, tree.city, made.id)
    assert (preview.named, preview.also) == (("Plant", "District"), ())
    made = bulletins.revise(db, tree.city, made.id, content(tree.plant, tlp=Tlp.GREEN), clock())
    preview = bulletins.audience(db, tree.city, made.id)
    assert (preview.named, preview.also) == (("Plant",), ("District", "Neighbour", "Province"))


def test_a_viewer_cannot_write_and_nobody_names_recipients_of_another_tree(db, tree, clock):
    with pytest.raises(ForbiddenError):
        bulletins.draft(db, tree.plant_viewer, content(), clock())
    with pytest.raises(InvalidError):
        bulletins.draft(db, tree.plant, Content(title_en="x", organisations=[999]), clock())
    with pytest.raises(InvalidError):
        bulletins.draft(db, tree.plant, Content(title_en="x", peers=[1]), clock())
    with pytest.raises(InvalidError):
        bulletins.draft(db, tree.plant, Content(), clock())


def test_the_drill_mark_of_a_finding_cannot_be_taken_off(db, tree, clock, finding_id):
    db.get_one(Finding, finding_id).drill = True
    made = bulletins.draft(db, tree.plant, content(drill=False), clock(), finding_id)
    assert made.drill
    bulletins.issue(db, tree.plant, made.id, clock())
    assert bulletins.revise(db, tree.plant, made.id, content(drill=False), clock()).drill


# Receiving, within one console


def test_a_recipient_climbs_the_ladder_and_the_author_sees_it(db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant, tree.mill)
    clock.advance(minutes=5)
    bulletin_reading.note(db, tree.plant, made.id, clock(), "page")
    clock.advance(minutes=5)
    assert bulletin_reading.acknowledge(db, tree.plant, made.id, clock()) is True
    assert bulletin_reading.acknowledge(db, tree.plant_analyst, made.id, clock()) is False
    ladders = {
        entry.to_organisation.name: [(receipt.state, receipt.person) for receipt in entry.receipts]
        for entry in bulletin_reading.read(db, tree.city, made.id).bulletin.recipients
    }
    assert ladders["Plant"] == [("delivered", ""), ("opened", "Plant admin"), ("acknowledged", "Plant admin")]
    assert ladders["Mill"] == [("delivered", "")]


def test_who_is_not_named_finds_nothing_whatever_the_label(db, tree, clock):
    for tlp in Tlp:
        made = issued(db, tree.city, clock(), tree.plant, tlp=tlp)
        assert bulletin_reading.listed(db, tree.mill, received=True) == []
        for act in (bulletin_reading.read, bulletins.load_own):
            with pytest.raises(NotFoundError):
                act(db, tree.mill, made.id)
        with pytest.raises(NotFoundError):
            bulletin_reading.acknowledge(db, tree.mill, made.id, clock())
        assert bulletin_reading.find_by_stix_id(db, tree.mill, made.stix_id) is None


def test_red_is_for_the_administrators_of_a_named_organisation_and_a_refusal_is_logged(db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant, tlp=Tlp.RED)
    assert bulletin_reading.read(db, tree.plant, made.id).bulletin.id == made.id
    assert bulletin_reading.listed(db, tree.plant_analyst, received=True) == []
    with pytest.raises(NotFoundError):
        bulletin_reading.read(db, tree.plant_analyst, made.id)
    bulletin_reading.note(db, tree.plant_analyst, made.id, clock(), "page")
    [refusal] = db.scalars(select(Release).where(Release.allowed.is_(False)))
    assert (refusal.requester_name, refusal.reason, refusal.channel) == ("Lin", "persons-only", "page")
    assert refusal.organisation_id == tree.city.organisation_id


def test_sensors_of_a_recipient_get_the_indicators_and_those_of_the_author_do_not(db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant)
    [item] = indicators.indicators_for(db, tree.plant.organisation_id)["items"]
    assert (item["type"], item["value"], item["operation_id"]) == ("operation", FIELDS, "operation.s7comm.stop")
    assert item["bulletin"] == {"id": made.stix_id, "title": "停机", "drill": False}
    assert indicators.indicators_for(db, tree.city.organisation_id)["items"] == []
    assert indicators.indicators_for(db, tree.mill.organisation_id)["items"] == []


def test_red_indicators_stay_away_from_sensors(db, tree, clock):
    issued(db, tree.city, clock(), tree.plant, tlp=Tlp.RED)
    assert indicators.indicators_for(db, tree.plant.organisation_id)["items"] == []


def test_the_detector_takes_the_items_as_they_are(db, tree, clock):
    from detectors.indicators import read

    matches = [OPERATION, address_match("203.0.113.7"), address_match("203.0.113.0/24"), address_match("2001:db8::1")]
    made = bulletins.draft(db, tree.city, content(tree.plant), clock())
    bulletins.revise(db, tree.city, made.id, Content(title_en="x", matches=matches,
                     organisations=[tree.plant.organisation_id]), clock())  # fmt: skip
    bulletins.issue(db, tree.city, db.scalars(select(Bulletin.id)).one(), clock())
    items = indicators.indicators_for(db, tree.plant.organisation_id)["items"]
    assert len(items) == 4
    assert all(
        read(item, frozenset({"operation.s7comm.stop"})).bulletin_id == items[0]["bulletin"]["id"] for item in items
    )


def test_the_version_of_the_configuration_changes_with_it_and_only_then(db, tree, clock):
    def version() -> str:
        return indicators.indicators_for(db, tree.plant.organisation_id)["version"]

    empty = version()
    assert version() == empty
    made = issued(db, tree.city, clock(), tree.plant)
    full = version()
    assert full != empty
    bulletins.cancel(db, tree.city, made.id, "over", "", clock())
    assert version() == empty


# Versions


def test_an_update_replaces_and_a_cancel_lifts(db, tree, clock):
    first = issued(db, tree.city, clock(), tree.plant)
    clock.advance(hours=1)
    second = bulletins.revise(db, tree.city, first.id, content(tree.plant, advice_en="new advice"), clock())
    with pytest.raises(ConflictError):
        bulletins.revise(db, tree.city, first.id, content(tree.plant), clock())
    bulletins.issue(db, tree.city, second.id, clock())
    [shown] = bulletin_reading.listed(db, tree.plant, received=True)
    assert (shown.version, shown.notice) == (2, "update")
    assert db.get_one(Bulletin, first.id).state == "superseded"
    clock.advance(hours=1)
    last = bulletins.cancel(db, tree.city, second.id, "all clear", "解除", clock())
    [shown] = bulletin_reading.listed(db, tree.plant, received=True)
    assert (shown.id, shown.state, shown.withdrawn_at, shown.body_zh) == (last.id, "withdrawn", clock(), "解除")
    assert [shown.first_issued_at, shown.stix_id] == [first.issued_at, first.stix_id]
    versions = db.scalars(select(SharedObject.version).where(SharedObject.stix_type == "report")).all()
    assert len(versions) == len(set(versions)) == 3
    with pytest.raises(ConflictError):
        bulletins.cancel(db, tree.city, last.id, "", "", clock())


def test_issuing_twice_is_refused(db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant)
    with pytest.raises(ConflictError):
        bulletins.issue(db, tree.city, made.id, clock())


# Sightings


def test_hits_of_the_own_sensors_are_counted_and_can_be_exported(db, tree, clock, anonymous):
    made = issued(db, tree.city, clock(), tree.plant)
    [item] = indicators.indicators_for(db, tree.plant.organisation_id)["items"]
    db.rollback()
    hit = {"rule_id": "indicator.operation", "fields": {"indicator.id": item["id"], "bulletin.id": made.stix_id}}
    send(anonymous, tree.plant_key, [record(1, count=3, **hit), record(2, count=4, **hit), record(3)])
    send(anonymous, tree.mill_key, [record(1, count=100, **hit)])
    db.rollback()
    assert sightings.hits(db, tree.plant, made).count == 7
    assert sightings.hits(db, tree.city, made).count == 0
    bundle = sightings.export(db, tree.plant, made.id, clock())
    [seen] = [thing for thing in bundle["objects"] if thing["type"] == "sighting"]
    assert (seen["count"], seen["sighting_of_ref"]) == (7, item["id"])
    assert "10.0.0" not in json.dumps(bundle)
    with pytest.raises(InvalidError):
        sightings.export(db, tree.city, made.id, clock())


def test_what_a_drill_finds_is_a_drill(db, tree, clock, anonymous):
    made = issued(db, tree.city, clock(), tree.plant, drill=True)
    hit = {"rule_id": "indicator.operation", "fields": {"indicator.id": "x", "bulletin.id": made.stix_id}}
    send(anonymous, tree.plant_key, [record(1, **hit), record(2)])
    send(anonymous, tree.mill_key, [record(1, **hit)])
    db.rollback()
    drills = {(row.organisation_id, row.rule_id): row.drill for row in db.scalars(select(Finding))}
    assert drills == {
        (tree.plant.organisation_id, "indicator.operation"): True,
        (tree.plant.organisation_id, STOP.rule_id): False,
        (tree.mill.organisation_id, "indicator.operation"): False,  # nobody sent the drill there
    }


# Pages


def page(client, path: str) -> str:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def form(**more) -> dict:
    return {"title_en": "Stopped", "title_zh": "停机", "colour": "red", "tlp": "amber+strict", **more}


def test_the_way_from_a_finding_to_an_issued_bulletin_by_its_pages(client, db, tree, finding_id):
    assert f"/bulletins/new?finding={finding_id}" in page(client, f"/findings/{finding_id}")
    written = page(client, f"/bulletins/new?finding={finding_id}")
    offered = re.findall(r'name="match" value="([^"]+)"( checked)?', written)
    assert offered == [(OPERATION.text, " checked"), (PUBLIC, " checked"), ("10.0.0.9", "")]
    chosen = form(
        finding=finding_id, match=OPERATION.text, addresses="203.0.113.0/24", organisation=tree.mill.organisation_id
    )
    answer = client.submit("/bulletins/new", chosen)
    assert answer.status_code == 303
    preview = page(client, answer.location)
    assert "Mill" in preview
    assert "TLP:AMBER+STRICT" in preview
    assert 'id="issue"' in preview
    assert client.submit(f"{answer.location}/issue").status_code == 303
    exported = json.loads(page(client, f"{answer.location}/stix.json"))
    patterns = {thing["pattern_type"] for thing in exported["objects"] if thing["type"] == "indicator"}
    assert patterns == {"stix", "sigma"}
    assert PUBLIC not in json.dumps(exported)
    assert "In force" in page(client, "/bulletins/")


def test_a_wrong_form_comes_back_with_what_was_typed(client):
    answer = client.submit("/bulletins/new", form(addresses="not an address", advice_zh="慢慢来"))
    assert answer.status_code == 400
    text = answer.get_data(as_text=True)
    assert "Sensors cannot look for this address" in text
    untitled = {"title_en": "", "title_zh": ""}
    for wrong in ({"tlp": "white"}, {"colour": "pink"}, {"techniques": "T1"}, {"organisation": "x"}, untitled):
        assert client.submit("/bulletins/new", form() | wrong).status_code == 400


def test_a_received_bulletin_waits_in_the_list_until_it_is_acknowledged(client, db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant)
    assert "Waits for you" in page(client, "/bulletins/")
    assert "City" in page(client, f"/bulletins/{made.id}")
    client.submit(f"/bulletins/{made.id}/acknowledge")
    assert "Waits for you" not in page(client, "/bulletins/")


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", ""), ("get", "/stix.json"), ("get", "/sightings.json"), ("get", "/edit"), ("post", "/edit"),
     ("post", "/issue"), ("post", "/cancel"), ("post", "/discard"), ("post", "/acknowledge")],
)  # fmt: skip
def test_foreign_and_unknown_bulletins_answer_alike(mill_client, db, tree, clock, method, path):
    foreign = issued(db, tree.city, clock(), tree.plant)
    for number in (foreign.id, 999_999):
        url = f"/bulletins/{number}{path}"
        answer = mill_client.get(url) if method == "get" else mill_client.submit(url, form())
        assert answer.status_code == 404
    assert db.get_one(Bulletin, foreign.id).state == "issued"


def test_a_recipient_can_read_but_not_change_what_it_received(client, db, tree, clock):
    made = issued(db, tree.city, clock(), tree.plant)
    for path in ("edit", "issue", "cancel", "discard"):
        assert client.submit(f"/bulletins/{made.id}/{path}", form()).status_code == 404
    text = page(client, f"/bulletins/{made.id}")
    assert "Release log" not in text
    assert "Who will receive it" not in text


def test_script_in_a_bulletin_stays_text_on_every_page(client, db, tree, clock):
    evil = '"><script>alert(1)</script>{{7*7}}\u202egnp.exe'
    made = bulletins.draft(
        db, tree.city, Content(title_en=evil, title_zh=evil, body_en=evil, body_zh=evil, advice_en=evil, advice_zh=evil,
                               organisations=[tree.plant.organisation_id]), clock())  # fmt: skip
    number = bulletins.issue(db, tree.city, made.id, clock()).id
    db.commit()
    for path in ("/bulletins/", f"/bulletins/{number}"):
        text = page(client, path)
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "{{7*7}}" in text


def test_peers_and_subscriptions_are_for_administrators(app, client, tree, db):
    assert client.get("/sharing/").status_code == 200
    made = client.submit("/sharing/peers", {"name": "City console", "relation": "ancestor"}).get_data(as_text=True)
    password = re.search(r'id="peer-password">([^<]+)<', made)
    assert password
    assert len(password[1]) >= 43
    assert password[1] not in page(client, "/sharing/")
    analyst = app.test_client().log_in("analyst")
    assert analyst.get("/sharing/").status_code == 403
    for path in ("peers", "peers/1/revoke", "subscriptions", "subscriptions/1/pull", "subscriptions/1/enabled"):
        assert analyst.submit(f"/sharing/{path}", {}).status_code == 403


def test_pulling_what_the_worker_pulls_just_now_says_so_on_the_page(client, db, tree, clock):
    wanted = NewSubscription("City", "https://a.example/taxii2/", "u", "p")
    made = subscriptions.subscribe(db, tree.plant, wanted, clock(), allow_private=False)
    made.pulling_until = clock() + timedelta(seconds=60)
    number = made.id
    db.commit()
    answer = client.submit(f"/sharing/subscriptions/{number}/pull", follow_redirects=True)
    assert answer.status_code == 200
    assert "This subscription is being pulled already." in answer.get_data(as_text=True)


def test_foreign_peers_and_subscriptions_are_not_found(client, mill_client):
    client.submit("/sharing/peers", {"name": "City console", "relation": "ancestor"})
    client.submit(
        "/sharing/subscriptions", {"name": "c", "url": "https://a.example/taxii2/", "username": "u", "password": "p"}
    )
    assert "a.example" in page(client, "/sharing/")
    assert "a.example" not in page(mill_client, "/sharing/")
    for path in ("peers/1/revoke", "subscriptions/1/pull", "subscriptions/1/enabled"):
        assert mill_client.submit(f"/sharing/{path}").status_code == 404


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "file:///etc/passwd", "https://u:p@example.org/", "x", "https://"]
)
def test_an_address_that_may_not_be_pulled_is_refused_when_it_is_typed_in(client, url):
    data = {"name": "c", "url": url, "username": "u", "password": "p"}
    assert "error" in client.submit("/sharing/subscriptions", data, follow_redirects=True).get_data(as_text=True)
    assert "Pull now" not in page(client, "/sharing/")
