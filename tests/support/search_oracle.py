"""What a tree of the query language means, said slowly: over the findings, without an index."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

from console.store.models import Finding
from console.store.search.document import document, sixteen
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
from console.store.search.text import MESSAGE, NAME, fold, words

TIMES = {"@timestamp": "first_seen", "finding.last_seen": "last_seen", "finding.received": "received_at"}


def holds(node: Node, f: Finding) -> bool:
    """Whether a finding meets a condition."""
    match node:
        case Everything():
            return True
        case And(parts):
            return all(holds(part, f) for part in parts)
        case Or(parts):
            return any(holds(part, f) for part in parts)
        case Not(part):
            return not holds(part, f)
        case Words(places, asked, open_end):
            return any(beside(list(words(text)), list(asked), open_end) for text in texts(f, places))
        case WordLike(places, pattern):
            return any(fit(pattern, word) for text in texts(f, places) for word in words(text))
        case Value(field, value):
            return fold(value) in map(fold, known(f, field.name))
        case ValueLike(field, pattern):
            return any(fit(pattern, fold(value)) for value in known(f, field.name))
        case Has(field):
            if field.type == "text":
                return any(words(text) for text in texts(f, (NAME,) if field.name == "rule.name" else (MESSAGE,)))
            return bool(known(f, field.name))
        case OneOf(field, values):
            return any(value in values for value in known(f, field.name))
        case Range(field, low, high):
            numbers = [float(n) if field.type == "double" else int(n) for n in known(f, field.name)]
            return any((low is None or n >= low) and (high is None or n <= high) for n in numbers)
        case Span(field, since, until):
            moment = getattr(f, TIMES[field.name])
            return (since is None or moment >= since) and (until is None or moment < until)
        case Network(field, network):
            # all in sixteen octets, as the definition has it
            size = network.prefixlen + (96 if network.version == 4 else 0)
            wide = ip_network((int(sixteen(str(network.network_address)), 16), size))
            return any(int(sixteen(a), 16) >> (128 - size) == int(wide.network_address) >> (128 - size)
                       for a in known(f, field.name))  # fmt: skip


def known(f: Finding, name: str) -> list[str]:
    """All values of a field, as text."""
    value = document(f).get(name, [])
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in
            (value if isinstance(value, list) else [value])]  # fmt: skip


def texts(f: Finding, places: tuple[str, ...]) -> list[str]:
    """The texts of these places."""

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for key, item in value.items() for text in (key, *leaves(item))]
        return [text for item in value for text in leaves(item)] if isinstance(value, list) else [str(value)]

    found = []
    if NAME in places:
        found += [f.rule_name_en, f.rule_name_zh]
    if MESSAGE in places:
        found += [f.message_en, f.message_zh]
    if len(places) == 3:
        found += [
            f.uid,
            f.rule_id,
            f.protocol,
            f.source_ip,
            f.destination_ip,
            *f.techniques,
            f.capture,
            *leaves(f.fields),
        ]
    return found


def beside(line: list[str], asked: list[str], open_end: bool) -> bool:
    """Whether these words stand side by side in a line; open_end: the last is the beginning of one."""
    for at in range(len(line) - len(asked) + 1):
        here = line[at : at + len(asked)]
        if here == asked or (open_end and here[:-1] == asked[:-1] and here[-1].startswith(asked[-1])):
            return True
    return False


def fit(pattern: Pattern, text: str) -> bool:
    """Whether a text fits a pattern, as a regular expression tells."""
    parts = (re.escape(part) if isinstance(part, str) else ".*" if part is None else "." for part in pattern.parts)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
