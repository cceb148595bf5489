"""What every store of findings answers: the same questions, asked with the same tree, in the same terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from console.store.search.query.tree import Node

SORTS = ("severity", "time", "received", "count", "rule", "source", "destination", "protocol")
Countable = Literal["rule.severity", "network.protocol"]
TimeField = Literal["finding.last_seen", "finding.received"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Findings of one organisation that a query means. The organisation is no part of the query."""

    organisation_id: int
    node: Node


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the findings wanted, by id, in the order asked for; total: of all of them."""

    ids: list[int]
    total: int


class SearchAwayError(Exception):
    """The store cannot answer now; the text says why, for operators. alone: this question only, others it can."""

    def __init__(self, text: str, alone: bool = False) -> None:
        super().__init__(text)
        self.alone = alone


class Search(Protocol):
    """A store that searches findings. What it cannot answer now raises SearchAwayError."""

    def find(self, wanted: Wanted, sort: str, first: int, size: int) -> Found:
        """`size` findings after the first `first`. sort: one of SORTS, "-" before it: descending."""

    def count(self, wanted: Wanted, field: Countable) -> dict[str, int]:
        """How many findings have each value of a field."""

    def span(self, wanted: Wanted, field: TimeField) -> tuple[datetime, datetime] | None:
        """The earliest and the latest time; None where nothing is found."""

    def histogram(self, wanted: Wanted, field: TimeField, step: int, offset: int) -> dict[tuple[int, int], int]:
        """By (stretch, severity): how many. A stretch has `step` seconds; number n begins at n * step - offset."""
