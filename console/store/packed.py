"""Column types that keep their value compressed: evidence is most of what a finding weighs, and is seldom looked at.

LZ4 with the length in front: two microseconds for a fifth of the bytes, and bytes are what a store's log, its disk and
its backup spend their time on. Empty values are empty bytes, so that a query can tell them.
"""

from __future__ import annotations

import json
from typing import Any

import lz4.block
from sqlalchemy import Dialect, LargeBinary, types

from console.store.storable import storable


class Packed(bytes):
    """A value as the database keeps it."""

    __slots__ = ()


def packed(content: bytes) -> Packed:
    """Bytes as they are kept."""
    return Packed(lz4.block.compress(content) if content else b"")


def packed_list(text: str) -> Packed:
    """A list's JSON text as it is kept."""
    return packed(b"" if text == "[]" else storable(text).encode())


class PackedBytes(types.TypeDecorator[bytes]):
    """Bytes, compressed."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """To what is kept; what is packed stays."""
        return value if value is None or isinstance(value, Packed) else packed(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Back to what it was."""
        return lz4.block.decompress(value) if value else value


class PackedList(types.TypeDecorator[list[Any]]):
    """A list of JSON values, compressed."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """To what is kept; what is packed stays."""
        if value is None or isinstance(value, Packed):
            return value
        return packed_list(json.dumps(list(value), ensure_ascii=False, separators=(",", ":")))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> list[Any] | None:
        """Back to the list."""
        if value is None:
            return None
        found: list[Any] = json.loads(lz4.block.decompress(value)) if value else []
        return found
