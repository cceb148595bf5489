"""A query in pieces: words with their wildcards, quoted text, signs. Every character belongs to a piece or is a blank.

Chinese keyboards type ：（）“”！ where : ( ) " ! are meant: outside quotes they are the same signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from console.store.search.query.errors import QueryError

MAX_QUERY = 2_000  # characters: what fits into the address of a page
STAR, ONE = "*", "?"
WIDE = str.maketrans({"：": ":", "（": "(", "）": ")", "＞": ">", "＜": "<", "＝": "=", "＊": "*", "？": "?", "！": "!",
                      "［": "[", "］": "]", "｛": "{", "｝": "}"})  # fmt: skip
QUOTES = {'"': '"', "“": "”", "”": "”", "＂": "＂"}
COMPARISONS = (">=", "<=", ">", "<", "≥", "≤")
PLAIN = {"≥": ">=", "≤": "<="}
STOPS = frozenset('()[]{}<>≥≤"“”＂')

Kind = Literal["word", "quoted", "(", ")", "[", "]", "{", "}", "compare", "and", "or", "not", "+", ":", "end"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece. text: what it says, escapes undone; wild: positions in `text` of wildcards that are meant as such.

    at, length: where it stands in the query. blank: white space stands before it.
    """

    kind: Kind
    text: str
    at: int
    length: int
    wild: frozenset[int] = frozenset()
    colons: tuple[int, ...] = ()  # positions in `text` of colons that are not escaped
    blank: bool = False


def pieces(query: str) -> list[Piece]:
    """All pieces of a query, an "end" last; QueryError where something has no end."""
    if len(query) > MAX_QUERY:
        raise QueryError("The query is too long: at most %(most)s characters.", MAX_QUERY, most=MAX_QUERY)
    return [*_pieces(query), Piece("end", "", len(query), 0)]


def _pieces(query: str) -> Iterator[Piece]:
    at, before = 0, 0
    while at < len(query):
        sign = query[at].translate(WIDE)
        if sign.isspace() or sign == "\0":
            at += 1
            continue
        piece = _piece(query, at, sign, at > before or at == 0)
        yield piece
        at = before = piece.at + piece.length


def _piece(query: str, at: int, sign: str, blank: bool) -> Piece:
    if sign in QUOTES:
        return _quoted(query, at, blank)
    two = query[at : at + 2].translate(WIDE)
    if two in (">=", "<="):
        return Piece("compare", two, at, 2, blank=blank)
    if sign in COMPARISONS:
        return Piece("compare", PLAIN.get(sign, sign), at, 1, blank=blank)
    if two in ("&&", "||"):
        return Piece("and" if two == "&&" else "or", two, at, 2, blank=blank)
    if sign in "()[]{}:":
        return Piece(sign, sign, at, 1, blank=blank)  # type: ignore[arg-type]
    following = query[at + 1 : at + 2]
    if sign in "-!+" and following and not following.isspace():
        return Piece("+" if sign == "+" else "not", sign, at, 1, blank=blank)
    return _word(query, at, blank)


def _quoted(query: str, at: int, blank: bool) -> Piece:
    closing, i = QUOTES[query[at]], at + 1
    text: list[str] = []
    while i < len(query):
        if query[i] == closing:
            return Piece("quoted", "".join(text), at, i + 1 - at, blank=blank)
        if query[i] == "\\" and query[i + 1 : i + 2] in ("\\", '"', "”"):
            i += 1
        text.append(query[i])
        i += 1
    raise QueryError("This quotation has no end: add %(sign)s, or write \\%(sign)s where it is meant as a character.",
                     at, len(query) - at, sign=closing)  # fmt: skip


def _word(query: str, at: int, blank: bool) -> Piece:
    text: list[str] = []
    wild: set[int] = set()
    colons: list[int] = []
    i = at
    while i < len(query):
        if query[i] == "\\":
            if i + 1 == len(query):
                raise QueryError("Nothing follows this backslash: write it twice where it is meant.", i)
            text.append(query[i + 1])
            i += 2
            continue
        sign = query[i].translate(WIDE)
        if sign.isspace() or sign in STOPS or (sign in "&|" and query[i + 1 : i + 2].translate(WIDE) == sign):
            break
        if sign in (STAR, ONE):
            wild.add(len(text))
        elif sign == ":":
            colons.append(len(text))
        text.append(sign)
        i += 1
    said = "".join(text)
    kind: Kind = "word"
    if i - at == len(said) and said.lower() in ("and", "or", "not"):
        kind = said.lower()  # type: ignore[assignment]
    return Piece(kind, said, at, i - at, frozenset(wild), tuple(colons), blank)
