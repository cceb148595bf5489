"""Reports of what stands, from sensors: each record is checked by itself, what is wrong is told with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from console.services.intake import explain

MAX_RECORDS = 200  # of one report
T = TypeVar("T", bound=BaseModel)


@dataclass(slots=True)
class Outcome:
    """The answer. rejected: (place in the report, reason)."""

    stored: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def checked(model: type[T], given: Sequence[Any]) -> tuple[Outcome, list[tuple[int, T]]]:
    """The records that are such, with their places; why the others are not stands in the outcome. Needs no store."""
    outcome, found = Outcome(), []
    for place, record in enumerate(given):
        try:
            found.append((place, model.model_validate(record)))
        except ValidationError as error:
            outcome.rejected.append((place, explain(error)))
    return outcome, found
