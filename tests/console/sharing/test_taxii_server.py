"""TAXII 2.1, MUST by MUST, and paging with the reference client against a server that really listens."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta

import pytest
from browser_kit import both_engines
from sharing_kit import ACCEPT, MODIFIED, Taxii, fill, new_object, peer_row, register, stix_indicator
from sqlalchemy import select
from taxii2client.v21 import Collection as ClientCollection
from taxii2client.v21 import Server, as_pages

from console.services import peers
from console.sharing import collection, taxii_server
from console.sharing.tlp import Held, Tlp
from console.store.models import Bulletin, BulletinRecipient, Collection, Release, SharedObject

pytestmark = both_engines


def put(store, actor, clock, *new):
    with store.transaction() as session:
        fill(session, actor, clock(), *new)


@pytest.fixture
def five(store, tree, clock, taxii):
    """Five indicators in the plant's collection; their ids in the order of adding."""
    made = [stix_indicator(n) for n in range(5)]
    put(store, tree.plant, clock, *[new_object(stix) for stix in made])
    return [stix["id"] for stix in made]


# Media types and authentication (3.1, 6)


@pytest.mark.parametrize("accept", [ACCEPT, "application/taxii+json", "text/html, application/taxii+json; version=2.1"])
def test_the_taxii_media_type_is_answered_with_its_version(taxii, accept):
    answer = taxii.get("/taxii2/", accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == ACCEPT


@pytest.mark.parametrize(
    "accept",
    ["", "application/json", "application/taxii+json;version=2.0", "application/vnd.oasis.taxii+json", "text/*"],
)
def test_other_media_types_are_not_acceptable_on_any_resource(taxii, accept):
    paths = ["/taxii2/", f"/taxii2/{taxii.root}/", f"/taxii2/{taxii.root}/collections/", taxii.objects, taxii.manifest]
    for path in paths:
        answer = taxii.get(path, accept=accept)
        assert answer.status_code == 406, path
        assert answer.headers["Content-Type"] == ACCEPT
        assert answer.get_json(force=True)["http_status"] == "406"


@pytest.mark.parametrize("header", [None, "Basic !!!", "Basic OnB3", "Bearer abc", "Basic cGVlcjp3cm9uZw=="])
def test_without_credentials_of_a_peer_nothing_is_told(taxii, header):
    for path in ["/taxii2/", f"/taxii2/{taxii.root}/", taxii.objects, f"/taxii2/{'0' * 36}/"]:
        answer = taxii.client.get(path, headers={"Accept": ACCEPT} | ({"Authorization": header} if header else {}))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_revoked_peer_is_refused_at_its_next_request(taxii, store, tree, clock):
    assert taxii.get("/taxii2/").status_code == 200
    with store.transaction() as session:
        peers.revoke(session, tree.plant, taxii.peer_id, clock())
    assert taxii.get("/taxii2/").status_code == 401


def test_the_password_is_not_kept(taxii, store):
    with store.reader() as session:
        assert taxii.password not in json.dumps(peer_row(session, taxii).password_hash)


# Resources (4, 5)


def test_discovery_leads_to_the_collection(taxii):
    discovery = taxii.get("/taxii2/").get_json(force=True)
    root = taxii.get(discovery["default"].removeprefix("http://localhost")).get_json(force=True)
    assert discovery["api_roots"] == [discovery["default"]]
    assert root["versions"] == [ACCEPT]
    assert root["max_content_length"] > 0
    listed = taxii.get(f"/taxii2/{taxii.root}/collections/").get_json(force=True)["collections"]
    assert [c["id"] for c in listed] == [taxii.uid]
    one = taxii.get(f"/taxii2/{taxii.root}/collections/{taxii.uid}/").get_json(force=True)
    assert one == listed[0]
    assert (one["can_read"], one["can_write"]) == (True, False)


def test_every_success_has_a_body_and_empty_lists_are_not_sent(taxii):
    for path in (taxii.objects, taxii.manifest):
        answer = taxii.get(path)
        assert answer.status_code == 200
        assert answer.get_json(force=True) == {}


@pytest.mark.parametrize("where", ["root", "collection", "object", "status"])
def test_foreign_and_unknown_things_answer_the_same_404(taxii, app, store, tree, clock, where):
    foreign = register(app, store, tree.mill, "community", "another")
    theirs = stix_indicator(99)
    put(store, tree.mill, clock, new_object(theirs))
    unknown = "11111111-1111-4111-8111-111111111111"
    paths = {
        "root": (f"/taxii2/{foreign.root}/", f"/taxii2/{unknown}/"),
        "collection": (foreign.objects, f"/taxii2/{taxii.root}/collections/{unknown}/objects/"),
        "object": (f"{taxii.objects}{theirs['id']}/", f"{taxii.objects}indicator--{unknown}/"),
        "status": (f"/taxii2/{foreign.root}/status/{unknown}/", f"/taxii2/{taxii.root}/status/{unknown}/"),
    }[where]
    one, other = (taxii.get(path) for path in paths)
    assert one.status_code == other.status_code == 404
    if where != "status":
        assert one.data == other.data


def test_objects_cannot_be_posted_and_the_content_type_is_checked_first(taxii):
    headers = {"Authorization": taxii.authorization, "Accept": ACCEPT}
    wrong = taxii.client.post(taxii.objects, data="{}", headers=headers, content_type="application/json")
    right = taxii.client.post(taxii.objects, data="{}", headers=headers, content_type=ACCEPT)
    assert (wrong.status_code, right.status_code) == (415, 403)
    deleted = taxii.client.delete(f"{taxii.objects}x/", headers=headers)
    assert deleted.status_code == 403


# Order, times, filters (3.2 to 3.4)


def test_objects_come_in_the_order_of_adding_not_of_their_stix_times(taxii, store, tree, clock):
    late_first = [stix_indicator(n, modified=MODIFIED - timedelta(days=n)) for n in range(4)]
    put(store, tree.plant, clock, *[new_object(stix) for stix in late_first])
    assert taxii.ids() == [stix["id"] for stix in late_first]
    assert taxii.ids(taxii.manifest) == [stix["id"] for stix in late_first]


def test_dates_added_strictly_increase_though_the_clock_stands_still(taxii, five):
    added = [row["date_added"] for row in taxii.get(taxii.manifest).get_json(force=True)["objects"]]
    assert added == sorted(set(added))
    assert all(len(text) == 27 for text in added)


def test_date_added_headers_name_the_first_and_last_of_the_page(taxii, five):
    record = taxii.get(taxii.manifest).get_json(force=True)["objects"]
    for path in (taxii.objects, taxii.manifest):
        answer = taxii.get(path, limit=3)
        assert answer.headers["X-TAXII-Date-Added-First"] == record[0]["date_added"]
        assert answer.headers["X-TAXII-Date-Added-Last"] == record[2]["date_added"]
    for path in (f"{taxii.objects}{five[1]}/", f"{taxii.objects}{five[1]}/versions/"):
        assert taxii.get(path).headers["X-TAXII-Date-Added-Last"] == record[1]["date_added"]


def test_added_after_is_exclusive_and_about_the_date_added(taxii, five):
    record = taxii.get(taxii.manifest).get_json(force=True)["objects"]
    assert taxii.ids(added_after=record[2]["date_added"]) == five[3:]
    assert taxii.ids(added_after=record[4]["date_added"]) == []
    assert taxii.ids(added_after="2026-11-22T07:59:59Z") == five


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
def test_a_page_never_exceeds_the_limit_and_says_when_there_is_more(taxii, five, limit):
    body = taxii.get(taxii.objects, limit=limit).get_json(force=True)
    assert len(body["objects"]) == min(limit, 5)
    assert body["more"] is (limit < 5)
    assert ("next" in body) is (limit < 5)


def test_a_page_of_large_objects_is_cut_before_it_becomes_too_large(taxii, store, tree, clock, monkeypatch):
    large = [stix_indicator(n, description="x" * 10_000) for n in range(6)]
    put(store, tree.plant, clock, *[new_object(stix) for stix in large])
    monkeypatch.setattr(taxii_server, "MAX_PAGE_CHARS", 25_000)
    first = taxii.get(taxii.objects).get_json(force=True)
    assert (len(first["objects"]), first["more"]) == (2, True)
    monkeypatch.setattr(taxii_server, "MAX_PAGE_CHARS", 10)  # one object is always given, however large
    assert taxii.ids(next=first["next"]) == [large[2]["id"]]


def test_following_next_gives_each_object_once(taxii, five):
    seen, token = [], {}
    while True:
        body = taxii.get(taxii.objects, limit=2, **token).get_json(force=True)
        seen += [stix["id"] for stix in body["objects"]]
        if not body["more"]:
            break
        token = {"next": body["next"]}
    assert seen == five


def test_a_client_that_moves_added_after_while_it_pages_loses_nothing(taxii, five):
    first = taxii.get(taxii.objects, limit=2)
    moved = first.headers["X-TAXII-Date-Added-Last"]
    token = first.get_json(force=True)["next"]
    assert taxii.ids(next=token, added_after=moved) == five[2:]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"}, {"limit": "-1"}, {"limit": "x"}, {"limit": "1e3"}, {"limit": ""}, {"limit": "٣"},
        {"added_after": "yesterday"}, {"added_after": "2026-11-22"}, {"added_after": "2026-13-41T00:00:00Z"},
        {"next": "5"}, {"next": "forged.token"}, {"match__version": "all,last"}, {"match__version": "newest"},
        {"match__id": ","},
    ],
)  # fmt: skip
def test_malformed_parameters_are_a_bad_request(taxii, five, parameters):
    answer = taxii.get(taxii.objects, **parameters)
    assert answer.status_code == 400
    assert answer.get_json(force=True)["http_status"] == "400"


def test_next_of_another_peer_or_other_filters_is_refused(taxii, five, app, store, tree):
    token = taxii.get(taxii.objects, limit=2).get_json(force=True)["next"]
    other = register(app, store, tree.plant, "community", "another")
    assert other.get(taxii.objects, next=token).status_code == 400
    assert taxii.get(taxii.objects, next=token, match__type="indicator").status_code == 400


def test_filters_restrict_together_and_their_values_are_alternatives(taxii, five):
    assert taxii.ids(match__id=f"{five[3]},{five[0]}") == [five[0], five[3]]
    assert taxii.ids(match__id=five[0], match__type="report") == []
    assert taxii.ids(match__type="report,indicator") == five
    assert taxii.ids(match__spec_version="2.1") == five
    assert taxii.ids(match__spec_version="2.0") == []


def test_unknown_types_and_unknown_parameters_are_no_error(taxii, five):
    assert taxii.ids(match__type="x-nobody-knows") == []
    assert taxii.ids(match__colour="red", something="else") == five


@pytest.fixture
def versions(store, tree, clock, taxii):
    """One indicator in three versions; their times as text."""
    times = [MODIFIED + timedelta(hours=n) for n in range(3)]
    put(store, tree.plant, clock, *[new_object(stix_indicator(7, modified=time)) for time in times])
    return [time.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for time in times]


def test_versions_are_last_by_default_first_all_or_exact(taxii, versions):
    def asked(**parameters):
        body = taxii.get(taxii.manifest, **parameters).get_json(force=True)
        return [row["version"] for row in body.get("objects", [])]

    assert asked() == versions[2:]
    assert asked(match__version="last") == versions[2:]
    assert asked(match__version="first") == versions[:1]
    assert asked(match__version="all") == versions
    assert asked(match__version="first,last") == [versions[0], versions[2]]
    assert asked(match__version=versions[1]) == versions[1:2]
    assert asked(match__version=versions[1].replace(".000000", "")) == versions[1:2]
    assert asked(match__version="1999-01-01T00:00:00Z") == []


def test_the_versions_of_one_object_are_listed(taxii, versions):
    stix_id = stix_indicator(7)["id"]
    assert taxii.get(f"{taxii.objects}{stix_id}/versions/").get_json(force=True)["versions"] == versions
    assert len(taxii.ids(f"{taxii.objects}{stix_id}/", match__version="all")) == 3


# The release decision (per object, before the page is cut)


def test_each_relation_gets_what_its_labels_allow_and_the_page_does_not_show_the_gap(app, store, tree, clock):
    made = {tlp: stix_indicator(int(tlp), tlp) for tlp in Tlp}
    put(store, tree.plant, clock, *[new_object(stix, tlp) for tlp, stix in made.items()])
    expected = {
        "community": [Tlp.CLEAR, Tlp.GREEN],
        "ancestor": [Tlp.CLEAR, Tlp.GREEN],
        "descendant": [Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER],
    }
    for relation, labels in expected.items():
        peer = register(app, store, tree.plant, relation, relation)
        for path in (peer.objects, peer.manifest):
            body = peer.get(path, limit=len(labels)).get_json(force=True)
            assert [row["id"] for row in body["objects"]] == [made[tlp]["id"] for tlp in labels]
            assert body["more"] is False
        assert peer.get(f"{peer.objects}{made[Tlp.RED]['id']}/").status_code == 404
        assert peer.get(f"{peer.objects}{made[Tlp.RED]['id']}/versions/").status_code == 404
        assert peer.ids(match__id=made[Tlp.RED]["id"]) == []


def test_what_was_received_goes_on_only_as_its_label_lets_a_recipient(app, store, tree, clock):
    received = [new_object(stix_indicator(int(tlp), tlp), tlp, Held.AS_RECIPIENT) for tlp in Tlp]
    put(store, tree.plant, clock, *received)
    below = register(app, store, tree.plant, "descendant", "below")
    beside = register(app, store, tree.plant, "community", "beside")
    assert below.ids() == [new.stix_id for new in received[:3]]
    assert beside.ids() == [new.stix_id for new in received[:2]]


def test_a_named_peer_gets_red_and_nobody_else_does(app, store, tree, clock):
    named = register(app, store, tree.plant, "community", "named")
    other = register(app, store, tree.plant, "descendant", "other")
    with store.transaction() as session:
        bulletin = bare_bulletin(tree.plant.organisation_id, clock())
        bulletin.recipients.append(BulletinRecipient(organisation_id=tree.plant.organisation_id, peer_id=named.peer_id))
        session.add(bulletin)
        session.flush()
        red = new_object(stix_indicator(1, Tlp.RED), Tlp.RED, bulletin_id=bulletin.id)
        fill(session, tree.plant, clock(), red)
    assert named.ids() == [red.stix_id]
    assert other.ids() == []


def bare_bulletin(organisation_id: int, now: datetime) -> Bulletin:
    texts = dict.fromkeys(("title_en", "title_zh", "body_en", "body_zh", "advice_en", "advice_zh"), "x")
    return Bulletin(
        organisation_id=organisation_id, stix_id="report--x", series="x", version=1, notice="alert", origin="issued",
        state="issued", tlp="red", colour="red", techniques=[], created_at=now, **texts,
    )  # fmt: skip


def test_a_stricter_new_version_does_not_hide_the_old_one_that_was_released(taxii, store, tree, clock):
    old, new = stix_indicator(1), stix_indicator(1, Tlp.RED, MODIFIED + timedelta(days=1))
    put(store, tree.plant, clock, new_object(old), new_object(new, Tlp.RED))
    answer = taxii.get(taxii.manifest).get_json(force=True)["objects"]
    assert [row["version"] for row in answer] == ["2026-11-01T12:00:00.000000Z"]


def test_every_release_and_refusal_is_in_the_log_once_and_counted(taxii, store, tree, clock):
    put(store, tree.plant, clock, new_object(stix_indicator(1)), new_object(stix_indicator(2, Tlp.RED), Tlp.RED))
    for _ in range(3):
        taxii.get(taxii.objects)
    with store.reader() as session:
        log = {row.stix_id: row for row in session.scalars(select(Release))}
    given, refused = log[stix_indicator(1)["id"]], log[stix_indicator(2)["id"]]
    assert (given.allowed, given.reason, given.count) == (True, "community", 3)
    assert (refused.allowed, refused.reason, refused.count) == (False, "persons-only", 3)
    assert given.requester == f"peer:{taxii.peer_id}"
    assert given.organisation_id == tree.plant.organisation_id


# What goes in


def test_adding_twice_changes_nothing_and_another_body_does_not_replace_the_first(store, tree, clock, db, taxii):
    one = new_object(stix_indicator(1))
    shared = collection.ensure(db, tree.plant.organisation_id, clock())
    assert collection.add(db, shared, [one], clock()) == ["added"]
    assert collection.add(db, shared, [one], clock()) == ["known"]
    assert collection.add(db, shared, [new_object(stix_indicator(1, name="other"))], clock()) == ["conflicting"]
    db.commit()
    assert taxii.get(taxii.objects).get_json(force=True)["objects"][0]["name"] == "number 1"


# The reference client, a server that listens, a writer beside it

OBJECTS = 1003


def test_the_reference_client_pages_each_object_exactly_once_while_a_writer_adds_more(
    listening, store, tree, clock, taxii: Taxii
):
    before = [stix_indicator(n) for n in range(OBJECTS)]
    put(store, tree.plant, clock, *[new_object(stix) for stix in before])
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        number = OBJECTS
        while not stop.wait(0.005):
            new = stix_indicator(number)
            put(store, tree.plant, clock, new_object(new))
            written.append(new["id"])
            number += 1

    server = Server(f"{listening}/taxii2/", user=taxii.username, password=taxii.password)
    [root] = server.api_roots
    [served] = root.collections
    writer = threading.Thread(target=write)
    writer.start()
    try:
        pages = []
        for page in as_pages(served.get_objects, per_request=100):
            pages.append([stix["id"] for stix in page["objects"]])
            while len(written) < len(pages):  # the writer is never slower than the reader
                stop.wait(0.001)
    finally:
        stop.set()
        writer.join()
    assert all(len(page) == 100 for page in pages[:-1])
    seen = [stix_id for page in pages for stix_id in page]
    assert len(seen) == len(set(seen))
    assert seen[:OBJECTS] == [stix["id"] for stix in before]
    assert seen[OBJECTS:] == written[: len(seen) - OBJECTS]
    assert len(written) >= 10


def test_two_writers_at_a_time_leave_one_order(store, tree, clock):
    def write(start: int) -> None:
        for number in range(start, start + 15):
            put(store, tree.plant, clock, new_object(stix_indicator(number)))

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reader() as session:
        rows = list(session.scalars(select(SharedObject).order_by(SharedObject.sequence)))
        [shared] = session.scalars(select(Collection))
    assert [row.sequence for row in rows] == list(range(1, 31))
    assert [row.date_added for row in rows] == sorted({row.date_added for row in rows})
    assert (shared.last_sequence, shared.last_added) == (30, rows[-1].date_added)


def test_the_reference_client_reads_manifest_object_and_versions(listening, taxii, five):
    url = f"{listening}/taxii2/{taxii.root}/collections/{taxii.uid}/"
    served = ClientCollection(url, user=taxii.username, password=taxii.password)
    assert served.can_read
    assert not served.can_write
    assert [row["id"] for row in served.get_manifest()["objects"]] == five
    assert served.get_object(five[2])["objects"][0]["id"] == five[2]
    assert len(served.object_versions(five[2])["versions"]) == 1
