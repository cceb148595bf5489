"""Kernels are compiled side by side into an empty cache, and only into an empty one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sensor import kernel_cache
from sensor.decode import compilation
from sensor.view import EXPLAINERS


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The children that would be started."""
    started: list[list[str]] = []
    monkeypatch.setattr(compilation.subprocess, "run", lambda command, **_: started.append(command))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    return started


def test_an_empty_cache_is_filled_by_a_child_for_each_part(tmp_path, monkeypatch, commands):
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    compilation.in_children(compilation.COMMON)
    assert sorted(command[-1] for command in commands) == sorted(compilation.COMMON)


def test_a_cache_that_holds_the_decoder_is_left_alone(tmp_path, monkeypatch, commands):
    (tmp_path / "sensor.decode.kernel.walk-0123456789abcdef.code").touch()
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    compilation.in_children(compilation.COMMON)
    assert commands == []


def test_without_a_cache_or_a_second_core_nothing_is_started(tmp_path, monkeypatch, commands):
    monkeypatch.delenv(kernel_cache.VARIABLE, raising=False)
    compilation.in_children(compilation.COMMON)
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    compilation.in_children(compilation.COMMON)
    assert commands == []


@pytest.mark.parametrize("part", [*compilation.COMMON, "slow", "modbus", "settle"])
def test_each_part_is_compiled_or_loaded_by_a_process_of_its_own(part: str) -> None:
    subprocess.run([sys.executable, "-m", "sensor.decode.compilation", part], check=True, timeout=600)


def test_a_message_of_every_protocol_is_explained_before_traffic_comes():
    assert {protocol for protocol, _ in compilation.EXPLAINED} == set(EXPLAINERS)
