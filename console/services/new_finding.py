"""A finding that has just been stored, as what happens beside it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class NewFinding:
    """Values of its row, without an object of the store: there may be hundreds in a batch."""

    id: int
    uid: str
    organisation_id: int
    sensor_id: int
    segment_id: int
    severity: int
    rule_id: str
    rule_name_en: str
    rule_name_zh: str
    source_ip: str
    destination_ip: str
    fields: Mapping[str, Any]
    drill: bool

    @classmethod
    def of(cls, row: Mapping[str, Any], segment_id: int) -> NewFinding:
        """From the values of a row."""
        return cls(
            row["id"],
            row["uid"],
            row["organisation_id"],
            row["sensor_id"],
            segment_id,
            row["severity"],
            row["rule_id"],
            row["rule_name_en"],
            row["rule_name_zh"],
            row["source_ip"],
            row["destination_ip"],
            row["fields"],
            row["drill"],
        )
