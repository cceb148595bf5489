"""What is wrong with a query, and where."""

from __future__ import annotations

from typing import Any


class QueryError(Exception):
    """A query that means nothing: what is wrong, what to do, and which part of it is meant.

    message: an English msgid with `values`, which the web layer translates. at, length: characters of the query.
    """

    def __init__(self, message: str, at: int, length: int = 1, **values: Any) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.at = at
        self.length = length
        self.values = values
