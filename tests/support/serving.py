"""The console's application behind a real socket, in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import waitress
from flask import Flask


@contextlib.contextmanager
def served(app: Flask) -> Iterator[int]:
    """The port at which it answers."""
    server: Any = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)

    def run() -> None:
        with contextlib.suppress(OSError):  # closing it from here ends its loop so
            server.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        server.close()
        server._map.clear()  # its loop goes on for connections that are kept alive, and nobody will close those
        thread.join(10)
