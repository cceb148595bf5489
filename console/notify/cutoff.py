"""A limit on the whole of an attempt: socket time-outs bound single reads, and a far side can drip for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Cutoff:
    """Shuts the watched socket down once `seconds` have passed; the blocked call then fails like a dropped connection.

    Use as a context manager; call `watch` with each socket as it is opened or wrapped.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.expired = False

    def watch(self, sock: socket.socket | None) -> None:
        """Take over `sock`; a socket that comes after the limit is shut down at once."""
        with self._lock:
            self._socket = sock
            if self.expired:
                self._shut()

    def _cut(self) -> None:
        with self._lock:
            self.expired = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # On the plain socket, also under TLS: a TLS shutdown would wait for the far side's consent.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> Cutoff:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
