"""Bodies of HTTP/1 requests and responses (RFC 9112): Content-Length, chunked, or until the connection ends.

Headers are read for lengths and names only: what authenticates somebody (Authorization, cookies) is never kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import NamedTuple

from detectors.wording import safe

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
MAX_ASKED = 64  # requests that wait for their response
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ")


class Body(NamedTuple):
    """One body. name: last part of the path asked for; media: its type as claimed; whole: its end was seen."""

    name: str
    method: str
    media: str
    data: bytes
    whole: bool


class Half:
    """One direction. `asked` is shared by both: methods and names that responses belong to."""

    def __init__(self, asked: deque[tuple[str, str]]) -> None:
        self._asked = asked
        self._buffer = bytearray()
        self._head: dict[str, str] | None = None
        self._body = bytearray()
        self._left = 0  # of a body with a length; -1: until the end; -2: chunked
        self._about = ("", "")
        self.lost = False  # no HTTP any more
        self.cut = False  # a body was longer than MAX_BODY

    def add(self, data: bytes) -> Iterator[Body]:
        """Use octets in order."""
        if not self.lost:
            self._buffer += data
        while self._buffer and not self.lost:
            if self._head is None:
                if not self._read_head():
                    return
                if self._left == 0:
                    self._head = None
                continue
            if self._left == -2:
                if not (yield from self._chunks()):
                    return
                continue
            take = len(self._buffer) if self._left == -1 else min(self._left, len(self._buffer))
            self._keep(self._buffer[:take])
            del self._buffer[:take]
            if self._left > 0:
                self._left -= take
                if self._left == 0:
                    yield self._made(whole=True)

    def rest(self) -> Iterator[Body]:
        """The connection has ended."""
        if self._head is not None and self._body:
            yield self._made(whole=self._left == -1)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self.lost = len(self._buffer) > MAX_HEAD
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        first, head = lines[0], {}
        for line in lines[1:]:
            key, _, value = line.partition(b":")
            head[key.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
        request = first.startswith(_METHODS)
        if not request and not first.startswith(b"HTTP/1."):
            self.lost = True
            return False
        if request:
            method, _, path = first.partition(b" ")
            name = path.split(b" ")[0].split(b"?")[0].rsplit(b"/", 1)[-1].decode("latin-1")
            self._about = (method.decode("latin-1"), safe(name or "/", 120))
            if len(self._asked) < MAX_ASKED:
                self._asked.append(self._about)
        else:
            status = first[9:12]
            interim = status.startswith(b"1")
            self._about = self._asked.popleft() if self._asked and not interim else ("", "?")
            if interim or status in (b"204", b"304") or self._about[0] == "HEAD":
                self._head, self._left = head, 0
                return True
        self._head = head
        self._body = bytearray()
        length = head.get("content-length", "")
        if "chunked" in head.get("transfer-encoding", "").lower():
            self._left = -2
        elif length.isdigit():
            self._left = int(length[:18])
        else:
            self._left = 0 if request else -1
        return True

    def _chunks(self) -> Generator[Body, None, bool]:
        """The body, once its last chunk is there; whether it is."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                self.lost = len(self._buffer) > MAX_HEAD
                return False
            try:
                size = int(bytes(self._buffer[:end]).split(b";")[0], 16)
            except ValueError:
                size = -1
            if not 0 <= size <= MAX_BODY:
                self.lost = True
                return False
            if len(self._buffer) < end + 2 + size + 2:
                return False
            self._keep(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                yield self._made(whole=True)
                return True

    def _keep(self, data: bytes | bytearray) -> None:
        room = MAX_BODY - len(self._body)
        self._body += data[:room]
        self.cut = self.cut or len(data) > room

    def _made(self, *, whole: bool) -> Body:
        media = safe((self._head or {}).get("content-type", "").split(";")[0], 64)
        made = Body(self._about[1], self._about[0], media, bytes(self._body), whole and not self.cut)
        self._head, self._body, self.cut = None, bytearray(), False
        return made
