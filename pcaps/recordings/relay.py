"""A recording TCP relay: stands between a real client and a real server, passes every octet on and writes it down.

It needs no privilege, unlike a raw socket. What it cannot see is rebuilt: Ethernet, IP and TCP headers are written by
`pcaps.dialogue`, with the addresses of the imaginary plant and the times at which the octets passed. A segment of such
a capture is what one `recv` returned.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pcaps.dialogue import OTHER, Frame, Lab, Side, TcpDialogue
from pcaps.plant import Host

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Passed:
    """What happened at one moment (ns since 1970): a connection began (data None), or octets passed, or (b"") ended."""

    ts_ns: int
    connection: int
    side: Side
    data: bytes | None


class Relay:
    """Listens on `port`, connects each caller to `server_port`, both on loopback; `passed` is the record."""

    def __init__(self, server_port: int) -> None:
        self.passed: list[Passed] = []
        self._server_port = server_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _note(self, connection: int, side: Side, data: bytes | None) -> None:
        with self._lock:
            self.passed.append(Passed(time.time_ns(), connection, side, data))

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            called = socket.create_connection((LOOPBACK, self._server_port))
            connection, self._connections = self._connections, self._connections + 1
            self._note(connection, "client", None)
            self._start(self._pass_on, caller, called, connection, "client")
            self._start(self._pass_on, called, caller, connection, "server")

    def _pass_on(self, source: socket.socket, target: socket.socket, connection: int, side: Side) -> None:
        """Write down before passing on, so that an answer never stands before its question."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._note(connection, side, data)
                target.sendall(data)
        self._note(connection, side, b"")
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def to_frames(name: str, passed: list[Passed], client: Host, server: Host, port: int) -> list[Frame]:
    """The record of one client and one server as frames on the plant's network, server on its well-known port."""
    lab = Lab(name)
    lab.now_ns = passed[0].ts_ns
    dialogues: dict[int, TcpDialogue] = {}
    ended: set[tuple[int, Side]] = set()
    for moment in passed:
        lab.now_ns = max(lab.now_ns, moment.ts_ns)
        if moment.data is None:
            dialogues[moment.connection] = lab.tcp(client, server, port)
        elif moment.data:
            dialogues[moment.connection].say(moment.side, moment.data)
        else:
            ended.add((moment.connection, moment.side))
            if (moment.connection, OTHER[moment.side]) in ended:
                dialogues[moment.connection].close()
    return lab.frames()
