"""Strings from the wire and from other organisations, made harmless for headers, logs and plain-text bodies."""

from __future__ import annotations

import unicodedata

# Controls, format characters (bidirectional overrides hide what a text says), surrogates, separators of lines.
_UNWANTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def one_line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters; a run of white space or unwanted characters is one space."""
    kept = "".join(" " if unicodedata.category(char) in _UNWANTED else char for char in text)
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def paragraphs(text: str, limit: int) -> str:
    """`text` with its line breaks kept and each line cleaned, at most `limit` characters."""
    lines = (one_line(line, limit) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    block = "\n".join(lines)
    return block if len(block) <= limit else block[: limit - 1] + "…"
