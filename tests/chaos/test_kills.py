"""Sensor, console and worker are killed, at random moments and at every failpoint: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.campaign import INDEX
from chaos.points import read_points
from tools import postgresql_server

ROOT = Path(__file__).resolve().parents[2]
KILLS = 100
FEW_KILLS = 10


def run(*arguments: object) -> dict[str, Any]:
    """`make chaos` as people call it; its reports."""
    paths = os.pathsep.join(map(str, (ROOT / "tests", ROOT)))
    command = [sys.executable, "-m", "chaos", "--json", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    reports: dict[str, Any] = json.loads(done.stdout)
    for report in reports.values():
        assert report["complaints"] == []
    assert done.returncode == 0
    return reports


def test_a_hundred_kills_at_random_moments_lose_nothing_double_nothing_and_need_nobody():
    report = run("--kills", KILLS, "--points", "none")["at random"]
    assert report["killed"] == KILLS
    assert all(report["deaths"][who] > KILLS / 20 for who in ("sensor", "console", "worker"))
    assert report["promised"] > KILLS
    assert report["messages"] > 0


def test_a_kill_at_every_failpoint_loses_nothing_doubles_nothing_and_needs_nobody():
    points = [point for point in read_points() if not point.startswith(INDEX)]
    report = run("--kills", 0, "--points", ",".join(points))["every point"]
    assert set(report["reached"]) == set(points)


def test_a_kill_at_every_failpoint_of_who_feeds_the_search_cluster_leaves_it_what_the_store_is(elasticsearch_url):
    points = [point for point in read_points() if point.startswith(INDEX)]
    report = run("--kills", 0, "--points", ",".join(points), "--node", elasticsearch_url)["every point"]
    assert set(report["reached"]) == set(points)


def test_a_console_on_a_postgresql_that_is_killed_too_loses_nothing_and_its_search_cluster_has_the_same(
    elasticsearch_url,
):
    if why := postgresql_server.why_not():
        pytest.skip(why)
    stands_on = ("--store", "postgresql", "--node", elasticsearch_url, "--worlds", 1)
    report = run("--kills", FEW_KILLS, "--points", "none", *stands_on)["at random"]
    assert report["killed"] == FEW_KILLS
    assert all(report["deaths"][who] for who in ("sensor", "console", "database", "indexer"))
    assert report["promised"] > FEW_KILLS
