"""The kinds of documents that are indexed: how rows of the truth become documents. A kind is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Document:
    """One document as the truth has it now. See IndexOutbox for row_id, document_id and period."""

    row_id: int
    organisation_id: int
    document_id: str
    period: str
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of documents.

    mapping(): of its index. by_ids(session, row ids): those that exist. after(session, row id, period, limit): the next
    in the order of row ids, of a month or ("") of all. periods(session): the months in which rows are. count(session):
    how many rows.
    """

    name: str
    mapping: Callable[[], dict[str, Any]]
    by_ids: Callable[[Session, Sequence[int]], Iterator[Document]]
    after: Callable[[Session, int, str, int], Iterator[Document]]
    periods: Callable[[Session], set[str]]
    count: Callable[[Session], int]


def month_of(moment: datetime) -> str:
    """The period of a time: "2026-11"."""
    return f"{moment.year:04}-{moment.month:02}"


def span(period: str) -> tuple[datetime, datetime]:
    """Begin and end of a period, UTC."""
    begin = datetime.fromisoformat(f"{period}-01T00:00:00+00:00")
    return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
