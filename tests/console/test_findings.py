"""The pages about findings: what they show, to whom, and that strings from the wire stay strings."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from browser_kit import both_engines
from hypothesis import given
from hypothesis import strategies as st
from records import PCAP, START_NS, STOP, record, send

from console.services import findings
from console.services.finding_filter import FindingFilter, moment
from console.services.pcap import frames
from console.store.search.sql_search import SqlSearch
from detectors.finding import Evidence, Severity, Text

pytestmark = both_engines


SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOUR_NS = 3_600_000_000_000

SCAN = replace(
    STOP,
    rule_id="scan.functions",
    rule_name=Text(zh="功能码扫描", en="Function codes scanned"),
    severity=Severity.MEDIUM,
    protocol="modbus",
    source_ip="10.0.0.6",
    destination_ip="10.0.0.5",
    techniques=("T0888", "T0846"),
    explanation=Text(zh="一台主机试遍了功能码。", en="A host tried one function code after the other."),
    first_ns=START_NS - 30 * HOUR_NS,
    last_ns=START_NS - 30 * HOUR_NS,
)
ODD = replace(
    STOP,
    rule_id="anomaly.length",
    rule_name=Text(zh="长度不符", en="Length 100%_wrong"),
    severity=Severity.LOW,
    protocol="dnp3",
    source_ip="2001:db8::5",
    destination_ip="",
    techniques=(),
    fields={},
    explanation=Text(zh="长度与内容不符。", en="The length contradicts the bytes."),
    count=1_000_000,
    first_ns=START_NS - 2 * HOUR_NS,
    last_ns=START_NS - 2 * HOUR_NS,
)


@pytest.fixture
def three(client, tree):
    """STOP is finding 1, SCAN 2, ODD 3."""
    assert send(client, tree.plant_key, [record(1), record(2, SCAN), record(3, ODD)]).json["stored"] == 3
    return client


def listed(client, query: str) -> list[str]:
    """Ids of the findings that the list shows, in its order."""
    page = client.get(f"/findings/?{query}")
    assert page.status_code == 200
    return re.findall(r'data-open href="/findings/(\d+)"', page.text)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", "1 2 3"),
        ("severity=critical", "1"),
        ("severity=critical&severity=low", "1 3"),
        ("severity=nonsense", "1 2 3"),
        ("protocol=modbus", "2"),
        ("protocol=modbus&protocol=dnp3", "2 3"),
        ("ip=10.0.0.5", "1 2"),
        ("source=10.0.0.5", "1"),
        ("destination=10.0.0.5", "2"),
        ("ip=2001:0db8:0:0::5", "3"),
        ("ip=10.0.0.", ""),
        ("rule=scan.functions", "2"),
        ("technique=T0846", "2"),
        ("technique=T084", ""),
        ("q=控制器", "1"),
        ("q=SCANNED", "2"),
        ("q=scan 10.0.0.6", "2"),
        ("q=scan nothing", ""),
        ("q=100%25_wrong", "3"),
        ("q=%25", ""),  # nothing to search for: the page says so
        ("q=severity:critical", "1"),
        ("q=-protocol:s7comm sev:low", ""),  # no such field
        ("q=-protocol:s7comm severity:low&state=new", "3"),
        ("q=_wrong", "3"),
        ("q=' OR 1=1 --", ""),
        ("q=T0888", "2"),
        ("from=now-24h", "1 3"),
        ("from=now-1h", "1"),
        ("to=now-1h", "2 3"),
        ("from=2026-11-22T13:30&to=2026-11-22T14:30", "3"),  # Shanghai
        ("from=2026-11-22T06:00:00Z&to=2026-11-22T06:00:01Z", "3"),
        ("from=now-24h&by=received", "1 2 3"),
        ("from=yesterday", "1 2 3"),
        ("state=new", "1 2 3"),
        ("state=real", ""),
        ("sort=time", "2 3 1"),
        ("sort=-count", "3 1 2"),
        ("sort=source", "1 2 3"),
        ("sort=nonsense", "1 2 3"),
        ("sensor=1", "1 2 3"),
        ("sensor=2", ""),
        ("sensor=99999999999999999999", "1 2 3"),
        ("page=2", "1 2 3"),
        ("page=-1&page=x", "1 2 3"),
    ],
)
def test_the_url_says_which_findings_are_listed(three, query, ids):
    assert listed(three, query) == ids.split()


def test_what_is_filtered_by_can_be_taken_off_again(three):
    page = three.get("/findings/?severity=critical&q=控制器&ip=10.0.0.5").text
    links = [unescape(link) for link in re.findall(r'class="on" href="([^"]+)"', page)]
    assert [sorted(parse_qs(urlsplit(link).query)) for link in links] == [
        ["ip", "q"],
        ["q", "severity"],
        ["ip", "severity"],
    ]


def test_each_value_of_a_line_leads_to_the_findings_that_share_it(three):
    page = three.get("/findings/?q=scan").text
    links = {unescape(link) for link in re.findall(r'class="pick[^"]*" href="([^"]+)"', page)}
    asked = {key: values for link in links for key, values in parse_qs(urlsplit(link).query).items() if key != "q"}
    assert set(asked) == {"severity", "rule", "ip", "protocol", "technique", "sensor"}
    assert all("q=scan" in link for link in links)  # what was filtered by before stays


def test_counts_beside_the_choices_say_what_they_would_give(three):
    page = three.get("/findings/?protocol=modbus").text
    chips = re.findall(r'name="(severity|protocol)" value="(\w+)".*?<span class="dim">(\d+)</span>', page, re.DOTALL)
    assert ("severity", "medium", "1") in chips
    assert ("severity", "critical", "0") in chips
    assert ("protocol", "dnp3", "1") in chips


def test_long_lists_come_in_pages(client, tree):
    send(client, tree.plant_key, [record(n, source_ip=f"10.1.{n // 250}.{n % 250}") for n in range(1, 121)])
    pages = [listed(client, f"page={number}") for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({number for page in pages for number in page}) == 120
    assert "101–120 of 120" in client.get("/findings/?page=3").text


def test_the_list_tells_what_came_since_it_was_opened(three, tree):
    assert three.get("/findings/news/3").text.strip() == ""
    send(three, tree.plant_key, [record(4, source_ip="10.0.0.77"), record(5, SCAN, source_ip="10.0.0.78")])
    assert "2 new findings" in three.get("/findings/news/3").text
    assert "1 new finding " in three.get("/findings/news/3?severity=critical").text
    assert three.get("/findings/news/0?empty=1").headers["HX-Refresh"] == "true"


def test_one_finding_shows_what_it_stands_on(three):
    page = unescape(three.get("/findings/1").text)
    seen = ["Controller stopped", STOP.explanation.en, "10.0.0.5", ":102", "T0858", "Change Operating Mode", "7, 8"]
    seen += ["s7comm.function", "00 01 02 03 04 05 06 07", "North works", "s1/1764000000/1"]
    for part in seen:
        assert part in page, part


def test_a_finding_is_explained_in_the_language_of_the_reader(three):
    three.submit("/preferences", {"locale": "zh", "next": "/findings/1"})
    page = three.get("/findings/1").text
    assert '<html lang="zh-CN"' in page
    assert STOP.explanation.zh in page
    assert "改变运行模式" in page
    assert STOP.explanation.en not in unescape(page)
    three.submit("/preferences", {"locale": "en"})
    assert STOP.explanation.en in unescape(three.get("/findings/1").text)


def test_without_a_choice_the_browsers_language_is_taken(app):
    assert 'lang="zh-CN"' in app.test_client().get("/login", headers={"Accept-Language": "zh-TW,zh;q=0.9"}).text
    assert 'lang="en"' in app.test_client().get("/login", headers={"Accept-Language": "de,en;q=0.5"}).text


def test_the_evidence_is_a_file_to_keep_not_to_open_in_the_browser(three):
    answer = three.get("/findings/1/evidence.pcap")
    assert answer.data == PCAP
    assert answer.mimetype == "application/vnd.tcpdump.pcap"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="finding-1.pcap"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_finding_without_bytes_says_so(client, tree):
    send(client, tree.plant_key, [record(1, evidence=Evidence(frames=(3,)))])
    assert client.get("/findings/1/evidence.pcap").status_code == 404
    assert "The sensor kept no bytes of it." in client.get("/findings/1").text


def test_similar_findings_are_those_of_the_rule_or_of_the_pair(three, tree):
    send(three, tree.plant_key, [record(4, destination_ip="10.0.0.99"), record(5, SCAN, source_ip="10.9.9.9")])
    similar = re.findall(r'class="similar">.*?href="/findings/(\d+)"', three.get("/findings/1").text, re.DOTALL)
    assert similar == ["4"]


def test_a_judgement_is_recorded_with_name_and_reason(three):
    answer = three.submit("/findings/1/verdict", {"verdict": "expected", "note": "change 17"}, follow_redirects=True)
    assert "change 17" in answer.text
    assert "Plant admin" in answer.text
    assert listed(three, "state=new") == ["2", "3"]
    assert listed(three, "state=expected") == ["1"]
    three.submit("/findings/1/verdict", {"verdict": ""})
    assert listed(three, "state=new") == ["1", "2", "3"]


@pytest.mark.parametrize("verdict", ["expected", "false"])
def test_nothing_is_put_aside_without_a_reason(three, verdict):
    assert three.submit("/findings/1/verdict", {"verdict": verdict, "note": "  "}).status_code == 400
    assert listed(three, "state=new") == ["1", "2", "3"]


def test_there_is_no_other_judgement(three):
    assert three.submit("/findings/1/verdict", {"verdict": "shrug"}).status_code == 400


def test_the_overview_counts_and_says_what_to_do(three):
    page = three.get("/").text
    figures = re.findall(r'class="figure">([\d,]+)<.*?class="label">([^<]+)<', page, re.DOTALL)
    assert ("1", "New, high or critical") in figures
    assert ("3", "New findings") in figures
    assert ("0", "Sensors not reporting") in figures  # it has just sent
    assert "Controller stopped" in page
    assert 'href="/findings/?destination=10.0.0.9&amp;state=open"' in page


def test_a_sensor_that_stops_speaking_is_the_first_thing_to_do(three, clock):
    clock.advance(seconds=32)
    page = three.get("/").text
    assert "Sensor s1 is silent" in page
    assert 'class="figure">1</span> <span class="note">of 1' in page
    assert "state silent" in three.get("/sensors/").text


def test_a_console_without_sensors_says_how_to_begin(app):
    from browser_kit import Browser

    app.test_client_class = Browser
    city = app.test_client().log_in("city")
    assert "Add the first sensor" in city.get("/").text
    assert "This console has none" in city.get("/findings/").text


def test_the_sensors_page_shows_gaps_and_what_was_rejected(three, tree):
    send(three, tree.plant_key, [record(7), record(8) | {"finding.count": 0}])
    page = three.get("/sensors/").text
    numbers = re.findall(r'<td class="right[^"]*">([\d,]+)</td>', page)
    assert numbers == ["5", "3", "1"]  # received, missing (4, 5, 6), rejected
    detail = three.get(f"/sensors/{tree.plant_sensor_id}").text
    assert "4–6" in detail
    assert "finding.count: Input should be greater than or equal to 1" in detail


# --- other organisations ----------------------------------------------------------------------------------------------


def routes_with_an_id(app, names):
    """Of these ids; routes of all others stand in the matrix of test_tenancy."""
    for rule in app.url_map.iter_rules():
        own = rule.endpoint.split(".")[0] in ("findings", "sensors", "account")
        if own and rule.arguments and rule.arguments <= names:
            for method in rule.methods & {"GET", "POST"}:
                yield method, rule.rule


def test_what_belongs_to_another_organisation_does_not_exist(app, three, mill_client, tree):
    tried = 0
    foreign = {"finding_id": 1, "sensor_id": tree.plant_sensor_id, "user_id": tree.plant_viewer.user_id}
    for method, rule in routes_with_an_id(app, foreign.keys()):
        answers = []
        for ids in (foreign, dict.fromkeys(foreign, 987_654)):
            path = re.sub(r"<int:(\w+)>", lambda match, ids=ids: str(ids[match[1]]), rule)
            send_form = {"data": {"csrf_token": mill_client.token(), "verdict": "real"}} if method == "POST" else {}
            answer = mill_client.open(path, method=method, **send_form)
            answers.append((answer.status_code, re.sub(r'(csrf_token" value|next" value)="[^"]*"', "", answer.text)))
        assert answers[0] == answers[1], rule
        assert answers[0][0] == 404, rule
        tried += 1
    assert tried >= 6


def test_lists_counts_and_searches_show_the_own_findings_only(three, mill_client, tree):
    send(mill_client, tree.mill_key, [record(1, SCAN, source_ip="10.66.0.1")])
    assert listed(mill_client, "") == ["4"]
    assert listed(mill_client, "q=控制器") == []
    assert listed(mill_client, f"sensor={tree.plant_sensor_id}") == []
    assert mill_client.get("/findings/news/0").text.count("1 new finding") == 1
    page = mill_client.get("/").text
    assert "Controller stopped" not in page
    assert "10.0.0.9" not in page
    sensors_page = mill_client.get("/sensors/").text
    assert "North works /" not in sensors_page
    assert "4" not in listed(three, "")


# --- strings from the wire --------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(1)",
    "</textarea></title><iframe src=//evil>",
    "%(name)s %s %n",
    "a\u202eb\u0000c\u001b[31m\r\nSet-Cookie: x=1",
    "\ufeff\u2028\u2029\u200b",
]  # fmt: skip


class Elements(HTMLParser):
    """Names of all elements, with their event handlers and script addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.bad: list[object] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        leads = ("href", "src", "action", "formaction", "hx-get", "hx-post")
        for name, content in attrs:
            if name.startswith("on") or (name in leads and not re.match(r"[/#]|https://attack|$", content or "")):
                self.bad.append((tag, name, content))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_string_from_the_wire_adds_no_element_to_any_page(client, tree, text):
    def finding(words: str):
        nested = {"a": words, "b": [words, {"c": words}], "d": [{"e": words}, {"e": words}]}
        pdu = {"event.action": words, "frame": words, "source.ip": words, "x": nested["d"], "y": nested}
        return replace(
            STOP,
            rule_name=Text(zh=words, en=words),
            explanation=Text(zh=words, en=words),
            capture=words,
            fields={"event.action": words, "nested": nested},
            evidence=Evidence(frames=(1,), pdus=(pdu,), pcap=PCAP),
        )

    assert send(client, tree.plant_key, [record(1, finding("harmless")), record(2, finding(text))]).json["stored"] == 2
    beat = {"epoch": 1, "counters": {"a": text, "b": [text]}}
    client.post("/api/v1/heartbeat", json=beat, headers={"Authorization": f"Bearer {tree.plant_key}"})
    for path in ("/", "/findings/", "/findings/2", "/findings/1", "/sensors/"):
        found = Elements(client.get(path).text)
        assert not found.bad, path
        assert "iframe" not in found.names
        assert found.names.count("script") == 2, path  # the console's own
    harmless, hostile = (Elements(client.get(f"/findings/{n}").text).names for n in (1, 2))
    assert harmless == hostile


@pytest.mark.parametrize("text", HOSTILE)
def test_a_string_in_the_url_adds_no_element_to_the_list(three, text):
    for name in ("q", "ip", "rule", "from", "to", "protocol", "technique", "sensor", "sort", "severity", "source"):
        answer = three.get("/findings/", query_string={name: text})
        assert answer.status_code == 200
        found = Elements(answer.text)
        assert not found.bad
        assert found.names.count("script") == 2


def test_what_cannot_be_seen_is_shown(client, tree):
    odd = replace(STOP, explanation=Text(zh="x", en="user\u202eexe.pdf \u0007bell"))
    send(client, tree.plant_key, [record(1, odd)])
    page = client.get("/findings/1").text
    assert "user\\u202eexe.pdf \\u0007bell" in page
    assert "\u202e" not in page


# --- pieces -----------------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=300))
def test_any_bytes_give_frames_or_none(data):
    for frame in frames(PCAP[:24] + data):
        assert frame.length >= 0
        assert all(len(offset) == 4 for offset, _, _ in frame.lines)


def test_the_frames_of_a_capture_are_its_bytes():
    (frame,) = frames(PCAP)
    assert (frame.data, frame.length, frame.ts_ns) == (bytes(range(16)), 16, 1_795_334_400_000_000_000)
    assert frame.lines == [("0000", "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f", "·" * 16)]
    assert frames(PCAP[:-1]) == []


@given(text=st.text(max_size=30))
def test_any_text_is_a_time_or_none(text):
    found = moment(text, NOW, SHANGHAI)
    assert found is None or found.tzinfo is UTC


@given(
    query=st.dictionaries(
        st.sampled_from(
            ["severity", "protocol", "state", "ip", "rule", "q", "from", "to", "by", "sort", "page", "sensor"]
        ),
        st.lists(
            st.text(max_size=12) | st.sampled_from(["high", "new", "now-1h", "-count", "3", "received"]), max_size=3
        ),
    )
)
def test_a_filter_survives_its_own_url(query):
    wanted = FindingFilter.from_query(query)
    url = {key: list(v) if isinstance(v, tuple) else [str(v)] for key, v in wanted.query(page=wanted.page).items()}
    assert FindingFilter.from_query(url) == wanted


def test_bars_hold_every_finding_once_and_leave_no_holes(three, db, tree):
    bars = findings.histogram(findings.Asked(db, SqlSearch(db), tree.plant, FindingFilter(), NOW, SHANGHAI))
    assert sum(bar.total for bar in bars) == 3
    assert all(one.until == following.since for one, following in pairwise(bars))
    assert len(bars) <= findings.MAX_BUCKETS
    last = bars[-1]
    assert last.since <= NOW < last.until
    assert last.by_severity == {int(Severity.CRITICAL): 1}


@pytest.mark.parametrize("since_ns", [0, START_NS - 24 * 400 * HOUR_NS, START_NS - HOUR_NS // 60])
def test_bars_of_any_span_hold_every_finding(client, db, tree, since_ns):
    early = record(1) | {"@timestamp": "1970-01-01T00:00:00Z", "finding.last_seen": "1970-01-01T00:00:00Z"}
    first = early if since_ns == 0 else record(1, first_ns=since_ns, last_ns=since_ns)
    assert send(client, tree.plant_key, [first, record(2, SCAN)]).json["stored"] == 2
    bars = findings.histogram(findings.Asked(db, SqlSearch(db), tree.plant, FindingFilter(), NOW, SHANGHAI))
    assert sum(bar.total for bar in bars) == 2
    assert 1 <= len(bars) <= findings.MAX_BUCKETS


def test_a_day_is_a_day_of_the_installations_zone(client, db, tree):
    send(client, tree.plant_key, [record(n, source_ip=f"10.0.0.{n}", first_ns=START_NS - n * 96 * HOUR_NS,
                                         last_ns=START_NS - n * 96 * HOUR_NS) for n in range(1, 15)])  # fmt: skip
    bars = findings.histogram(findings.Asked(db, SqlSearch(db), tree.plant, FindingFilter(), NOW, SHANGHAI))
    assert {bar.since.astimezone(SHANGHAI).hour for bar in bars} == {0}


def test_techniques_have_names_in_both_languages():
    from detectors.attack.techniques import all_techniques

    assert len(all_techniques()) > 80
    for technique in all_techniques().values():
        assert re.fullmatch(r"T0\d{3}", technique.id)
        assert technique.en.isascii()
        assert not technique.zh.isascii()


def test_a_page_of_findings_is_valid_where_json_would_not_be(client, tree):
    # a list of things that are not alike must not break the table of a PDU
    pdus = ({"mixed": [{"a": 1}, 2, None, {"b": 3}], "empty": [], "none": None, "deep": {"x": [[1], {"y": 2}]}},)
    send(client, tree.plant_key, [record(1, evidence=Evidence(frames=(1,), pdus=pdus))])
    answer = client.get("/findings/1")
    assert answer.status_code == 200
    assert json.dumps({"x": [[1], {"y": 2}]}).replace('"', "&#34;") in answer.text
