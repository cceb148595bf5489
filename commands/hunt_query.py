"""Queries of `fenghuo hunt`: the language of the console's search bar, over the fields of events.

Times stand in --since and --until; words without a field are addresses, networks or SHA-256.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from console.store.search.fields import SearchField
from console.store.search.query import tree
from console.store.search.query.conditions import Meaning
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import Piece
from console.store.search.query.parser import Names, parse_with
from console.store.search.text import PLACES
from sensor.archive.columns import ALL

Node = list[Any]  # of detectors/sigma/tree.py, which needs no import to be made

ALIASES = {
    "ip": ("source.ip", "destination.ip"), "mac": ("source.mac", "destination.mac"),
    "port": ("source.port", "destination.port"), "source": ("source.ip",), "destination": ("destination.ip",),
    "protocol": ("network.protocol",), "action": ("event.action",), "outcome": ("event.outcome",),
    "kind": ("event.kind",), "sha256": ("artifact.sha256",), "count": ("archive.count",),
}  # fmt: skip
NAMES = Names(
    {it.name: SearchField(it.name, it.type, it.meaning, "", many=it.many) for it in ALL.values()},
    ALIASES,
)


class _Meaning(Meaning):
    """Conditions on rows of the archive."""

    def words(self, piece: Piece, places: tuple[str, ...] = PLACES) -> tree.Node:
        """An address, a network or a hash; other words stand nowhere in the archive."""
        for name in ("ip", "mac"):
            if not _looks_like(name, piece.text):
                continue
            return tree.Or(tuple(self.equal(NAMES.fields[field], piece) for field in ALIASES[name]))
        if len(piece.text) == 64 and set(piece.text.lower()) <= set("0123456789abcdef"):
            return tree.Value(NAMES.fields["artifact.sha256"], piece.text)
        raise QueryError(
            "Name the field in which to look for it, as in event.action:stop; only addresses and SHA-256 need none.",
            piece.at,
            piece.length,
        )

    def _span(self, piece: Piece) -> tuple[datetime, datetime]:
        raise QueryError("Times do not stand in the query: give them with --since and --until.", piece.at, piece.length)


def condition_of(query: str) -> Node:
    """What a query asks of a row, as a node of detectors/sigma/tree.py. QueryError says what is wrong and where."""
    return _node(parse_with(query, NAMES, _Meaning(datetime.now(UTC), ZoneInfo("UTC"))))


def pointed(query: str, error: QueryError) -> str:
    """What is wrong with a query, with a mark under the place, for a terminal."""
    begin = max(error.at - 60, 0)
    shown = query[begin : error.at + 60].replace("\n", " ")
    return f"{error}\n  {shown}\n  {' ' * (error.at - begin)}{'^' * max(min(error.length, 60), 1)}"


def _looks_like(name: str, text: str) -> bool:
    if name == "ip":
        return text[:1].isalnum() and set(text.lower()) <= set("0123456789abcdef.:/*?") and (
            text.count(".") >= 1 or text.count(":") >= 2
        ) and not _looks_like("mac", text)  # fmt: skip
    return text.count(":") == 5 and all(len(part) == 2 for part in text.split(":"))


def _node(node: tree.Node) -> Node:
    if isinstance(node, tree.Everything):
        return ["true"]
    if isinstance(node, tree.And):
        return ["and", *map(_node, node.parts)] if node.parts else ["true"]
    if isinstance(node, tree.Or):
        return ["or", *map(_node, node.parts)] if node.parts else ["false"]
    if isinstance(node, tree.Not):
        return ["not", _node(node.part)]
    if isinstance(node, (tree.Words, tree.WordLike, tree.Span)):
        raise AssertionError("_Meaning makes no such condition")
    return _leaf(node)


def _leaf(node: tree.Value | tree.ValueLike | tree.Has | tree.OneOf | tree.Range | tree.Network) -> Node:
    name = node.field.name
    match node:
        case tree.Value():
            return ["in", name, [_typed(node.field, node.value)]]
        case tree.ValueLike():
            return ["like", name, [0 if part is None else part for part in node.pattern.parts], False]
        case tree.Has():
            return ["exists", name, True]
        case tree.OneOf():
            return ["in", name, [_typed(node.field, value) for value in node.values]]
        case tree.Network():
            return ["cidr", name, str(node.network)]
        case tree.Range():
            return _range(name, node.low, node.high)


def _typed(field: SearchField, value: str) -> str | bool:
    return value == "true" if field.type == "boolean" else value


def _range(name: str, low: float | None, high: float | None) -> Node:
    if low is not None and low == high:
        return ["in", name, [low]]
    parts: list[Node] = []
    if low is not None:
        parts.append(["cmp", name, "gte", low])
    if high is not None:
        parts.append(["cmp", name, "lte", high])
    return parts[0] if len(parts) == 1 else ["and", *parts]
