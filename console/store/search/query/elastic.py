"""A query as Elasticsearch's query DSL, built from the tree: what people type never reaches a parser of the server."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from console.store.search.fields import ORGANISATION, TOKENS, SearchField
from console.store.search.query import tokens
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
from console.store.search.text import value_token

MAX_EXPANSIONS = 50_000  # different words that go on from one Chinese character; there are a few thousand


def compile_query(organisation_id: int, node: Node) -> dict[str, Any]:
    """The query for findings of one organisation; whatever the tree says, no other's are found."""
    return {"bool": {"filter": [{"term": {ORGANISATION: organisation_id}}, _node(node)]}}


def _node(node: Node) -> dict[str, Any]:
    match node:
        case Everything():
            return {"match_all": {}}
        case And(parts):
            return {"bool": {"filter": [_node(part) for part in parts]}}
        case Or(parts):
            return {"bool": {"should": [_node(part) for part in parts], "minimum_should_match": 1}}
        case Not(part):
            return {"bool": {"must_not": [_node(part)]}}
        case Words(places, words, open_end):
            return _either([_phrase([place + word for word in words], open_end) for place in places])
        case WordLike(places, pattern):
            return _either([_pattern(place, pattern) for place in places])
        case Value(field, value):
            return {"term": {TOKENS: value_token(field.name, value)}}
        case ValueLike(field, pattern):
            return _pattern(tokens.of_field(field)[0], pattern)
        case Has(field):
            return _has(field)
        case OneOf(field, values):
            # an empty list of terms finds nothing
            wanted = [value == "true" for value in values] if field.type == "boolean" else list(values)
            return {"terms": {field.name: wanted}}
        case Range(field, low, high):
            return _range(field, gte=low, lte=high)
        case Span(field, since, until):
            return _range(field, gte=_time(since), lt=_time(until))
        case Network(field, network):
            return {"term": {field.name: str(network)}}


def _either(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


def _phrase(phrase: list[str], open_end: bool) -> dict[str, Any]:
    if len(phrase) == 1:
        return {"prefix": {TOKENS: {"value": phrase[0]}}} if open_end else {"term": {TOKENS: phrase[0]}}
    line = " ".join(phrase)
    if open_end:
        return {"match_phrase_prefix": {TOKENS: {"query": line, "max_expansions": MAX_EXPANSIONS}}}
    return {"match_phrase": {TOKENS: {"query": line}}}


def _pattern(before: str, pattern: Pattern) -> dict[str, Any]:
    """One token: `before`, then what fits the pattern."""
    if pattern.only_prefix:
        return {"prefix": {TOKENS: {"value": tokens.start(before, pattern)}}}
    return {"wildcard": {TOKENS: {"value": tokens.like(before, pattern, "\\{}", "*?\\")}}}


def _has(field: SearchField) -> dict[str, Any]:
    if field.kept == "row":
        return {"exists": {"field": field.name}}
    return _either([{"prefix": {TOKENS: {"value": before}}} for before in tokens.of_field(field)])


def _range(field: SearchField, **limits: Any) -> dict[str, Any]:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return {"range": {field.name: given}} if given else {"exists": {"field": field.name}}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
