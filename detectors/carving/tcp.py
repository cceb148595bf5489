"""One direction of a TCP connection put in order, in plain Python: for the few connections that carry files.

What waits for its predecessors is bounded; where that is too much, or the connection ends, the hole is passed over and
counted. The first octets that arrive at a place count.
"""

from __future__ import annotations

MAX_WAITING = 512  # segments that wait for their predecessors
MAX_WAITING_BYTES = 1024 * 1024
FIN, SYN, RST = 1, 2, 4
_HALF, _WHOLE = 1 << 31, 1 << 32


class Direction:
    """See the module. missing: octets passed over; ended: FIN or RST was seen, and all before it."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, bytes] = {}
        self._bytes = 0
        self._last: int | None = None
        self.missing = 0
        self.ended = False

    def add(self, seq: int, flags: int, payload: bytes) -> bytes:
        """The octets that are in order now."""
        if flags & SYN:
            self._next = (seq + 1) % _WHOLE
            self.ended = False
            return b""
        if self._next is None:
            self._next = seq
        if flags & FIN:
            self._last = (seq + len(payload)) % _WHOLE
        if flags & RST:
            self.ended = True
        if payload and self._ahead(seq) < MAX_WAITING_BYTES:
            known = self._waiting.get(seq)
            if known is None or len(known) < len(payload):
                self._bytes += len(payload) - len(known or b"")
                self._waiting[seq] = payload
        out = self._in_order()
        while len(self._waiting) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            out += self._skip()
        return out

    def rest(self) -> bytes:
        """What waits still, with holes passed over: nothing more comes."""
        out = b""
        while self._waiting:
            out += self._skip()
        return out

    def _ahead(self, seq: int) -> int:
        """How far a place lies ahead of the next octet; negative behind it."""
        return (seq - (self._next or 0) + _HALF) % _WHOLE - _HALF

    def _in_order(self) -> bytes:
        parts = []
        while self._waiting:
            seq = min(self._waiting, key=self._ahead)
            ahead = self._ahead(seq)
            if ahead > 0:
                break
            piece = self._waiting.pop(seq)
            self._bytes -= len(piece)
            fresh = piece[-ahead:] if ahead else piece
            if -ahead < len(piece):
                parts.append(fresh)
                self._next = ((self._next or 0) + len(fresh)) % _WHOLE
        if self._last is not None and self._ahead(self._last) <= 0:
            self.ended = True
        return b"".join(parts)

    def _skip(self) -> bytes:
        seq = min(self._waiting, key=self._ahead)
        self.missing += max(self._ahead(seq), 0)
        self._next = seq
        return self._in_order()
