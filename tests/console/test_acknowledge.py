"""The link in a message: it shows without changing, acknowledges once, ends, and cannot be forged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from records import record, send
from sqlalchemy import select

from console.notify.contract import State
from console.notify.email import EmailChannel, SmtpSettings
from console.notify.link import BadLinkError, Links
from console.services import contacts, incidents
from console.store.engine import Store
from console.store.models import Contact, Escalation, Incident, Notification

EMAIL = EmailChannel(SmtpSettings("127.0.0.1", 25, "none", "", "", "fenghuo@console.example"))


@pytest.fixture
def told(app: Any, client: Any, tree: Any, store: Store, clock: Any) -> list[str]:
    """Paths of the links of two contacts who were told of one incident, in their order."""
    with store.transaction() as session:
        steps = []
        for name, locale, wait in (("Zhao Lei", "zh", 0), ("Smith", "en", 5)):
            contact = contacts.add_contact(session, tree.plant, name, locale, clock())
            fields = {"address": f"{name.split()[0]}@plant.example"}
            address = contacts.add_address(session, tree.plant, contact.id, EMAIL, fields, clock())
            steps.append(contacts.Step(address.id, wait))
        contacts.set_escalation(session, tree.plant, steps, 1, clock())
    send(client, tree.plant_key, [record(1)])
    return links(app, store)


def links(app: Any, store: Store) -> list[str]:
    made = Links(app.config["SECRET_KEY"], "")
    with store.reader() as session:
        rows = session.scalars(select(Notification).where(Notification.kind != "taken").order_by(Notification.id))
        return [made.acknowledge(row.id, row.address.contact_id, row.created_at) for row in rows]


def incident(store: Store) -> Incident:
    with store.reader() as session:
        return session.scalars(select(Incident)).one()


def test_looking_changes_nothing_because_mail_scanners_look_too(app: Any, told: list[str], store: Store) -> None:
    stranger = app.test_client()
    for _ in range(3):
        page = stranger.get(told[0])
        assert page.status_code == 200
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
    stranger.head(told[0])
    assert incident(store).state == "open"
    with store.reader() as session:
        assert {row.state for row in session.scalars(select(Notification))} == {"pending"}


def test_the_page_speaks_the_contacts_language(app: Any, told: list[str]) -> None:
    stranger = app.test_client()
    assert "确认：由我处理" in stranger.get(told[0]).get_data(as_text=True)
    assert "Acknowledge: I take it" in stranger.get(told[1]).get_data(as_text=True)


def test_one_press_acknowledges_without_a_login_and_ends_the_calling(app: Any, told: list[str], store: Store) -> None:
    page = app.test_client().post(told[1]).get_data(as_text=True)
    assert "You have this incident" in page
    taken = incident(store)
    assert (taken.state, taken.acknowledged_by, taken.owner_id) == ("acknowledged", "Smith", None)
    with store.reader() as session:
        assert session.scalars(select(Escalation.due_at)).one() is None
        rows = {row.address.contact.name: row for row in session.scalars(select(Notification))}
        assert rows["Smith"].state == State.DELIVERED
        assert "link was used" in rows["Smith"].proof
        assert rows["Zhao Lei"].state == State.EXPIRED


def test_the_second_one_is_told_who_was_first_and_when(app: Any, told: list[str], store: Store) -> None:
    app.test_client().post(told[0])
    page = app.test_client().post(told[1]).get_data(as_text=True)
    assert "Already acknowledged by Zhao Lei at" in page
    assert '<time datetime="2026-11-22T08:00:00' in page
    assert incident(store).acknowledged_by == "Zhao Lei"


def test_a_link_that_was_changed_or_made_with_another_key_does_not_exist(
    app: Any, told: list[str], store: Store, clock: Any
) -> None:
    stranger = app.test_client()
    forged = Links("another key", "").acknowledge(1, 1, clock())
    swapped = Links(app.config["SECRET_KEY"], "").acknowledge(1, 2, clock())  # another contact's message
    for path in (forged, swapped, told[0][:-1], told[0] + "A", "/acknowledge/x", "/acknowledge/" + "A" * 5000):
        assert stranger.get(path).status_code == 404, path
        assert stranger.post(path).status_code == 404, path
    assert incident(store).state == "open"


def test_a_link_ends_after_a_week(app: Any, told: list[str], clock: Any, store: Store) -> None:
    clock.advance(days=7, seconds=-1)
    assert app.test_client().get(told[0]).status_code == 200
    clock.advance(seconds=1)
    assert app.test_client().post(told[0]).status_code == 404
    assert incident(store).state == "open"


def test_a_link_from_before_a_reopening_acknowledges_nothing(
    app: Any, told: list[str], tree: Any, store: Store, clock: Any
) -> None:
    with store.transaction() as session:
        number = session.scalars(select(Incident.id)).one()
        incidents.close(session, tree.plant, number, "expected", "planned", clock())
        incidents.reopen(session, tree.plant, number, "not planned", clock())
    assert "was reopened after this message" in app.test_client().post(told[1]).get_data(as_text=True)
    assert incident(store).state == "open"
    newer = links(app, store)[-1]
    app.test_client().post(newer)
    assert incident(store).state == "acknowledged"


def test_a_test_message_is_confirmed_by_its_link(app: Any, client: Any, tree: Any, store: Store, clock: Any) -> None:
    form = {"name": "Wang", "locale": "en", "channel": "email", "email.address": "wang@plant.example"}
    client.submit("/contacts/", form)
    client.submit("/contacts/addresses/1/test")
    (link,) = links(app, store)
    assert "It has arrived" in app.test_client().get(link).get_data(as_text=True)
    app.test_client().post(link)
    assert "Confirmed by the recipient" in client.get("/contacts/").get_data(as_text=True)
    with store.reader() as session:
        row = session.scalars(select(Notification)).one()
        assert (row.state, row.drill) == ("delivered", True)


def test_the_ladder_of_an_incident_shows_each_recipient_with_proof(client: Any, told: list[str], store: Store) -> None:
    page = client.get(f"/incidents/{incident(store).id}").get_data(as_text=True)
    for word in ("Zhao Lei", "Smith", "smith@plant.example".replace("smith", "Smith"), "Waiting"):
        assert word in page


def test_a_webhooks_secret_is_shown_once(client: Any, store: Store, settings: Any) -> None:
    form = {"name": "Desk", "locale": "en", "channel": "webhook", "webhook.url": "https://hooks.example/x?key=k7k7"}
    page = client.submit("/contacts/", form).get_data(as_text=True)
    with store.reader() as session:
        secret = session.scalars(select(Contact)).one().addresses[0].destination["secret"]
    assert secret in page
    again = client.get("/contacts/").get_data(as_text=True)
    assert secret not in again
    assert "hooks.example/x" in again
    assert "k7k7" not in again


def test_a_destination_that_cannot_be_is_refused_and_nothing_is_left_behind(client: Any, store: Store) -> None:
    for channel, field, value in (
        ("email", "email.address", "a@b\r\nBcc: x@y"), ("webhook", "webhook.url", "http://127.0.0.1/"),
        ("carrier pigeon", "x", "y"),
    ):  # fmt: skip
        form = {"name": "Desk", "locale": "en", "channel": channel, field: value}
        assert client.submit("/contacts/", form).status_code == 303
    with store.reader() as session:
        assert session.scalars(select(Contact)).all() == []


@pytest.mark.parametrize(
    "path",
    ["/contacts/{contact}/addresses", "/contacts/{contact}/remove", "/contacts/addresses/{address}/remove",
     "/contacts/addresses/{address}/test"],
)  # fmt: skip
def test_a_neighbours_contact_does_not_exist(mill_client: Any, told: list[str], store: Store, path: str) -> None:
    form = {"channel": "email", "email.address": "x@mill.example"}
    for contact, address in ((1, 1), (999_999, 999_999)):
        assert mill_client.submit(path.format(contact=contact, address=address), form).status_code == 404
    steps = {"address_id": ["1"], "wait_minutes": ["5"], "rounds": "1"}
    assert mill_client.submit("/contacts/escalation", steps).status_code == 404
    assert "Zhao Lei" not in mill_client.get("/contacts/").get_data(as_text=True)
    with store.reader() as session:
        assert all(contact.removed_at is None for contact in session.scalars(select(Contact)))
        assert session.scalars(select(Notification).where(Notification.kind == "test")).all() == []


def test_only_an_administrator_changes_contacts(app: Any, told: list[str]) -> None:
    analyst = app.test_client().log_in("analyst")
    assert analyst.get("/contacts/").status_code == 200
    for path in ("/contacts/", "/contacts/1/remove", "/contacts/addresses/1/test", "/contacts/escalation",
                 "/contacts/policy"):  # fmt: skip
        assert analyst.submit(path, {"rounds": "1"}).status_code == 403


def test_the_escalation_form_keeps_the_order_and_says_what_is_wrong(client: Any, told: list[str], store: Store) -> None:
    form = {"address_id": ["2", "", "1"], "wait_minutes": ["0", "10", "7"], "rounds": "2"}
    client.submit("/contacts/escalation", form)
    with store.reader() as session:
        steps = [(step.position, step.address_id, step.wait_minutes) for step in contacts_policy(session).steps]
    assert steps == [(0, 2, 0), (1, 1, 7)]
    for wrong in ({"wait_minutes": ["x", "10", "7"]}, {"wait_minutes": ["0", "10", "0"]}, {"rounds": "99"},
                  {"wait_minutes": ["1"]}, {"wait_minutes": ["9" * 30, "1", "1"]}):  # fmt: skip
        page = client.submit("/contacts/escalation", {**form, **wrong}, follow_redirects=True)
        assert 'role="alert"' in page.get_data(as_text=True)
    with store.reader() as session:
        assert contacts_policy(session).rounds == 2


def contacts_policy(session: Any) -> Any:
    from console.store.models import EscalationPolicy

    return session.scalars(select(EscalationPolicy)).one()


def test_tokens_name_their_message_and_contact_and_end(clock: Any) -> None:
    made = Links("key", "https://console.example")
    link = made.acknowledge(7, 3, clock())
    token = link.removeprefix("https://console.example/acknowledge/")
    claim = made.read(token, clock())
    assert (claim.notification_id, claim.contact_id) == (7, 3)
    with pytest.raises(BadLinkError):
        made.read(token, clock() + timedelta(days=7))
