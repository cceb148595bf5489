"""Which store answers: the cluster where there is one, the embedded index where that cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from console.store.search.contract import Countable, Found, Search, SearchAwayError, TimeField, Wanted

T = TypeVar("T")


class FallingBack:
    """Asks the first store, and the second one where the first cannot answer; away: why not, "" while it does."""

    def __init__(self, first: Search, second: Search, away: str = "") -> None:
        self._first, self._second = first, second
        self.away = away

    def find(self, wanted: Wanted, sort: str, first: int, size: int) -> Found:
        """See Search."""
        return self._asked(lambda store: store.find(wanted, sort, first, size))

    def count(self, wanted: Wanted, field: Countable) -> dict[str, int]:
        """See Search."""
        return self._asked(lambda store: store.count(wanted, field))

    def span(self, wanted: Wanted, field: TimeField) -> tuple[datetime, datetime] | None:
        """See Search."""
        return self._asked(lambda store: store.span(wanted, field))

    def histogram(self, wanted: Wanted, field: TimeField, step: int, offset: int) -> dict[tuple[int, int], int]:
        """See Search."""
        return self._asked(lambda store: store.histogram(wanted, field, step, offset))

    def _asked(self, question: Callable[[Search], T]) -> T:
        if not self.away:
            try:
                return question(self._first)
            except SearchAwayError as error:
                self.away = "" if error.alone else str(error)
        return question(self._second)
