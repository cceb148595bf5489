"""What the console's tests act with: a clock that is moved by hand, a browser that fills in forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from console.store.engine import open_store

PASSWORD = "beacon-fire-tower-9"

# The store has two engines, and one contract: tests that are marked so run over each (conftest.py).
both_engines = pytest.mark.both_engines


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> datetime:
        """Move on by a timedelta's arguments; gives the new time."""
        self.time += timedelta(**by)
        return self.time


class Browser(FlaskClient):
    """A client that sends the token against forged requests with each form, as the pages do."""

    def token(self) -> str:
        page = self.get("/login", follow_redirects=True).get_data(as_text=True)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found
        return found[1]

    def submit(self, path: str, data: dict[str, object] | None = None, **kwargs):
        """POST a form as a page would."""
        return self.post(path, data={"csrf_token": self.token(), **(data or {})}, **kwargs)

    def log_in(self, login: str, password: str = PASSWORD) -> Browser:
        answer = self.submit("/login", {"login": login, "password": password})
        assert answer.status_code == 302, answer.get_data(as_text=True)
        return self


def postgresql_database(url: Callable[[str], str], name: str, folder: Path) -> str:
    """URL of an empty database made for one test. url: from a database's name to its URL; folder: the test's own."""
    full = f"{name}_{abs(hash(str(folder))) % 10**9}"
    engine = open_store(url("postgres")).engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {full}")
    engine.dispose()
    return url(full)
