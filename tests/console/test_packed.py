"""Compressed columns: what goes in comes out, from the program and from a database that was there before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from browser_kit import both_engines
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData, Table, insert, inspect, select

from console.store.engine import open_store
from console.store.migrations import upgrade
from console.store.models import FindingEvidence
from console.store.packed import PackedBytes, PackedList, packed_list

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)  # what intake lets through
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=5), max_size=5))
def test_a_list_comes_back_as_it_was(value):
    kind = PackedList()
    kept = kind.process_bind_param(value, None)
    assert isinstance(kept, bytes)
    assert (kept == b"") == (value == [])
    assert kind.process_result_value(kept, None) == value
    assert kind.process_bind_param(kept, None) is kept


@given(st.binary())
def test_bytes_come_back_as_they_were(value):
    kind = PackedBytes()
    kept = kind.process_bind_param(value, None)
    assert (kept == b"") == (value == b"")
    assert kind.process_result_value(kept, None) == value


def test_decoded_packets_take_a_fifth():
    pdus = [{"frame": n, "modbus.unit_id": 1, "modbus.function": 3, "modbus.address": 40_001 + n} for n in range(20)]
    text = json.dumps(pdus)
    assert len(packed_list(text)) * 5 < len(text) * 2


@pytest.fixture
def old(make_url):
    """A database of the time before evidence was compressed."""
    store = open_store(make_url("old"))
    upgrade(store, "0017")
    yield store
    store.engine.dispose()


def row_of(table: Table, **given: Any) -> dict[str, Any]:
    """A row that refers to the first of every other table, and says nothing."""
    plain = {
        int: 1,
        str: "x",
        bool: False,
        datetime: datetime(2026, 11, 22, tzinfo=UTC),
        dict: {},
        object: {},
        bytes: b"",
    }
    made = {
        column.name: 1 if column.foreign_keys else plain[column.type.python_type]
        for column in table.columns
        if not column.nullable
    }
    return made | given


@both_engines
def test_evidence_that_was_there_before_is_what_it_was(old):
    rows = [
        {"id": n, "frames": [n, n + 1], "pdus": [{"frame": n, "text": "停机", "n": n}] if n % 3 else [],
         "pcap": b"\xd4\xc3\xb2\xa1" + bytes(n) if n % 2 else b""}
        for n in range(1, 1203)
    ]  # fmt: skip
    tables = MetaData()
    tables.reflect(old.engine)
    with old.transaction() as session:
        for name in ("organisation", "site", "segment", "sensor"):
            session.execute(insert(tables.tables[name]), [row_of(tables.tables[name])])
        finding, evidence = tables.tables["finding"], tables.tables["finding_evidence"]
        session.execute(insert(finding), [row_of(finding, id=row["id"], uid=f"s/1/{row['id']}") for row in rows])
        session.execute(insert(evidence), [row_of(evidence, **row | {"finding_id": row["id"]}) for row in rows])
    upgrade(old, "0018")
    with old.reader() as session:
        found = [
            {"id": it.id, "frames": it.frames, "pdus": it.pdus, "pcap": it.pcap}
            for it in session.scalars(select(FindingEvidence).order_by(FindingEvidence.id))
        ]
    assert found == rows
    names = {it["name"] for it in inspect(old.engine).get_columns("finding_evidence")}
    assert names == {"id", "organisation_id", "finding_id", "frames", "pdus", "pcap"}
