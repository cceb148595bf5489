"""A query as a tree. Recursive descent over the pieces:

query  = or
or     = and { OR and }
and    = not { [AND] not }                two conditions side by side: both
not    = { NOT | - | ! | + } primary
primary = ( or ) | field : value | field COMPARE value | words
value  = word | "quoted" | COMPARE word | [ a TO b ] | ( or of values )
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from console.store.search.fields import ALIASES, FIELDS, SearchField
from console.store.search.query import conditions
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import Piece, pieces
from console.store.search.query.tree import And, Everything, Node, Not, Or

MAX_CONDITIONS = 100
MAX_DEPTH = 20  # of groups and negations


@dataclass(frozen=True, slots=True)
class _Named:
    """The fields that a name stands for, and where it stands."""

    fields: tuple[SearchField, ...]
    piece: Piece


@dataclass(frozen=True, slots=True)
class Names:
    """The fields that queries may name, and short names that stand for some of them."""

    fields: Mapping[str, SearchField]
    aliases: Mapping[str, tuple[str, ...]]

    def known(self, name: str) -> tuple[SearchField, ...]:
        """The fields that a name stands for; none where there is no such field."""
        lower = name.lower()
        return tuple(self.fields[n] for n in self.aliases.get(lower, (lower,)) if n in self.fields)

    def suggestions(self, name: str, most: int = 3) -> list[str]:
        """Names of fields that look like this one."""
        names = [*self.aliases, *self.fields]
        name = name.lower()[:64]
        endings = [n for n in names if n.rsplit(".", 1)[-1] == name]
        return list(dict.fromkeys([*endings, *difflib.get_close_matches(name, names, most, 0.6)]))[:most]


FINDINGS = Names(FIELDS, ALIASES)


def parse(query: str, now: datetime, zone: ZoneInfo) -> Node:
    """The meaning of a query for findings; an empty one means everything. QueryError says what is wrong and where.

    now, zone: what `now-24h` and times without a zone refer to.
    """
    return parse_with(query, FINDINGS, conditions.Meaning(now, zone))


def parse_with(query: str, names: Names, meaning: conditions.Meaning) -> Node:
    """The same in a language of other names, where conditions may mean something else."""
    found = pieces(query)
    return Everything() if len(found) == 1 else _Parser(found, names, meaning).parse()


class _Parser:
    def __init__(self, found: list[Piece], names: Names, meaning: conditions.Meaning) -> None:
        self._pieces = found
        self._next = 0
        self._names = names
        self._meaning = meaning
        self._conditions = 0
        self._depth = 0

    @property
    def _here(self) -> Piece:
        return self._pieces[self._next]

    def _take(self) -> Piece:
        piece = self._here
        self._next += piece.kind != "end"
        return piece

    def parse(self) -> Node:
        node = self._either(self._condition)
        if self._here.kind != "end":
            raise QueryError("This bracket closes nothing.", self._here.at, self._here.length)
        return node

    # --- and, or, not, groups: the same for conditions and for the values of one field

    def _either(self, single: Callable[[], Node]) -> Node:
        parts = [self._both(single)]
        while self._here.kind == "or":
            self._take()
            parts.append(self._both(single))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self, single: Callable[[], Node]) -> Node:
        parts = [self._negated(single)]
        while self._here.kind not in ("or", ")", "end", "]", "}"):
            if self._here.kind == "and":
                self._take()
            parts.append(self._negated(single))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negated(self, single: Callable[[], Node]) -> Node:
        if self._here.kind not in ("not", "+"):
            return single()
        sign = self._take()
        self._deeper(sign)
        node = self._negated(single)
        self._depth -= 1
        return node if sign.kind == "+" else Not(node)

    def _group(self, opened: Piece, single: Callable[[], Node]) -> Node:
        self._deeper(opened)
        node = self._either(single)
        if self._here.kind != ")":
            raise QueryError("This bracket is never closed: add ).", opened.at, opened.length)
        self._take()
        self._depth -= 1
        return node

    def _deeper(self, piece: Piece) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError(
                "Brackets and negations are nested too deeply: at most %(most)s.", piece.at, most=MAX_DEPTH
            )

    # --- conditions

    def _condition(self) -> Node:
        piece = self._take()
        if piece.kind == "(":
            return self._group(piece, self._condition)
        if piece.kind == "quoted":
            return self._counted(self._meaning.words(self._plain(piece)), piece)
        if piece.kind == "word":
            return self._named_or_words(piece)
        raise self._unexpected(piece)

    def _named_or_words(self, piece: Piece) -> Node:
        following = self._here
        colon = piece.colons[0] if piece.colons else None
        if colon is None and following.kind == ":":
            self._take()
            return self._of(piece, None)
        if colon is None and following.kind == "compare":
            return self._of(piece, None)
        if colon is not None:
            name = replace(piece, text=piece.text[:colon], length=_written(piece, colon))
            if name.text == "*" and piece.text[colon + 1 :] in ("*", ""):
                if not piece.text[colon + 1 :]:
                    self._take()
                return Everything()
            if self._names.known(name.text) or not _is_value(piece.text) or name.text == "_exists_":
                return self._of(name, _rest(piece, colon))
        return self._words(piece)

    def _words(self, piece: Piece) -> Node:
        if piece.text == "*" and piece.wild:
            return Everything()
        before, sign, _ = piece.text.partition("=")
        if sign and self._names.known(before.rstrip("!=")):
            raise QueryError("Write : between a field and its value, and - before the field for what is not wanted.",
                             piece.at, piece.length)  # fmt: skip
        return self._counted(self._meaning.words(self._plain(piece)), piece)

    def _of(self, name: Piece, rest: Piece | None) -> Node:
        """The condition on a named field; rest: its value where it stands in the same piece."""
        if name.text.lower() == "_exists_":
            return self._exists(rest if rest is not None else self._take())
        fields = self._names.known(name.text)
        if not fields:
            like = self._names.suggestions(name.text)
            if like:
                raise QueryError("There is no field %(name)s. Did you mean %(like)s?", name.at, name.length,
                                 name=name.text[:60], like=", ".join(like))  # fmt: skip
            raise QueryError('There is no field %(name)s. Put the text in quotes to search for the words: "…".',
                             name.at, name.length, name=name.text[:60])  # fmt: skip
        return self._value(_Named(fields, name), rest)

    def _exists(self, piece: Piece) -> Node:
        fields = self._names.known(piece.text) if piece.kind == "word" else ()
        if not fields:
            raise QueryError("The name of a field is missing here.", piece.at, piece.length)
        return self._any([self._meaning.has(field) for field in fields], piece)

    def _value(self, name: _Named, rest: Piece | None = None) -> Node:
        piece = rest if rest is not None else self._take()
        if piece.kind == "(":
            return self._group(piece, lambda: self._value_in_group(name))
        if piece.kind in ("[", "{"):
            return self._interval(name, piece)
        if piece.kind == "compare":
            return self._compared(name, piece)
        piece = self._signed(name, piece)
        if piece.kind in ("word", "quoted"):
            plain = self._plain(piece)
            return self._any([self._meaning.equal(field, plain) for field in name.fields], plain)
        raise QueryError("A value of %(name)s is missing here.", piece.at if piece.kind != "end" else name.piece.at,
                         piece.length or name.piece.length, name=name.piece.text)  # fmt: skip

    def _value_in_group(self, name: _Named) -> Node:
        if self._here.kind == "word" and self._here.colons:
            inner = self._here.text[: self._here.colons[0]]
            if self._names.known(inner) and not _is_value(self._here.text):
                raise QueryError("Inside these brackets stand values of %(name)s: close them before another field.",
                                 self._here.at, self._here.length, name=name.piece.text)  # fmt: skip
        return self._value(name)

    def _compared(self, name: _Named, sign: Piece) -> Node:
        piece = self._signed(name, self._take())
        if piece.kind not in ("word", "quoted"):
            raise QueryError("A value is missing after %(sign)s.", sign.at, sign.length, sign=sign.text)
        compare = self._meaning.compared
        return self._any([compare(field, sign.text, self._plain(piece)) for field in name.fields], piece)

    def _interval(self, name: _Named, opened: Piece) -> Node:
        low = self._bound(name, opened)
        to = self._take()
        if to.kind != "word" or to.text.upper() != "TO":
            raise QueryError("A range is written [from TO to]: TO is missing here.", to.at, max(to.length, 1))
        high = self._bound(name, opened)
        closed = self._take()
        if closed.kind not in ("]", "}"):
            raise QueryError("This range is never closed: add ].", opened.at, opened.length)
        nodes = [
            self._meaning.between(field, low, opened.kind == "[", high, closed.kind == "]") for field in name.fields
        ]
        return self._any(nodes, opened)

    def _bound(self, name: _Named, opened: Piece) -> Piece | None:
        piece = self._signed(name, self._take())
        if piece.kind not in ("word", "quoted") or (piece.text.upper() == "TO" and piece.kind == "word"):
            raise QueryError("A range is written [from TO to]; * stands for no limit.", opened.at, opened.length)
        return None if piece.text == "*" and piece.wild else self._plain(piece)

    def _signed(self, name: _Named, piece: Piece) -> Piece:
        """A minus that stands before a number belongs to it."""
        following = self._here
        if piece.kind == "not" and piece.text == "-" and following.kind == "word" and not following.blank:
            self._take()
            return replace(following, text="-" + following.text, at=piece.at, length=piece.length + following.length,
                           wild=frozenset(i + 1 for i in following.wild))  # fmt: skip
        return piece

    def _plain(self, piece: Piece) -> Piece:
        """The piece, unless it asks for what this language does not have."""
        after = self._here
        if piece.kind == "quoted" and after.kind == "word" and not after.blank and after.text[0] in "~^":
            raise QueryError("Similar words and weights (~ and ^) are not part of this language: leave them out.",
                             after.at, after.length)  # fmt: skip
        if piece.kind == "word" and piece.text.rstrip("0123456789.")[1:].endswith(("~", "^")):
            raise QueryError("Similar words and weights (~ and ^) are not part of this language: leave them out.",
                             piece.at, piece.length)  # fmt: skip
        return piece

    def _any(self, nodes: list[Node], piece: Piece) -> Node:
        for node in nodes:
            self._counted(node, piece)
        return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))

    def _counted(self, node: Node, piece: Piece) -> Node:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise QueryError("The query has too many conditions: at most %(most)s.", piece.at, piece.length,
                             most=MAX_CONDITIONS)  # fmt: skip
        return node

    def _unexpected(self, piece: Piece) -> QueryError:
        if piece.kind == "end":
            last = self._pieces[-2]
            return QueryError("Something is missing after this.", last.at, last.length)
        if piece.kind in ("[", "{", "]", "}", "compare", ":"):
            return QueryError(
                "The name of a field is missing before %(sign)s.", piece.at, piece.length, sign=piece.text
            )
        return QueryError("A condition is missing before %(sign)s.", piece.at, piece.length, sign=piece.text)


def _written(piece: Piece, colon: int) -> int:
    """How many characters of the query the name before a colon takes; one that holds escapes is told as a whole."""
    return colon if piece.length == len(piece.text) else piece.length


def _rest(piece: Piece, colon: int) -> Piece | None:
    """The value in the same piece as its field, None where it follows as a piece of its own."""
    if colon + 1 == len(piece.text):
        return None
    at, length = piece.at, piece.length
    if length == len(piece.text):
        at, length = at + colon + 1, length - colon - 1
    return replace(piece, text=piece.text[colon + 1 :], at=at, length=length,
                   wild=frozenset(i - colon - 1 for i in piece.wild if i > colon))  # fmt: skip


def _is_value(text: str) -> bool:
    """Whether a word with colons is an address or a time of day, and not a field with its value."""
    parts = text.split(":")
    if all(part.isascii() and part.isdigit() and len(part) <= 2 for part in parts[1:]) and parts[0][-2:].isdigit():
        return True
    if len(parts) == 6 and all(len(p) == 2 and set(p.lower()) <= set("0123456789abcdef") for p in parts):
        return True
    try:
        return bool(ip_address(text.split("/", 1)[0]))
    except ValueError:
        return False
