"""Conditions in the words of the query language, for links that add to a query."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/]*", re.ASCII)


def condition(field: str, value: object, wanted: bool = True) -> str:
    """`field:value`, or `-field:value` for findings without it; whatever the value holds, it means itself."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not _PLAIN.fullmatch(text) or text.lower() in ("and", "or", "not"):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("”", "\\”") + '"'
    return f"{'' if wanted else '-'}{field}:{text}"


def added(query: str, more: str) -> str:
    """A query and one more condition. An `or` in the query stays together."""
    query = query.strip()
    if not query or more in query.split():
        return query or more
    if re.search(r"(?i)(^|\s)(or)(\s|$)|\|\|", query) and not (query.startswith("(") and query.endswith(")")):
        query = f"({query})"
    return f"{query} {more}"
