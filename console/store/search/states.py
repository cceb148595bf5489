"""What stands as kinds of documents: devices, who does what to whom, the days of a site. All are made alike.

Each row carries its line of tokens (`words`), made from the fields declared here whenever the row is written; a
document in the cluster has the same line. So the query language means the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from console.store.search.document import plain_address, sixteen, typed
from console.store.search.fields import NATIVE, ORGANISATION, TOKENS, SearchField
from console.store.search.kinds import Document, Kind, month_of, span
from console.store.search.query.parser import Names
from console.store.search.query.sql import Place
from console.store.search.text import OTHER, line, value_token
from console.store.search.triggers import document_id
from detectors.finding import MAC

MAX_LIST = 300  # values of one field: as many facts as a device may have, and some
PLACES = (
    SearchField("sensor", "keyword", "name of the sensor", "探针名称", kept="place"),
    SearchField("site", "keyword", "place of the sensor", "探针所在厂区", kept="place"),
    SearchField("segment", "keyword", "network segment of the sensor", "探针所在网段", kept="place"),
)
CAUGHT_UP = 500  # rows of one transaction


@dataclass(frozen=True, slots=True)
class State:
    """A kind of what stands.

    model: of its rows; they have `words` and `organisation_id`. query: of rows with what `values` and `place` read.
    fields: all that a query may name; of each that is no token `columns` has the column. values(row): by field, None or
    "" where absent. key(row): names the row within its organisation. place(row): where its sensor stands; place_column:
    what a Place's number is compared with. places(session, organisation): all of them. month: the time that says in
    which index a document is. latest: field by which lists are in order.
    """

    name: str
    model: Any
    query: Callable[[], Select[Any]]
    fields: tuple[SearchField, ...]
    aliases: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, Any]
    values: Callable[[Any], Mapping[str, Any]]
    key: Callable[[Any], str]
    place: Callable[[Any], Place]
    place_column: Any
    places: Callable[[Session, int], tuple[Place, ...]]
    month: Any
    latest: str

    @property
    def names(self) -> Names:
        """What its queries may name."""
        return Names({field.name: field for field in self.fields}, self.aliases)


def end_of(end: str, address: str) -> dict[str, str]:
    """An address as the field that it fits: of hardware, or of IP."""
    return {f"{end}.mac": address} if MAC.fullmatch(address) else {f"{end}.ip": plain_address(address)}


def _values(state: State, row: Any) -> Iterator[tuple[SearchField, list[Any]]]:
    """Fields that the row has, typed."""
    given = state.values(row)
    for field in state.fields:
        value = given.get(field.name)
        if value is None or value == "" or field.kept == "place":
            continue
        if isinstance(value, datetime):
            yield field, [value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"]
            continue
        listed = value[:MAX_LIST] if isinstance(value, list) else [value]
        fitting = [item for item in (typed(field, item) for item in listed) if item is not None]
        if fitting:
            yield field, fitting


def words(state: State, row: Any) -> str:
    """The line of tokens of a row, each between two spaces."""
    found: list[str] = []
    texts: list[str] = []
    for field, values in _values(state, row):
        if field.kept != "token":
            continue
        for value in map(str, values):
            found.append(value_token(field.name, value))
            if field.type == "ip":
                found.append(value_token(f"{field.name}#", sixteen(value)))
            texts.append(line(OTHER, value))
    return f" {' '.join([*found, *filter(None, texts)])} "


def document(state: State, row: Any) -> dict[str, Any]:
    """A row as the cluster keeps it: absent things have no key, several values are a list."""
    found: dict[str, Any] = {ORGANISATION: row.organisation_id}
    for field, values in _values(state, row):
        found[field.name] = values if field.many or len(values) > 1 else values[0]
    place = state.place(row)
    named = {it.name: getattr(place, it.name) for it in state.fields if it.kept == "place"}
    found |= {name: value for name, value in named.items() if value}
    tokens = [value_token(name, value) for name, value in named.items() if value]
    found[TOKENS] = " ".join([row.words.strip() or words(state, row).strip(), *tokens])
    return found


def kind_of(state: State) -> Kind:
    """The kind of documents."""
    model = state.model

    def mapping() -> dict[str, Any]:
        properties = {field.name: dict(NATIVE[field.type]) for field in state.fields}
        properties[ORGANISATION] = {"type": "long"}
        properties[TOKENS] = {"type": "text", "analyzer": "whitespace", "norms": False}
        return {"dynamic": "strict", "subobjects": False, "properties": properties}

    def documents(session: Session, query: Select[Any]) -> Iterator[Document]:
        for row in session.scalars(query):
            name = document_id(row.organisation_id, state.key(row))
            month = month_of(getattr(row, state.month.key))
            yield Document(row.id, row.organisation_id, name, month, document(state, row))

    def by_ids(session: Session, ids: Sequence[int]) -> Iterator[Document]:
        return documents(session, state.query().where(model.id.in_(ids)))

    def after(session: Session, row_id: int, period: str, limit: int) -> Iterator[Document]:
        query = state.query().where(model.id > row_id).order_by(model.id).limit(limit)
        if period:
            begin, end = span(period)
            query = query.where(state.month >= begin, state.month < end)
        return documents(session, query)

    def periods(session: Session) -> set[str]:
        return {month_of(it) for it in session.scalars(select(state.month).distinct())}

    def count(session: Session) -> int:
        return session.scalar(select(func.count(model.id))) or 0

    return Kind(state.name, mapping, by_ids, after, periods, count)


def catch_up(session: Session, state: State) -> int:
    """Make the tokens of some rows that have none, as after an upgrade; gives how many. The caller commits."""
    rows = session.scalars(state.query().where(state.model.words == "").limit(CAUGHT_UP)).all()
    for row in rows:
        row.words = words(state, row)
    return len(rows)
