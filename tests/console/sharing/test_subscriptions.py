"""Console B pulls from console A: what arrives, what it becomes, how far it may go on, and what hostile servers get."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser_kit import both_engines
from sharing_kit import ACCEPT, MODIFIED, register, stix_indicator
from sqlalchemy import func, select
from stix2validator import ValidationOptions, validate_string

from console import create_app
from console.services import bulletin_reading, bulletins, indicators, subscriptions
from console.services.bulletins import Content
from console.services.errors import ConflictError, InvalidError
from console.services.subscriptions import NewSubscription, PullReport
from console.settings import Settings
from console.sharing.document import Colour
from console.sharing.patterns import address_match, operation_match
from console.sharing.taxii_client import Budget
from console.sharing.tlp import DEFINITION_IDS, Tlp
from console.store.engine import Store
from console.store.models import Bulletin, Indicator, SharedObject, Subscription

pytestmark = both_engines


STOP = operation_match({"network.protocol": "s7comm", "s7comm.function": 41}, "operation.s7comm.stop")
ADDRESS = address_match("203.0.113.77")
UUID = "0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a01"


@pytest.fixture
def console_b(prepared, tmp_path, clock) -> Iterator[Store]:
    """A second console with the same organisations; its plant subscribes."""
    folder = tmp_path / "b"
    folder.mkdir()
    shutil.copy(prepared[0], folder / "console.db")
    app = create_app(Settings(data_dir=folder, locale="en", peer_private=True), clock)
    yield app.extensions["fenghuo"].store
    app.extensions["fenghuo"].store.engine.dispose()


def subscribe(store: Store, actor, now, url: str, username: str = "u", password: str = "p", name: str = "A") -> int:
    with store.transaction() as session:
        wanted = NewSubscription(name, url, username, password)
        return subscriptions.subscribe(session, actor, wanted, now, allow_private=True).id


def pull(store: Store, number: int, clock, **budget) -> PullReport:
    return subscriptions.pull(store, number, clock, allow_private=True, budget=Budget(**{"seconds": 20.0} | budget))


# Between two consoles of ours


@pytest.fixture
def a_to_b(app, store, listening, console_b, tree, clock):
    """The city of console A with the plant of console B as a named, lower peer; gives (issue, pull)."""
    peer = register(app, store, tree.city, "descendant", "Plant console")
    number = subscribe(console_b, tree.plant, clock(), f"{listening}/taxii2/", peer.username, peer.password)

    def issue(tlp: Tlp = Tlp.AMBER, *, named: bool = True, **more) -> str:
        with store.transaction() as session:
            made = bulletins.draft(
                session,
                tree.city,
                Content(
                    "Stopped", "停机", "body", "正文", "check", "检查", tlp, Colour.RED, techniques=["T0858"],
                    matches=[STOP, ADDRESS], peers=[peer.peer_id] if named else [], **more,
                ),
                clock(),
            )  # fmt: skip
            return bulletins.issue(session, tree.city, made.id, clock()).stix_id

    return issue, lambda: pull(console_b, number, clock)


def test_a_bulletin_arrives_whole_and_its_indicators_go_to_sensors(a_to_b, console_b, tree):
    issue, fetch = a_to_b
    stix_id = issue()
    report = fetch()
    assert report.error == ""
    with console_b.reader() as session:
        [got] = bulletin_reading.listed(session, tree.plant, received=True)
        assert (got.stix_id, got.origin, got.state, got.source_name) == (stix_id, "received", "issued", "City")
        assert (got.title_en, got.title_zh, got.body_en, got.body_zh) == ("Stopped", "停机", "body", "正文")
        assert (got.advice_en, got.advice_zh, got.colour, got.tlp) == ("check", "检查", "red", "amber")
        assert (got.techniques, got.drill, got.version) == (["T0858"], False, 1)
        items = indicators.indicators_for(session, tree.plant.organisation_id)["items"]
        assert {item["bulletin"]["id"] for item in items} == {stix_id}
        assert {json.dumps(item["value"]) for item in items} == {json.dumps(STOP.value), '"203.0.113.77"'}
        assert [item.get("operation_id") for item in items if item["type"] == "operation"] == ["operation.s7comm.stop"]
        assert indicators.indicators_for(session, tree.mill.organisation_id)["items"] == []


def test_a_received_bulletin_goes_out_to_a_file_as_it_came(a_to_b, store, console_b, tree, clock):
    issue, fetch = a_to_b
    stix_id = issue()
    fetch()
    with console_b.reader() as session:
        [got] = bulletin_reading.listed(session, tree.plant, received=True)
        bundle = bulletin_reading.export(session, tree.plant, got.id, clock())
    assert validate_string(json.dumps(bundle), ValidationOptions(version="2.1")).is_valid
    sent = {row.stix_id: json.loads(row.body) for row in rows(store, SharedObject)}
    assert all(sent[thing["id"]] == thing for thing in bundle["objects"])
    assert {"report", "indicator", "language-content", "identity"} <= {thing["type"] for thing in bundle["objects"]}
    assert stix_id in {thing["id"] for thing in bundle["objects"]}


def test_the_author_sees_that_the_peer_has_fetched_it(a_to_b, store, tree):
    issue, fetch = a_to_b
    stix_id = issue()
    fetch()
    with store.reader() as session:
        [entry] = session.scalars(select(Bulletin).where(Bulletin.stix_id == stix_id)).one().recipients
        assert [receipt.state for receipt in entry.receipts] == ["delivered"]


def test_pulling_again_changes_nothing(a_to_b, console_b):
    issue, fetch = a_to_b
    issue()
    first = fetch()
    again = fetch()
    assert first.counts["added"] > 5
    assert again.counts["added"] == 0
    assert again.error == ""
    with console_b.transaction() as session:  # as if the place had been lost
        session.scalars(select(Subscription)).one().added_after = ""
    again = fetch()
    assert (again.counts["added"], again.counts["known"]) == (0, first.counts["added"])


def test_an_update_and_an_all_clear_follow(a_to_b, store, console_b, tree, clock):
    issue, fetch = a_to_b
    stix_id = issue()
    fetch()
    clock.advance(hours=1)
    with store.transaction() as session:
        old = session.scalars(select(Bulletin)).one()
        content = bulletins.content_of(session, old)
        content.matches, content.title_en = [STOP], "Still stopped"
        made = bulletins.revise(session, tree.city, old.id, content, clock())
        bulletins.issue(session, tree.city, made.id, clock())
    fetch()
    with console_b.reader() as session:
        [got] = bulletin_reading.listed(session, tree.plant, received=True)
        assert (got.version, got.title_en, got.stix_id) == (2, "Still stopped", stix_id)
        items = indicators.indicators_for(session, tree.plant.organisation_id)["items"]
        assert [item["type"] for item in items] == ["operation"]
    clock.advance(hours=1)
    with store.transaction() as session:
        current = session.scalars(select(Bulletin).where(Bulletin.state == "issued")).one()
        bulletins.cancel(session, tree.city, current.id, "over", "解除", clock())
    fetch()
    with console_b.reader() as session:
        [got] = bulletin_reading.listed(session, tree.plant, received=True)
        assert (got.state, got.body_en, got.withdrawn_at) == ("withdrawn", "over", clock())
        assert indicators.indicators_for(session, tree.plant.organisation_id)["items"] == []


def test_a_drill_stays_a_drill(a_to_b, console_b, tree):
    issue, fetch = a_to_b
    issue(drill=True)
    fetch()
    with console_b.reader() as session:
        [got] = bulletin_reading.listed(session, tree.plant, received=True)
        assert (got.drill, got.title_en) == (True, "Stopped")
        assert all(
            item["bulletin"]["drill"]
            for item in indicators.indicators_for(session, tree.plant.organisation_id)["items"]
        )


@pytest.mark.parametrize(("tlp", "named", "arrives"), [
    (Tlp.RED, True, True), (Tlp.RED, False, False), (Tlp.AMBER_STRICT, True, True), (Tlp.AMBER_STRICT, False, False),
    (Tlp.AMBER, False, True), (Tlp.GREEN, False, True), (Tlp.CLEAR, False, True),
])  # fmt: skip
def test_only_what_the_label_lets_out_arrives(a_to_b, console_b, tree, tlp, named, arrives):
    issue, fetch = a_to_b
    issue(tlp, named=named)
    assert fetch().error == ""
    with console_b.reader() as session:
        assert len(bulletin_reading.listed(session, tree.plant, received=True)) == arrives


@pytest.mark.parametrize(("tlp", "below", "beside"), [
    (Tlp.RED, False, False), (Tlp.AMBER_STRICT, False, False), (Tlp.AMBER, True, False), (Tlp.GREEN, True, True),
    (Tlp.CLEAR, True, True),
])  # fmt: skip
def test_what_arrived_goes_on_from_the_second_console_as_its_label_lets_a_recipient(
    a_to_b, console_b, tree, clock, tlp, below, beside
):  # fmt: skip
    issue, fetch = a_to_b
    stix_id = issue(tlp)
    fetch()
    from console.services import collections, peers
    from console.sharing import collection
    from console.sharing.taxii_server import Query

    with console_b.transaction() as session:
        shared = collection.ensure(session, tree.plant.organisation_id, clock())
        for relation, expected in (("descendant", below), ("community", beside)):
            peer, _ = peers.register(session, tree.plant, relation, relation, clock())
            shown = collections.read(session, peer, shared, Query(), None).objects
            assert (stix_id in [row.stix_id for row in shown]) is expected


def test_red_is_shown_to_administrators_of_the_receiving_organisation_and_not_given_to_sensors(a_to_b, console_b, tree):
    issue, fetch = a_to_b
    issue(Tlp.RED)
    fetch()
    with console_b.reader() as session:
        assert len(bulletin_reading.listed(session, tree.plant, received=True)) == 1
        assert bulletin_reading.listed(session, tree.plant_analyst, received=True) == []
        assert indicators.indicators_for(session, tree.plant.organisation_id)["items"] == []


def test_wrong_credentials_are_one_clear_line_and_stay_on_the_page(listening, console_b, tree, clock):
    number = subscribe(console_b, tree.plant, clock(), f"{listening}/taxii2/", "nobody", "wrong")
    assert pull(console_b, number, clock).error == "The server refuses these credentials."
    with console_b.reader() as session:
        row = session.get_one(Subscription, number)
        assert (row.last_error, row.pulling_until) == ("The server refuses these credentials.", None)


def test_what_is_due_is_pulled_by_the_worker_and_not_before(a_to_b, console_b, clock):
    issue, _ = a_to_b
    issue()
    due = lambda: subscriptions.pull_due(console_b, clock, allow_private=True)  # noqa: E731
    assert [report.error for report in due().values()] == [""]
    assert due() == {}
    clock.advance(seconds=300)
    assert len(due()) == 1
    with console_b.transaction() as session:
        session.scalars(select(Subscription)).one().enabled = False
    clock.advance(days=1)
    assert due() == {}


def test_the_worker_process_pulls_by_itself(a_to_b, console_b, tree):
    issue, _ = a_to_b
    issue()
    folder = console_b.engine.url.database.rpartition("/")[0]
    environment = os.environ | {"FENGHUO_DATA_DIR": folder, "FENGHUO_PEER_PRIVATE": "1"}
    worker = subprocess.Popen([sys.executable, "-m", "console.notify.worker"], env=environment)
    try:
        until = time.monotonic() + 60
        found = []
        while not found and time.monotonic() < until and worker.poll() is None:
            time.sleep(0.2)
            found = rows(console_b, Bulletin)
        assert [bulletin.title_en for bulletin in found] == ["Stopped"]
    finally:
        worker.terminate()
        worker.wait(30)


def test_two_pulls_of_one_subscription_do_not_run_at_a_time(console_b, tree, clock):
    number = subscribe(console_b, tree.plant, clock(), "http://127.0.0.1:9/")
    with console_b.transaction() as session:
        session.get_one(Subscription, number).pulling_until = clock() + timedelta(seconds=60)
    with pytest.raises(ConflictError):
        pull(console_b, number, clock)
    clock.advance(seconds=61)
    assert pull(console_b, number, clock).error == "The server cannot be reached."


def test_private_addresses_are_refused_unless_a_setting_allows_them(listening, console_b, tree, clock):
    number = subscribe(console_b, tree.plant, clock(), f"{listening}/taxii2/")
    with console_b.transaction() as session:
        session.get_one(Subscription, number).url = listening.replace("http:", "https:") + "/taxii2/"
        wanted = NewSubscription("x", listening, "u", "p")
        with pytest.raises(InvalidError):
            subscriptions.subscribe(session, tree.plant, wanted, clock(), allow_private=False)
    report = subscriptions.pull(console_b, number, clock, allow_private=False)
    assert report.error == "The address is not a public one; a setting allows others."


# Hostile servers

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def hostile() -> Iterator[Callable[[Callable[[str], Answer]], str]]:
    """Starts servers that answer GET with a function of the path; what they were asked is in `asked`."""
    servers = []

    def start(answer: Callable[[str], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                start.asked.append(self.path)
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/root/"

    start.asked = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def taxii(objects: Callable[[str], bytes | dict]) -> Callable[[str], Answer]:
    """A server whose discovery is in order and whose objects are not."""

    def answer(path: str) -> Answer:
        if "/objects/" in path:
            body = objects(path)
        elif path.endswith("/collections/"):
            body = {"collections": [{"id": UUID, "title": "t", "can_read": True, "can_write": False}]}
        else:
            body = {"title": "root", "versions": [ACCEPT], "max_content_length": 1}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return 200, {"Content-Type": ACCEPT}, raw

    return answer


@pytest.fixture
def pull_from(hostile, console_b, tree, clock):
    def go(answer: Callable[[str], Answer], **budget) -> PullReport:
        number = subscribe(console_b, tree.plant, clock(), hostile(answer))
        return pull(console_b, number, clock, **budget)

    go.asked = hostile.asked
    return go


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "The server's answer is not JSON within bounds."),
        (b'{"objects":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "The server's answer is not JSON within bounds."),
        (b'{"objects":[' + b"9" * 5_000 + b"]}", "The server's answer is not JSON within bounds."),
        (b'{"objects":[NaN]}', "The server's answer is not JSON within bounds."),
        (b"\xff\xfe", "The server's answer is not JSON within bounds."),
        (b"", "The server's answer is not JSON within bounds."),
        (b"[]", "The server's answer is not a TAXII resource."),
        (b'{"objects":{}}', "The server's answer is not a TAXII envelope."),
        (b'{"more":true,"objects":[1]}', "The server says that there is more, but not where."),
        (b'{"more":true,"next":"x","objects":[]}', "The server's pages lead in a circle."),
        (b'{"more":true,"next":"x","objects":[1]}', "The server's pages lead in a circle."),
        (b" " * 300_000, "The server sends more bytes than one pull takes."),
    ],
)
def test_a_malformed_envelope_ends_the_pull_with_one_clear_line(pull_from, body, error):
    assert pull_from(taxii(lambda _: body), page_bytes=250_000).error == error


def test_endless_pages_end_at_the_budget(pull_from):
    count = iter(range(10**9))
    endless = taxii(lambda _: {"more": True, "next": str(next(count)), "objects": [1]})
    assert pull_from(endless, pages=7).error == "The server has more pages than one pull takes."
    assert len([path for path in pull_from.asked if "/objects/" in path]) == 7
    flood = taxii(lambda _: {"more": True, "next": str(next(count)), "objects": [1] * 100})
    assert pull_from(flood, objects=250).error == "The server sends more objects than one pull takes."


@pytest.mark.parametrize("at", ["/root/", "/collections/", "/objects/"])
def test_redirects_are_not_followed_and_no_credentials_travel(pull_from, hostile, at):
    elsewhere = hostile(taxii(lambda _: {}))
    fine = taxii(lambda _: {})
    hostile.asked.clear()

    def answer(path: str) -> Answer:
        return (302, {"Location": elsewhere}, b"") if path.split("?")[0].endswith(at) else fine(path)

    assert pull_from(answer).error == "The server redirects elsewhere; redirects are not followed."
    assert len(hostile.asked) == ["/root/", "/collections/", "/objects/"].index(at) + 1


def test_an_api_root_on_another_host_is_refused(pull_from, hostile):
    elsewhere = hostile(taxii(lambda _: {}))
    body = json.dumps({"title": "x", "default": elsewhere, "api_roots": [elsewhere]}).encode()
    hostile.asked.clear()
    report = pull_from(lambda _: (200, {"Content-Type": ACCEPT}, body))
    assert report.error == "The server names an API root on another host."
    assert hostile.asked == ["/root/"]


def test_a_compressed_answer_is_refused_unread(pull_from):
    report = pull_from(lambda _: (200, {"Content-Type": ACCEPT, "Content-Encoding": "gzip"}, b"\x1f\x8b" * 1000))
    assert report.error == "The server compresses its answer though it was asked not to."


def test_a_server_that_drips_is_cut_off(pull_from):
    def slow(_: str) -> Answer:
        threading.Event().wait(3)
        return 200, {"Content-Type": ACCEPT}, b"{}"

    assert pull_from(slow, seconds=0.5, step_s=30.0).error == "The pull took too long."


def test_a_web_page_is_no_taxii_server(pull_from):
    report = pull_from(lambda _: (200, {"Content-Type": "text/html"}, b"<html>"))
    assert report.error == "There is no TAXII 2.1 server at this address."


# Hostile objects


def stix_report(refs: list, number: int = 1, **more) -> dict:
    return {
        "type": "report", "spec_version": "2.1", "id": f"report--0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a{number:02d}",
        "created": "2026-11-01T12:00:00.000Z", "modified": "2026-11-01T12:00:00.000Z", "name": "r",
        "published": "2026-11-01T12:00:00Z", "object_refs": refs, "object_marking_refs": [DEFINITION_IDS[Tlp.GREEN]],
    } | more  # fmt: skip


def envelope(*objects) -> Callable[[str], Answer]:
    return taxii(lambda _: {"objects": list(objects)})


def rows(store: Store, model) -> list:
    with store.reader() as session:
        return list(session.scalars(select(model)))


def test_reports_that_refer_to_each_other_and_to_themselves_cost_nothing(pull_from, console_b):
    ids = [stix_report([], number)["id"] for number in range(3)]
    report = pull_from(envelope(*[stix_report(ids, number) for number in range(3)]))
    assert (report.error, report.counts["added"]) == ("", 3)
    assert len(rows(console_b, Bulletin)) == 3


BAD_OBJECTS = [
    None, 1, "x", [], {}, {"id": "indicator--1"}, {"type": "report", "id": 7},
    stix_indicator(1, id="indicator--" + "a" * 100_000),
    stix_indicator(1, id="indicator--" + UUID + "\n"),
    stix_indicator(1, id=f"report--{UUID}"),
    stix_indicator(1, id="../../etc/passwd"),
    stix_indicator(1, spec_version="2.0"),
    stix_indicator(1) | {"modified": "yesterday"},
    stix_indicator(1) | {"modified": "2026-02-30T00:00:00Z"},
    stix_indicator(1) | {"modified": 5},
    stix_indicator(1) | {"modified": "2001-01-01T00:00:00Z"},
    stix_indicator(1, name="x" * 300_000),
    {k: v for k, v in stix_indicator(1).items() if k != "created"},
    stix_report(["indicator--" + UUID] * 6_000),
    {"type": "language-content", "id": f"language-content--{UUID}", "created": "2026-11-01T12:00:00Z",
     "modified": "2026-11-01T12:00:00Z", "object_ref": "x", "contents": {}},
]  # fmt: skip


def test_objects_that_break_the_rules_are_counted_and_the_others_come_in(pull_from, console_b):
    good = [stix_indicator(2), stix_indicator(3)]
    report = pull_from(envelope(good[0], *BAD_OBJECTS, good[1]))
    assert report.error == ""
    rejected = sum(count for name, count in report.counts.items() if name.startswith("rejected"))
    assert rejected == len(BAD_OBJECTS)
    assert {row.stix_id for row in rows(console_b, Indicator)} == {stix["id"] for stix in good}
    assert rows(console_b, Bulletin) == []


def test_objects_of_unknown_types_are_kept_as_they_came_and_counted(pull_from, console_b):
    odd = {"type": "x-plant", "id": f"x-plant--{UUID}", "spec_version": "2.1", "anything": {"deep": ["\ud800", 1.5]}}
    report = pull_from(envelope(odd))
    assert (report.counts["added"], report.counts["unknown type"]) == (1, 1)
    [row] = rows(console_b, SharedObject)
    assert json.loads(row.body) == odd
    assert row.tlp == Tlp.AMBER_STRICT  # nobody marked it


def test_a_made_up_marking_does_not_loosen_and_a_stricter_one_counts(pull_from, console_b):
    def forged(number: int, word: str) -> tuple[dict, dict]:
        identifier = f"marking-definition--0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9b{number:02d}"
        definition = {
            "type": "marking-definition", "spec_version": "2.1", "id": identifier, "created": "2022-10-01T00:00:00Z",
            "name": f"TLP:{word.upper()}", "definition_type": "tlp", "definition": {"tlp": word},
        }  # fmt: skip
        return definition, stix_indicator(number, object_marking_refs=[identifier])

    (clear, by_clear), (red, by_red) = forged(1, "white"), forged(2, "red")
    unmarked = stix_indicator(3)
    del unmarked["object_marking_refs"]
    pull_from(envelope(clear, by_clear, red, by_red, unmarked))
    held = {row.stix_id: Tlp(row.tlp) for row in rows(console_b, SharedObject)}
    assert held[by_clear["id"]] is Tlp.AMBER_STRICT
    assert held[by_red["id"]] is Tlp.RED
    assert held[unmarked["id"]] is Tlp.AMBER_STRICT


def test_the_same_version_with_another_body_does_not_replace_the_first(pull_from, console_b):
    pull_from(envelope(stix_indicator(1)))
    report = pull_from(envelope(stix_indicator(1, pattern="[ipv4-addr:value = '198.51.100.1']")))
    assert report.counts["conflicting"] == 1
    assert [row.text for row in rows(console_b, Indicator)] == ["203.0.113.2"]


def test_another_source_cannot_replace_or_revoke_what_the_first_brought(pull_from, console_b):
    pull_from(envelope(stix_indicator(1), stix_report([stix_indicator(1)["id"]])))
    later = MODIFIED + timedelta(days=1)
    text = later.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    report = pull_from(
        envelope(stix_indicator(1, modified=later, revoked=True) | {"modified": text},
                 stix_report([], revoked=True, modified=text))
    )  # fmt: skip
    assert report.counts["foreign"] == 2
    assert [row.revoked for row in rows(console_b, Indicator)] == [False]
    assert [row.state for row in rows(console_b, Bulletin)] == ["issued"]


def test_an_older_version_that_comes_late_changes_nothing(pull_from, console_b):
    new = stix_indicator(1, modified=MODIFIED + timedelta(days=1), pattern="[ipv4-addr:value = '198.51.100.1']")
    pull_from(envelope(new, stix_indicator(1)))
    assert [row.text for row in rows(console_b, Indicator)] == ["198.51.100.1"]


def test_the_order_in_which_parts_arrive_does_not_matter(pull_from, console_b):
    indicator = stix_indicator(1)
    pages = {"": [stix_report([indicator["id"]])], "b": [indicator]}
    seen = []

    def objects(path: str) -> dict:
        key = "b" if "next=b" in path else ""
        seen.append(key)
        return {"objects": pages[key]} | ({"more": True, "next": "b"} if key == "" else {})

    assert pull_from(taxii(objects)).error == ""
    assert seen == ["", "b"]
    [bulletin] = rows(console_b, Bulletin)
    assert [row.bulletin_id for row in rows(console_b, Indicator)] == [bulletin.id]


def test_patterns_that_sensors_cannot_use_are_kept_with_the_reason(pull_from, console_b, tree):
    pull_from(envelope(stix_indicator(1, pattern="[file:name = 'x']"), stix_indicator(2, pattern_type="yara")))
    assert [row.unusable for row in rows(console_b, Indicator)] == [
        "more-than-addresses",
        "pattern-language-not-supported",
    ]
    with console_b.reader() as session:
        assert indicators.indicators_for(session, tree.plant.organisation_id)["items"] == []


def test_a_date_in_the_future_does_not_hide_what_comes_until_then(pull_from, console_b, clock):
    def answer(path: str) -> Answer:
        status, headers, body = envelope(stix_indicator(1))(path)
        return status, headers | {"X-TAXII-Date-Added-Last": "9999-01-01T00:00:00Z"}, body

    pull_from(answer)
    [row] = rows(console_b, Subscription)
    assert row.added_after == (clock() + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_control_characters_and_direction_overrides_are_taken_out_of_texts(pull_from, console_b):
    pull_from(envelope(stix_report([], name="a\x00b\u202ec\ud800\n<script>", description="x\x1b[31m\ny")))
    [row] = rows(console_b, Bulletin)
    assert (row.title_en, row.body_en) == ("abc\ufffd <script>", "x[31m\ny")


def test_a_thousand_objects_of_a_page_are_stored_in_one_transaction(pull_from, console_b):
    report = pull_from(envelope(*[stix_indicator(n) for n in range(300)]))
    assert report.counts["added"] == 300
    with console_b.reader() as session:
        assert session.scalar(select(func.count()).select_from(SharedObject)) == 300
