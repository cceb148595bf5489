"""One corpus of findings in every store that can run here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from support.search_corpus import NOW, SENSORS, Find, rows

from console.store.engine import Store, open_store
from console.store.migrations import upgrade
from console.store.models import Finding, Organisation, Segment, Sensor, Site
from console.store.search.document import document
from console.store.search.fields import mapping
from console.store.search.query import elastic, sql
from console.store.search.query.tree import Node


def fill(store: Store) -> None:
    with store.transaction() as session:
        for number in (1, 2):
            session.add(
                Organisation(id=number, name=f"org {number}", kind="enterprise", path=f"/{number}/", created_at=NOW)
            )
            session.flush()
            sensors = []
            for name, site, segment in SENSORS:
                place = Site(organisation_id=number, name=site)
                where = Segment(organisation_id=number, site=place, name=segment)
                sensors.append(Sensor(organisation_id=number, segment=where, name=name, created_at=NOW,
                                      key_hash=uuid.uuid4().hex, key_hint="", counters={}))  # fmt: skip
            session.add_all(sensors)
            session.flush()
            for row in rows():
                session.add(Finding(**(row | {"sensor": sensors[row["sensor"]], "organisation_id": number})))
            session.flush()


def places(session: Any, organisation_id: int) -> tuple[sql.Place, ...]:
    found = session.scalars(select(Sensor).where(Sensor.organisation_id == organisation_id))
    return tuple(sql.Place(s.id, s.name, s.segment.site.name, s.segment.name) for s in found)


def sql_find(store: Store) -> Find:
    def find(organisation_id: int, node: Node) -> list[int]:
        with store.reader() as session:
            where = sql.compile_query(session, organisation_id, node, places(session, organisation_id))
            return list(session.scalars(select(Finding.id).where(where).order_by(Finding.id)))

    return find


@pytest.fixture(scope="session")
def sqlite_corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('search') / 'console.db'}")
    upgrade(store)
    fill(store)
    yield store
    store.engine.dispose()


@pytest.fixture(scope="session")
def postgresql_corpus(request: pytest.FixtureRequest) -> Iterator[Store]:
    try:
        url = request.getfixturevalue("postgresql_server_url")
    except pytest.FixtureLookupError:
        pytest.skip("no PostgreSQL server for tests")
    server = open_store(url("postgres"))
    with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE search_corpus")
    store = open_store(url("search_corpus"))
    upgrade(store)
    fill(store)
    yield store
    store.engine.dispose()
    server.engine.dispose()


@pytest.fixture(scope="session")
def elastic_find(elasticsearch_url: str, sqlite_corpus: Store) -> Iterator[Find]:
    from elasticsearch import Elasticsearch, helpers

    client = Elasticsearch(elasticsearch_url, request_timeout=60)
    index = f"contract-{uuid.uuid4().hex}"
    client.indices.create(index=index, mappings=mapping(), settings={"number_of_shards": 1, "number_of_replicas": 0})
    with sqlite_corpus.reader() as session:
        actions = [
            {"_index": index, "_id": str(row.id), "_source": document(row)} for row in session.scalars(select(Finding))
        ]
    helpers.bulk(client, actions, refresh=True)

    def find(organisation_id: int, node: Node) -> list[int]:
        answer = client.search(index=index, query=elastic.compile_query(organisation_id, node), size=10_000,
                               source=False)  # fmt: skip
        return sorted(int(hit["_id"]) for hit in answer["hits"]["hits"])

    yield find
    client.indices.delete(index=index)
    client.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "elasticsearch"])
def find(request: pytest.FixtureRequest) -> Find:
    """Each store's answer."""
    if request.param == "elasticsearch":
        return request.getfixturevalue("elastic_find")
    return sql_find(request.getfixturevalue(f"{request.param}_corpus"))


@pytest.fixture(scope="session")
def findings(sqlite_corpus: Store) -> list[Finding]:
    """The findings of organisation 1, with their places; ids are the same in every store."""
    with sqlite_corpus.reader() as session:
        found = list(session.scalars(select(Finding).where(Finding.organisation_id == 1).order_by(Finding.id)))
        for row in found:
            json.dumps(document(row))  # loads what belongs to it
        return found
