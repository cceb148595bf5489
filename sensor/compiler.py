"""numba as a compiler of kernels (compiled.py). Imported only where something is compiled, for that takes its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.extending import typeof_impl

from sensor.compiled import Kernel, Rows
from sensor.machine_code import Code

if TYPE_CHECKING:
    from sensor.compiled import Kind

_dispatchers: dict[Kernel, Any] = {}


def dispatcher_of(kernel: Kernel) -> Any:
    """The kernel as numba knows it. Only compiled code calls it, so it needs no form that Python calls."""
    if kernel not in _dispatchers:
        options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **kernel.options}
        _dispatchers[kernel] = numba.njit(**options)(kernel.py_func)
    return _dispatchers[kernel]


@typeof_impl.register(Kernel)  # type: ignore[untyped-decorator, unused-ignore]
def _typeof(kernel: Kernel, _context: Any) -> Any:
    """What compiled code sees where the name of a kernel stands."""
    return types.Dispatcher(dispatcher_of(kernel))


def type_of(kind: Kind) -> Any:
    """The compiler's type of an argument."""
    if isinstance(kind, Rows):
        return types.Array(numba.from_dtype(kind.dtype), kind.axes, "C")
    return numba.from_dtype(kind)


def compile_for(kernel: Kernel, kinds: tuple[Kind, ...]) -> tuple[Code, bytes]:
    """A kernel compiled for arguments of these kinds, and its object file."""
    dispatcher, signature = dispatcher_of(kernel), tuple(type_of(kind) for kind in kinds)
    dispatcher.compile(signature)
    made = dispatcher.overloads[signature]
    symbol = made.fndesc.llvm_func_name
    returns = made.signature.return_type
    many = isinstance(returns, types.BaseTuple)
    members = list(returns) if many else [] if returns is types.none else [returns]
    names = tuple(np.dtype(numba.np.numpy_support.as_dtype(it)).name for it in members)
    address = int(made.library.get_pointer_to_function(symbol))
    return Code(symbol, names, many, address, made), _object_file(dispatcher, signature, made)


def _object_file(dispatcher: Any, signature: tuple[Any, ...], made: Any) -> bytes:
    """The object file of what was compiled now, or kept by numba before, when something else called it."""
    try:
        _, _, content = made.library.serialize_using_object_code()
    except RuntimeError:  # it was loaded, and is not held any more
        cache = dispatcher._cache
        key = cache._index_key(signature, dispatcher.targetctx.codegen())
        _, _, content = cache._cache_file.load(key)[0]
    return bytes(content[0])
