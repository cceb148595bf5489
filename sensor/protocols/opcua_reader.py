"""OPC UA binary values, readable: one after the other from the octets of a body. Source: OPC 10000-6, chapter 5.2."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sensor.text import wire_text

MAX_LIST = 64  # members of a list that are told; the rest is passed over
MAX_TEXT = 2048  # octets of one text that are told
MAX_DEPTH = 8  # values in values
MAX_TAKEN = 8192  # numbers and strings of one body: reading more would take long and is told to nobody
_FIXED = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d"}


class UnreadableError(Exception):
    """The octets end before the value, or hold none of its kind."""


class EnoughError(UnreadableError):
    """More values than are told; those before stand."""


class Reader:
    """A position in the octets of a body. Every method takes one value from there, or raises UnreadableError."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at
        self.left = MAX_TAKEN

    def take(self, size: int) -> bytes:
        """So many octets."""
        self.left -= 1
        if self.left < 0:
            raise EnoughError
        if size < 0 or self.at + size > len(self.data):
            raise UnreadableError
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> Any:
        """A little-endian number by its letter in the module struct."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def octet(self) -> int:
        """One octet."""
        return self.take(1)[0]

    def u32(self) -> int:
        """UInt32."""
        return int(self.number("I"))

    def octets(self) -> bytes:
        """ByteString; empty where it is null."""
        return self.take(max(int(self.number("i")), 0))

    def text(self) -> str:
        """String, with escapes; empty where it is null."""
        return wire_text(self.octets()[:MAX_TEXT])

    def node(self) -> str:
        """NodeId or ExpandedNodeId in the notation of 10000-6, 5.3.1.10: i=85, ns=2;s=Boiler."""
        mask = self.octet()
        kind = mask & 0x3F
        space = 0
        if kind == 0:
            name = f"i={self.octet()}"
        elif kind == 1:
            space = self.octet()
            name = f"i={self.number('H')}"
        elif kind <= 5:
            space = int(self.number("H"))
            if kind == 2:
                name = f"i={self.u32()}"
            elif kind == 3:
                name = f"s={self.text()}"
            elif kind == 4:
                name = f"g={UUID(bytes_le=self.take(16))}"
            else:
                name = f"b={self.octets().hex()}"
        else:
            raise UnreadableError
        uri = f"nsu={self.text()};" if mask & 0x80 else f"ns={space};" if space else ""
        server = f"svr={self.u32()};" if mask & 0x40 else ""
        return server + uri + name

    def qualified_name(self) -> str:
        """QualifiedName as 2:Name."""
        space = int(self.number("H"))
        name = self.text()
        return f"{space}:{name}" if space else name

    def localized_text(self) -> str:
        """LocalizedText without its locale."""
        mask = self.octet()
        if mask & 1:
            self.text()
        return self.text() if mask & 2 else ""

    def list_of(self, member: Callable[[], Any]) -> list[Any]:
        """A list; members beyond MAX_LIST are read and left out."""
        found = []
        count = int(self.number("i"))
        if count > len(self.data) - self.at:  # each takes an octet at least
            raise UnreadableError
        for index in range(count):
            try:
                value = member()
            except EnoughError:
                break
            if index < MAX_LIST:
                found.append(value)
        return found

    def extension(self) -> tuple[str, bytes]:
        """ExtensionObject: (type, octets)."""
        kind, encoding = self.node(), self.octet()
        return kind, self.octets() if encoding in (1, 2) else b""

    def variant(self, depth: int = 0) -> Any:
        """The value of a Variant; a list of an array; text for what is no number."""
        mask = self.octet()
        kind = mask & 0x3F
        if depth > MAX_DEPTH or kind > 25:
            raise UnreadableError
        value = self.list_of(lambda: self._scalar(kind, depth)) if mask & 0x80 else self._scalar(kind, depth)
        if mask & 0x40:
            self.list_of(lambda: self.number("i"))
        return value

    def _scalar(self, kind: int, depth: int) -> Any:
        if kind in _FIXED:
            return self.number(_FIXED[kind])
        if kind == 12:
            return self.text()
        if kind == 13:
            return self.number("q")
        if kind == 14:
            return str(UUID(bytes_le=self.take(16)))
        if kind in (15, 16):
            return self.octets().hex()
        if kind in (17, 18):
            return self.node()
        if kind == 19:
            return self.u32()
        if kind == 20:
            return self.qualified_name()
        if kind == 21:
            return self.localized_text()
        if kind == 22:
            return self.extension()[0]
        if kind == 23:
            return self.data_value(depth + 1)[0]
        if kind == 24:
            return self.variant(depth + 1)
        if kind == 25:
            self.diagnostics(depth + 1)
        return None

    def data_value(self, depth: int = 0) -> tuple[Any, int]:
        """DataValue: (value, status)."""
        mask = self.octet()
        value = self.variant(depth) if mask & 1 else None
        status = self.u32() if mask & 2 else 0
        self.take(8 * (mask >> 2 & 1) + 2 * (mask >> 4 & 1) + 8 * (mask >> 3 & 1) + 2 * (mask >> 5 & 1))
        return value, status

    def diagnostics(self, depth: int = 0) -> None:
        """DiagnosticInfo, passed over."""
        if depth > MAX_DEPTH:
            raise UnreadableError
        mask = self.octet()
        self.take(4 * (mask & 15).bit_count())
        if mask & 0x10:
            self.text()
        if mask & 0x20:
            self.u32()
        if mask & 0x40:
            self.diagnostics(depth + 1)
