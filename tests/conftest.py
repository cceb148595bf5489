"""What tests of every package may ask for."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tools import elasticsearch_node, postgresql_server

ROOT = Path(__file__).resolve().parents[1]

# A test says what is right, never how fast: on a busy machine the first call of compiled code takes a second.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def elasticsearch_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """Address of a real Elasticsearch node, one for all workers of this run; started when first asked for.

    Tests share it: each makes indices under names of its own and removes them. It ends when the run does.
    """
    if why := elasticsearch_node.why_not():
        pytest.skip(f"no Elasticsearch node: {why}")
    alone = worker_id == "master"
    folder = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    run = os.getpid() if alone else os.getppid()  # of workers: the process that started them all
    said = folder / "elasticsearch.url"
    with (folder / "elasticsearch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            command = [sys.executable, "-m", "tools.elasticsearch_node", "serve", str(said), str(run)]
            node = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            until = time.monotonic() + 2 * elasticsearch_node.PATIENCE_S
            while not said.exists():
                assert node.poll() is None, "the process that keeps the Elasticsearch node has ended"
                assert time.monotonic() < until, "the Elasticsearch node does not answer"
                time.sleep(0.2)
    url = said.read_text()
    assert url.startswith("http"), url
    return url


@pytest.fixture(scope="session")
def postgresql_server_url() -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL server of this worker, started when first asked for: from a database's name to its URL."""
    if why := postgresql_server.why_not():
        pytest.skip(why)
    with postgresql_server.running() as url:
        yield url
