"""Whether the files of a bundle can be used, tried in a process of its own: rules are code of others.

    python -m detectors.bundle.check        files as JSON in, what is wrong as JSON out

A rule that takes for ever to compile, or all memory, ends that process and nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from detectors.bundle.signed import BundleError, File, check_names

TIMEOUT_S = 60.0  # on a busy machine; reading all shipped rules takes a second
MEMORY_BYTES = 3 * 1024**3
CPU_S = 40
MAX_SAID = 4000
ROOT = Path(__file__).resolve().parents[2]


def check(files: Sequence[File]) -> None:
    """BundleError, with what is wrong, where these files cannot be used together."""
    check_names(files)
    if not files:
        return
    env = {name: value for name, value in os.environ.items() if not name.startswith("FENGHUO_")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH", ""))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name], input=json.dumps(files).encode(), capture_output=True, env=env,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        said = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise BundleError(f"it takes longer than {TIMEOUT_S:.0f} s to load") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"it cannot be tried: {error}") from None
    if not isinstance(said, str):
        raise BundleError("it takes too much memory or time to load")
    if said:
        raise BundleError(said[:MAX_SAID])


def _main() -> None:
    from detectors.bundle.content import load_files

    files = [File(*it) for it in json.load(sys.stdin)]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_files(files, Path(folder))
        except BundleError as error:
            said = str(error)
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    _main()
