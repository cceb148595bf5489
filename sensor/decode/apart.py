"""Compiled functions that are called by address, so that they are optimised once.

The compiler takes every function that a function calls, with all that those call, and optimises the whole again: at
each of a dozen levels between a frame and its messages, the framing of every protocol. A call by address ends that: the
callee is compiled and cached alone, and its callers see a number in the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import from_dtype, types
from numba.core import cgutils, config
from numba.extending import intrinsic

INTEGER, SMALL = types.int64, types.uint8


def record_of(dtype: np.dtype[Any]) -> Any:
    """The compiler's type of one record."""
    return from_dtype(dtype)


def rows_of(dtype: np.dtype[Any]) -> Any:
    """The compiler's type of a one-dimensional array."""
    return types.Array(from_dtype(dtype), 1, "C")


def caller(returns: Any, arguments: Sequence[Any]) -> Any:
    """A function (address, *arguments) for compiled code that calls what was compiled with these types.

    Integers are converted; an array that may not be written is passed as one that may, for both lie in memory alike.
    """
    arguments = tuple(arguments)

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def call(typing_context: Any, address: Any, *given: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            passed = [builder.extract_value(values[1], i) for i in range(len(arguments))]
            for i, wanted in enumerate(arguments):
                if isinstance(wanted, types.Integer):
                    passed[i] = context.cast(builder, passed[i], given[i], wanted)
            pointer = context.call_conv.get_function_type(returns, arguments).as_pointer()
            status, result = context.call_conv.call_function(
                builder, builder.inttoptr(values[0], pointer), returns, arguments, passed
            )
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return result

        return returns(address, types.StarArgTuple.from_types(given)), generate

    return call


def address_of(function: Any, arguments: Sequence[Any]) -> int:
    """Address of a compiled function, which is compiled or loaded for these types; 0 where nothing is compiled."""
    if getattr(config, "DISABLE_JIT", False):
        return 0
    function.compile(tuple(arguments))
    compiled = function.overloads[tuple(arguments)]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
