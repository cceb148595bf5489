"""Sentences for people: templates filled with values from the wire, which are hostile.

A template is plain text with `{name}` for a value and `[...]` around words that are left out when a value in them is
absent: "stopped {destination}[ (unit {station})]". Names are fields of sensor/schema.py, or one of WORDS.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detectors.content import Block
from detectors.finding import Text

MAX_SHOWN = 120  # characters of one value: longer ones are cut, so that a name cannot push the message off the page
MAX_LISTED = 8  # distinct values of one field named in a sentence

# What a template may name besides the fields of events; detectors fill them.
WORDS = frozenset({
    "source", "destination", "station", "count", "distinct", "examples", "seconds", "learned", "conversations",
    "indicator", "bulletin", "operation", "detector", "protocol", "port", "verbs", "seen", "sequence", "other",
    "interface", "state", "tool", "duration", "peak",
    "expected", "observed", "first_seen", "since", "period", "tag", "value", "limit", "point",
    "artifact", "before", "after", "yara", "strings", "frames", "first_frame", "kept", "sensor",
})  # fmt: skip

_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_NAME = re.compile(r"\{([^{}]*)\}")
# Letters that turn, hide or join text: bidirectional controls, zero-width and other formats (Cf), controls (Cc),
# line and paragraph separators (Zl, Zp), surrogates, private and unassigned code points.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def safe(value: object, limit: int = MAX_SHOWN) -> str:
    """`value` as one line of visible text of at most `limit` characters; what could deceive an eye is escaped."""
    text = value if isinstance(value, str) else str(value)
    cut = len(text) > limit
    shown = "".join(
        letter if unicodedata.category(letter) not in _UNSAFE else letter.encode("unicode_escape", "replace").decode()
        for letter in text[:limit]
    )
    return shown[:limit] + ("…" if cut or len(shown) > limit else "")


def listed(values: Sequence[object], more: int = 0, limit: int = MAX_LISTED) -> str:
    """Distinct values as "1, 2, 3 …+5"; `more` counts values that are not in the sequence any longer."""
    rest = max(len(values) - limit, 0) + more
    return ", ".join(safe(value) for value in values[:limit]) + (f" …+{rest}" if rest else "")


def names(template: str) -> list[str]:
    """The names that a template uses, in order."""
    return _NAME.findall(template)


def faults(template: str, known: Iterable[str]) -> str:
    """Why a template cannot be used, "" if it can: unknown names, brackets that do not match."""
    bare = _NAME.sub("", template)
    if "".join(piece.group(0) for piece in _PIECE.finditer(template)) != template or "{" in bare or "}" in bare:
        return "brackets do not match (nesting is not possible)"
    known = set(known) | WORDS
    unknown = [name for name in names(template) if name not in known]
    return f"unknown name {unknown[0]!r} in braces" if unknown else ""


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with its values, each made safe. An absent value outside brackets is shown as "?"."""

    def value(name: str) -> str | None:
        got = values.get(name)
        if got is None or got == "" or got == []:
            return None
        if isinstance(got, (list, tuple)):
            return listed(got)
        return safe(got)

    def piece(match: re.Match[str]) -> str:
        optional, plain = match.group(1), match.group(2)
        body = plain if optional is None else optional
        if optional is not None and any(value(name) is None for name in names(optional)):
            return ""
        return _NAME.sub(lambda name: value(name.group(1)) or "?", body)

    return _PIECE.sub(piece, template)


def templates(block: Block, key: str, known: Iterable[str]) -> Text:
    """The sentence under `key` in both languages; ContentError says where one of them cannot be used."""
    both = block.block(key)
    both.only("zh", "en")
    text = Text(both.text("zh"), both.text("en"))
    for language, template in (("zh", text.zh), ("en", text.en)):
        if why := faults(template, known):
            raise both.error(f"{key}.{language}: {why}", language)
    return text
