"""The worker's scheduler: it goes on when somebody sets the clock, and ends with the console."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from console.notify import worker


def test_a_clock_set_back_an_hour_does_not_stop_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, stop = threading.Event(), threading.Event()
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(ran.set, "interval", seconds=3600, id="tick")  # as if its next run lay an hour ahead
    scheduler.start()
    real, set_back = time.time, 0.0
    monkeypatch.setattr(worker, "TICK_S", 0.02)
    monkeypatch.setattr(worker.time, "time", lambda: real() - set_back)
    watching = threading.Thread(target=worker._watch, args=(scheduler, stop, None))
    watching.start()
    assert not ran.wait(0.3)
    set_back = 3600.0
    assert ran.wait(20)
    stop.set()
    watching.join()
    scheduler.shutdown()


def test_it_ends_when_the_console_beside_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TICK_S", 0.01)
    scheduler = BackgroundScheduler(timezone=UTC)
    watching = threading.Thread(target=worker._watch, args=(scheduler, threading.Event(), os.getppid() + 1))
    watching.start()
    watching.join(20)
    assert not watching.is_alive()
