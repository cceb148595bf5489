"""Times in a query: a date is the day that it names, a minute that minute; `now-24h` a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})([smhdw]))?(?:/([hdw]))?", re.ASCII)
ABSOLUTE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?)?)?)?",
    re.ASCII,
)
MILLISECOND = timedelta(milliseconds=1)
FIRST, LAST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)  # any zone can shift these


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def span(text: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
    """[begin, end) of the time that a text names, UTC, whole milliseconds; None where it names none."""
    text = text.strip().upper()
    try:
        begin, end = _relative(text.lower(), now, zone) if text.startswith("NOW") else _absolute(text, zone)
        return _clamp(begin.astimezone(UTC)), _clamp(end.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _clamp(moment: datetime) -> datetime:
    return min(max(moment, FIRST), LAST)


def _relative(text: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    match = RELATIVE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    moment = _floor(now)
    if match[1]:
        by = timedelta(**{UNITS[match[3]]: int(match[2])})
        try:
            moment = moment + by if match[1] == "+" else moment - by
        except OverflowError:
            moment = LAST if match[1] == "+" else FIRST
    if match[4] is None:
        return moment, moment + MILLISECOND
    local = moment.astimezone(zone)
    begin = local.replace(minute=0, second=0, microsecond=0)
    if match[4] == "h":
        return begin, begin + timedelta(hours=1)
    begin = begin.replace(hour=0)
    days = 1
    if match[4] == "w":
        begin, days = begin - timedelta(days=begin.weekday()), 7
    return begin, begin + timedelta(days=days)  # wall-clock days: arithmetic within one zone


def _absolute(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    match = ABSOLUTE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    tz = zone if offset is None else datetime.fromisoformat(f"2000-01-01T00:00:00{_colon(offset)}").tzinfo
    microsecond = int((fraction or "0").ljust(6, "0")[:6]) // 1000 * 1000
    begin = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
                     microsecond, tzinfo=tz)  # fmt: skip
    if day is None:
        return begin, begin.replace(month=1, year=begin.year + 1) if month is None or begin.month == 12 else (
            begin.replace(month=begin.month + 1)
        )
    if hour is None:
        return begin, begin + timedelta(days=1)
    utc = begin.astimezone(UTC)  # hours and less are exact time
    if minute is None:
        return utc, utc + timedelta(hours=1)
    if second is None:
        return utc, utc + timedelta(minutes=1)
    return utc, utc + (MILLISECOND if fraction else timedelta(seconds=1))


def _colon(offset: str) -> str:
    if offset == "Z":
        return "+00:00"
    return offset if ":" in offset else f"{offset[:3]}:{offset[3:]}"
