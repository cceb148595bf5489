"""What a database can keep of a text. Hostile bytes from the wire end up in names and messages."""

from __future__ import annotations

import re

# NUL (PostgreSQL refuses it) and lone surrogates (no UTF-8 for them, so no driver takes them).
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD in place of what no database keeps: a reader sees that something was there."""
    if "\x00" not in text:
        try:  # a fraction of what looking at each character takes
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    return UNSTORABLE.sub("\ufffd", text)
