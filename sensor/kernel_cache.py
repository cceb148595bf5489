"""Where compiled kernels are kept between runs.

numba notices that a function's own file has changed, but not that a file it calls into has: after an update it would
run stale machine code. So the cache lies in a folder named after the text of every source that holds a kernel and of
all that these import; what only readable Python uses may change without a new compilation. It lies in the user's cache
folder, for the installation may not be writable; and never in a folder others can write, for what numba loads from
there is run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
KEEP_DAYS = 30  # kernels of other versions are removed after that


_IMPORT = re.compile(r"^\s*(?:from (sensor[\w.]*) import (\([^)]*\)|[^\n]*)|import (sensor[\w.]*))", re.MULTILINE)


def kernel_sources(folder: Path) -> set[Path]:
    """The files of the package in `folder` that hold compiled functions, and all that these import."""
    wanted = [path for path in folder.rglob("*.py") if "njit" in path.read_text(encoding="utf-8")]
    found: set[Path] = set()
    while wanted:
        path = wanted.pop()
        if path in found:
            continue
        found.add(path)
        for module, names, plain in _IMPORT.findall(path.read_text(encoding="utf-8")):
            parts = (module or plain).split(".")[1:]
            listed = re.findall(r"[\w.]+(?: as \w+)?", names)
            for tail in [parts, *([*parts, name.split(" ")[0]] for name in listed)]:
                source = folder.joinpath(*tail).with_suffix(".py") if tail else folder / "__init__.py"
                wanted += [source] if source.is_file() else []
    return found


def sources_digest(folder: Path) -> str:
    """16 hex digits over the sources of all kernels in the package in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(kernel_sources(folder)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def use_kernel_cache() -> None:
    """Point numba at the folder for these sources; runs when the package `sensor` is imported.

    The variable NUMBA_CACHE_DIR, where set, names the folder in which ours is made. Where no folder can be written,
    numba is left to its own choice.
    """
    digest = sources_digest(Path(__file__).parent)
    given = os.environ.get(VARIABLE)
    if given and Path(given).name == digest:  # inherited from a parent process of the same version
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fenghuo" / "kernels"
    base = Path(given) if given else home
    folder = base / digest
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            if base == home:
                _prune(base)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ[VARIABLE] = str(folder)
        if "numba" in sys.modules:  # it has read the variable already
            sys.modules["numba"].config.CACHE_DIR = str(folder)


def compiled_before() -> bool:
    """Whether the decoder of these sources stands in the cache: if not, the first capture waits for the compiler."""
    folder = os.environ.get(VARIABLE)
    return folder is not None and any(Path(folder).glob("sensor.decode.kernel.walk-*.code"))


def keep_nothing() -> None:
    """From now on what is compiled in this process is not kept: it may write no file, and must not fail for that."""
    from sensor import compiled, machine_code

    machine_code.keep_nothing()
    compiled.for_the_compiler(_numba_keeps_nothing)
    if "numba" in sys.modules:
        _numba_keeps_nothing()


def _numba_keeps_nothing() -> None:
    from numba.core import caching

    setattr(caching.Cache, "save_overload", lambda *_: None)  # noqa: B010 (the checker forbids to assign a method)


def _prune(base: Path) -> None:
    for old in base.iterdir():
        if old.stat().st_mtime < time.time() - KEEP_DAYS * 86_400:
            shutil.rmtree(old, ignore_errors=True)
