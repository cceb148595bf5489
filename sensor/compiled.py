"""Kernels: functions of plain Python source that run as machine code, and start without a compiler.

numba takes half a second to be imported and to find what it compiled before, longer than a usual capture takes to be
decoded. So it is imported only where something has to be compiled. What it made is kept (machine_code.py) and called
straight: the compiler's functions take pointers and numbers as C does. Compiled code knows a kernel as numba's own
function, and calls it as such (compiler.py).

    @njit(cache=True, nogil=True, boundscheck=True)
    def count(octets, limit): ...

With NUMBA_DISABLE_JIT=1 a kernel is the Python function itself.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pickle
from collections.abc import Callable
from threading import RLock
from typing import Any, NamedTuple
from weakref import ref

import numpy as np
import numpy.typing as npt

from sensor import machine_code
from sensor.machine_code import Code

MOST_KNOWN = 256  # arrays whose place is remembered
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
DONE = (0, -2)  # of a compiled function's status: it gave a value, or None


class Rows(NamedTuple):
    """Kind of an argument: a contiguous array of such elements. That of a record or a number is its dtype."""

    dtype: np.dtype[Any]
    axes: int = 1


Kind = Rows | np.dtype[Any]


class _Passed(NamedTuple):
    """An array as compiled code takes it."""

    array: ref[npt.NDArray[Any]]
    kind: Rows
    words: tuple[int, ...]


BOOLEAN, INTEGER, UNSIGNED, SMALL = (np.dtype(it) for it in (np.bool_, np.int64, np.uint64, np.uint8))
_SCALARS = {int: INTEGER, bool: BOOLEAN, np.bool_: BOOLEAN} | {
    np.dtype(it).type: np.dtype(it) for it in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
}
_rows = functools.cache(Rows)
_known: dict[int, _Passed] = {}  # arrays, by id: an array that is gone may have left its id to another
_lock = RLock()  # one compiles or loads at a time
_prepare: list[Callable[[], object]] = []


def njit(**options: Any) -> Any:
    """Make a function a kernel; options: those of numba.njit."""

    def kernel(function: Callable[..., Any]) -> Any:
        return function if INTERPRETED else Kernel(function, options)

    return kernel


def for_the_compiler(register: Callable[[], object]) -> Callable[[], object]:
    """Have a function called before anything is compiled: it tells numba of compiled forms, and may import it."""
    _prepare.append(register)
    return register


def address_of(function: Any, kinds: tuple[Kind, ...]) -> int:
    """Address of a kernel, which is compiled or loaded for these arguments; 0 where nothing is compiled."""
    return function.entry(kinds).address if isinstance(function, Kernel) else 0


class Entry(NamedTuple):
    """A kernel for arguments of certain kinds. code: keeps the machine code where it is."""

    address: int
    call: Callable[..., int]
    result: type[ctypes.Structure]
    returns: Callable[[Any], Any]
    code: Any


class Kernel:
    """One function with its machine code. Arrays must be contiguous; an array that may not be written is passed as one
    that may, for kernels write only into what they are given to fill.

    py_func: the readable function. options: those of numba.njit.
    """

    def __init__(self, py_func: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, py_func)
        self.py_func, self.options = py_func, options
        self._entries: dict[tuple[Kind, ...], Entry] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Raises what the function raises; TypeError for what cannot be passed."""
        kinds: list[Kind] = []
        words: list[int] = []
        for it in arguments:
            if isinstance(it, np.ndarray):
                known = _known.get(id(it))
                if known is None or known.array() is not it:
                    known = _passed(it)
                kinds.append(known.kind)
                words += known.words
            elif isinstance(it, np.void):
                kinds.append(it.dtype)
                words.append(np.frombuffer(it, np.uint8).ctypes.data)
            else:
                number = int(it)
                kinds.append(_scalar(it))
                words.append(number)
        entry = self._entries.get(tuple(kinds)) or self.entry(tuple(kinds))
        result, raised = entry.result(), ctypes.c_void_p()
        status = entry.call(ctypes.byref(result), ctypes.byref(raised), *words)
        if status not in DONE:
            raise _error(raised.value)
        return entry.returns(result)

    def entry(self, kinds: tuple[Kind, ...]) -> Entry:
        """The kernel for arguments of these kinds, loaded, or compiled and kept."""
        with _lock:
            if kinds not in self._entries:
                self._entries[kinds] = _entry(kinds, self._made(kinds))
            return self._entries[kinds]

    def _made(self, kinds: tuple[Kind, ...]) -> Code:
        found = machine_code.load(self, kinds)
        if found is not None:
            return found
        from sensor import compiler

        while _prepare:
            _prepare.pop(0)()
        code, content = compiler.compile_for(self, kinds)
        machine_code.keep(self, kinds, code, content)
        return code


def _passed(array: npt.NDArray[Any]) -> _Passed:
    """How an array is passed, remembered: the same few are passed again and again, and to ask takes microseconds."""
    if not array.flags.c_contiguous:
        raise TypeError("compiled code takes contiguous arrays only")
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    words = (
        0,
        0,
        array.size,
        array.itemsize,
        array.ctypes.data,
        *array.shape,
        *array.strides,
    )  # 0, 0: without an owner
    made = _known[id(array)] = _Passed(ref(array), _rows(array.dtype, array.ndim), words)
    return made


def _scalar(value: Any) -> np.dtype[Any]:
    kind = _SCALARS.get(type(value))
    if kind is None:
        if not isinstance(value, int):
            raise TypeError(f"compiled code takes no {type(value).__name__}")
        kind = INTEGER  # a member of an enumeration
    return UNSIGNED if kind is INTEGER and int(value) >> 63 > 0 else kind


def _entry(kinds: tuple[Kind, ...], code: Code) -> Entry:
    """How C calls it: status function(result *, raised **, arguments...), an array as seven words or more."""
    taken: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for kind in kinds:
        if isinstance(kind, Rows):
            word, pointer = ctypes.c_int64, ctypes.c_void_p
            taken += [pointer, pointer, word, word, pointer, *[word] * (2 * kind.axes)]
        else:
            taken.append(ctypes.c_void_p if kind.names else _c_type(kind.name))
    fields = [(f"_{i}", _c_type(name)) for i, name in enumerate(code.returns)]
    result = type("Result", (ctypes.Structure,), {"_fields_": fields or [("_0", ctypes.c_void_p)]})
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *taken)  # lets other threads run meanwhile
    return Entry(code.address, prototype(code.address), result, _returns(code), code.holder)


def _c_type(name: str) -> Any:
    return ctypes.c_bool if name == "bool" else getattr(ctypes, f"c_{name}")


def _returns(code: Code) -> Callable[[Any], Any]:
    """What Python is given of a result."""
    if not code.returns:
        return lambda _: None
    if not code.many:
        return lambda result: result._0
    names = [f"_{i}" for i in range(len(code.returns))]
    return lambda result: tuple(getattr(result, name) for name in names)


def _error(raised: int | None) -> Exception:
    """The error that compiled code describes: a pickle of its class and arguments that the compiler wrote."""
    if not raised:
        return SystemError("compiled code failed")
    begin, size = ctypes.c_void_p.from_address(raised).value, ctypes.c_int32.from_address(raised + 8).value
    kind, arguments, _ = pickle.loads(ctypes.string_at(begin or 0, size))  # noqa: S301 (the compiler wrote it)
    error: Exception = kind(*(arguments or ()))
    return error
