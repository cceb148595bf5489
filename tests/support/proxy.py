"""A TCP proxy on loopback that treats each connection as planned: resets, cuts, slows, slices, answers rubbish."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterable

CLEAN = "clean"
RESET_IN_BODY = "reset in the body"  # the request never arrives whole
REPLY_LOST = "reply lost"  # the far side has done its work, and nobody hears of it
REPLY_CUT = "reply cut"
HALF_OPEN = "half-open"  # taken, and then nothing for ever
REFUSED = "refused"
SLOW = "slow"  # a kilobyte in a second
SLICED = "sliced"  # a few bytes at a time
RUBBISH = "rubbish"  # bytes that are no HTTP
NOT_JSON = "not JSON"
NO_WORD = "no word of what it has"  # JSON, but no acknowledgement
FALSE_WORD = "acknowledges what was never sent"

_ANSWERS = {
    RUBBISH: bytes(range(256)),
    NOT_JSON: b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\xff\x00[[[[",
    NO_WORD: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    FALSE_WORD: b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n" + b'{"acknowledged":999999999999,"rejected":[]}',
}
BODY_BYTES = 700  # of a connection, after which it is reset


class Proxy:
    """See the module. `plan` holds what happens to the next connections; after it they are clean."""

    def __init__(self, port: int) -> None:
        """port: of the far side, on loopback."""
        self._far = port
        self.plan: deque[str] = deque()
        self.met: Counter[str] = Counter()  # connections that were treated so
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_error: object) -> None:
        async def finish() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def meet(self, faults: Iterable[str]) -> None:
        """Treat the next connections so."""
        self.plan.extend(faults)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.plan.popleft() if self.plan else CLEAN
        self.met[fault] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if fault == REFUSED:
                _reset(writer)
            elif fault == HALF_OPEN:
                while await reader.read(65536):
                    pass
                await asyncio.sleep(3600)
            elif fault in _ANSWERS:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_ANSWERS[fault])
                await writer.drain()
            else:
                await self._forward(reader, writer, fault)
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
        up = asyncio.create_task(_pump(reader, far_writer, fault, up=True))
        down = asyncio.create_task(_pump(far_reader, writer, fault, up=False))
        done, left = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        broken = any(task.exception() is not None for task in done)
        for task in left:
            task.cancel()
        for end in (far_writer, writer):
            _reset(end) if broken else end.close()


class _Broken(Exception):  # noqa: N818
    """The plan wants this connection to end here."""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str, *, up: bool) -> None:
    passed = 0
    while data := await reader.read(65536):
        if up and fault == RESET_IN_BODY and passed + len(data) > BODY_BYTES:
            writer.write(data[: BODY_BYTES - passed])
            await writer.drain()
            raise _Broken
        if not up and fault == REPLY_LOST:
            raise _Broken
        if not up and fault == REPLY_CUT:
            writer.write(data[: len(data) // 2])
            await writer.drain()
            raise _Broken
        size, pause = {SLOW: (100, 0.1), SLICED: (5, 0.0)}.get(fault, (len(data), 0.0))
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await writer.drain()
            await asyncio.sleep(pause)
        passed += len(data)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a firewall or a crashed host does."""
    made = writer.get_extra_info("socket")
    if made is not None:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
