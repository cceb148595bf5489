"""Compiled kernels are kept apart by the text of the sources they come from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sensor
from sensor import kernel_cache

PACKAGE = Path(sensor.__file__).parent


def test_any_change_in_what_kernels_are_made_of_is_another_folder(tmp_path):
    copy = tmp_path / "sensor"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = kernel_cache.sources_digest(copy)
    assert before == kernel_cache.sources_digest(PACKAGE)
    for part in ("decode/streams.py", "protocols/dnp3_link.py", "decode/packet.py", "records.py"):
        with (copy / part).open("a") as file:
            file.write("# another\n")
        after = kernel_cache.sources_digest(copy)
        assert after != before, part
        before = after
    with (copy / "schema.py").open("a") as file:  # no kernel knows the words of the output
        file.write("# another\n")
    assert kernel_cache.sources_digest(copy) == before


def test_every_source_that_a_kernel_imports_is_known():
    """The reckoning by text finds what Python itself has loaded when the kernels alone are imported."""
    names = sorted(
        "sensor." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in PACKAGE.rglob("*.py")
        if "njit" in path.read_text() and path.name != "kernel_cache.py"
    )
    command = [
        sys.executable,
        "-c",
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('sensor.')), sep='\\n')",
    ]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    known = set(kernel_cache.kernel_sources(PACKAGE))
    assert {Path(it) for it in loaded if Path(it).name != "__init__.py"} <= known | {PACKAGE / "kernel_cache.py"}


def variable(**environment: str) -> str:
    """NUMBA_CACHE_DIR in a fresh process that imported the package."""
    command = [sys.executable, "-c", "import os, sensor; print(os.environ.get('NUMBA_CACHE_DIR', ''))"]
    env = {name: value for name, value in os.environ.items() if name != kernel_cache.VARIABLE} | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def test_kernels_are_kept_in_the_users_cache_for_nobody_else(tmp_path):
    folder = Path(variable(XDG_CACHE_HOME=str(tmp_path)))
    assert folder.parent == tmp_path / "fenghuo" / "kernels"
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_was_given_is_used_and_a_child_takes_its_parents(tmp_path):
    folder = variable(NUMBA_CACHE_DIR=str(tmp_path))
    assert Path(folder).parent == tmp_path
    assert variable(NUMBA_CACHE_DIR=folder) == folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_numba_chooses(tmp_path):
    tmp_path.chmod(0o500)
    assert variable(XDG_CACHE_HOME=str(tmp_path)) == ""


def test_kernels_of_old_versions_are_removed(tmp_path):
    old, recent = tmp_path / "fenghuo" / "kernels" / "old", tmp_path / "fenghuo" / "kernels" / "recent"
    for folder in (old, recent):
        folder.mkdir(parents=True)
    past = time.time() - (kernel_cache.KEEP_DAYS + 1) * 86_400
    os.utime(old, (past, past))
    variable(XDG_CACHE_HOME=str(tmp_path))
    assert recent.is_dir()
    assert not old.exists()


def test_a_cold_cache_is_told_from_a_warm_one(tmp_path, monkeypatch):
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    assert not kernel_cache.compiled_before()
    (tmp_path / "sensor.decode.kernel.walk-0123456789abcdef.code").touch()
    assert kernel_cache.compiled_before()
