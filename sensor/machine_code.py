"""Machine code of kernels, kept between runs beside what numba keeps, and loaded without numba.

A file is one object file as LLVM wrote it, after a line that says what is in it. Its name says for which arguments,
which processor and which compiler it was made; its folder, which sources it was made of (kernel_cache.py). Each is
linked by itself: compilers of two processes may have given two functions one name.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sensor.kernel_cache import VARIABLE

if TYPE_CHECKING:
    from sensor.compiled import Kernel, Kind

SUFFIX = ".code"
# Of numba's own functions that compiled code names: it frees the memory of an array, and no kernel owns one.
NEVER_CALLED = ("NRT_MemInfo_call_dtor",)
# Variables that change what is compiled.
_SETTINGS = tuple(f"NUMBA_{name}" for name in ("CPU_NAME", "CPU_FEATURES", "OPT", "BOUNDSCHECK", "SLP_VECTORIZE"))
_SYMBOL = np.dtype([("name", "u4"), ("kind", "u2"), ("section", "u2"), ("value", "u8"), ("size", "u8")])  # of ELF64
_kept = [True]


class Code(NamedTuple):
    """A function in memory. returns: names of the types of what it gives, `many`: as a tuple. holder: its memory."""

    symbol: str
    returns: tuple[str, ...]
    many: bool
    address: int
    holder: Any


def keep_nothing() -> None:
    """From now on nothing is written."""
    _kept[0] = False


def load(kernel: Kernel, kinds: tuple[Kind, ...]) -> Code | None:
    """The kernel for arguments of these kinds, where it was compiled before and is whole."""
    path = _path(kernel, kinds)
    if path is None:
        return None
    try:
        head, content = path.read_bytes().split(b"\n", 1)
        said = json.loads(head)
        if said["digest"] != _digest(content):
            return None
        returns, many, symbol = tuple(said["returns"]), bool(said["many"]), str(said["symbol"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Code(symbol, returns, many, *_linked(content, symbol))


def keep(kernel: Kernel, kinds: tuple[Kind, ...], code: Code, content: bytes) -> None:
    """Write it down, where it needs nothing of numba's and where there is a place; without it numba is asked again."""
    path = _path(kernel, kinds) if _kept[0] else None
    if path is None or _foreign(content):
        return
    head = {"symbol": code.symbol, "returns": code.returns, "many": code.many, "digest": _digest(content)}
    with suppress(OSError):  # a full disk: the next run tries again
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
            written = Path(file.name)
        try:
            written.write_bytes(json.dumps(head).encode() + b"\n" + content)
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _path(kernel: Kernel, kinds: tuple[Kind, ...]) -> Path | None:
    """Where a kernel is kept; None: nowhere, for there is no folder, or functions of its name may be made twice."""
    function, folder = kernel.py_func, os.environ.get(VARIABLE)
    name = f"{function.__module__}.{function.__qualname__}"
    if not folder or not kernel.options.get("cache") or "<" in name:
        return None
    source = b"" if name.startswith("sensor.") else Path(function.__code__.co_filename).read_bytes()
    label = hashlib.blake2b("".join(map(_label, kinds)).encode() + source + _machine(), digest_size=8).hexdigest()
    return Path(folder, f"{name}-{label}{SUFFIX}")


@functools.cache
def _label(kind: Kind) -> str:
    return f"{kind!r};"


@functools.cache
def _machine() -> bytes:
    """What machine code depends on beside its source: processor, compiler, and settings of these."""
    from llvmlite import __version__, binding

    found = importlib.util.find_spec("numba")  # without importing it
    numba = Path(found.origin).with_name("_version.py").read_bytes() if found and found.origin else b""
    said = [__version__, sys.version, binding.get_process_triple(), binding.get_host_cpu_name()]
    said += [binding.get_host_cpu_features().flatten(), *(os.environ.get(name, "") for name in _SETTINGS)]
    return "\n".join(said).encode() + numba


@functools.cache
def _target() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    nothing = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for name in NEVER_CALLED:
        if binding.address_of_symbol(name) is None:  # numba is not there
            binding.add_symbol(name, nothing)
    return binding.Target.from_default_triple()


def _linked(content: bytes, symbol: str) -> tuple[int, Any]:
    """(address of the symbol, what keeps it in memory) of an object file."""
    from llvmlite import binding

    target = _target()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target.create_target_machine(jit=True))
    engine.add_object_file(binding.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return int(engine.get_function_address(symbol)), engine


def _foreign(content: bytes) -> list[str]:
    """Functions that an object file needs and that neither the C library has nor NEVER_CALLED lists."""
    from llvmlite import binding

    sections = {it.name(): it.data() for it in binding.ObjectFileRef.from_data(content).sections()}
    if b".symtab" not in sections:  # not an ELF file
        return ["symbols"]
    names = sections[b".strtab"]
    symbols = np.frombuffer(sections[b".symtab"], _SYMBOL)[1:]
    wanted = [int(it) for it in symbols["name"][symbols["section"] == 0]]
    library = ctypes.CDLL(None)
    called = [names[at : names.index(b"\0", at)].decode() for at in wanted]
    return [name for name in called if name not in NEVER_CALLED and not hasattr(library, name)]
