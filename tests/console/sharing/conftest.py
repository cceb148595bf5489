"""Fixtures of the sharing tests: a peer that asks, a console that really listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from sharing_kit import Taxii, register
from waitress.server import create_server


@pytest.fixture
def taxii(app, store, tree) -> Taxii:
    """A community peer of the plant."""
    return register(app, store, tree.plant, "community")


@pytest.fixture
def listening(app: Flask) -> Iterator[str]:
    """The application behind a real server on loopback; gives its address."""
    server = create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()
    thread.join(timeout=5)
