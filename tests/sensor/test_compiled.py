"""Kernels run as machine code that was kept: without a compiler, and only where it is whole and fits."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sensor import compiled, machine_code
from sensor.compiled import Kernel, njit
from sensor.machine_code import Code
from sensor.records import record

ROOT = Path(__file__).resolve().parents[2]
COMPILED = pytest.mark.skipif(compiled.INTERPRETED, reason="nothing is compiled")

KERNELS = """
import numpy as np
from sensor.compiled import njit


@njit(cache=True, nogil=True, boundscheck=True)
def inner(numbers, at):
    return numbers[at]


@njit(cache=True, nogil=True, boundscheck=True)
def at(numbers, place):
    return inner(numbers, place), numbers[place] > 2


@njit(cache=True, nogil=True, boundscheck=True)
def doubled(numbers):
    twice = np.zeros(len(numbers), np.int64)
    for i in range(len(numbers)):
        twice[i] = 2 * numbers[i]
    return twice.sum()
"""
ASK = """
import sys
import numpy as np
import kernels
numbers = np.array([1, 2, 3], np.int64)
print(kernels.at(numbers, 2))
try:
    kernels.at(numbers, 3)
except IndexError as error:
    print(error)
if "doubled" in sys.argv:
    print(kernels.doubled(numbers))
print("numba" in sys.modules)
"""
SAID = "(3, True)\nindex is out of bounds\n"

POINT = record([("mark", "u1"), ("count", "i8")])


@njit(boundscheck=True)
def add(points, place, weight, more):
    """A kernel that is kept nowhere."""
    points[place].count += weight
    points[place].mark = more


@njit(boundscheck=True)
def count(point):
    point.count += 1
    return point.count


@njit(boundscheck=True)
def largest(numbers):
    return numbers[0, 1], numbers.shape[1], np.uint64(1) << np.uint64(63)


@pytest.fixture
def ask(tmp_path):
    """Let a process of its own call kernels of a module that has been there before, or not; what it says."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*arguments: str, **more: str) -> str:
        command = [sys.executable, "-c", ASK, *arguments]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout

    return run


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob(f"*{machine_code.SUFFIX}"))


def test_arrays_records_and_numbers_are_passed_as_they_are():
    points = np.zeros(3, POINT)
    assert add(points, np.int32(1), -5, True) is None
    assert points["count"].tolist() == [0, -5, 0]
    assert points["mark"].tolist() == [0, 1, 0]
    row = points.view(np.recarray)[1] if compiled.INTERPRETED else points[1]
    assert count(row) == -4
    assert points["count"].tolist() == [0, -4, 0]
    assert largest(np.array([[1, 7, 3]], np.int32)) == (7, 3, 1 << 63)


def test_an_array_in_the_place_of_one_that_is_gone_is_another_one():
    for size in range(1, 600):
        numbers = np.full((1, size + 1), size, np.int32)
        assert largest(numbers) == (size, size + 1, 1 << 63)


def test_what_cannot_be_passed_is_a_type_error_that_says_so():
    if not isinstance(count, Kernel):
        pytest.skip("nothing is compiled")
    with pytest.raises(TypeError, match="contiguous"):
        largest(np.zeros((4, 4))[:, ::2])
    with pytest.raises(TypeError, match="str"):
        add(np.zeros(1, POINT), "1", 1, False)


@COMPILED
def test_an_error_of_compiled_code_is_the_error_of_the_function():
    with pytest.raises(IndexError):
        add(np.zeros(1, POINT), 1, 1, False)


@COMPILED
def test_a_later_process_runs_what_was_kept_and_needs_no_compiler(ask, tmp_path):
    assert ask() == SAID + "True\n"
    assert [path.name.split("-")[0] for path in kept(tmp_path)] == ["kernels.at"]
    assert ask() == SAID + "False\n"


@COMPILED
def test_what_numba_kept_because_another_kernel_calls_it_is_kept_when_python_calls_it(ask, tmp_path):
    ask()
    for path in kept(tmp_path):
        path.unlink()
    assert ask() == SAID + "True\n"
    assert ask() == SAID + "False\n"


@COMPILED
@pytest.mark.parametrize(
    "damage", [lambda it: it[:-100], lambda it: it[:-9] + b"x" + it[-8:], lambda _: b"", lambda _: b"{}"]
)
def test_a_damaged_file_is_not_run_but_made_again(ask, tmp_path, damage):
    ask()
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert ask() == SAID + "True\n"
    assert path.read_bytes() == whole
    assert ask() == SAID + "False\n"


@COMPILED
def test_another_processor_another_compiler_and_another_source_are_another_file(ask, tmp_path, monkeypatch):
    ask()
    assert ask(NUMBA_CPU_NAME="generic").endswith("True\n")
    assert len(kept(tmp_path)) == 2
    (tmp_path / "kernels.py").write_text(KERNELS + "\n# another\n")
    assert ask().endswith("True\n")
    assert len(kept(tmp_path)) == 3


@COMPILED
def test_code_that_needs_the_compilers_own_library_is_not_kept_but_runs(ask, tmp_path):
    for _ in range(2):
        assert ask("doubled") == SAID + "12\nTrue\n"
    assert [path.name.split("-")[0] for path in kept(tmp_path)] == ["kernels.at"]


@COMPILED
def test_two_processes_that_compile_at_once_leave_one_whole_file(ask, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        assert [said.startswith(SAID) for said in pool.map(lambda _: ask(), range(2))] == [True, True]
    (path,) = kept(tmp_path)
    assert [it.name for it in path.parent.iterdir() if it.is_file()] == [path.name]
    assert ask() == SAID + "False\n"


@COMPILED
def test_a_file_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_foreign", lambda _: [])
    monkeypatch.setattr(Path, "write_bytes", full)
    machine_code.keep(Kernel(full, {"cache": True}), (), Code("", (), False, 0, None), b"")
    assert list(tmp_path.iterdir()) == []


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@COMPILED
def test_where_nothing_can_be_kept_it_is_compiled_each_time(ask, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    assert ask().startswith(SAID)
    assert kept(tmp_path) == []
