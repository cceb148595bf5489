"""The process that feeds the search cluster: `python -m console.store.search.worker`; the console starts one."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import threading
from types import FrameType

from console.beside import start_module
from console.services.actor import utc_now
from console.settings import Settings
from console.store.engine import open_store
from console.store.migrations import upgrade_once_there
from console.store.search.cluster import Cluster
from console.store.search.indexer import Indexer
from console.store.search.registry import KINDS

log = logging.getLogger(__name__)


def run_indexer(settings: Settings, parent: int | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until the process `parent` is no longer our parent."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store_url)
    upgrade_once_there(store)
    cluster = Cluster(settings)
    log.info("the indexer runs")
    try:
        Indexer(store, cluster, KINDS, utc_now).run(
            lambda seconds: stop.wait(seconds) or (parent is not None and os.getppid() != parent)
        )
    finally:
        cluster.close()
    log.info("the indexer has stopped")


def start_beside(settings: Settings) -> subprocess.Popen[bytes]:
    """Start it as a child process with these settings; it ends with its parent. The caller terminates it."""
    return start_module("console.store.search.worker", settings)


def main() -> None:
    """Settings come from the environment."""
    parser = argparse.ArgumentParser(description="Feeds Fenghuo's search cluster.")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("elastic_transport", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    run_indexer(Settings(), arguments.parent)


if __name__ == "__main__":
    main()
