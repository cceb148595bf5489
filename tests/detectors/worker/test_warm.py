"""A worker finds everything loaded: in confinement it can keep nothing, and its watchdog waits for nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

LATE = """
import json, sys
from pathlib import Path
from sensor import compiled
from detectors.pipeline import Options, Pipeline
from detectors.worker.warm import warm_up
from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture

warm_up()
late, made = set(), compiled.Kernel._made
def spy(self, kinds):
    late.add(f"{self.py_func.__module__}.{self.py_func.__qualname__}")
    return made(self, kinds)
compiled.Kernel._made = spy
for path in sys.argv[1:]:
    list(Pipeline(Options()).run(open_capture(path)))
print(json.dumps(sorted(late)))
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_whatever_the_traffic_nothing_is_compiled_or_loaded_once_a_worker_is_warm():
    captures = sorted(str(path) for path in (ROOT / "pcaps").rglob("*.pcap*"))
    command = [sys.executable, "-c", LATE, *captures]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=True)
    assert len(captures) > 50
    assert [name for name in json.loads(done.stdout) if not name.startswith("sensor.capture.")] == []
    command = [sys.executable, "-c", LATE.replace("sorted(late)", "'numba' in sys.modules"), *captures[:2]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=True)
    assert json.loads(done.stdout) is False, "all is kept now, and yet the compiler was imported"


KEEPS = """
import sys
from sensor.compiled import njit
from sensor.kernel_cache import keep_nothing
if sys.argv[1] == "nothing":
    keep_nothing()
import kept
assert kept.double(21) == 42
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
@pytest.mark.parametrize(("what", "files"), [("all", True), ("nothing", False)])
def test_a_process_that_may_write_nothing_compiles_without_keeping(tmp_path, what, files):
    (tmp_path / "kept.py").write_text(
        "from sensor.compiled import njit\n\n\n@njit(cache=True)\ndef double(number):\n    return number * 2\n"
    )
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, "-c", KEEPS, what], env=env, check=True, timeout=120)
    assert any(path.is_file() for path in (tmp_path / "cache").rglob("*")) == files
