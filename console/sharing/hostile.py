"""Reading what other organisations send: bounded JSON, plain text, identifiers and times of STIX 2.1.

Nothing here raises anything but BadContentError, whatever the bytes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, NoReturn

MAX_DEPTH = 64  # STIX objects need about 8; deeper nesting only costs
_STIX_ID = re.compile(
    r"([a-z][a-z0-9-]{1,248})--([0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"
)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,30}))?Z", re.ASCII)


class BadContentError(Exception):
    """The content is not what its format demands; the text says which rule it breaks and quotes nothing of it."""


def read_json(raw: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse UTF-8 JSON. Raises BadContentError for bad encoding, NaN and infinities, giant numbers and deep nesting."""
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadContentError("not UTF-8") from error
    except RecursionError as error:
        raise BadContentError(f"nested deeper than {max_depth}") from error
    except ValueError as error:  # also numbers of more than 4,300 digits
        raise BadContentError("not JSON, or a number out of bounds") from error
    if _deeper_than(value, max_depth):
        raise BadContentError(f"nested deeper than {max_depth}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def plain_text(value: Any, limit: int) -> str:
    """Text for people: a string without control and direction-changing characters, cut to `limit`; "" if it is none.

    Line feeds and tabs stay. Lone surrogates, which JSON can carry and UTF-8 cannot, become U+FFFD.
    """
    if not isinstance(value, str):
        return ""
    return "".join(map(_plain, value[:limit])).strip()


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    # Cf holds the bidirectional controls (U+202E and friends) and zero-width characters.
    return "" if (category in ("Cc", "Cf") and char not in "\n\t") else char


def stix_id(value: Any) -> tuple[str, str]:
    """(type, whole id) of a STIX identifier. Raises BadContentError where it is none."""
    if isinstance(value, str) and len(value) <= 300 and (match := _STIX_ID.fullmatch(value)):
        return match[1], value
    raise BadContentError("not a STIX identifier")


def timestamp(value: Any) -> datetime:
    """A STIX or TAXII timestamp (RFC 3339, UTC, "Z") as UTC time; digits beyond microseconds are cut.

    Raises BadContentError for anything else, also for dates that do not exist.
    """
    if isinstance(value, str) and (match := _TIMESTAMP.fullmatch(value)):
        fraction = (match[2] or "").ljust(6, "0")[:6]
        try:
            whole = datetime.strptime(match[1] + "Z", "%Y-%m-%dT%H:%M:%S%z")
        except ValueError as error:
            raise BadContentError("a date that does not exist") from error
        return whole.replace(microsecond=int(fraction))
    raise BadContentError("not an RFC 3339 time in UTC")


def time_text(time: datetime) -> str:
    """Time as STIX and TAXII write it, always with microseconds, so that texts sort like times."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
