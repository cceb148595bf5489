"""Who answers a query for what stands: its rows, or the cluster. Both give ids in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.store.search.contract import Found, SearchAwayError
from console.store.search.elastic_search import MAX_WINDOW
from console.store.search.query.elastic import compile_query
from console.store.search.query.rows import Rows
from console.store.search.query.tree import Everything, Node
from console.store.search.states import State
from console.store.search.templates import ROW

# (organisation, query, how many to leave out, how many to give): the latest first.
Find = Callable[[int, Node, int, int], Found]


def find_rows(session: Session, state: State) -> Find:
    """The rows' own answers."""

    def find(organisation_id: int, node: Node, first: int, size: int) -> Found:
        model = state.model
        places = state.places(session, organisation_id)
        compiler = Rows(session, model.words, state.columns, state.place_column, places)
        where = (model.organisation_id == organisation_id) & compiler.node(node)
        order = (state.columns[state.latest].desc(), model.id.desc())
        if isinstance(node, Everything):  # both come out of an index
            total = session.scalar(select(func.count(model.id)).where(where)) or 0
            ids = select(model.id).where(where).order_by(*order).limit(size).offset(first)
            return Found(list(session.scalars(ids)), total)
        # Counted on the way: the lines are looked through once.
        rows = select(model.id, func.count().over()).where(where)
        found = session.execute(rows.order_by(*order).limit(size).offset(first)).all()
        if not found and first:  # a page beyond the last
            return Found([], session.scalar(select(func.count(model.id)).where(where)) or 0)
        return Found([row_id for row_id, _ in found], found[0][1] if found else 0)

    return find


def find_documents(ask: Callable[[dict[str, Any]], dict[str, Any]], state: State) -> Find:
    """The cluster's answers; SearchAwayError where it has none. ask: sends the body of a search."""

    def find(organisation_id: int, node: Node, first: int, size: int) -> Found:
        if first + size > MAX_WINDOW:
            raise SearchAwayError("left to the embedded index", alone=True)
        answer = ask(
            {
                "query": compile_query(organisation_id, node), "_source": False, "docvalue_fields": [ROW],
                "sort": [{state.latest: "desc"}, {ROW: "desc"}], "track_total_hits": True, "from": first, "size": size,
            }
        )  # fmt: skip
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            raise SearchAwayError("a part of the index did not answer")
        hits = answer["hits"]
        return Found([int(hit["fields"][ROW][0]) for hit in hits["hits"]], hits["total"]["value"])

    return find
