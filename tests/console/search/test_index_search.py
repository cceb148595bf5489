"""Searches of people: the cluster answers while it has what the store has, else the built-in index, and it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser_kit import Browser
from index_kit import Faults, Fed, fed_by

from console import create_app

AWAY = "the search cluster cannot answer now"


@pytest.fixture
def fed(store, settings, clock, elasticsearch_url) -> Iterator[Fed]:
    with fed_by(store, settings, clock, elasticsearch_url) as made:
        yield made


def person(fed: Fed, **changes: Any) -> Browser:
    app = create_app(fed.settings.model_copy(update=changes), fed.clock)
    app.test_client_class = Browser
    return app.test_client().log_in("plant")


def found(browser: Browser, query: str) -> tuple[int, bool]:
    """Lines of the list, and whether the page says that the cluster did not answer."""
    page = browser.get("/findings/", query_string={"q": query}).text
    return page.count('href="/findings/'), AWAY in page.lower()


def test_the_cluster_answers_once_it_is_filled_and_never_across_organisations(fed, tree):
    fed.send(3)
    fed._sequence = 0
    fed.send(2, sensor_id=tree.mill_sensor_id)
    browser = person(fed)
    before = found(browser, "severity:critical")
    assert before[1]
    fed.settle()
    fed.documents()  # refreshes
    with Faults(fed.settings.elasticsearch_url) as faults:
        through = person(fed, elasticsearch_url=faults.url)
        after = found(through, "severity:critical")
        assert faults.logins  # it was the cluster that answered
    assert after == (before[0], False)
    assert found(browser, "no-such-word-anywhere")[0] < after[0]


def test_a_cluster_that_goes_away_is_told_and_the_built_in_index_answers(fed):
    fed.send(3)
    fed.settle()
    fed.documents()
    with Faults(fed.settings.elasticsearch_url) as faults:
        browser = person(fed, elasticsearch_url=faults.url)
        assert not found(browser, "severity:critical")[1]
        there = found(browser, "severity:critical")[0]
        faults.of_requests, faults.also_searches = 503, True
        assert found(browser, "severity:critical") == (there, True)


def test_an_index_that_lags_behind_because_it_is_read_only_is_not_asked(fed):
    fed.send(1)
    fed.settle()
    (index,) = fed.indices()
    fed.cluster.client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": True})
    fed.send(1)
    fed.indexer.step()
    lines, away = found(person(fed), "severity:critical")
    assert away
    assert lines >= 2
