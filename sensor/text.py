"""Text from outside, made harmless to look at: terminals, logs and pages get nothing but printable characters.

And times as text.
"""

from __future__ import annotations

from datetime import UTC, datetime


def printable(text: str) -> str:
    """`text` with escapes for control characters, direction marks, lone surrogates and whatever else does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def wire_text(data: bytes) -> str:
    """Bytes that a protocol calls a string: UTF-8 where they are, escapes for the rest, no zero bytes at the end."""
    return printable(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))


def timestamp(ts_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, nine decimals; beyond the calendar the raw number of seconds."""
    seconds, fraction = divmod(ts_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{fraction:09d}"
