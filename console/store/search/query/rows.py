"""A query as SQL conditions on rows that carry their tokens themselves: of what stands, not of findings.

There are at most some ten thousand such rows of a sensor, all found by their organisation: their lines of tokens are
looked through as they are, so that there is no further index that could differ from the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_
from sqlalchemy.orm import Session

from console.store.search.fields import SearchField
from console.store.search.query import tokens
from console.store.search.query.sql import Ask, Compiler, Place, Sql
from console.store.search.query.tree import Pattern
from console.store.search.text import BLANK, SPACE


class Rows(Compiler):
    """See the module. words: the column with the tokens, each between two spaces."""

    def __init__(
        self, session: Session, words: Any, columns: Mapping[str, Any], place: Any, places: tuple[Place, ...]
    ) -> None:
        super().__init__(places, columns, place)
        self._sqlite = session.get_bind().dialect.name == "sqlite"
        self._words = words

    def asked(self, ask: Ask) -> Sql:
        """Any of these phrases stands in the line."""
        end = "" if ask.open_end else " "
        return or_(false(), *(self._holds(f" {' '.join(phrase)}{end}") for phrase in ask.phrases))

    def like(self, befores: tuple[str, ...], pattern: Pattern, rare: bool) -> Sql:
        """A token fits. rare: means nothing here.

        The expression is the slow part, on SQLite one call of Python for each row: it is asked only of rows in which
        its beginning and its longest word stand, and from that beginning on.
        """
        words = [BLANK.sub(SPACE, part) for part in pattern.parts if isinstance(part, str)]
        longest = max(words, key=len)
        found = []
        for before in befores:
            start = f" {tokens.start(before, pattern)}"
            rest = func.substr(self._words, self._at_text(start))
            fits = rest.regexp_match(tokens.expression((before,), pattern))
            found.append(and_(self._holds(start), self._holds(longest), fits))
        return or_(false(), *found)

    def number(self, field: SearchField, low: float | None, high: float | None) -> Sql:
        """Every number of these rows is a column."""
        raise TypeError(field.name)

    def present(self, field: SearchField) -> Sql:
        """See Compiler."""
        column = self.columns.get(field.name)
        present: Sql = (self.place if column is None else column).is_not(None)
        return present

    def _holds(self, text: str) -> Sql:
        found: Sql = self._at_text(text) > 0
        return found

    def _at_text(self, text: str) -> ColumnElement[int]:
        """Where a text begins in the line, from 1; 0 where it does not stand there."""
        at: ColumnElement[int] = (func.instr if self._sqlite else func.strpos)(self._words, text)
        return at
