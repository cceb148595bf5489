"""The process that sends: a scheduler that lets a dispatcher do what is due, every second.

`python -m console.notify.worker` runs it; the console starts one beside itself (`start_beside`).
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from apscheduler.schedulers.background import BackgroundScheduler

from console.beside import begin, orphaned, run_module, start_module
from console.notify.channels import channels
from console.notify.dispatch import Dispatcher, steady
from console.notify.link import Links
from console.notify.upkeep import CHECKPOINT_S, RETENTION_S, SUMMARY_S, Upkeep
from console.services.actor import utc_now
from console.services.silence import SilenceWatch
from console.services.subscriptions import pull_due
from console.settings import Settings, secret_key
from console.sharing.taxii_client import Budget

log = logging.getLogger(__name__)

TICK_S = 1.0
PULL_CHECK_S = 5.0  # how often to look whether a subscription's turn has come
PULL_BUDGET = Budget(seconds=60.0, step_s=5.0)  # what is left over is pulled in the next round
JUMP_S = 2.0  # the wall clock moved against the steady one by more than this: it was set


def run_worker(settings: Settings, parent: int | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until the process `parent` is no longer our parent."""
    store, stop = begin(settings)
    links = Links(secret_key(settings), settings.base_url)
    dispatcher = Dispatcher(store, channels(settings), links, ZoneInfo(settings.timezone))
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(
        dispatcher.tick, "interval", seconds=TICK_S, id="tick", coalesce=True, max_instances=1, misfire_grace_time=None,
        next_run_time=datetime.now(UTC),
    )  # fmt: skip
    scheduler.add_job(
        pull_due, "interval", seconds=PULL_CHECK_S, id="pull", coalesce=True, max_instances=1, misfire_grace_time=None,
        args=(store, utc_now), next_run_time=datetime.now(UTC),
        kwargs={
            "allow_private": settings.peer_private, "budget": PULL_BUDGET, "keep_on": lambda: not stop.is_set(),
        },
    )  # fmt: skip
    silence = SilenceWatch(store, utc_now, steady)

    def look_for_silence() -> None:
        if dispatcher.holds:
            silence.tick()

    scheduler.add_job(
        look_for_silence, "interval", seconds=TICK_S, id="silence", coalesce=True, max_instances=1,
        misfire_grace_time=None, next_run_time=datetime.now(UTC),
    )  # fmt: skip
    upkeep = Upkeep(store, settings)
    works = ((upkeep.sweep, RETENTION_S), (upkeep.checkpoint, CHECKPOINT_S), (upkeep.summarise, SUMMARY_S))
    for work, every in works:
        scheduler.add_job(
            work, "interval", seconds=every, id=work.__name__, coalesce=True, max_instances=1, misfire_grace_time=None,
            next_run_time=datetime.now(UTC),
        )  # fmt: skip
    scheduler.start()
    log.info("the notification worker runs")
    _watch(scheduler, stop, parent)
    scheduler.shutdown(wait=True)
    dispatcher.stop()
    log.info("the notification worker has stopped")


def _watch(scheduler: BackgroundScheduler, stop: threading.Event, parent: int | None) -> None:
    """Until it is time to stop: wake the scheduler when the wall clock was set.

    The scheduler keeps the wall-clock time of the next run; an hour set back would be an hour without a notification.
    """
    offset = time.time() - steady()
    while not stop.wait(TICK_S):
        if orphaned(parent):
            log.warning("the console is gone; the notification worker ends with it")
            return
        moved = time.time() - steady() - offset
        if abs(moved) > JUMP_S:
            log.warning("the clock was set by %.0f s", moved)
            for job in scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
            offset += moved


def start_beside(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a worker as a child process with these settings; it ends with its parent. The caller terminates it."""
    return start_module("console.notify.worker", settings)


def main() -> None:
    """`python -m console.notify.worker`: settings come from the environment."""
    run_module(run_worker, "Sends Fenghuo's notifications.", ("apscheduler", "httpx"))
    # Not sys.exit: that would wait for a thread whose receiver is still dripping.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
