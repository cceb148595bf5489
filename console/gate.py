"""What a request to the sensors' API must show before its body is read: a key that is known, and a bearable length.

It works on the headers alone, before a thread or a temporary file is spent on the request. The views check the key
again: what is remembered here can be out of date. What is refused is read to its end and thrown away, for a client that
is cut off while it sends never sees why.
"""

from __future__ import annotations

import io
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

PREFIX = "/api/v1/"
LIMITS = {"findings": 8 * 1024 * 1024 + 1024, "heartbeat": 512 * 1024}  # bytes of a body; others are small
SMALL = 16 * 1024
REMEMBERED_S = 600.0  # a known key is asked for again after this long
MAX_REMEMBERED = 50_000
LOOKUPS = 50.0  # of keys that are not remembered, a second, for one address
MAX_ADDRESSES = 10_000
PATIENCE_S = 30.0  # for headers and body of one request, and
LEAST_BYTES_S = 4096  # this many bytes of it a second


class RefusalError(Error):  # type: ignore[misc]
    """An answer in the form of the API's."""

    def __init__(self, code: int, reason: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.code, self.reason, self._headers = code, reason, headers

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status line, headers, body."""
        headers = [("Content-Type", "application/json"), *self._headers]
        return f"{self.code} {self.reason}", headers, json.dumps({"error": self.body}).encode()


@dataclass
class Gate:
    """Decides. is_known: asks the store whether a key is valid; it is asked seldom. Used from one thread."""

    is_known: Callable[[str], bool]
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _budget: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def refusal(self, path: str, headers: dict[str, str], length: int, address: str) -> RefusalError | None:
        """Why the request is refused, None where it may come in."""
        if not path.startswith(PREFIX):
            return None
        name = path.removeprefix(PREFIX)
        if headers.get("CONTENT_ENCODING", "identity").strip().lower() not in ("", "identity"):
            return RefusalError(415, "Unsupported Media Type", "Send the body as it is, without compression.")
        if length > LIMITS.get(name, SMALL):
            return RefusalError(413, "Request Entity Too Large", "This is more than the console takes at once.")
        if name == "enrol":  # its token stands in the body
            return None
        scheme, _, key = headers.get("AUTHORIZATION", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or len(key) > 200:
            return _unknown()
        return self._refusal_of(key, address)

    def _refusal_of(self, key: str, address: str) -> RefusalError | None:
        now = self.clock()
        until = self._known.get(key)
        if until is not None and now < until:
            return None
        if not self._may_look_up(address, now):
            return RefusalError(429, "Too Many Requests", "Too many requests with unknown keys.", ("Retry-After", "1"))
        if not self.is_known(key):
            self._known.pop(key, None)
            return _unknown()
        self._known[key] = now + REMEMBERED_S
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return None

    def _may_look_up(self, address: str, now: float) -> bool:
        """A bucket for each address: LOOKUPS tokens that fill up in a second."""
        tokens, at = self._budget.pop(address, (LOOKUPS, now))
        tokens = min(LOOKUPS, tokens + (now - at) * LOOKUPS)
        self._budget[address] = (max(0.0, tokens - 1), now)
        while len(self._budget) > MAX_ADDRESSES:
            self._budget.popitem(last=False)
        return tokens >= 1


def _unknown() -> RefusalError:
    message = "A sensor key is needed: Authorization: Bearer <key>."
    return RefusalError(401, "Unauthorized", message, ("WWW-Authenticate", 'Bearer realm="fenghuo"'))


class _Discard:
    """Takes the rest of a body and keeps nothing of it."""

    error = None

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def completed(self) -> bool:
        """Whether all of it came."""
        return self._left <= 0

    def getbuf(self) -> io.BytesIO:
        """What was kept."""
        return io.BytesIO()

    def received(self, data: bytes) -> int:
        """How many of these bytes belong to it."""
        taken = min(len(data), self._left)
        self._left -= taken
        return taken


def guard(server: Any, gate: Gate) -> None:
    """Let a waitress server ask the gate, and end connections that drip."""

    class Parser(HTTPRequestParser):  # type: ignore[misc]
        address = ""
        content_length: int
        expect_continue: bool

        def __init__(self, adjustments: Any) -> None:
            super().__init__(adjustments)
            self.began = time.monotonic()

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            length: int = self.content_length
            refusal = gate.refusal(self.path, self.headers, length, self.address)
            if refusal is None:
                return
            waits: bool = self.expect_continue  # for a word before it sends its body
            self.error = refusal
            dropped = 0 if waits or self.chunked else length
            self.expect_continue = False
            self.connection_close = True
            self.body_rcv = _Discard(dropped) if 0 < dropped <= self.adj.max_request_body_size else None
            self.content_length = 0  # nothing of it is kept, so no limit is asked

    class Channel(HTTPChannel):  # type: ignore[misc]
        def parser_class(self, adjustments: Any) -> Parser:
            """A parser that knows whom it listens to."""
            parser = Parser(adjustments)
            parser.address = str(self.addr[0]) if isinstance(self.addr, tuple) else ""
            return parser

    maintain = server.maintenance

    def maintenance(now: float) -> None:
        maintain(now)
        for channel in list(server.active_channels.values()):
            request = channel.request
            if request is not None and not request.completed:
                came = request.header_bytes_received + request.body_bytes_received
                if time.monotonic() - request.began > PATIENCE_S + came / LEAST_BYTES_S:
                    channel.will_close = True

    server.channel_class = Channel
    server.maintenance = maintenance
