"""Far sides that answer as a script says: a real SMTP server and a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import email
import hashlib
import hmac
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd import smtp
from aiosmtpd.controller import Controller

OK = "ok"
DROP_AFTER_DATA = "drop after data"  # the message was taken, the answer is lost
DROP = "drop"
SLOW = "slow"


@dataclass
class Delivery:
    """One message as the far side saw it. taken: it said so, or would have."""

    to: str
    key: str
    content: bytes
    taken: bool
    at: float = field(default_factory=time.monotonic)

    @property
    def mail(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class Mailbox:
    """Handler of aiosmtpd. `script[recipient]` holds what each attempt gets, then `always`, then 250."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.script: dict[str, list[str]] = defaultdict(list)
        self.always: dict[str, str] = {}
        self.chooser: Callable[[str, str], str] | None = None
        self.lock = threading.Lock()

    def _next(self, recipient: str, step: str) -> str:
        waiting = self.script[recipient]
        planned = waiting[0] if waiting else self.always.get(recipient, OK)
        at = "RCPT" if planned.startswith("RCPT ") else "DATA"
        if at != step:
            return OK
        if waiting:
            waiting.pop(0)
        return planned.removeprefix("RCPT ")

    async def handle_RCPT(  # noqa: N802
        self, server: smtp.SMTP, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        answer = self._next(address, "RCPT")
        if answer != OK:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: smtp.SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        recipient = envelope.rcpt_tos[0]
        key = str(email.message_from_bytes(envelope.content)["Message-ID"])
        answer = self.chooser(recipient, key) if self.chooser else self._next(recipient, "DATA")
        taken = answer in (OK, DROP_AFTER_DATA)
        with self.lock:
            self.deliveries.append(Delivery(recipient, key, envelope.content, taken))
            number = len(self.deliveries)
        if answer in (DROP_AFTER_DATA, DROP):
            server.transport.abort()
            return "421 gone"
        return f"250 2.0.0 Ok: queued as {number:06X}" if answer == OK else answer

    @property
    def taken(self) -> list[Delivery]:
        with self.lock:
            return [delivery for delivery in self.deliveries if delivery.taken]

    def to(self, recipient: str) -> list[Delivery]:
        return [delivery for delivery in self.taken if delivery.to == recipient]


class MailServer:
    """aiosmtpd in a thread, on a free port. implicit_tls: TLS from the start; `options` go to its SMTP class."""

    def __init__(self, implicit_tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self._tls = implicit_tls
        self.box = Mailbox()
        self._controller = Controller(self.box, hostname="127.0.0.1", port=0, **options)

    def __enter__(self) -> MailServer:
        # Controller.start() connects to the port that it was given, which is 0 here; so the server is started by parts.
        self._thread = threading.Thread(target=self._controller.loop.run_forever, daemon=True)
        loop = self._controller.loop

        async def serve() -> Any:
            return await loop.create_server(self._controller.factory, "127.0.0.1", 0, ssl=self._tls)

        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_error: object) -> None:
        loop = self._controller.loop

        async def finish() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(10)


@dataclass
class Call:
    """One HTTP request as the receiver saw it."""

    path: str
    headers: dict[str, str]
    body: bytes

    def signed_with(self, secret: str) -> bool:
        """Checks the signature as a receiver would, from the description alone."""
        parts = dict(part.split("=", 1) for part in self.headers["fenghuo-signature"].split(","))
        expected = hmac.new(secret.encode(), f"{parts['t']}.".encode() + self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, parts["v1"])


class HookServer:
    """An HTTP server in a thread. `script` holds what each gets: a status, (status, headers, body), DROP or SLOW."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.calls: list[Call] = []
        self.script: list[Any] = []
        self.always: Any = 200
        self.slow_s = 5.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append(Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                answer = receiver.script.pop(0) if receiver.script else receiver.always
                if answer == DROP:
                    self.connection.close()
                    return
                if answer == SLOW:  # one byte now and then: no single read ever times out
                    self._drip()
                    return
                status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"thanks")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def _drip(self) -> None:
                end = time.monotonic() + receiver.slow_s
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while time.monotonic() < end:
                        self.wfile.write(b"a")
                        time.sleep(0.05)
                except OSError:
                    pass

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}/hook"

    def __enter__(self) -> HookServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
