"""Messages between the sensor and its worker, over a stream socket: a kind, a JSON object, octets.

Four octets of length, one of kind, four of the length of the JSON, the JSON, the octets; numbers with the most
significant octet first. What comes from the worker is hostile: lengths are bounded, and nothing in it is ever run.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

MAX_MESSAGE = 96 * 1024 * 1024  # an artifact, a set of rules, a configuration of a hundred thousand indicators
MAX_JSON = 16 * 1024 * 1024
_HEAD = struct.Struct(">IBI")


class Kind(IntEnum):
    """What a message is about. The first five go to the worker, the others come from it."""

    SETUP = 1  # octets: a pickled Setup
    BATCH = 2  # a batch of frames lies in the shared memory
    CHANGE = 3  # octets: pickled changes of the Setup
    END = 4  # no more frames: say what remains to be said
    REPLY = 5  # to the REQUEST of the same number
    READY = 16
    FINDING = 17
    DONE = 18  # a batch was looked at
    REQUEST = 19  # something that the worker may not do itself
    TOLD = 20  # a line for people
    FINISHED = 21  # after END
    REPORT = 23  # what stands: devices, who does what to whom
    FAULT = 22  # what it died of, where it could still say so


class Message(NamedTuple):
    """See the module."""

    kind: int
    json: dict[str, Any]
    octets: bytes


class ChannelError(Exception):
    """The other side is gone, or sends what is no message."""


class Channel:
    """One end. `send` may be called from several threads, `receive` from one."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._sending = threading.Lock()
        self._buffer = bytearray()

    def fileno(self) -> int:
        """For poll."""
        return self.socket.fileno()

    def close(self) -> None:
        """Let go of the socket; who sends or receives finds it closed."""
        self.socket.close()

    def send(self, kind: Kind, content: Mapping[str, Any], octets: bytes = b"") -> None:
        """ChannelError where the other side is gone; TypeError, ValueError where the content is no JSON."""
        text = json.dumps(content, separators=(",", ":")).encode()
        head = _HEAD.pack(5 + len(text) + len(octets), kind, len(text))
        try:
            with self._sending:
                self.socket.sendall(head + text + octets)
        except OSError as error:
            raise ChannelError(f"the other side is gone: {error.strerror or error}") from error

    def receive(self) -> Message:
        """The next message; waits for it."""
        while (message := self.take()) is None:
            self._more()
        return message

    def pending(self) -> bool:
        """Read what has come, without waiting; whether the other side is still there."""
        try:
            self._more(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ChannelError:
            return False
        return True

    def take(self) -> Message | None:
        """A message that has come whole; None where there is none yet. ChannelError where it is none."""
        if len(self._buffer) < _HEAD.size:
            return None
        size, kind, json_size = _HEAD.unpack_from(self._buffer)
        if size > MAX_MESSAGE or json_size > min(size - 5, MAX_JSON):
            raise ChannelError("a message has a length that cannot be")
        end = 4 + size
        if len(self._buffer) < end:
            return None
        middle = _HEAD.size + json_size
        text, octets = bytes(self._buffer[_HEAD.size : middle]), bytes(self._buffer[middle:end])
        del self._buffer[:end]
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ChannelError("a message is no JSON object")
        return Message(kind, content, octets)

    def _more(self, flags: int = 0) -> None:
        try:
            part = self.socket.recv(1 << 18, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ChannelError(f"the other side is gone: {error.strerror or error}") from error
        if not part:
            raise ChannelError("the other side is gone")
        self._buffer += part
