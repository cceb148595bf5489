"""The page that tells administrators how the search index stands."""

from __future__ import annotations

import pytest
from index_kit import Fed, spoiled
from sqlalchemy import select
from support.programs import free_port

from console import create_app
from console.store.models import IndexDeadLetter


@pytest.fixture
def far(settings, elasticsearch_url):
    """Settings of a console with a cluster."""
    return settings.model_copy(
        update={"elasticsearch_url": elasticsearch_url, "elasticsearch_prefix": f"p{abs(hash(settings.data_dir)):x}"}
    )


def log_in(settings, clock, client_class, login="plant"):
    app = create_app(settings, clock)
    app.test_client_class = client_class
    return app.test_client().log_in(login)


def test_without_a_cluster_the_page_says_what_searches_use(client):
    assert "Searches use the built-in index" in client.get("/search-index/").text


def test_a_cluster_that_does_not_answer_is_told_and_the_page_still_comes(settings, clock, client):
    url = f"http://127.0.0.1:{free_port()}"
    page = log_in(settings.model_copy(update={"elasticsearch_url": url}), clock, type(client)).get("/search-index/")
    assert page.status_code == 200
    assert "Searches use the built-in index meanwhile" in page.text


def test_refused_documents_are_shown_with_their_reason_and_tried_again(far, store, clock, client):
    fed = Fed(store, far, clock)
    fed.settle()
    ids = fed.send(3)
    fed.another(spoiled({ids[1]}))
    fed.settle()
    browser = log_in(far, clock, type(client))
    page = browser.get("/search-index/").text
    assert "strict_dynamic_mapping_exception" in page
    assert "In step with the store" in page
    with store.reader() as session:
        letter = session.scalars(select(IndexDeadLetter)).one()
    assert browser.submit(f"/search-index/{letter.id}/retry", {}).status_code == 302
    fed.another()
    fed.settle()
    assert "None: the index took everything." in browser.get("/search-index/").text
    fed.clean()


def test_only_administrators_see_it(settings, clock, client):
    assert log_in(settings, clock, type(client), "viewer").get("/search-index/").status_code == 403


def test_it_speaks_chinese(settings, clock, client):
    page = log_in(settings.model_copy(update={"locale": "zh"}), clock, type(client))
    assert "搜索使用内置索引" in page.get("/search-index/", headers={"Accept-Language": "zh"}).text
