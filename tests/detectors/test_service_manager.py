"""What the service manager is told, and that the unit is one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import ROOT

from detectors.service_manager import ServiceManager

UNIT = ROOT / "docs" / "fenghuo-sensor.service"


@pytest.fixture
def manager_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(str(tmp_path / "notify"))
    end.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return end


def test_the_manager_is_told_when_the_sensor_listens_turns_and_ends(
    manager_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "90000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    manager = ServiceManager()
    manager.starting("loading")
    manager.ready("listening on eth1\nX=1")
    manager._next = 0.0
    manager.turns()
    manager.turns()  # not yet due again
    manager.stopping()
    told = [manager_socket.recv(1000).decode() for _ in range(4)]
    assert told[0] == "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading"
    assert told[1] == "READY=1\nSTATUS=listening on eth1 X=1"  # one line, so that nothing else can be said with it
    assert told[2:] == ["WATCHDOG=1", "STOPPING=1"]


def test_the_watchdog_of_another_process_is_not_fed(
    manager_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "90000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    manager = ServiceManager()
    manager.turns()
    manager.stopping()
    assert manager_socket.recv(1000) == b"STOPPING=1"


def test_without_a_service_manager_nothing_is_sent_and_a_dead_one_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ServiceManager().ready("x")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    ServiceManager().ready("x")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/fenghuo/.venv/bin/fenghuo", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not wrong, wrong
