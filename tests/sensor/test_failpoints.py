"""Failpoints do nothing until one is armed, and then end the process as if the power went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.points import UnclearPointError, read_points

from sensor import failpoints

ROOT = Path(__file__).parents[2]
THREE_TIMES = "from sensor.failpoints import failpoint\nfor i in range(3): print(i, flush=True); failpoint('spool.x')"


def run(armed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), failpoints.VARIABLE: armed}
    return subprocess.run([sys.executable, "-c", THREE_TIMES], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("armed", "lines"), [("spool.x", 1), ("spool.x:2", 2), ("spool.x:3", 3)], ids=["first", "second", "third"]
)
def test_the_armed_point_kills_at_its_arrival_and_not_before(armed, lines):
    done = run(armed)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == lines


@pytest.mark.parametrize("armed", ["", "spool.y", "spool.x:4"])
def test_other_points_do_nothing(armed):
    done = run(armed)
    assert (done.returncode, len(done.stdout.split())) == (0, 3)


def test_every_point_of_the_sources_can_be_enumerated():
    points = read_points()
    assert {name.partition(".")[0] for name in points} >= {"spool", "uplink", "ingest", "outbox"}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("failpoint(name)", "one literal"),
        ("failpoint('a.b' + name)", "one literal"),
        ("failpoint('a.b')\nfailpoints.failpoint('a.b')", "a.b stands at sensor/x.py:1 too"),
    ],
)
def test_a_point_that_nobody_could_arm_is_named_with_its_place(tmp_path, source, complaint):
    (tmp_path / "sensor").mkdir()
    (tmp_path / "sensor" / "x.py").write_text(source)
    with pytest.raises(UnclearPointError, match=complaint):
        read_points(tmp_path)
