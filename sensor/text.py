"""Text from outside, made harmless to look at: terminals, logs and pages get nothing but printable characters."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with escapes for control characters, direction marks, lone surrogates and whatever else does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def wire_text(data: bytes) -> str:
    """Bytes that a protocol calls a string: UTF-8 where they are, escapes for the rest, no zero bytes at the end."""
    return printable(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))
