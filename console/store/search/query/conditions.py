"""What one condition means, by the type of its field."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from console.store.search.document import MAX_LONG, MIN_LONG, plain_address
from console.store.search.fields import LEVELS, SearchField
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import Piece
from console.store.search.query.moments import span
from console.store.search.query.tree import (
    Has,
    Network,
    Node,
    OneOf,
    Pattern,
    Range,
    Span,
    Value,
    ValueLike,
    WordLike,
    Words,
)
from console.store.search.text import MESSAGE, NAME, PLACES, fold, phrase, runs

MAX_WILDCARDS = 5  # of one value
MAX_WORDS = 60  # of one quotation
PLACE_OF = {"rule.name": (NAME,), "message": (MESSAGE,)}
CHINESE_WORDS = {  # as the pages show them
    "rule.severity": {"严重": "critical", "高": "high", "中": "medium", "低": "low", "提示": "informational",
                      "info": "informational"},
    "state": {"新": "new", "属实": "real", "预期": "expected", "误报": "false"},
    "drill": {"是": "true", "否": "false", "yes": "true", "no": "false"},
}  # fmt: skip
COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
DRILL = ("true", "false")


@dataclass(frozen=True, slots=True)
class Meaning:
    """Conditions, at a moment and in a time zone."""

    now: datetime
    zone: ZoneInfo

    def words(self, piece: Piece, places: tuple[str, ...] = PLACES) -> Node:
        """Words in a text of these places, side by side; a word may have wildcards."""
        if piece.wild:
            return self._word_like(piece, places)
        found, open_end = phrase(piece.text)
        if not found:
            raise QueryError("There is nothing to search for in this: it has no letter and no digit.",
                             piece.at, piece.length)  # fmt: skip
        if len(found) > MAX_WORDS:
            raise QueryError("These are too many words in one: at most %(most)s.", piece.at, piece.length,
                             most=MAX_WORDS)  # fmt: skip
        return Words(places, found, open_end)

    def _word_like(self, piece: Piece, places: tuple[str, ...]) -> Node:
        pattern = _pattern(piece)
        texts = [part for part in pattern.parts if isinstance(part, str)]
        inner = pattern.parts[pattern.parts[0] is None : len(pattern.parts) - (pattern.parts[-1] is None)]
        single = len(inner) == 1
        chinese = any(cjk for text in texts for _, cjk in runs(text))
        if single and (chinese or not texts[0][-1:].isalnum()):
            # any part of Chinese text is found anyway; "10.0.*" are the words 10 and 0
            return self.words(Piece(piece.kind, texts[0], piece.at, piece.length), places)
        if chinese or any(list(runs(text)) != [(text, False)] for text in texts):
            raise QueryError("Wildcards stand inside one word of letters and digits. Name the field to compare whole "
                             "values, as in rule.id:scan.*", piece.at, piece.length)  # fmt: skip
        return WordLike(places, pattern)

    def has(self, field: SearchField) -> Node:
        """The field has a value."""
        return Has(field)

    def equal(self, field: SearchField, piece: Piece) -> Node:
        """field:value"""
        if piece.wild and piece.text == "*":
            return Has(field)
        if field.type == "text":
            return self.words(piece, PLACE_OF[field.name])
        if piece.wild:
            return self._like(field, piece)
        if field.type == "date":
            since, until = self._span(piece)
            return Span(field, since, until)
        if field.type in ("long", "double"):
            number = _number(field, piece)
            return Range(field, number, number)
        if field.type == "ip":
            return _address(field, piece)
        if field.type == "boolean" and field.kept == "token":
            return Value(field, _one_of(field, DRILL, piece))
        if field.type in ("level", "boolean") or field.values:
            return OneOf(field, (_one_of(field, field.values or DRILL, piece),))
        if not piece.text:
            raise QueryError("A value is missing here.", piece.at, piece.length)
        return Value(field, piece.text)

    def _like(self, field: SearchField, piece: Piece) -> Node:
        if field.type not in ("keyword", "ip", "level"):
            raise QueryError("%(name)s is compared as a whole: wildcards are for texts and names.", piece.at,
                             piece.length, name=field.name)  # fmt: skip
        pattern = _pattern(piece)
        if field.values:
            return OneOf(field, tuple(value for value in field.values if fits(pattern, value)))
        return ValueLike(field, pattern)

    def compared(self, field: SearchField, sign: str, piece: Piece) -> Node:
        """field >= value"""
        if piece.wild:
            raise QueryError("After %(sign)s stands one value, without wildcards.", piece.at, piece.length, sign=sign)
        if field.type == "level":
            at = LEVELS[_one_of(field, field.values, piece)]
            return OneOf(field, tuple(word for word, level in LEVELS.items() if COMPARE[sign](level, at)))
        if field.type == "date":
            since, until = self._span(piece)
            if sign[0] == ">":
                return Span(field, until if sign == ">" else since, None)
            return Span(field, None, since if sign == "<" else until)
        if field.type in ("long", "double"):
            number = _number(field, piece)
            if sign == ">":
                number = number + 1 if field.type == "long" else math.nextafter(number, math.inf)
            elif sign == "<":
                number = number - 1 if field.type == "long" else math.nextafter(number, -math.inf)
            return Range(field, number, None) if sign[0] == ">" else Range(field, None, number)
        raise QueryError("%(name)s has no order. Numbers, times and rule.severity have one.", piece.at, piece.length,
                         name=field.name)  # fmt: skip

    def between(self, field: SearchField, low: Piece | None, low_in: bool, high: Piece | None, high_in: bool) -> Node:
        """field:[low TO high]; None: without a limit on that side."""
        nodes: list[Node] = []
        if low is not None:
            nodes.append(self.compared(field, ">=" if low_in else ">", low))
        if high is not None:
            nodes.append(self.compared(field, "<=" if high_in else "<", high))
        if len(nodes) < 2:
            return nodes[0] if nodes else Has(field)
        return _meet(*nodes)

    def _span(self, piece: Piece) -> tuple[datetime, datetime]:
        found = span(piece.text, self.now, self.zone)
        if found is None:
            raise QueryError("This is no time. Write 2026-11-22, 2026-11-22T08:00, now-24h or now/d.", piece.at,
                             piece.length)  # fmt: skip
        return found


def _meet(one: Node, other: Node) -> Node:
    """Both conditions on one field, which one value has to meet: of several values, none may meet one half each."""
    if isinstance(one, OneOf) and isinstance(other, OneOf):
        return OneOf(one.field, tuple(value for value in one.values if value in other.values))
    if isinstance(one, Span) and isinstance(other, Span):
        return Span(one.field, one.since, other.until)
    assert isinstance(one, Range)
    assert isinstance(other, Range)
    return Range(one.field, one.low, other.high)


def _pattern(piece: Piece) -> Pattern:
    parts: list[str | int | None] = []
    text: list[str] = []
    wildcards = 0
    for i, sign in enumerate(piece.text):
        if i not in piece.wild:
            text.append(sign)
            continue
        if text:
            parts.append(fold("".join(text)))
            text = []
        wildcards += sign == "?" or parts[-1:] != [None]
        if sign == "?":
            parts.append(1)
        elif parts[-1:] != [None]:
            parts.append(None)
    if text:
        parts.append(fold("".join(text)))
    if wildcards > MAX_WILDCARDS:
        raise QueryError("These are too many wildcards in one value: at most %(most)s.", piece.at, piece.length,
                         most=MAX_WILDCARDS)  # fmt: skip
    if not any(isinstance(part, str) and part for part in parts):
        raise QueryError("A value of wildcards alone says nothing: add a letter or a digit, or write field:* for any.",
                         piece.at, piece.length)  # fmt: skip
    return Pattern(tuple(parts))


def fits(pattern: Pattern, text: str) -> bool:
    """Whether folded text fits a pattern as a whole. Time: length of the text times the number of parts."""
    reached = {0}
    for part in pattern.parts:
        if isinstance(part, str):
            reached = {at + len(part) for at in reached if text.startswith(part, at)}
        elif part is None:
            reached = set(range(min(reached, default=len(text) + 1), len(text) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(text)}
    return len(text) in reached


def _one_of(field: SearchField, values: tuple[str, ...], piece: Piece) -> str:
    said = fold(piece.text.strip())
    said = CHINESE_WORDS.get("drill" if field.type == "boolean" else field.name, {}).get(said, said)
    if said not in values:
        raise QueryError("%(name)s is one of: %(values)s.", piece.at, piece.length, name=field.name,
                         values=", ".join(values))  # fmt: skip
    return said


def _number(field: SearchField, piece: Piece) -> int | float:
    text = piece.text.strip().replace("_", "x")  # Python would read 1_000
    try:
        if field.type == "double":
            number = float(text)
            if math.isfinite(number):
                return number
        elif len(text) <= 20:
            whole = int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
            if MIN_LONG < whole < MAX_LONG:
                return whole
    except ValueError:
        pass
    raise QueryError("%(name)s is a number: write it in digits, such as 15 or 0x0f.", piece.at, piece.length,
                     name=field.name)  # fmt: skip


def _address(field: SearchField, piece: Piece) -> Node:
    text = piece.text.strip()
    plain = plain_address(text)
    if plain:
        return Value(field, plain)
    address, slash, length = text.partition("/")
    try:
        if slash and length.isascii() and length.isdigit() and len(length) <= 3:
            network = ip_network(f"{address}/{length}", strict=False)
            return Network(field, network)
    except ValueError:
        pass
    raise QueryError("This is no address. Write 10.0.0.9, 2001:db8::5, a network as 10.0.0.0/8, or 10.0.*", piece.at,
                     piece.length)  # fmt: skip
