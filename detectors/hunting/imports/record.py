"""One record of a log, asked field by field. What it holds is hostile: everything is checked, nothing is believed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

Fields = dict[str, Any]
MAX_TEXT = 1000
MAX_LIST = 2000
LATEST_S = 1 << 33  # the year 2242; 64 bits of nanoseconds end in 2262
_SECONDS = re.compile(r"(\d{1,10})(?:\.(\d{1,9})\d*)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnfitError(Exception):
    """A record cannot be used; the text says why, without its contents, so that reasons can be counted."""


class Record:
    """Named values of a record, as text (Zeek's TSV) or as JSON gave them. UnfitError for what does not fit."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def inner(self, name: str) -> Record | None:
        """An object inside."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict):
            raise UnfitError(f"{name} is no object")
        return None if value is None else Record(value)

    def members(self, name: str) -> list[Any]:
        """A list, or Zeek's text of one; bounded."""
        value = self._values.get(name)
        if value is None:
            return []
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, list):
            raise UnfitError(f"{name} is no list")
        return found[:MAX_LIST]

    def numbers(self, name: str, high: int) -> list[int] | None:
        """A list of numbers from 0 to `high`; None where there is none."""
        found = [as_number(name, it, high) for it in self.members(name)]
        return found or None

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self._values.get(name) is not None

    def text(self, name: str) -> str | None:
        """A text, cut to MAX_TEXT."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise UnfitError(f"{name} is no text")
        return value[:MAX_TEXT]

    def needed(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise UnfitError(f"{name} is missing")
        return value

    def number(self, name: str, high: int = (1 << 63) - 1) -> int | None:
        """A number from 0 to `high`, decimal or 0x hexadecimal."""
        value = self._values.get(name)
        return None if value is None else as_number(name, value, high)

    def flag(self, name: str) -> bool | None:
        """True or false, or Zeek's T and F."""
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return value
        if value in ("T", "F"):
            return bool(value == "T")
        raise UnfitError(f"{name} is neither true nor false")

    def address(self, name: str) -> str:
        """An address that must be there, in its canonical text."""
        value = self.needed(name)
        found = _address(value)
        if found is None:
            raise UnfitError(f"{name} is no address")
        return found

    def time_ns(self, name: str) -> int:
        """A time that must be there: seconds since 1970, or ISO 8601."""
        value = self._values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = f"{value:.9f}" if math.isfinite(value) and 0 <= value < LATEST_S else ""
        if not isinstance(value, str):
            raise UnfitError(f"{name} is {'no time' if value is not None else 'missing'}")
        seconds = _SECONDS.fullmatch(value)
        if seconds:
            whole = int(seconds[1])
            if whole < LATEST_S:
                return whole * 10**9 + int((seconds[2] or "").ljust(9, "0"))
        try:
            moment = datetime.fromisoformat(value[:40])
            span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        except (ValueError, OverflowError):
            raise UnfitError(f"{name} is no time") from None
        if not 0 <= span.days < LATEST_S // 86_400:
            raise UnfitError(f"{name} is no time between 1970 and 2242")
        return (span.days * 86_400 + span.seconds) * 10**9 + span.microseconds * 1000


def as_number(name: str, value: Any, high: int) -> int:
    """A whole number from 0 to `high`; UnfitError where it is none."""
    if isinstance(value, str) and len(value) <= 20 and value.isascii():
        try:
            value = int(value, 16) if value[:2].lower() == "0x" else int(value)
        except ValueError:
            raise UnfitError(f"{name} is no number") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitError(f"{name} is no number")
    if not 0 <= value <= high:
        raise UnfitError(f"{name} is out of range")
    return value


def answer(fields: Fields) -> Fields:
    """The ends of an event the other way round: of what the asked side sent."""
    turned = dict(fields)
    for part in ("ip", "port"):
        one, other = f"source.{part}", f"destination.{part}"
        if one in fields and other in fields:
            turned[one], turned[other] = fields[other], fields[one]
    return turned


def present(fields: Mapping[str, Any]) -> Fields:
    """Without what is not there."""
    return {name: value for name, value in fields.items() if value is not None}


@lru_cache(1 << 14)
def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
