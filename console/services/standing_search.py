"""Searching what stands: one language, the cluster where there is one and it has everything, otherwise the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from console.services.actor import Actor, scoped
from console.store.search.contract import SearchAwayError
from console.store.search.query.conditions import Meaning
from console.store.search.query.parser import parse_with
from console.store.search.states import State
from console.store.search.states_search import Find, find_rows

PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what was found. total: of all pages. away: why the cluster did not answer, "" where it did or is none."""

    rows: list[Any]
    total: int
    number: int
    away: str = ""

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-self.total // PAGE_SIZE))


NOTHING = Page([], 0, 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks what, and when. number: of the page, from 1."""

    state: State
    actor: Actor
    query: str
    number: int
    now: datetime
    zone: ZoneInfo


def search(session: Session, asked: Asked, find: Find | None = None, behind: Callable[[], str] = lambda: "") -> Page:
    """One page, the latest first; QueryError where the query is none.

    find, behind: the cluster's answers where there is one, and why they would not be the store's ("": they are).
    """
    state, actor = asked.state, asked.actor
    node = parse_with(asked.query, state.names, Meaning(asked.now, asked.zone))
    first = (max(asked.number, 1) - 1) * PAGE_SIZE
    away = behind() if find is not None else ""
    found = None
    if find is not None and not away:
        try:
            found = find(actor.organisation_id, node, first, PAGE_SIZE)
        except SearchAwayError as error:
            away = "" if error.alone else str(error)
    if found is None:
        found = find_rows(session, state)(actor.organisation_id, node, first, PAGE_SIZE)
    mine = scoped(actor, state.model).where(state.model.id.in_(found.ids)).with_only_columns(state.model.id)
    by_id = {row.id: row for row in session.scalars(state.query().where(state.model.id.in_(mine)))}
    return Page([by_id[it] for it in found.ids if it in by_id], found.total, max(asked.number, 1), away)
