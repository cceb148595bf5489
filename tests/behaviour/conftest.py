"""A plant beside a wire: what the tests of sensors that listen share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.houses import House

from tools.wires import Wire, ip


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A pair of interfaces; programs that are started here see the one that mirrors."""
    made = Wire()
    try:
        with made.inside():
            ip("-n", made.here, "link", "set", "lo", "up")
            yield made
    finally:
        made.remove()


@pytest.fixture
def plant(tmp_path: Path, wire: Wire) -> Iterator[House]:
    """An enterprise's console, on the side of the wire that mirrors."""
    built = House(tmp_path / "plant", "North works", "enterprise")
    yield built
    built.end()
