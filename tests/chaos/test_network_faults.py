"""A sensor and a real console with a bad network or wrong clocks between them: all arrives, once, without a restart."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from support import proxy as network
from support.programs import until
from support.proxy import Proxy
from support.serving import served

from chaos import programs
from chaos.ledger import Ledger
from console import create_app
from console.run import add_sensor, init_console
from console.settings import Settings
from detectors.losses import loss_line
from sensor import uplink
from sensor.spool import Spool
from sensor.uplink import Uplink

FAULTS = [
    network.RESET_IN_BODY,
    network.REPLY_LOST,
    network.REPLY_CUT,
    network.HALF_OPEN,
    network.REFUSED,
    network.RUBBISH,
    network.NOT_JSON,
    network.NO_WORD,
    network.FALSE_WORD,
    network.SLICED,
]
FINDINGS = 60
IMPATIENT = httpx.Timeout(1.0)


class Clock:
    """The console's clock, which somebody sets."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


class Far:
    """A console on a port, its store and its clock."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder, locale="en")
        init_console(settings, "Plant")
        self.key = add_sensor(settings, programs.SENSOR, "North", "Line 1")
        self.clock = Clock()
        app = create_app(settings, self.clock)
        self.store = app.extensions["fenghuo"].store
        self._ended = contextlib.ExitStack()
        self.port = self._ended.enter_context(served(app))

    def close(self) -> None:
        self._ended.close()
        self.store.engine.dispose()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path / "console")
    yield made
    made.close()


@pytest.fixture
def between(far: Far) -> Iterator[Proxy]:
    with Proxy(far.port) as running:
        yield running


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", lambda loss: loss_line(loss, programs.SENSOR, made.epoch))
    yield made
    made.close()


Send = Callable[[httpx.Timeout], None]


@pytest.fixture
def send(far: Far, between: Proxy, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Send]:
    """Lets an uplink run, in a thread as `fenghuo sensor run` does, until the test ends."""
    monkeypatch.setattr(uplink, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(uplink, "LONGEST_PAUSE_S", 0.1)
    stop = threading.Event()
    made: list[tuple[Uplink, threading.Thread]] = []

    def run(timeouts: httpx.Timeout) -> None:
        sender = Uplink(between.url, far.key, spool, timeouts=timeouts)
        thread = threading.Thread(target=sender.run, args=(stop, dict, lambda _config: None), daemon=True)
        thread.start()
        made.append((sender, thread))

    yield run
    stop.set()
    for sender, thread in made:
        thread.join(30)
        sender.close()


def put(spool: Spool, ledger: Ledger, tokens: range) -> None:
    programs.append(spool, tokens)
    programs.flush(spool)
    ledger.promised.update(tokens)


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_arrives_once_over_a_network_that_fails(far, between, spool, send, fault):
    ledger = Ledger()
    between.meet([fault] * 6)
    send(IMPATIENT)
    for at in range(1, FINDINGS, 10):
        put(spool, ledger, range(at, at + 10))
        time.sleep(0.02)
    until(lambda: spool.depth == 0, "the spool drains")
    assert between.met[fault] > 0
    assert ledger.complaints(far.store, may_lose=False) == []


def test_everything_arrives_once_over_a_line_of_a_kilobyte_a_second(far, between, spool, send):
    ledger = Ledger()
    between.meet([network.SLOW] * 3)
    send(uplink.TIMEOUTS)
    put(spool, ledger, range(1, 4))
    until(lambda: spool.depth == 0, "the spool drains")
    assert between.met[network.SLOW] > 0
    assert ledger.complaints(far.store, may_lose=False) == []


@pytest.mark.parametrize("hours", [[1, -1], [-1, 1], [-24, 48, 0]], ids=["forth and back", "back and forth", "by days"])
def test_everything_arrives_once_while_the_console_s_clock_is_set(far, between, spool, send, hours):
    ledger = Ledger()
    send(IMPATIENT)
    for number, offset in enumerate(hours):
        put(spool, ledger, range(1 + number * 20, 21 + number * 20))
        until(lambda: spool.depth == 0, "the spool drains")
        far.clock.offset = timedelta(hours=offset)
    put(spool, ledger, range(1001, 1021))
    until(lambda: spool.depth == 0, "the spool drains after the last change")
    assert ledger.complaints(far.store, may_lose=False) == []


def test_everything_arrives_once_while_the_sensor_s_clock_is_set(far, between, tmp_path):
    """An hour ahead and two back, with a restart each time; the epoch stays that of the making."""
    ledger, epochs = Ledger(), set()
    for number, now in enumerate((1_764_003_600, 1_764_007_200, 1_764_000_000)):
        spool = Spool(
            tmp_path / "spool", lambda loss: loss_line(loss, programs.SENSOR, 1_764_003_600), lambda now=now: float(now)
        )
        put(spool, ledger, range(1 + number * 20, 21 + number * 20))
        sender = Uplink(between.url, far.key, spool, clock=lambda now=now: float(now))
        sender.drain(threading.Event(), 30)
        epochs.add(spool.epoch)
        sender.close()
        spool.close()
    assert epochs == {1_764_003_600}
    assert ledger.complaints(far.store, may_lose=False) == []
