"""A query as SQL conditions on Finding, for SQLite with FTS5 and for PostgreSQL.

Words and values are looked up in the table `finding_search` (console.store.search.embedded), numbers and times in the
row. Every condition is true or false, never NULL, so that NOT means what people expect.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from console.store.models import Finding
from console.store.search.document import MAX_LIST
from console.store.search.embedded import finding_search, finding_search_words
from console.store.search.fields import LEVELS, OWN, SearchField
from console.store.search.query import tokens
from console.store.search.query.conditions import fits
from console.store.search.query.errors import QueryError
from console.store.search.query.tree import (
    And,
    Everything,
    Has,
    Network,
    Node,
    Not,
    OneOf,
    Or,
    Pattern,
    Range,
    Span,
    Value,
    ValueLike,
    WordLike,
    Words,
)
from console.store.search.text import fold, value_token

Sql = ColumnElement[bool]
COLUMNS = {
    "@timestamp": Finding.first_seen,
    "finding.last_seen": Finding.last_seen,
    "finding.received": Finding.received_at,
    "finding.number": Finding.id,
    "finding.count": Finding.count,
    "sensor.number": Finding.sensor_id,
    "source.port": Finding.source_port,
    "destination.port": Finding.destination_port,
    "station": Finding.station,
}
MAX_EXPANSIONS = 5_000  # different words that one pattern stands for, on SQLite
LAST = "\U0010ffff"
EVERYWHERE = frozenset(field.name for field in OWN)  # nearly every finding has these: no use to look for those that do


@dataclass(frozen=True, slots=True)
class Place:
    """A sensor of the organisation and where it stands."""

    sensor_id: int
    sensor: str
    site: str
    segment: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the tokens: any of these phrases. open_end: the last token of each is a beginning."""

    phrases: tuple[tuple[str, ...], ...]
    open_end: bool = False


def compile_query(session: Session, organisation_id: int, node: Node, places: tuple[Place, ...]) -> Sql:
    """The condition for findings of one organisation; whatever the tree says, no other's are found.

    session: of the database that will be asked; SQLite is asked beforehand which words fit a pattern. places: the
    organisation's sensors. QueryError where a pattern fits more words than a question may hold.
    """
    sqlite = session.get_bind().dialect.name == "sqlite"
    compiler = _Sqlite(places, session) if sqlite else _PostgreSql(places)
    return and_(Finding.organisation_id == organisation_id, compiler.node(node))


def _asked(node: Node) -> Ask | None:
    """The question that a condition puts to the tokens, None where it asks something else."""
    match node:
        case Words(places, words, open_end):
            return Ask(tuple(tuple(place + word for word in words) for place in places), open_end)
        case WordLike(places, pattern) if pattern.only_prefix:
            return Ask(tuple((place + pattern.prefix,) for place in places), True)
        case Value(field, value) if field.kept == "token":
            return Ask(((value_token(field.name, value),),))
        case ValueLike(field, pattern) if field.kept == "token" and pattern.only_prefix:
            return Ask(((tokens.start(tokens.of_field(field)[0], pattern),),), True)
        case Has(field) if field.kept == "token":
            return Ask(tuple((before,) for before in tokens.of_field(field)), True)
        case Range(field, low, high) if field.kept == "token" and field.type == "long" and low == high:
            return Ask(((value_token(field.name, str(low)),),))
        case Network():
            return Ask(tuple((before,) for before in tokens.prefixes(node)), True)
        case _:
            return None


class Compiler(ABC):
    """What both databases have in common."""

    def __init__(
        self, places: tuple[Place, ...], columns: Mapping[str, Any] = COLUMNS, place: Any = Finding.sensor_id
    ) -> None:
        """columns: of the row, by field. place: the column that says which of `places` it is of."""
        self._places, self.columns, self.place = places, columns, place

    def node(self, node: Node) -> Sql:
        ask = _asked(node)
        if ask is not None:
            return self.asked(ask)
        match node:
            case Everything():
                return true()
            case And(parts):
                return and_(true(), *(self.node(part) for part in parts))
            case Or(parts):
                return or_(false(), *(self.node(part) for part in parts))
            case Not(part):
                return not_(self.node(part))
            case WordLike(places, pattern):
                return self.like(places, pattern, pattern.prefix != "")
            case ValueLike(field, pattern) if field.kept == "token":
                rare = pattern.prefix != "" or field.name not in EVERYWHERE
                return self.like(tokens.of_field(field), pattern, rare)
            case Value(field, value):
                return self._at([place for place in self._places if fold(_named(place, field)) == fold(value)])
            case ValueLike(field, pattern):
                return self._at([place for place in self._places if fits(pattern, fold(_named(place, field)))])
            case Has(field):
                return self.present(field)
            case OneOf(field, values):
                return _one_of(field, values)
            case Range(field, low, high):
                return self._range(field, low, high)
            case Span(field, since, until):
                column = self.columns[field.name]
                return and_(true(), *([column >= since] if since else []), *([column < until] if until else []))
        raise TypeError(node)

    @abstractmethod
    def asked(self, ask: Ask) -> Sql: ...

    @abstractmethod
    def like(self, befores: tuple[str, ...], pattern: Pattern, rare: bool) -> Sql: ...

    @abstractmethod
    def number(self, field: SearchField, low: float | None, high: float | None) -> Sql: ...

    def present(self, field: SearchField) -> Sql:
        """A field that is no token has a value."""
        return self.number(field, None, None) if field.name == "finding.risk" else true()

    def _at(self, places: list[Place]) -> Sql:
        found: Sql = self.place.in_([place.sensor_id for place in places]) if places else false()
        return found

    def _range(self, field: SearchField, low: float | None, high: float | None) -> Sql:
        column = self.columns.get(field.name)
        if column is not None:
            return and_(column.is_not(None), _within(column, low, high))
        number = self.number(field, low, high)
        return number if field.kept == "row" else and_(self.node(Has(field)), number)


def _named(place: Place, field: SearchField) -> str:
    return {"sensor": place.sensor, "site": place.site, "segment": place.segment}[field.name]


def _one_of(field: SearchField, values: tuple[str, ...]) -> Sql:
    if field.name == "rule.severity":
        return Finding.severity.in_([LEVELS[value] for value in values]) if values else false()
    if field.name == "drill":
        return or_(false(), *(Finding.drill.is_(value == "true") for value in values))
    judged = [value for value in values if value != "new"]
    new = [Finding.verdict.is_(None)] if "new" in values else []
    return or_(false(), *new, *([and_(Finding.verdict.is_not(None), Finding.verdict.in_(judged))] if judged else []))


def _inside(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)


def _within(value: Any, low: float | None, high: float | None) -> Sql:
    limits = ([value >= low] if low is not None else []) + ([value <= high] if high is not None else [])
    return and_(true(), *limits)


class _Sqlite(Compiler):
    """FTS5 answers. It knows whole tokens and beginnings: for other patterns its list of words is asked first."""

    def __init__(self, places: tuple[Place, ...], session: Session) -> None:
        super().__init__(places)
        self._session = session

    def node(self, node: Node) -> Sql:
        whole = self._match(node)
        if whole is not None:
            return self._found(whole)
        if isinstance(node, And):  # what FTS5 can answer together it answers at once
            together = [match for match in map(self._match, node.parts) if match is not None]
            if len(together) > 1:
                others = [self.node(part) for part in node.parts if self._match(part) is None]
                return and_(self._found(" AND ".join(f"({match})" for match in together)), *others)
        return super().node(node)

    def asked(self, ask: Ask) -> Sql:
        return self._found(self._expression(ask))

    def like(self, befores: tuple[str, ...], pattern: Pattern, rare: bool) -> Sql:
        fitting = [
            word
            for before in befores
            for word in self._words(tokens.start(before, pattern), tokens.like(before, pattern, "[{}]", "*?["))
        ]
        if len(fitting) > MAX_EXPANSIONS:
            raise QueryError("This fits more than %(most)s different words: write more of it.", 0, 0,
                             most=MAX_EXPANSIONS)  # fmt: skip
        return self._any(fitting)

    def _words(self, start: str, pattern: str) -> list[str]:
        """Tokens in the index that begin so and fit a pattern of GLOB, one more than may be asked for at most."""
        word = finding_search_words.c.term
        within = select(word).where(word >= start, word < start + LAST, word.op("GLOB")(pattern))
        return list(self._session.scalars(within.limit(MAX_EXPANSIONS + 1)))

    def _any(self, found: list[str]) -> Sql:
        return self._found(self._expression(Ask(tuple((word,) for word in found)))) if found else false()

    def _range(self, field: SearchField, low: float | None, high: float | None) -> Sql:
        if field.kept == "token" and field.name not in COLUMNS:
            before = tokens.of_field(field)[0]
            known = self._words(before, f"{before}*")
            if len(known) <= MAX_EXPANSIONS:
                number = int if field.type == "long" else float
                return self._any([word for word in known if _inside(number(word.removeprefix(before)), low, high)])
        return super()._range(field, low, high)

    def number(self, field: SearchField, low: float | None, high: float | None) -> Sql:
        source, path = (Finding.risk, "$.score") if field.name == "finding.risk" else (Finding.fields, _path(field))
        each = func.json_each(source, path).table_valued("key", "type", "value", name="each")
        kinds = ("integer",) if field.type == "long" else ("integer", "real")
        whole = func.json_type(source, path).in_(("array", "integer", "real"))
        first = or_(func.json_type(source, path) != "array", cast(each.c.key, Integer) < MAX_LIST)
        fit = and_(func.typeof(each.c.value).in_(kinds), each.c.type.in_(("integer", "real")), first)
        return and_(
            func.coalesce(whole, False), select(literal(1)).where(fit, _within(each.c.value, low, high)).exists()
        )

    def _match(self, node: Node) -> str | None:
        """The whole condition as an FTS5 expression, None where FTS5 cannot tell."""
        if isinstance(node, And | Or) and node.parts:
            inner = [self._match(part) for part in node.parts]
            if any(match is None for match in inner):
                return None
            return (" AND " if isinstance(node, And) else " OR ").join(f"({match})" for match in inner)
        ask = _asked(node)
        return None if ask is None else self._expression(ask)

    def _expression(self, ask: Ask) -> str:
        end = " *" if ask.open_end else ""
        return " OR ".join('"' + " ".join(phrase).replace('"', '""') + f'"{end}' for phrase in ask.phrases)

    def _found(self, expression: str) -> Sql:
        return Finding.id.in_(select(finding_search.c.rowid).where(_matches(expression)))


def _matches(expression: str) -> Sql:
    return finding_search.c.finding_search.op("MATCH", is_comparison=True)(expression)


def _path(field: SearchField) -> str:
    return f'$."{field.name}"'


class _PostgreSql(Compiler):
    """A tsvector of the tokens answers; what stands side by side is looked up in the line itself."""

    def asked(self, ask: Ask) -> Sql:
        return or_(false(), *(self._phrase(phrase, ask.open_end) for phrase in ask.phrases))

    def _phrase(self, phrase: tuple[str, ...], open_end: bool) -> Sql:
        found = select(finding_search.c.rowid).where(_contains(phrase, open_end))
        if len(phrase) > 1:
            line = literal(" ", Text).concat(finding_search.c.words).concat(" ")
            found = found.where(func.strpos(line, " " + " ".join(phrase) + ("" if open_end else " ")) > 0)
        return Finding.id.in_(found)

    def like(self, befores: tuple[str, ...], pattern: Pattern, rare: bool) -> Sql:
        line = tokens.expression(befores, pattern)
        found = select(finding_search.c.rowid).where(finding_search.c.words.regexp_match(line))
        if rare:
            starts = [tokens.start(before, pattern) for before in befores]
            found = found.where(or_(*(_contains((start,), True) for start in starts)))
        return Finding.id.in_(found)

    def number(self, field: SearchField, low: float | None, high: float | None) -> Sql:
        if field.name == "finding.risk":
            score = Finding.risk.op("->>")("score")
            return func.coalesce(_within(cast(score, Float), low, high) if low is not None or high is not None
                                 else score.is_not(None), False)  # fmt: skip
        value = Finding.fields.op("->")(field.name)
        listed = case((func.json_typeof(value) == "array", value), else_=func.json_build_array(value))
        each = func.json_array_elements(listed).table_valued("value", with_ordinality="n", name="each").render_derived()
        text = cast(each.c.value, Text)
        whole = text.op("~")("^-?[0-9]+$") if field.type == "long" else true()
        number = cast(text, Numeric)
        inside = _within(number, low, high)
        if field.type == "long":
            inside = and_(inside, number.between(-(2**63), 2**63 - 1))
        fit = case((and_(func.json_typeof(each.c.value) == "number", whole), inside), else_=false())
        return select(literal(1)).select_from(each).where(each.c.n <= MAX_LIST, fit).exists()


def _contains(phrase: tuple[str, ...], open_end: bool) -> Sql:
    quoted = ["'" + token.replace("\\", "\\\\").replace("'", "''") + "'" for token in phrase]
    asked = " & ".join(quoted) + (":*" if open_end else "")
    return finding_search.c.vector.op("@@", is_comparison=True)(cast(asked, TSQUERY))
