"""The query on the page of findings: what it lists, how it says no, and who answers."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from browser_kit import Browser
from index_kit import Fed
from records import STOP, record, send

from console import create_app
from console.store.search import templates
from detectors.finding import Severity, Text


@pytest.fixture
def listed(client, tree):
    """A browser on a console with a critical stop (1) and a low scan (2)."""
    scan = replace(STOP, rule_id="scan.functions", rule_name=Text(zh="扫描", en="Scanned"), severity=Severity.LOW,
                   protocol="modbus", source_ip="00:0c:29:aa:bb:cc", fields={"modbus.function_code": 43})  # fmt: skip
    assert send(client, tree.plant_key, [record(1), record(2, scan)]).json["stored"] == 2
    return client


def ids(page: str) -> list[str]:
    return re.findall(r'data-open href="/findings/(\d+)"', page)


def test_a_wrong_query_is_underlined_and_explained_in_the_readers_language(listed):
    page = listed.get("/findings/?q=stop sevrity:high").text
    assert "<mark>sevrity</mark>" in page
    assert "There is no field sevrity. Did you mean severity" in page
    assert 'value="stop sevrity:high"' in page  # to be put right where it was typed
    assert ids(page) == []
    listed.submit("/preferences", {"locale": "zh"})
    assert "没有字段 sevrity" in listed.get("/findings/?q=sevrity:high").text
    assert listed.get("/findings/news/0?q=sevrity:high").text.strip() == ""


def test_what_is_wrong_shows_nothing_of_the_wire_as_markup(listed):
    page = listed.get("/findings/", query_string={"q": "<script>alert(1)</script>:x \u202e"}).text
    assert "<script>alert" not in page
    (told,) = re.findall("<pre>.*?</pre>", page, re.DOTALL)
    assert "\\u202e" in told
    assert "\u202e" not in told


def test_a_value_of_a_line_can_be_excluded_and_the_rest_stays(listed):
    page = listed.get("/findings/?q=severity>=low&state=new").text
    assert ids(page) == ["1", "2"]
    without = {unescape(link) for link in re.findall(r'<span class="plusminus"><a href="([^"]+)"', page)}
    for link in without:
        assert "state=new" in link
        assert len(ids(listed.get(link).text)) <= 1, link
    assert any("source.mac" in link for link in without)


def test_a_field_of_a_finding_leads_to_those_with_it_and_without_it(listed):
    page = listed.get("/findings/2").text
    with_it, without = (unescape(link) for link in re.findall(r'<a href="([^"]*modbus\.function_code[^"]*)"', page))
    assert ids(listed.get(with_it).text) == ["2"]
    assert ids(listed.get(without).text) == ["1"]


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_help_names_every_field_and_its_examples_are_queries(listed, locale):
    listed.submit("/preferences", {"locale": locale})
    page = listed.get("/findings/help").text
    for name in ("rule.severity", "modbus.function_code", "s7comm.function", "dnp3.function_code", "@timestamp"):
        assert f">{name}</a>" in page
    links = [unescape(link) for link in re.findall(r'class="pick" href="([^"]+)"', page)]
    examples = [link for link in links if not link.endswith(":*")]
    assert len(examples) >= 15
    for link in (*examples, links[-1]):
        assert "query-problem" not in listed.get(link).text, link


@pytest.fixture
def clustered(settings, clock, elasticsearch_url):
    """(browser, what feeds the index) on a console with a search cluster."""
    settings = settings.model_copy(update={"elasticsearch_url": elasticsearch_url, "elasticsearch_prefix": "page"})
    app = create_app(settings, clock)
    app.test_client_class = Browser
    fed = Fed(app.extensions["fenghuo"].store, settings, clock)
    yield app, app.test_client().log_in("plant"), fed
    fed.clean()
    app.extensions["fenghuo"].store.engine.dispose()


AWAY = "these results come from the console"


def test_the_cluster_answers_and_the_embedded_index_where_it_cannot(clustered, tree):
    app, browser, fed = clustered
    assert send(browser, tree.plant_key, [record(n, source_ip=f"10.0.0.{n}") for n in (1, 2, 3)]).json["stored"] == 3
    page = browser.get("/findings/?q=stopped").text
    assert AWAY in page  # it was never fed
    assert sorted(ids(page)) == ["1", "2", "3"]

    fed.settle()
    fed.cluster.refresh("finding")
    index = templates.alias("page", "finding")
    (hit,) = fed.cluster.client.search(index=index, query={"term": {"finding.number": 2}})["hits"]["hits"]
    fed.cluster.client.delete(index=hit["_index"], id=hit["_id"], refresh=True)
    page = unescape(browser.get("/findings/?q=stopped severity:critical").text)
    assert AWAY not in page
    assert ids(page) == ["3", "1"]  # what the cluster does not have shows that it was asked
    assert "1–2 of 2" in page
    assert sorted(ids(browser.get("/findings/?q=stopped&sort=source").text)) == ["1", "2", "3"]  # the embedded one's
    assert ids(app.test_client().log_in("mill").get("/findings/?q=stopped").text) == []

    fed.cluster.client.indices.close(index=hit["_index"])
    page = unescape(browser.get("/findings/?q=stopped").text)
    assert AWAY in page
    assert sorted(ids(page)) == ["1", "2", "3"]
