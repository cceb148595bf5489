"""Compiled functions that are called by address, so that they are optimised once.

The compiler takes every function that a function calls, with all that those call, and optimises the whole again: at
each of a dozen levels between a frame and its messages, the framing of every protocol. A call by address ends that: the
callee is compiled and cached alone, and its callers see a number in the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensor.compiled import Kind


def caller(returned: Kind, kinds: Sequence[Kind]) -> Any:
    """A function (address, *arguments) for compiled code that calls what was compiled for these kinds of arguments.

    Integers are converted; an array that may not be written is passed as one that may, for both lie in memory alike.
    """
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from sensor.compiler import type_of

    returns, arguments = type_of(returned), tuple(map(type_of, kinds))

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
