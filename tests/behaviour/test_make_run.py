"""What `make run` starts: a console and a sensor that find each other, and that end together."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0  # a machine that is busy, and that may have to compile first


def command(port: int, data: Path) -> list[str]:
    """As the Makefile calls it."""
    return [sys.executable, str(ROOT / "tools" / "run.py"), "--port", str(port), "--data", str(data)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


KEPT = ("finding", "asset", "behaviour")  # what the sensor finds and what it sees standing


def held(data: Path, table: str) -> int:
    """How many rows of a table the console holds."""
    with closing(sqlite3.connect(f"file:{data / 'console.db'}?mode=ro", uri=True)) as store:
        return int(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_first_run_prints_a_password_and_findings_arrive_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "var"
    log = tmp_path / "out.txt"
    with log.open("w") as out:
        running = subprocess.Popen(command(port, data), stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and running.poll() is None:
            if "Ctrl-C ends it" in log.read_text() and all(held(data, table) for table in KEPT):
                break
            time.sleep(0.3)
        told = log.read_text()
        assert running.poll() is None, told
        assert all(held(data, table) for table in KEPT), told
        assert f"http://127.0.0.1:{port}" in told
        assert "user      admin" in told
        assert len(told.split("password  ")[1].split()[0]) >= 16
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert page.url.split("?")[0].endswith("/login"), "nobody gets in without a login"
        second = subprocess.run(command(port, data), capture_output=True, text=True, cwd=ROOT, check=False)
        assert second.returncode == 2
        assert second.stderr.startswith(f"run: port {port} is taken")
        assert second.stderr.count("\n") == 1
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)
    assert running.returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        pass  # the console is gone
    assert (data / "demo-sensor.key").stat().st_mode & 0o077 == 0
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(data) in environment(int(pid))]


def environment(pid: int) -> str:
    """What a process was started with, as far as we may see it."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
