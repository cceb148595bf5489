"""The whole path with real processes: a capture goes in, a finding stands, people are told, a neighbour is warned.

Two consoles, their workers and their sensors run as programs; mail goes to a real SMTP server, the webhook to a real
HTTP receiver. Everything is done as people do it: on the command line and with the forms of the pages. It takes more
than two minutes, because the shortest time that a contact can be given to answer is one minute, and two of them pass.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import stix2
from support.far_side import HookServer, MailServer
from support.houses import House
from support.programs import ROOT, Program, until
from support.web import Browser, Element

from sensor.capture.source import open_capture
from sensor.capture.write import Frame, frame_of

PCAPS = ROOT / "pcaps" / "s7comm"
STOP = PCAPS / "stop.pcap"
RULE, TECHNIQUE = "operation.s7comm.stop", "T0858"
FIRST, SECOND = "li@north.example", "Control room"
WAIT_S = 60  # one minute, the shortest wait that the form takes between two contacts who are told apart
TO_COMPILE_S = 600.0  # what the first sensor of a version may need on a busy machine
PRIVATE = "10.20."  # how every address of the plants begins
CLEAR = "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"  # of the extension, which is public
GREEN = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"

Houses = Callable[[str, str, str], House]


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with HookServer() as running:
        yield running


@pytest.fixture
def build(tmp_path: Path, mail: MailServer) -> Iterator[Houses]:
    """Sets up a console and serves it: build(folder, organisation, kind)."""
    built: list[House] = []

    def one(folder: str, organisation: str, kind: str) -> House:
        built.append(
            House(
                tmp_path / folder,
                organisation,
                kind,
                smtp_host="127.0.0.1",
                smtp_port=mail.port,
                smtp_security="none",
                smtp_sender="fenghuo@console.example",
                webhook_private=1,
                peer_private=1,
            )
        )
        return built[-1]

    yield one
    for house in built:
        house.end()


def test_an_attack_in_a_capture_reaches_people_and_then_the_sensor_of_a_neighbour(
    build: Houses, mail: MailServer, hook: HookServer, tmp_path: Path
) -> None:
    # A city's water authority and a plant below it on one console, another plant on a console of its own.
    city, south = build("city", "Water authority", "industry"), build("south", "South works", "enterprise")
    city.call("organisation", "North works", "--parent", "Water authority")
    city.add_user("wang", "--organisation", "North works", "--role", "administrator")
    place = ("--site", "North", "--segment", "Press line", "--organisation", "North works")
    key = city.call("sensor", "press-line", *place)
    authority, works, neighbour = city.person("admin"), city.person("wang"), south.person("admin")
    secret = name_contacts(works, hook.url)

    sensor = city.start_sensor("press-line", key, STOP)
    finding = see_the_finding(works, tmp_path)
    assert authority.get(finding).status_code == 404, "a finding is its plant's own"

    incident = see_the_incident(works, finding, mail)
    second_told_at = wait_for_the_second_contact(works, incident, hook, secret)
    acknowledge_by_mail(city, works, incident, mail)

    peer = link_consoles(works, neighbour)
    south_key = south.call("sensor", "boiler", "--site", "South", "--segment", "Boiler")
    south.run_sensor("boiler", south_key, PCAPS / "block_download.pcap")
    before = rules_on(neighbour, "/findings/")
    assert "engineering.program-download" in before
    assert not [rule for rule in before if rule.startswith("indicator.")], "nobody has warned yet"

    warn(works, finding)
    assert titles(authority) == {"Red for persons", "Strict for the authority", "Green for all"}
    received = receive(neighbour, south)
    see_what_left(works, peer)
    told = south.run_sensor("boiler", south_key, PCAPS / "block_download.pcap", PCAPS / "memory_reset.pcap")
    assert "block_download.pcap: inspected before" in told
    see_the_hit(neighbour, received)

    see_that_nothing_is_sent_twice(city, works, sensor, key)
    see_that_nobody_else_is_called(works, incident, second_told_at, mail, hook, secret)
    works.open(incident)
    works.submit(f"{incident}/close", {"disposition": "Confirmed", "reason": "The laptop was cut off, the press runs."})
    assert works.page.all("span", class_="state-closed")
    assert "Confirmed: a real attack or fault" in works.page.text


def name_contacts(works: Browser, hook_url: str) -> str:
    """First an engineer by mail, a minute later the control room by webhook; gives the webhook's secret."""
    works.open("/contacts/")
    works.submit("/contacts/", {"name": "李工 Li", "locale": "zh", "channel": "email", "email.address": FIRST})
    room = {"name": SECOND, "locale": "en", "channel": "webhook", "webhook.url": hook_url}
    secret = re.search(r"shown only now: ([0-9a-f]{64})", works.submit("/contacts/", room).text)
    assert secret
    assert secret[1] not in works.open("/contacts/").text
    steps = {"address_id": [FIRST, SECOND], "wait_minutes": ["1", "1"], "rounds": "3"}
    works.submit("/contacts/escalation", steps)
    works.submit("/contacts/policy", {"opens_at": "High"})
    saved = works.page.one("form", action="/contacts/escalation").all("option", selected="")
    assert [option.text for option in saved] == [f"李工 Li · {FIRST}", f"{SECOND} · {hook_url}"]
    return secret[1]


def rules_on(person: Browser, path: str) -> list[str]:
    """The rule of each finding of a list."""
    return [link.text for link in person.open(path).all("a", title="Only this rule")]


def see_the_finding(works: Browser, folder: Path) -> str:
    """It stands in the list and on its page, with its technique, and with the frames that the capture holds."""
    grave = "/findings/?severity=high&severity=critical"
    until(lambda: rules_on(works, grave), "the stop stands in the list", TO_COMPILE_S)
    assert rules_on(works, grave) == [RULE]
    path = works.page.one("a", class_="main")["href"]
    page = works.open(path)
    assert page.one("h1").text == "PLC stop"
    assert page.one("div", class_="heading").one("span", class_="severity").text == "Critical"
    assert page.all("a", href=f"/findings/?technique={TECHNIQUE}")
    assert "10.20.9.66 ordered the PLC 10.20.3.31 to STOP" in page.text
    numbers = page.one("section", id="frames").all("span", class_="mono")[0].text.split(", ")
    evidence = folder / "evidence.pcap"
    evidence.write_bytes(works.get(page.link(f"{path}/evidence.pcap")).content)
    original = frames(STOP)
    assert frames(evidence) == [original[int(number) - 1] for number in numbers]
    return path


def frames(path: Path) -> list[Frame]:
    """Every frame of a capture with its time, the first one first."""
    batches = open_capture(path)
    return [frame_of(batch, batch.first + row) for batch in batches for row in range(batch.size)]


def see_the_incident(works: Browser, finding: str, mail: MailServer) -> str:
    """The policy opened it, the first contact has mail, and the page holds what the mail server said to it."""
    path = works.open("/incidents/").link(r"/incidents/\d+")
    assert works.open(path).all("a", href=finding)
    assert "by the policy" in works.page.text
    letter = until(lambda: mail.box.to(FIRST), "the first contact has mail")[0].mail
    until(lambda: "250 2.0.0 Ok: queued as 000001" in was_told(works, path)[0].text, "the proof stands there")
    assert was_told(works, path)[0].all("span", class_="delivery-sent")
    assert letter["To"] == FIRST
    assert "紧急事件 #1" in letter["Subject"]
    assert "停止 PLC" in letter.get_content()
    assert "North works" in letter.get_content()
    return path


def was_told(works: Browser, incident: str) -> list[Element]:
    """The messages on the page of an incident, in their order."""
    return works.open(incident).all("article", class_="message")


def wait_for_the_second_contact(works: Browser, incident: str, hook: HookServer, secret: str) -> int:
    """Nobody answers within the minute, so the webhook is called, signed; when, in seconds since 1970."""
    call = until(lambda: hook.calls, "the second contact is told")[0]
    told = json.loads(call.body)
    assert call.signed_with(secret)
    assert not call.signed_with(secret[::-1])
    assert (told["type"], told["number"], told["severity"], told["state"]) == ("incident", 1, "critical", "open")
    assert told["organisation"] == "North works"
    assert told["incident_url"].endswith(incident)
    at = int(call.headers["fenghuo-signature"].removeprefix("t=").partition(",")[0])
    assert at + 1 >= datetime.fromisoformat(told["opened_at"]).timestamp() + WAIT_S, "not before its turn"
    proof = f"HTTP 200, 6 bytes, sha256 {hashlib.sha256(b'thanks').hexdigest()}"
    until(lambda: proof in was_told(works, incident)[1].text, "the proof stands there")
    assert works.page.all("span", class_="state-open")
    return at


def acknowledge_by_mail(city: House, works: Browser, incident: str, mail: MailServer) -> None:
    """The link of the mail: looking changes nothing, the button acknowledges, once."""
    letter = mail.box.to(FIRST)[0].mail.get_content()
    link = re.search(r"http://\S+/acknowledge/\S+", letter)
    assert link
    assert link[0].startswith(city.url)
    reader = city.stranger()
    for _ in range(2):
        assert reader.open(link[0]).all("button", id="acknowledge")
    assert works.open(incident).all("span", class_="state-open")
    reader.submit(urlsplit(link[0]).path)
    assert not reader.open(link[0]).all("button", id="acknowledge")
    assert works.open(incident).all("span", class_="state-acknowledged")
    assert re.search(r"李工 Li acknowledged at \d{4}-", works.page.text)
    assert was_told(works, incident)[0].all("span", class_="delivery-delivered")


def link_consoles(works: Browser, neighbour: Browser) -> dict[str, str]:
    """The plant registers its neighbour, who subscribes with what the page gives it: url, username, password."""
    works.open("/sharing/")
    page = works.submit("/sharing/peers", {"name": "South works", "relation": "community"})
    peer = {name: page.one("dd", id=f"peer-{name}").text for name in ("url", "username", "password")}
    neighbour.open("/sharing/")
    neighbour.submit("/sharing/subscriptions", {"name": "North works", **peer})
    return peer


def warn(works: Browser, finding: str) -> None:
    """Three bulletins from one finding: for all, for one organisation, for persons. Each is previewed and issued."""
    green = write(works, finding, "Green for all", "green")
    preview = works.page.part("Who will receive it").text
    assert "Water authority" in preview
    assert "South works" in preview
    issue(works, green)
    text = works.get(works.page.link(f"{green}/stix.json")).text
    assert PRIVATE not in text, "what the plant has stays in the plant"
    bundle = stix2.parse(text, allow_custom=False)
    report = next(thing for thing in bundle.objects if thing.type == "report")
    indicators = [thing for thing in bundle.objects if thing.type == "indicator"]
    assert report.object_marking_refs == [GREEN]
    assert [thing.pattern_type for thing in indicators] == ["sigma"]
    assert "s7comm.function: 41" in indicators[0].pattern
    for title, label in (("Strict for the authority", "amber+strict"), ("Red for persons", "red")):
        path = write(works, finding, title, label)
        preview = works.page.part("Who will receive it").text
        assert "Water authority" in preview
        assert "South works" not in preview
        issue(works, path)


def write(works: Browser, finding: str, title: str, label: str) -> str:
    """A draft from the finding, to the authority; the rest as the form offers it. Gives its path."""
    works.open(works.open(finding).link(r"/bulletins/new\?finding=\d+"))
    offered = {box["value"]: "checked" in box.attributes for box in works.page.all("input", name="match")}
    assert offered == {
        "network.protocol=s7comm, s7comm.function=41": True, "10.20.9.66": False, "10.20.3.31": False,
    }  # fmt: skip
    named = next(box for box in works.page.all("label", class_="choice") if "Water authority" in box.text)
    recipient = named.one("input", name="organisation")["value"]
    works.submit("/bulletins/new", {"title_en": title, "tlp": label, "colour": "orange", "organisation": recipient})
    return urlsplit(works.address).path


def issue(works: Browser, bulletin: str) -> None:
    """Send out the draft that is shown."""
    page = works.submit(f"{bulletin}/issue")
    assert "In force" in page.one("div", class_="heading").text
    assert "Orange · grade II" in page.one("div", class_="heading").text


def titles(person: Browser) -> set[str]:
    """Of the bulletins that the person's organisation received."""
    section = person.open("/bulletins/").part("Received")
    return {link.text for link in section.all("a")}


def receive(neighbour: Browser, south: House) -> str:
    """The neighbour pulls, by the page and by the command, and has the one bulletin that its label lets it have."""
    page = neighbour.open("/sharing/")
    action = next(form["action"] for form in page.all("form") if form["action"].endswith("/pull"))
    neighbour.submit(action)
    until(lambda: titles(neighbour) == {"Green for all"}, "the bulletin came in")
    assert south.call("pull").startswith("North works: ")
    assert titles(neighbour) == {"Green for all"}
    path = neighbour.page.link(r"/bulletins/\d+")
    page = neighbour.open(path)
    assert "TLP:GREEN" in page.one("div", class_="heading").text
    assert "Orange · grade II" in page.one("div", class_="heading").text
    assert TECHNIQUE in page.text
    assert not hits(page)
    neighbour.submit(f"{path}/acknowledge")
    return path


def see_what_left(works: Browser, peer: dict[str, str]) -> None:
    """Whatever the neighbour asks the collection for, it holds one bulletin; the release log says who has it."""
    with httpx.Client(
        auth=(peer["username"], peer["password"]), headers={"Accept": "application/taxii+json;version=2.1"},
        timeout=60, trust_env=False,
    ) as client:  # fmt: skip
        root = client.get(peer["url"]).raise_for_status().json()["api_roots"][0]
        shared = client.get(f"{root}collections/").raise_for_status().json()["collections"][0]["id"]
        objects = client.get(f"{root}collections/{shared}/objects/").raise_for_status().json()["objects"]
    assert [thing["name"] for thing in objects if thing["type"] == "report"] == ["Green for all"]
    assert {mark for thing in objects for mark in thing.get("object_marking_refs", [])} == {CLEAR, GREEN}
    written = works.open("/bulletins/").part("Written here").all("a")
    rows = {link.text: works.open(link["href"]).part("Release log").all("tr") for link in written}
    released = {
        title for title, log in rows.items() for row in log if "South works" in row.text and "Released" in row.text
    }
    assert len(rows) == 3
    assert released == {"Green for all"}


def hits(page: Element) -> int:
    """How often the own sensors saw what a bulletin warns of, as its page says."""
    said = re.search(r"Hits of your sensors (\d+)", page.text)
    assert said
    return int(said[1])


def see_the_hit(neighbour: Browser, bulletin: str) -> None:
    """The neighbour's sensor found the operation by the bulletin; finding and bulletin lead to each other."""
    path = "/findings/?rule=indicator.operation"
    assert rules_on(neighbour, path) == ["indicator.operation"]
    finding = neighbour.page.one("a", class_="main")["href"]
    page = neighbour.open(finding)
    assert "memory_reset.pcap" in page.text
    assert "停止 PLC（s7comm）" in page.text, "the bulletin by the title that its form offered"
    neighbour.open(page.link("/bulletins/of/.+"))
    assert urlsplit(neighbour.address).path == bulletin
    assert hits(neighbour.page) == 1
    assert neighbour.page.all("a", href=finding)


def see_that_nothing_is_sent_twice(city: House, works: Browser, sensor: Program, key: str) -> None:
    """The sensor is ended and started on the same capture with the same spool: the console has what it had."""
    path = works.open("/sensors/").link(r"/sensors/\d+")
    before, listed = received_by(works, path), rules_on(works, "/findings/")
    assert (before["Received"], before["Highest number"]) == (str(len(listed)), str(len(listed)))
    assert sensor.end() == 0
    assert f"{STOP.name}: inspected before" in city.run_sensor("press-line", key, STOP)
    assert received_by(works, path) == before
    assert (before["Missing"], before["Rejected"], before["Repeats"]) == ("0", "0", "0")
    assert rules_on(works, "/findings/") == listed


def received_by(works: Browser, sensor: str) -> dict[str, str]:
    """What the console had from the spool of a sensor, by the heads of the columns."""
    table = works.open(sensor).part("Spools").one("table")
    return {
        head.text: cell.text for head, cell in zip(table.all("th"), table.one("tbody").one("tr").all("td"), strict=True)
    }


def see_that_nobody_else_is_called(
    works: Browser, incident: str, second_told_at: int, mail: MailServer, hook: HookServer, secret: str
) -> None:
    """When the third call would have been due nothing is sent; the second contact was told that somebody has it."""
    time.sleep(max(0.0, second_told_at + WAIT_S + 5 - time.time()))
    assert "worker is not running" not in works.open("/contacts/").text
    assert [delivery.to for delivery in mail.box.taken] == [FIRST]
    assert [json.loads(call.body)["type"] for call in hook.calls] == ["incident", "taken"]
    assert hook.calls[1].signed_with(secret)
    assert len(was_told(works, incident)) == 3
