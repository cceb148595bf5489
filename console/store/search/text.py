"""How text becomes what is searched for: the same few lines for every store and for every query.

Folding takes away case and width (NFKC, case folding). Words are runs of letters and digits; a run of Chinese or
Japanese characters, which has no spaces, becomes its pairs of neighbours and its last character, so that any part of it
is found. A token names where it stands: `m~stop` is a word of the message, `rule.id=scan.functions` the whole value of
a field. Tokens hold no white space and are kept in one line with spaces between them, which every store can cut again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import add

MAX_TOKEN = 250  # UTF-16 units, which Elasticsearch counts; longer values are compared by their beginning
MAX_WORD = 64  # characters; a longer run of letters is cut into pieces of this length
MAX_KEPT = 100  # characters of a text whose words are remembered: names and addresses come again and again
MAX_GROWTH = 2  # one character may fold to eighteen
GAP = "|"  # between two texts: no phrase reaches across
SPACE = "\u00a0"  # inside a token; folding leaves none of these elsewhere
NAME, MESSAGE, OTHER = "n~", "m~", "o~"
PLACES = (NAME, MESSAGE, OTHER)  # where a word without a field may stand

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_ASCII = re.compile(f"[a-z0-9]{{1,{MAX_WORD}}}")  # a longer run comes in pieces of this length
_BLANKED = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))  # what ASCII becomes
_RUN = re.compile(r"[^\W_]+")
_PARTS = re.compile(f"[{_CJK}]+|[^{_CJK}]+")
_CHINESE = re.compile(f"[{_CJK}]")
_BREAKS = re.compile("[ ,;()，。；：、（）“”]+")  # whatever stands on either side, these make no word and join none
BLANK = re.compile(r"[\s\x00-\x20\x7f-\xa0]+")


def fold(text: str) -> str:
    """Text without differences of case and width."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _cut(token: str) -> str:
    """The token's beginning that fits, whole characters."""
    if len(token) <= MAX_TOKEN // 2:
        return token
    return token.encode("utf-16-le", "surrogatepass")[: 2 * MAX_TOKEN].decode("utf-16-le", "ignore")


def value_token(field: str, value: str) -> str:
    """The token that says: this field has this value, compared without case."""
    if value.isascii() and value.isprintable() and " " not in value:
        return _cut(f"{field}={value.lower()}")
    return _cut(f"{field}={BLANK.sub(SPACE, fold(value))}")


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """(run, whether its characters are Chinese or Japanese) of all words, folded."""
    for run in _RUN.findall(fold(text)[: MAX_GROWTH * len(text)]):
        if run.isascii():
            yield run, False
        else:
            for part in _PARTS.findall(run):
                yield part, _CHINESE.match(part) is not None


def words(text: str) -> Sequence[str]:
    """All words of a text in their order."""
    if text.isascii():
        found = text.translate(_BLANKED).split()  # a third of what the expression takes
        return found if max(map(len, found), default=0) <= MAX_WORD else _ASCII.findall(text.lower())
    found = []
    for run, chinese in runs(text):
        if chinese:
            found += map(add, run, run[1:])
            found.append(run[-1])  # it has no neighbour and stands alone
        elif len(run) <= MAX_WORD:
            found.append(run)
        else:
            found += (run[i : i + MAX_WORD] for i in range(0, len(run), MAX_WORD))
    return found


def line(place: str, text: str) -> str:
    """The words of a text as tokens of a place, in their order, after a gap."""
    if len(text) <= MAX_KEPT:
        return _known_line(place, text)
    if text.isascii():
        return _line(place, words(text))
    found = [GAP]
    for piece in _BREAKS.split(text):  # an explanation is a few clauses and values, which come again and again
        made = _tail(place, piece)
        if made is None:
            return _line(place, words(text))
        found.append(made)
    return "".join(found) if any(found[1:]) else ""


def _line(place: str, found: Sequence[str]) -> str:
    return f"{GAP} {place}" + f" {place}".join(found) if found else ""


@lru_cache(maxsize=8192)
def _known_line(place: str, text: str) -> str:
    return _line(place, words(text))


@lru_cache(maxsize=8192)
def _tail(place: str, piece: str) -> str | None:
    """The words of a piece of a text as tokens; None where they might be others within the text: it is so long that it
    is not remembered, or folds to so much that some is cut off."""
    if len(piece) > MAX_KEPT or len(fold(piece)) > MAX_GROWTH * len(piece):
        return None
    return _line(place, words(piece)).removeprefix(GAP)


def phrase(text: str) -> tuple[tuple[str, ...], bool]:
    """Words that stand side by side in every text with `text` in it, and whether the last is the beginning of one."""
    found = tuple(words(text))
    last = list(runs(text))[-1:]
    if last and last[0][1]:  # what follows its last character in the text is not known
        return (found, True) if len(last[0][0]) == 1 else (found[:-1], False)
    return found, False
