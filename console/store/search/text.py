"""How text becomes what is searched for: the same few lines for every store and for every query.

Folding takes away case and width (NFKC, case folding). Words are runs of letters and digits; a run of Chinese or
Japanese characters, which has no spaces, becomes its pairs of neighbours and its last character, so that any part of it
is found. A token names where it stands: `m~stop` is a word of the message, `rule.id=scan.functions` the whole value of
a field. Tokens hold no white space and are kept in one line with spaces between them, which every store can cut again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

MAX_TOKEN = 250  # UTF-16 units, which Elasticsearch counts; longer values are compared by their beginning
MAX_WORD = 64  # characters; a longer run of letters is cut into pieces of this length
MAX_KEPT = 300  # characters of a text whose words are remembered: names and addresses come again and again
GAP = "|"  # between two texts: no phrase reaches across
SPACE = "\u00a0"  # inside a token; folding leaves none of these elsewhere
NAME, MESSAGE, OTHER = "n~", "m~", "o~"
PLACES = (NAME, MESSAGE, OTHER)  # where a word without a field may stand

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_RUNS = re.compile(f"([{_CJK}]+)|((?:(?![{_CJK}])[^\\W_])+)")
BLANK = re.compile(r"[\s\x00-\x20\x7f-\xa0]+")


def fold(text: str) -> str:
    """Text without differences of case and width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _cut(token: str) -> str:
    """The token's beginning that fits, whole characters."""
    if len(token) <= MAX_TOKEN // 2:
        return token
    return token.encode("utf-16-le", "surrogatepass")[: 2 * MAX_TOKEN].decode("utf-16-le", "ignore")


def value_token(field: str, value: str) -> str:
    """The token that says: this field has this value, compared without case."""
    return _cut(f"{field}={BLANK.sub(SPACE, fold(value))}")


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """(run, whether its characters are Chinese or Japanese) of all words, folded."""
    for match in _RUNS.finditer(fold(text)):
        yield match[0], bool(match[1])


def words(text: str) -> tuple[str, ...]:
    """All words of a text in their order, each at its place."""
    return _known_words(text) if len(text) <= MAX_KEPT else _words(text)


@lru_cache(maxsize=4096)
def _known_words(text: str) -> tuple[str, ...]:
    return _words(text)


def _words(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for run, chinese in runs(text):
        if chinese:
            found.extend(run[i : i + 2] for i in range(len(run)))  # the last has no neighbour and stands alone
        else:
            found.extend(run[i : i + MAX_WORD] for i in range(0, len(run), MAX_WORD))
    return tuple(found)


def phrase(text: str) -> tuple[tuple[str, ...], bool]:
    """Words that stand side by side in every text with `text` in it, and whether the last is the beginning of one."""
    found = words(text)
    last = list(runs(text))[-1:]
    if last and last[0][1]:  # what follows its last character in the text is not known
        return (found, True) if len(last[0][0]) == 1 else (found[:-1], False)
    return found, False
