"""The process that feeds the search cluster: `python -m console.store.search.worker`; the console starts one."""

from __future__ import annotations

import logging
import subprocess

from console.beside import begin, orphaned, run_module, start_module
from console.services.actor import utc_now
from console.settings import Settings
from console.store.search.cluster import Cluster
from console.store.search.indexer import Indexer
from console.store.search.registry import KINDS

log = logging.getLogger(__name__)


def run_indexer(settings: Settings, parent: int | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until the process `parent` is no longer our parent."""
    store, stop = begin(settings)
    cluster = Cluster(settings)
    log.info("the indexer runs")
    try:
        Indexer(store, cluster, KINDS, utc_now).run(lambda seconds: stop.wait(seconds) or orphaned(parent))
    finally:
        cluster.close()
    log.info("the indexer has stopped")


def start_beside(settings: Settings) -> subprocess.Popen[bytes]:
    """Start it as a child process with these settings; it ends with its parent. The caller terminates it."""
    return start_module("console.store.search.worker", settings)


def main() -> None:
    """Settings come from the environment."""
    run_module(run_indexer, "Feeds Fenghuo's search cluster.", ("elastic_transport", "alembic"))


if __name__ == "__main__":
    main()
