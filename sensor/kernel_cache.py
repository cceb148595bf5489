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


_IMPORT = re.compile(rb"^[ \t]*(?:from (sensor[\w.]*) import (\([^)]*\)|[^\n]*)|import (sensor[\w.]*))", re.MULTILINE)
_NAME = re.compile(rb"[\w.]+(?: as \w+)?")


def kernel_sources(folder: Path) -> dict[Path, bytes]:
    """The files of the package in `folder` that hold compiled functions, and all that these import, with their text."""
    modules = {}  # by the name behind that of the package
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).parts
        name = ".".join((*parts[:-1], parts[-1][:-3])).removesuffix("__init__").rstrip(".")
        modules[name.encode()] = path, path.read_bytes()
    wanted = [name for name, (_, text) in modules.items() if b"njit" in text]
    found: dict[Path, bytes] = {}
    while wanted:
        path, text = modules[wanted.pop()]
        if path in found:
            continue
        found[path] = text
        for module, names, plain in _IMPORT.findall(text):
            inside = (module or plain).partition(b".")[2]
            listed = [it.split(b" ")[0] for it in _NAME.findall(names)]
            wanted += [
                it for it in (inside, *(b".".join(filter(None, (inside, it))) for it in listed)) if it in modules
            ]
    return found


def sources_digest(folder: Path) -> str:
    """16 hex digits over the sources of all kernels in the package in `folder`."""
    digest = hashlib.sha256()
    for path, text in sorted(kernel_sources(folder).items()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + text + b"\0")
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
