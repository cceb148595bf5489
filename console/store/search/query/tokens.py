"""Conditions as what they ask of a finding's tokens: shared by the compilers, so that every store is asked the same."""

from __future__ import annotations

import re

from console.store.search.document import sixteen
from console.store.search.fields import SearchField
from console.store.search.query.conditions import PLACE_OF
from console.store.search.query.tree import Network, Pattern
from console.store.search.text import BLANK, SPACE


def of_field(field: SearchField) -> tuple[str, ...]:
    """What the tokens of a field begin with."""
    return PLACE_OF[field.name] if field.type == "text" else (f"{field.name}=",)


def prefixes(node: Network) -> list[str]:
    """What the tokens of all addresses of a network begin with; there are at most eight such beginnings."""
    network = node.network
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    digits, rest = divmod(bits, 4)
    whole = sixteen(str(network.network_address))
    before = f"{node.field.name}#={whole[:digits]}"
    if not rest:
        return [before]
    first = int(whole[digits], 16)
    return [f"{before}{digit:x}" for digit in range(first, first + (1 << (4 - rest)))]


def start(before: str, pattern: Pattern) -> str:
    """What every token that fits begins with."""
    return before + BLANK.sub(SPACE, pattern.prefix)


def like(before: str, pattern: Pattern, escaped: str, special: str) -> str:
    """The pattern of a token with `*` and `?`; escaped: how a sign of `special` is written that means itself."""

    def literal(text: str) -> str:
        return "".join(escaped.format(c) if c in special else c for c in BLANK.sub(SPACE, text))

    return literal(before) + "".join(
        literal(part) if isinstance(part, str) else "*" if part is None else "?" for part in pattern.parts
    )


def expression(befores: tuple[str, ...], pattern: Pattern) -> str:
    """A regular expression of PostgreSQL that finds, in a line of tokens, one that fits."""
    inner = "".join(
        re.escape(BLANK.sub(SPACE, part)) if isinstance(part, str) else "[^ ]*" if part is None else "[^ ]"
        for part in pattern.parts
    )
    return f"(^| )({'|'.join(map(re.escape, befores))}){inner}( |$)"
